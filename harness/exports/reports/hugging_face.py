"""Numbers of a run for a model's repository on the Hugging Face hub: `.eval_results/*.yaml`, or a model card.

Formats: huggingface/hub-docs, `eval_results.yaml` and `modelcard.md`; huggingface_hub reads both.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.comparison.gating.outputs import markdown_cell
from harness.errors import SpecError, nearest
from harness.exports.finished_run import FinishedRun, finished_run, library_version, number_name
from harness.records import Json
from harness.scoring.results import headline_row

# The hub's names of tasks, by what a task of ours gives.
HUB_TASKS = {
    "text": "visual-question-answering",
    "choice": "visual-question-answering",
    "masks": "image-segmentation",
    "grounded_text": "image-text-to-text",
    "boxes": "object-detection",
    "retrieval": "feature-extraction",
}
_LICENCE = re.compile(r"[a-z0-9.-]+")


def eval_results(
    run_folder: Path,
    *,
    datasets: Mapping[str, str] | None = None,
    task: str | None = None,
    task_paths: Sequence[Path] = (),
) -> tuple[str, list[str]]:
    """Return the content of a file below `.eval_results/`: an entry for each number of a whole task.

    The headline of a task has the task's name as `task_id`, any other number its name and mean behind it.

    Args:
        run_folder: The run directory.
        datasets: Task -> id of its dataset on the hub, which shows results only for benchmarks that are registered
            there. Without one the task's own dataset is named.
        task: Only this task; None: all tasks of the run.
        task_paths: Folders with further task files.
    Returns:
        YAML, and notes on what it does not hold.
    Raises:
        SpecError: The run is not finished, has no such task, or `datasets` names another one.
    """
    with finished_run(run_folder, task=task, task_paths=task_paths) as run:
        given = datasets or {}
        for name in given:
            if name not in run.tasks:
                raise SpecError(
                    f"--dataset {name}=...: expected a task of the run ({', '.join(run.tasks)}), found "
                    f"'{name}'{nearest(name, list(run.tasks))}"
                )
        entries: list[Json] = []
        for name, spec in run.tasks.items():
            headline = headline_row(run.block(name))
            for row in _whole(run, name):
                own = "" if row is headline else f"/{_label(row)}"
                source = {"source": {"url": run.model["url"], "name": run.model_name}} if run.model.get("url") else {}
                entries.append(
                    {
                        "dataset": {"id": given.get(name, spec.dataset), "task_id": f"{name}{own}"},
                        "value": row["value"],
                        "date": run.started,
                        **source,
                        "notes": "; ".join(f"{key} {value}" for key, value in _facts(run, name, row).items()),
                    }
                )
        unnamed = [name for name in run.tasks if name not in given]
        run.lose("scores of samples and of strata")
        notes = [f"--dataset {name}=ORG/NAME names its dataset on the hub" for name in unnamed]
        return _yaml(entries), [*notes, *run.notes]


def model_card(run_folder: Path, *, task: str | None = None, task_paths: Sequence[Path] = ()) -> tuple[str, list[str]]:
    """Return a model card with the numbers of whole tasks, as `model-index` in its head and as a table.

    Args:
        run_folder: The run directory.
        task: Only this task; None: all tasks of the run.
        task_paths: Folders with further task files.
    Returns:
        Markdown with YAML before it, and notes on what it does not hold.
    Raises:
        SpecError: The run is not finished, or has no such task.
    """
    with finished_run(run_folder, task=task, task_paths=task_paths) as run:
        results: list[Json] = []
        rows = []
        for name, spec in run.tasks.items():
            block = run.block(name)
            headline = headline_row(block)
            metrics = []
            for row in _whole(run, name):
                facts = _facts(run, name, row)
                metrics.append(
                    {
                        "type": row["metric"],
                        "name": _label(row),
                        "value": row["value"],
                        "args": facts,
                        "verified": False,
                    }
                )
                interval = "" if row["ci"] is None else "[{:.4f}, {:.4f}]".format(*row["ci"])
                rows.append(
                    [
                        f"{name} (version {block['version']})",
                        f"{_label(row)}{' (headline)' if row is headline else ''}",
                        f"{row['value']:.4f}",
                        interval,
                        f"{row['n']:,}",
                        f"{block['coverage']:.1%}",
                        f"{row['failed']:,}",
                    ]
                )
            dataset = {
                "type": spec.dataset,
                "name": block["title"],
                "split": spec.release.split,
                "args": {"task": name, "version": block["version"], "data_digest": block["data_digest"]},
            }
            if metrics:
                hub_task = {"type": HUB_TASKS[spec.gives], "name": block["title"]}
                results.append({"task": hub_task, "dataset": dataset, "metrics": metrics})
        run.lose("scores of samples and of strata")
        head: dict[str, Json] = {"model-index": [{"name": run.model_name, "results": results}]}
        if licence := run.model.get("licence"):
            known = licence.lower()
            head |= {"license": known} if _LICENCE.fullmatch(known) else {"license": "other", "license_name": licence}
        return f"---\n{_yaml(head)}---\n{_card(run, rows)}", run.notes


def _card(run: FinishedRun, rows: Sequence[Sequence[str]]) -> str:
    facts = {
        "Model": f"{run.model_name} ({run.model['id']}, version {run.model['version']})",
        "Weights": ", ".join(map(str, run.model["weights"])) or "none",
        "Parameters": f"{run.model['params']:,}" if run.model.get("params") else "",
        "Paper": run.model.get("paper") or "",
        "Page": run.model.get("url") or "",
        "Evaluated": f"{run.started} with MedGround {library_version()}",
        "Data": {"phantom": "phantoms: synthetic patients", "real": "real"}[run.results["data"]]
        + (", a part of the samples" if run.results["limited"] else ""),
    }
    lines = [f"# {markdown_cell(run.model_name)}", "", "## Evaluation", ""]
    lines += [f"- {key}: {markdown_cell(str(value))}" for key, value in facts.items() if value]
    columns = ("task", "number", "value", "95 % interval", "n", "coverage", "failed")
    lines += ["", f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    lines += [f"| {' | '.join(map(markdown_cell, row))} |" for row in rows]
    return "\n".join([*lines, "", "Research use only; not a medical device.", ""])


def _whole(run: FinishedRun, name: str) -> Iterator[Mapping[str, Any]]:
    """Yield the numbers of a whole task that have a value."""
    for row in run.block(name)["metrics"]:
        if row["stratum"] is None:
            if row["value"] is not None:
                yield row
            else:
                run.lose("numbers without a value")


def _label(row: Mapping[str, Any]) -> str:
    return f"{number_name(row['metric'], row['protocol'], row['name'])} {row['mean']}"


def _facts(run: FinishedRun, name: str, row: Mapping[str, Any]) -> dict[str, Json]:
    """Return what a number means: protocol, interval, counts, versions and digests."""
    block = run.block(name)
    facts: dict[str, Json] = {
        "metric": row["metric"],
        "protocol": row["protocol"],
        "protocol_version": row["protocol_version"],
        "mean": row["mean"],
        "n": row["n"],
        "failed": row["failed"],
        "coverage": block["coverage"],
    }
    if row["ci"] is not None:
        facts |= {"ci_95_low": row["ci"][0], "ci_95_high": row["ci"][1], "ci_method": row["ci_method"]}
    facts |= {"task_version": block["version"], "data": run.results["data"], "data_digest": block["data_digest"]}
    return facts | {"model": run.model["id"], "weights": " ".join(map(str, run.model["weights"])) or "none"}


def _yaml(value: Json) -> str:
    from ruamel.yaml import YAML

    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.allow_unicode = True
    writer.width = 2**16  # a long line is no two lines
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    content = io.StringIO()
    writer.dump(value, content)
    return content.getvalue()
