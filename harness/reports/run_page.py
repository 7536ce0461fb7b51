"""The two forms in which people read a run: the table on the terminal and `report.html`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.models.predictions_file import Problem
from harness.records.atomic_files import write_atomically
from harness.reports.examples import TaskExamples
from harness.reports.html import environment
from harness.scoring.results import Failure, headline_row

# Most failures, and most problems, on the page; their files hold all.
FAILURES_SHOWN = 200


def table(results: Mapping[str, Any]) -> str:
    """Return the numbers of a run as plain text: one line per task, metric, protocol and mean, without strata."""
    lines = [f"model {results['model']['id']}   data {results['data']}" + ("   limited" if results["limited"] else "")]
    rows = [
        ("task", "metric", "protocol", "mean", "value", "95 % interval", "n", "failed", "coverage"),
        *(
            (
                task,
                _name(row),
                row["protocol"],
                _mean(block, row),
                number(row["value"]),
                interval(row["ci"]),
                str(row["n"]),
                str(row["failed"]),
                f"{block['coverage']:.1%}",
            )
            for task, block in results["tasks"].items()
            for row in block["metrics"]
            if row["stratum"] is None
        ),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [f"unsupported  {task}: {reason}" for task, reason in results["unsupported"].items()]
    lines += [f"unavailable  {item['task']}: {item['reason']}" for item in results["unavailable"]]
    return "\n".join(lines)


def _name(row: Mapping[str, Any]) -> str:
    return str(row["metric"]) if row["name"] == row["metric"] else f"{row['metric']} {row['name']}"


def _mean(block: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    return f"macro over {block['headline']['over']}" if row["mean"] == "macro" else str(row["mean"])


def number(value: float | None) -> str:
    """Return a value with four decimals; a dash for None."""
    return "-" if value is None else f"{value:.4f}"


def interval(ci: Sequence[float] | None) -> str:
    """Return an interval with four decimals; a dash for None."""
    return "-" if ci is None else f"[{ci[0]:.4f}, {ci[1]:.4f}]"


def write_report(
    path: Path,
    results: Mapping[str, Any],
    failures: Sequence[Failure],
    performance: Mapping[str, Any],
    problems: Sequence[Problem],
    examples: Mapping[str, TaskExamples],
) -> None:
    """Write `report.html`: one page that opens from the file system and asks nothing of any server.

    Args:
        path: The file to write.
        results: The content of `results.json`.
        failures: Samples without a usable answer.
        performance: The content of `performance.json`.
        problems: Problems of a predictions file.
        examples: The samples to show, by task.
    """
    pages = environment()
    pages.filters.update(number=number, interval=interval, metric_name=_name)
    page = pages.get_template("report.html").render(
        results=results,
        cells=[_cell(task, block) for task, block in results["tasks"].items()],
        failures=failures[:FAILURES_SHOWN],
        more_failures=max(0, len(failures) - FAILURES_SHOWN),
        problems=problems[:FAILURES_SHOWN],
        more_problems=max(0, len(problems) - FAILURES_SHOWN),
        performance=performance,
        examples=examples,
    )
    write_atomically(path, page)


def _cell(task: str, block: Mapping[str, Any]) -> dict[str, Any]:
    """Return one task as the page shows it: its rows for the whole task, and those of the headline by stratum key."""
    rows = [{**row, "mean_name": _mean(block, row)} for row in block["metrics"]]
    strata: dict[str, dict[str, list[dict[str, Any]]]] = {}
    shown = block["headline"]["metric"], block["headline"]["protocol"]
    for row in rows:
        if row["stratum"] is not None and (row["metric"], row["protocol"]) == shown:
            ((key, value),) = row["stratum"].items()
            strata.setdefault(key, {}).setdefault(value, []).append(row)
    return {
        "task": task,
        "block": block,
        "headline": headline_row(block),
        "rows": [row for row in rows if row["stratum"] is None],
        "strata": strata,
        "spreads": _spreads(rows),
        "value_names": [
            row["name"]
            for row in rows
            if row["stratum"] is None and row["mean"] == "micro" and (row["metric"], row["protocol"]) == shown
        ],
    }


def _spreads(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the spread of several protocols on the same predictions, for each value of each metric."""
    by_name: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        # Protocols are compared over the same samples: macro means weigh them otherwise.
        if row["stratum"] is None and row["mean"] != "macro" and row["value"] is not None:
            by_name.setdefault((row["metric"], row["name"]), {})[row["protocol"]] = row["value"]
    return [
        {
            "metric": metric,
            "name": name,
            "lowest": min(values, key=values.__getitem__),
            "highest": max(values, key=values.__getitem__),
            "spread": max(values.values()) - min(values.values()),
            "values": values,
        }
        for (metric, name), values in by_name.items()
        if len(values) > 1
    ]
