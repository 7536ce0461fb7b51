"""`harness metric`: JSON lines in, JSON lines out."""
