"""Answers that were made elsewhere: predictions submitted as lines of JSON, or as a folder of mask files."""
