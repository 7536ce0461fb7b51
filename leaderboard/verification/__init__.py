"""Reading a bundle with suspicion: the archive, the form of its files, and whether its numbers are those found here."""
