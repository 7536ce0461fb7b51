"""Requests: what a model sees of a sample, given the task and the model's capabilities."""
