"""Made-up results and cells for the tests of the board."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from leaderboard.cells import BoardCell, BoardRow

Write = Callable[..., Path]


def number(**change: Any) -> dict[str, Any]:
    """Return one row of `metrics`."""
    return {
        "metric": "dice",
        "name": "dice",
        "protocol": "standard",
        "protocol_version": 1,
        "higher_is_better": True,
        "stratum": None,
        "mean": "micro",
        "value": 0.5,
        "ci": [0.4, 0.6],
        "ci_method": "bca",
        "n": 20,
        "clusters": 10,
        "undefined": 0,
        "failed": 1,
        "unparsed": 0,
        **change,
    }


def block(*numbers: dict[str, Any], **change: Any) -> dict[str, Any]:
    """Return one task of results.json."""
    return {
        "version": 1,
        "task_digest": "ab" * 32,
        "data_digest": "cd" * 32,
        "fallbacks": [],
        "wanted": 20,
        "coverage": 1.0,
        "counts": {"ok": 20},
        "headline": {"metric": "dice", "protocol": "standard", "mean": "micro", "over": None},
        "metrics": list(numbers or (number(),)),
        **change,
    }


def results(model: str = "my-model", **change: Any) -> dict[str, Any]:
    """Return a results.json."""
    return {
        "schema": 1,
        "model": {"id": model, "arguments": {}, "oracle": False},
        "data": "real",
        "limited": False,
        "tasks": {"samed2d_seg": block()},
        "groups": {},
        "unsupported": {},
        "unavailable": [],
        **change,
    }


def printed(model: str, value: float | None = 0.5, **change: Any) -> BoardCell:
    """Return a published cell of the task samed2d_seg."""
    table = change.pop("table", "Table 1")
    details = change.pop("details", ())
    common: dict[str, Any] = {
        "row": BoardRow(source="published", model=model, run_by="P", printed_in=(("P", table),), details=details),
        "data": "real",
        "place": "samed2d_seg",
        "metric": "dice",
        "name": "dice",
        "protocol": "standard",
        "stratum": None,
        "mean": "micro",
        "over": None,
        "unit": "share",
        "digits": 1,
        "order": (0, 0),
    }
    return BoardCell(**{**common, "value": value, **change})
