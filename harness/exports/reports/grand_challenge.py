"""The `metrics.json` of a challenge on grand-challenge.org: aggregates, and the scores of each case.

A challenge names the number to rank by as a path of keys with dots between them, such as
`aggregates.vqa_rad.token_prf.standard.f1.micro.value`; so no key holds a dot.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from harness.exports.finished_run import finished_run
from harness.records import Json

FORM = "grand-challenge"


def metrics_json(
    run_folder: Path, *, task: str | None = None, task_paths: Sequence[Path] = ()
) -> tuple[str, list[str]]:
    """Return the content of `metrics.json`.

    Args:
        run_folder: The run directory.
        task: Only this task; None: all tasks of the run.
        task_paths: Folders with further task files.
    Returns:
        JSON with `aggregates` (task, metric, protocol, value's name, mean: value, interval, counts), `results` (one
        object per sample and repetition) and `medground` (model, versions, digests); and notes on what is not held.
    Raises:
        SpecError: The run is not finished, or has no such task.
        DataError: A stored prediction is damaged.
    """
    with finished_run(run_folder, task=task, task_paths=task_paths) as run:
        aggregates: dict[str, Json] = {}
        results: list[Json] = []
        for name in run.tasks:
            for row in run.block(name)["metrics"]:
                place = aggregates
                stratum = "".join(f" {key}={value}" for key, value in (row["stratum"] or {}).items())
                for key in (name, row["metric"], row["protocol"], row["name"], f"{row['mean']}{stratum}"):
                    place = place.setdefault(_key(key), {})
                facts = ("value", "ci", "ci_method", "n", "clusters", "undefined", "failed", "unparsed")
                place |= {key: row[key] for key in (*facts, "protocol_version", "higher_is_better")}
                place["coverage"] = run.block(name)["coverage"]
            for item in run.samples(name):
                metrics: dict[str, Json] = {}
                for score in item.scores:
                    by_protocol = metrics.setdefault(_key(score.metric), {})
                    by_protocol[_key(score.protocol)] = {_key(key): value for key, value in score.values.items()}
                results.append(
                    {
                        "case": item.sample.id,
                        "task": name,
                        "repeat": item.repeat,
                        "status": item.status,
                        "error": item.error,
                        "metrics": metrics,
                    }
                )
        content = {"aggregates": aggregates, "results": results, "medground": run.record(FORM)}
        return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", run.notes


def _key(name: str) -> str:
    return name.replace(".", "_")
