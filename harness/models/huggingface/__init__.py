"""`hf:PATH_OR_NAME`: any model that transformers loads natively, by its own processor and chat template."""
