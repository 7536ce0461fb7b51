"""Commands for people who write a task or an adapter."""
