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
    "Entity": "harness.records",
    "ErrorInfo": "harness.records",
    "Grid": "harness.records",
    "Mask": "harness.records",
    "Metric": "harness.metrics.metric",
    "Points": "harness.records",
    "PredictedEntity": "harness.records",
    "Prediction": "harness.records",
    "Reader": "harness.data.releases.reader",
    "Region": "harness.records",
    "Request": "harness.records",
    "Resources": "harness.records",
    "Sample": "harness.records",
    "Target": "harness.records",
    "compare": "harness.api",
    "evaluate": "harness.api",
    "gate": "harness.api",
    "inspect_labels": "harness.data.releases.volumes",
    "inspect_scan": "harness.data.releases.volumes",
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
    "Entity",
    "ErrorInfo",
    "Grid",
    "Mask",
    "Metric",
    "Points",
    "PredictedEntity",
    "Prediction",
    "Reader",
    "Region",
    "Request",
    "Resources",
    "Sample",
    "Target",
    "compare",
    "evaluate",
    "gate",
    "inspect_labels",
    "inspect_scan",
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
