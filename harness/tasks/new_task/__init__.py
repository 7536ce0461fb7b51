"""Propose task files for a folder or table: recognise its layout, and note what only the user can decide."""
