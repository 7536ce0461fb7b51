"""A run while it goes on, for a terminal and for a page."""
