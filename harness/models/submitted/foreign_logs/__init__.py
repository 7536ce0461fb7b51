"""Answers that other harnesses logged: one reader for each format, and the search for the samples they belong to."""
