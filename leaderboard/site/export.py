"""The numbers of the board as files, for readers who want to compute with them.

`data.json` and `data.csv` hold the whole board while it is small; of a large one the strata, and then all but the first
numbers, are in the files of each task alone. Those hold everything. All are made in parts, so that memory does not grow
with them.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from harness.exports.csv_cells import harmless
from leaderboard.cells import BoardCell
from leaderboard.published.mapping import Published
from leaderboard.published.means import MeanCheck

SCHEMA = 1
# Cells of data.json and data.csv; each takes about 800 and 250 bytes there.
MOST_CELLS = 20_000
CELLS_AT_ONCE = 500  # in one part of a file
# The keys of `record`, in the order of the columns: what the number is, whose it is, and its value; and what they mean.
COLUMN_WORDS = {
    "source": "published, reproduced (evaluated with MedGround), or submitted",
    "data": "real or phantom",
    "place": "task or group",
    "metric": "metric, as in task files",
    "name": "named value of the metric",
    "protocol": "rules of scoring; the rubric of a judge",
    "stratum_key": "property by which the number is broken down; empty for the whole",
    "stratum": "its value",
    "mean": "micro (over samples), macro (over groups of samples), pooled (over pixels or instances)",
    "over": "what a macro mean is over",
    "model": "name of the model",
    "model_id": "reference of an evaluated model",
    "url": "page of the model",
    "run_by": "paper that ran the model; empty for an evaluated run",
    "printed_in": "paper and table of each place that prints the number",
    "entry": "run among the entries",
    "details": "size, setting, arguments, fallbacks, cost",
    "value": "the number: shares 0 to 1",
    "printed": "digits as printed",
    "unit": "share (0 to 1) or points (the unit of the metric)",
    "low": "lower bound of the 95 % interval",
    "high": "upper bound of the 95 % interval",
    "interval": "method of the interval",
    "n": "number of samples",
    "clusters": "number of patients, studies or images that are resampled as one",
    "coverage": "share of the samples that were scored",
    "failed": "answers that failed and count as the worst",
    "unparsed": "answers in which none was found",
    "undefined": "samples for which the metric has no value",
    "unsupported": "why the model cannot do the task",
    "basis": "version of the task, data and protocol, which comparable numbers share",
    "note": "footnote",
    "judge": "whose judgement it is",
    "rank": "1 + number of models that are better on the same samples; empty without such a test",
}
COLUMNS = tuple(COLUMN_WORDS)


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
        "details": "; ".join((*cell.row.details, *cell.row.cost)) or None,
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
        "rank": cell.rank,
    }


def csv_parts(cells: Sequence[BoardCell]) -> Iterator[str]:
    """Yield the cells as CSV; text that a spreadsheet would take for a formula begins with an apostrophe."""
    for start in range(0, max(1, len(cells)), CELLS_AT_ONCE):
        # The csv module ends lines by itself; StringIO must not translate them again.
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        if start == 0:
            writer.writerow(COLUMNS)
        writer.writerows(
            [harmless(value) for value in record(cell).values()] for cell in cells[start : start + CELLS_AT_ONCE]
        )
        yield text.getvalue()


def task_json_parts(place: str, cells: Sequence[BoardCell]) -> Iterator[str]:
    """Yield every cell of a task as one JSON document: `columns`, and `rows` with a value for each of them."""
    head = json.dumps({"schema": SCHEMA, "place": place, "columns": COLUMNS}, ensure_ascii=False)
    yield f'{head[:-1]}, "rows": [\n'
    for start in range(0, len(cells), CELLS_AT_ONCE):
        part = cells[start : start + CELLS_AT_ONCE]
        lines = [json.dumps(list(record(cell).values()), ensure_ascii=False, allow_nan=False) for cell in part]
        yield ("" if start == 0 else ",\n") + ",\n".join(lines)
    yield "\n]}\n"


def chosen(cells: Sequence[BoardCell], most: int = MOST_CELLS) -> tuple[list[BoardCell], str]:
    """Return the cells that data.json and data.csv hold, and which they are, in words.

    Args:
        cells: Of the whole board.
        most: Count of cells that the two files can hold; the last of the choices may be larger.
    """
    if len(cells) <= most:
        return list(cells), "every number of the board, strata included."
    choices: tuple[tuple[Callable[[BoardCell], bool], str], ...] = (
        (lambda cell: cell.stratum is None, "every number of whole tasks; strata are in the files by task below."),
        (
            lambda cell: cell.stratum is None and cell.order[1:2] != (1,),
            "published numbers and headlines of whole tasks; all others are in the files by task below.",
        ),
    )
    options = [([cell for cell in cells if keep(cell)], words) for keep, words in choices]
    return next((option for option in options if len(option[0]) <= most), options[-1])


def json_parts(
    cells: Sequence[BoardCell],
    published: Published,
    means: Sequence[MeanCheck],
    left_out: Sequence[tuple[str, str]],
    holds: str,
) -> Iterator[str]:
    """Yield cells, unplaced numbers, checks and excluded entries as one JSON document.

    Args:
        cells: Those of `chosen`.
        published: All published cells.
        means: Printed means, recomputed.
        left_out: (entry, reason).
        holds: Which cells they are, in words.
    """
    document = {
        "schema": SCHEMA,
        "holds": holds,
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
    head = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    yield head.removesuffix("\n}") + ',\n "cells": [\n'
    for start in range(0, len(cells), CELLS_AT_ONCE):
        part = cells[start : start + CELLS_AT_ONCE]
        lines = [f"  {json.dumps(record(cell), ensure_ascii=False, allow_nan=False)}" for cell in part]
        yield ("" if start == 0 else ",\n") + ",\n".join(lines)
    yield "\n ]\n}\n"
