"""One table of the board as CSV, JSON, LaTeX and BibTeX, for those who quote it."""
