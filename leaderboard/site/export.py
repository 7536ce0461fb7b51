"""The numbers of the board as data.json and data.csv, for readers who want to compute with them."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from leaderboard.cells import BoardCell
from leaderboard.published.mapping import Published
from leaderboard.published.means import MeanCheck

SCHEMA = 1
# A spreadsheet takes a cell that begins with one of these for a formula and runs it; entries come from strangers.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
# The keys of `record`, in the order of the columns: what the number is, whose it is, and its value.
COLUMNS = (
    *("source", "data", "place", "metric", "name", "protocol", "stratum_key", "stratum", "mean", "over"),
    *("model", "model_id", "url", "run_by", "printed_in", "entry", "details"),
    *("value", "printed", "unit", "low", "high", "interval", "n", "clusters", "coverage"),
    *("failed", "unparsed", "undefined", "unsupported", "basis", "note", "judge"),
)


def record(cell: BoardCell) -> dict[str, Any]:
    """Return one cell as flat JSON, with natural values as in results.json."""
    low, high = cell.interval or (None, None)
    return {
        "source": cell.row.source,
        "data": cell.data,
        "place": cell.place,
        "metric": cell.metric or None,
        "name": cell.name or None,
        "protocol": cell.protocol or None,
        "stratum_key": cell.stratum[0] if cell.stratum else None,
        "stratum": cell.stratum[1] if cell.stratum else None,
        "mean": cell.mean or None,
        "over": cell.over,
        "model": cell.row.model,
        "model_id": cell.row.model_id,
        "url": cell.row.url,
        "run_by": cell.row.run_by,
        "printed_in": "; ".join(", ".join(filter(None, place)) for place in cell.row.printed_in) or None,
        "entry": cell.row.entry,
        "details": "; ".join(cell.row.details) or None,
        "value": cell.value,
        "printed": cell.printed,
        "unit": cell.unit,
        "low": low,
        "high": high,
        "interval": cell.method,
        "n": cell.n,
        "clusters": cell.clusters,
        "coverage": cell.coverage,
        "failed": cell.failed,
        "unparsed": cell.unparsed,
        "undefined": cell.undefined,
        "unsupported": cell.unsupported,
        "basis": "; ".join(cell.basis) or None,
        "note": cell.note,
        "judge": cell.judge,
    }


def as_csv(cells: Sequence[BoardCell]) -> str:
    """Return the cells as CSV; text that a spreadsheet would take for a formula begins with an apostrophe."""
    # The csv module ends lines by itself; StringIO must not translate them again.
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    for cell in cells:
        writer.writerow({key: harmless(value) for key, value in record(cell).items()})
    return text.getvalue()


def harmless(value: Any) -> Any:
    """Return the value; text that begins like a formula gets an apostrophe before it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def as_json(
    cells: Sequence[BoardCell], published: Published, means: Sequence[MeanCheck], left_out: Sequence[tuple[str, str]]
) -> str:
    """Return everything that the pages show as one JSON document."""
    document = {
        "schema": SCHEMA,
        "cells": [record(cell) for cell in cells],
        "without_place": [
            {
                "paper": item.cell.paper,
                "table": item.cell.table,
                "model": item.cell.model,
                "benchmark": item.cell.benchmark,
                "subset": item.cell.subset,
                "metric": item.cell.metric,
                "value": None if item.cell.value is None else float(item.cell.value),
                "reason": item.unmapped,
            }
            for item in published.cells
            if item.unmapped is not None
        ],
        "printed_means": [
            {
                "paper": check.printed.cell.paper,
                "table": check.printed.cell.table,
                "model": check.printed.cell.model,
                "benchmark": check.printed.cell.benchmark,
                "subset": check.printed.cell.subset,
                "metric": check.printed.cell.metric,
                "printed": float(check.printed.cell.value or 0),
                "recomputed": float(check.recomputed),
                "low": float(check.low),
                "high": float(check.high),
                "follows": check.follows,
            }
            for check in means
        ],
        "left_out": [{"entry": entry, "reason": reason} for entry, reason in left_out],
    }
    # NaN is no JSON, and most readers but Python's refuse it.
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
