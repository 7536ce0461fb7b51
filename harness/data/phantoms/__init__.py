"""Synthetic patients, written in the layouts of published releases: no download, and every answer is known."""

VERSION = 4
"""Raised by any change that moves a drawn pixel: the same version and seed are the same patients everywhere."""
