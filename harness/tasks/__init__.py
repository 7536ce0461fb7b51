"""Task files: what a task asks, of which data, and how its answers are scored."""
