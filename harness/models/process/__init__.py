"""A model in a process of its own, in any language, environment or container, that speaks JSON lines."""

from harness.models.process.adapter import Process

__all__ = ["Process"]
