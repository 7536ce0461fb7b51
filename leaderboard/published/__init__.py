"""Published numbers and the task, metric and protocol that each belongs to."""
