"""Task files from a look at a folder or file: what is in it, what is taken for what, and what a person must decide."""
