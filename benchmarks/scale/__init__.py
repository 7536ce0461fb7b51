"""A run of up to a million samples: CPU seconds and memory of every phase, and lm-eval beside it."""
