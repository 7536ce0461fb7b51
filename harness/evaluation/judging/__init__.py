"""Judges: models that are asked what another model's answers are worth, by a rubric."""
