"""Metrics of short answers: options, closed and open answers, replies of an LLM judge."""
