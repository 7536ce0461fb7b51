"""Parts of an entry that are read by themselves: judge, model, and what the run took."""
