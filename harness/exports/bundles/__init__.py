"""Bundles: a finished run as one zip file that others can score again from their own copy of the data."""
