"""Checks on constructed items: each has a name, under which the items that it rejects are listed and counted."""
