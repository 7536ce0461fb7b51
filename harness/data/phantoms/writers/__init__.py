"""One writer per release layout: synthetic patients in the files that the authors ship."""
