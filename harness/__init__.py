"""MedGround's evaluation harness: task files, adapters, metrics under named protocols, durable runs.

The public names load on first use, so `import harness` stays light.
"""

from importlib import import_module
from typing import Any

# Name -> the module it is imported from. Everything that a submitter's model, a task's own metric or a reader has to
# import is listed here, so that other modules can move.
_PUBLIC = {
    "Adapter": "harness.records",
    "Answer": "harness.records",
    "Box": "harness.records",
    "Capabilities": "harness.records",
    "ErrorInfo": "harness.records",
    "Grid": "harness.records",
    "Mask": "harness.records",
    "Metric": "harness.metrics.metric",
    "Points": "harness.records",
    "Prediction": "harness.records",
    "Reader": "harness.data.releases.reader",
    "Region": "harness.records",
    "Request": "harness.records",
    "Resources": "harness.records",
    "Sample": "harness.records",
    "evaluate": "harness.api",
    "load_run": "harness.api",
    "load_scores": "harness.api",
    "score": "harness.api",
    "write_phantoms": "harness.data.phantoms.families",
}

__all__ = [
    "Adapter",
    "Answer",
    "Box",
    "Capabilities",
    "ErrorInfo",
    "Grid",
    "Mask",
    "Metric",
    "Points",
    "Prediction",
    "Reader",
    "Region",
    "Request",
    "Resources",
    "Sample",
    "evaluate",
    "load_run",
    "load_scores",
    "score",
    "write_phantoms",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
