"""What people read of a run: its page, examples, one sample explained, the integrity of a release."""
