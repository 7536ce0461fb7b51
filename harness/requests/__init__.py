"""From a sample, a task and what a model can do to the request that the model sees."""
