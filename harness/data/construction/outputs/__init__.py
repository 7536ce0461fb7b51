"""What a construction writes: the release, its split, what was rejected, and what people say of a sample."""
