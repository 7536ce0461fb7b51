"""What adapters cost or save."""
