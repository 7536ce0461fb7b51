"""The model of a construction, and the review of what it made; `harness.evaluation.construct` asks."""
