"""Predictions of a run as masks and boxes in files, which `harness score --predictions` reads back."""
