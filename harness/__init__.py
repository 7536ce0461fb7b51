"""MedGround's evaluation harness: task files, adapters, metrics under named protocols, durable runs.

The public names load on first use, so `import harness` stays light.
"""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "evaluate": "harness.api",
    "score": "harness.api",
    "load_run": "harness.api",
    "Sample": "harness.records",
    "Request": "harness.records",
    "Answer": "harness.records",
    "Capabilities": "harness.records",
}

__all__ = ["Answer", "Capabilities", "Request", "Sample", "evaluate", "load_run", "score"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
