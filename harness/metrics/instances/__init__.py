"""Metrics of several masks against several: matching, average precision, panoptic quality."""
