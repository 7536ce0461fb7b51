"""Ablations of the tiny reference model."""
