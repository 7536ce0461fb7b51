"""Synthetic patients, written in the layouts of published releases: no download, and every answer is known."""

# Raised by any change that moves a pixel or a word: the same version and seed give the same patients everywhere. It is
# part of the name of a phantom's data root, so that a cache never mixes two versions.
# 5: oblique CT series have reports and questions of their own; before, they shared their patient's report.
VERSION = 5
