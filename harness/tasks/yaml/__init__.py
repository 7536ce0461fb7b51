"""YAML with the place of every value, so that each error can name file and line."""
