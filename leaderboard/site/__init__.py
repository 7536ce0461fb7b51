"""The pages of the static site, its tables and its data files."""
