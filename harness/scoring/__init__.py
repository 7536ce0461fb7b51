"""Scores of samples, their means and intervals; pure functions of predictions and targets."""
