"""Metrics that bind words to places: named masks, referring expressions, pointing."""
