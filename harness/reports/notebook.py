"""An evaluation as a notebook shows it: one row per task with its headline, and where the rest is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.reports.html import environment
from harness.reports.run_table import answered, interval, mean_name, metric_name, number
from harness.scoring.results import headline_row


def as_html(results: Mapping[str, Any], out: Path) -> str:
    """Return the headlines of a run as an HTML table without styles or scripts of its own.

    Args:
        results: The content of `results.json`.
        out: The run directory, which the last line names.
    """
    rows = []
    for task, block in results["tasks"].items():
        row = headline_row(block)
        rows.append(
            {
                "task": task,
                "title": block.get("title", ""),
                "headline": "" if row is None else f"{metric_name(row)} {row['protocol']}, {mean_name(block, row)}",
                "value": number(None if row is None else row["value"]),
                "interval": interval(None if row is None else row["ci"]),
                "n": "-" if row is None else row["n"],
                "failed": "-" if row is None else row["failed"],
                "answered": answered(block),
            }
        )
    return environment().get_template("notebook.html").render(results=results, rows=rows, out=str(out))
