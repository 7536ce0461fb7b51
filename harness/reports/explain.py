"""Everything a run directory holds of one sample: what was asked, what came back, and what each protocol made of it.

Only reads: it takes no lock, so it may look into a run that is still going on.
"""

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import SpecError, nearest
from harness.metrics.metric import Metric
from harness.records import Json, Prediction, Request, Sample
from harness.records.codec import request_from_json, to_json
from harness.runs.directory import RunDirectory
from harness.runs.plan_file import PlannedRequest
from harness.scoring.score import score_files
from harness.tasks.catalog import index
from harness.tasks.plug_ins import load_metric
from harness.tasks.spec import TaskSpec

NEIGHBOURS = 500
"""Ids on either side of an unknown one, in alphabetical order, that are held against it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """What one metric under one protocol made of the sample.

    Attributes:
        metric, protocol: The table row.
        status: Of the score; `not_scored` where the run holds none.
        failed: The worst value stands in for a prediction that failed.
        values: By the metric's names.
        stats: By the metric's names.
        detail: What the metric says of this sample beyond its numbers: the rule that fired, an exception.
    """

    metric: str
    protocol: str
    status: str
    failed: bool
    values: Mapping[str, float | None]
    stats: Mapping[str, float]
    detail: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One sample of one task, at one repetition.

    Attributes:
        model, data: Of the run.
        task: As its file says now.
        changed: The task file changed since the run.
        row: The sample, and what was planned to be asked.
        request: What was put to the model; None where the sample cannot be asked.
        prediction: What came back; None while the run has not come to it.
        scores: In the order of the task file.
    """

    model: str
    data: str
    task: TaskSpec
    changed: bool
    row: PlannedRequest
    request: Request | None
    prediction: Prediction | None
    scores: tuple[Value, ...]

    @property
    def status(self) -> str:
        """The prediction's status; `not_run` where there is none yet."""
        if self.row.defect is not None:
            return "data_error"
        return "not_run" if self.prediction is None else self.prediction.status


def explain(
    run_folder: Path, sample_id: str, *, task: str | None = None, task_paths: Sequence[Path] = ()
) -> list[Explanation]:
    """Return what the run knows of a sample: one explanation for each task and repetition that has it.

    Args:
        run_folder: The run directory.
        sample_id: As in the manifest.
        task: Of this task only.
        task_paths: Folders with further task files.
    Raises:
        SpecError: No run directory, or the run has no such task or sample.
        DataError: The stored prediction is damaged.
    """
    directory = RunDirectory(run_folder)
    run = directory.read_run()
    cells, _ = directory.read_cells()
    if task is not None and task not in cells:
        raise SpecError(f"--task {task}: expected one of {', '.join(cells)}{nearest(task, list(cells))}")
    names = [name for name, cell in cells.items() if cell.unsupported is None and task in (None, name)]
    found = {name: directory.read_planned(name, [sample_id]) for name in names}
    if not any(found.values()):
        raise _unknown(directory, sample_id, names)
    specs, _ = index(task_paths).resolve([name for name in names if found[name]])
    return [_explanation(directory, run, spec, row) for spec in specs for row in found[spec.task]]


def _unknown(directory: RunDirectory, sample_id: str, tasks: Sequence[str]) -> SpecError:
    """Return the error for a sample that no task has, with the id that was probably meant."""
    known: set[str] = set()
    for task in tasks:
        known |= directory.read_sample_ids(task)
    if not known:
        return SpecError(f"{directory.path}: has no samples; `harness report` says which tasks were not run and why")
    listed = sorted(known)
    holding = [item for item in listed if sample_id and sample_id in item]
    place = bisect_left(listed, sample_id)
    close = [*holding[:1], *listed[max(0, place - NEIGHBOURS) : place + NEIGHBOURS]]
    meant = f" (did you mean '{holding[0]}'?)" if holding else nearest(sample_id, close)
    return SpecError(
        f"{directory.path}: expected the id of a sample of {', '.join(tasks)}, such as '{listed[0]}', "
        f"got '{sample_id}'{meant}"
    )


def _explanation(directory: RunDirectory, run: Mapping[str, Any], task: TaskSpec, row: PlannedRequest) -> Explanation:
    prediction = directory.find_prediction(row.key)
    metrics = [load_metric(use, task.folder) for use in task.metrics]
    paths = score_files(directory.scores_folder, task.task, metrics)
    return Explanation(
        model=str(run["model"]["id"]),
        data=str(run["data"]),
        task=task,
        changed=run["tasks"][task.task]["digest"] != task.digest,
        row=row,
        request=request_from_json(json.loads(row.request)) if row.request else None,
        prediction=prediction,
        scores=tuple(_value(metric, paths[metric.name, metric.protocol], row.sample, row.repeat) for metric in metrics),
    )


def _value(metric: Metric, path: Path, sample: Sample, repeat: int) -> Value:
    stored = _stored_score(path, sample.id, repeat)
    return Value(
        metric=metric.name,
        protocol=metric.protocol,
        status=stored["status"] if stored else "not_scored",
        failed=bool(stored and stored["failed"]),
        values=dict(zip(metric.values, stored["values"], strict=False)) if stored else {},
        stats=dict(zip(metric.stats, stored["stats"], strict=False)) if stored else {},
        detail=json.loads(stored["detail"]) if stored else {},
    )


def _stored_score(path: Path, sample_id: str, repeat: int) -> dict[str, Any] | None:
    import pyarrow.parquet as pq

    if not path.is_file():
        return None
    columns = ["status", "failed", "values", "stats", "detail"]
    rows = pq.read_table(path, columns=columns, filters=[("sample_id", "==", sample_id), ("repeat", "==", repeat)])
    found: list[dict[str, Any]] = rows.to_pylist()
    return found[0] if found else None


def as_json(explanation: Explanation) -> dict[str, Json]:
    """Return an explanation as JSON values; masks stand as run lengths."""
    row, request = explanation.row, explanation.request
    return {
        "sample_id": row.sample.id,
        "task": explanation.task.task,
        "task_version": explanation.task.version,
        "task_changed": explanation.changed,
        "model": explanation.model,
        "data": explanation.data,
        "repeat": row.repeat,
        "key": row.key,
        "status": explanation.status,
        "defect": row.defect,
        "sample": to_json(row.sample),
        "prompt": request.prompt if request is not None else None,
        "media": [to_json(media.record) for media in request.media] if request is not None else [],
        "visual_prompts": to_json(request.visual_prompts) if request is not None else [],
        "candidates": list(request.candidates) if request is not None else [],
        "decoding": dict(request.decoding) if request is not None else {},
        "prediction": to_json(explanation.prediction) if explanation.prediction is not None else None,
        "scores": [asdict(value) for value in explanation.scores],
    }
