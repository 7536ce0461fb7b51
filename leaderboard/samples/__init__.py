"""Pages of single samples of the entries that keep their predictions."""
