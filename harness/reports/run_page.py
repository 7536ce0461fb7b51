"""The page of a run, `report.html`."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.metrics.answers.judge_words import judge_words
from harness.models.submitted.predictions_file import Problem
from harness.records.atomic_files import write_atomically
from harness.reports.examples import TaskExamples
from harness.reports.html import environment
from harness.reports.run_table import answered, interval, mean_name, metric_name, number, why_no_interval
from harness.scoring.results import Failure, headline_row

# Most failures, and most problems, on the page; their files hold all.
FAILURES_SHOWN = 200


def write_report(
    path: Path,
    results: Mapping[str, Any],
    failures: Sequence[Failure],
    performance: Mapping[str, Any],
    problems: Sequence[Problem],
    examples: Mapping[str, TaskExamples],
    sample_pages: Mapping[str, Path] = MappingProxyType({}),
) -> None:
    """Write `report.html`: one page that opens from the file system and asks nothing of any server.

    Args:
        path: The file to write.
        results: The content of `results.json`.
        failures: Samples without a usable answer.
        performance: The content of `performance.json`.
        problems: Problems of a predictions file.
        examples: The samples to show, by task.
        sample_pages: By task, the first of the pages that show single samples; they are below the folder of `path`.
    """
    pages = environment()
    assert pages.loader is not None
    pages.filters.update(
        number=number,
        interval=interval,
        metric_name=metric_name,
        judge_words=judge_words,
        answered=answered,
        why_no_interval=why_no_interval,
    )
    from markupsafe import Markup

    # The one script of the page is our own file; its digest in the page's policy lets nothing else run.
    script, _, _ = pages.loader.get_source(pages, "filter.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = pages.get_template("report.html").render(
        results=results,
        script=Markup(script),
        script_digest=f"sha256-{digest}",
        cells=[_cell(task, block) for task, block in results["tasks"].items()],
        failures=failures[:FAILURES_SHOWN],
        more_failures=max(0, len(failures) - FAILURES_SHOWN),
        problems=problems[:FAILURES_SHOWN],
        more_problems=max(0, len(problems) - FAILURES_SHOWN),
        performance=performance,
        examples=examples,
        sample_pages={task: page.relative_to(path.parent).as_posix() for task, page in sample_pages.items()},
    )
    write_atomically(path, page)


def _cell(task: str, block: Mapping[str, Any]) -> dict[str, Any]:
    """Return one task as the page shows it: its rows for the whole task, and those of the headline by stratum key."""
    rows = [{**row, "mean_name": mean_name(block, row)} for row in block["metrics"]]
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
        # Judges are no protocols: they read the answers, and rubrics ask about different things.
        if row["stratum"] is None and row["mean"] != "macro" and row["value"] is not None and "judge" not in row:
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
