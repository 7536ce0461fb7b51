"""Metrics of one mask against one mask: overlap and distances between surfaces."""
