"""Everything that a run directory holds of one sample: its request, its prediction and its scores under each protocol.

This only reads and takes no lock, so it works on a run that is still in progress.
"""

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import SpecError, nearest
from harness.metrics.metric import Metric
from harness.models.description import display_name
from harness.records import Json, Prediction, Request, Sample
from harness.records.codec import request_from_json, to_json
from harness.runs.directory import RunDirectory
from harness.runs.plan_file import PlannedRequest
from harness.scoring.score import score_files
from harness.tasks.catalog import index
from harness.tasks.plug_ins import load_metric
from harness.tasks.spec import TaskSpec

# Ids on either side of an unknown one, in alphabetical order, that are compared with it; a release may have a million.
NEIGHBOURS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """The score of the sample under one metric and protocol.

    Attributes:
        metric, protocol: Names of the metric and its protocol.
        status: Status of the score; `not_scored` if the run holds none.
        failed: The prediction failed and counts with the worst value.
        values: The metric's values by name.
        stats: The metric's stats by name.
        detail: The metric's notes on this sample beyond its numbers: the rule that fired, an exception.
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
    """One sample of one task at one repetition.

    Attributes:
        model: Id of the run's model.
        data: `real` or `phantom`.
        task: The task as its file is now.
        changed: The task file changed since the run.
        row: The sample and its planned request.
        request: The request as the model gets it; None if the sample cannot be asked.
        prediction: The model's prediction; None if there is none yet.
        scores: The scores in the order of the task file.
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
        """The prediction's status; `not_run` if there is none yet, `data_error` if the sample cannot be asked."""
        if self.row.defect is not None:
            return "data_error"
        return "not_run" if self.prediction is None else self.prediction.status


def explain(
    run_folder: Path, sample_id: str, *, task: str | None = None, task_paths: Sequence[Path] = ()
) -> list[Explanation]:
    """Return one explanation for each task and repetition of a run that has the sample.

    Args:
        run_folder: The run directory.
        sample_id: The id of the sample, as in the manifest.
        task: This task only; None for all.
        task_paths: Folders with further task files.
    Raises:
        SpecError: `run_folder` is no run directory, or the run has no such task or sample.
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
    specs, _ = index(task_paths, stored=directory.tasks_folder).resolve([name for name in names if found[name]])
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
    # Similar ids mostly begin alike, so the one that was meant is near in alphabetical order.
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
    for path in paths.values():
        directory.checks.check(path, f"`harness score {directory.path}` writes it anew")
    return Explanation(
        model=display_name(run["model"]),
        data=str(run["data"]),
        task=task,
        # The scores follow the task file at the time of the run; `task` is the file as it is now.
        changed=run["tasks"][task.task]["digest"] != task.digest,
        row=row,
        request=request_from_json(json.loads(row.request)) if row.request else None,
        prediction=prediction,
        scores=tuple(_value(metric, paths[metric.name, metric.protocol], row.sample, row.repeat) for metric in metrics),
    )


def _value(metric: Metric, path: Path, sample: Sample, repeat: int) -> Value:
    """Return the stored score of a sample; its status is `not_scored` if the file or the row is absent."""
    import pyarrow.parquet as pq

    stored: dict[str, Any] | None = None
    if path.is_file():
        columns = ["status", "failed", "values", "stats", "detail"]
        wanted = [("sample_id", "==", sample.id), ("repeat", "==", repeat)]
        stored = next(iter(pq.read_table(path, columns=columns, filters=wanted).to_pylist()), None)
    return Value(
        metric=metric.name,
        protocol=metric.protocol,
        status=stored["status"] if stored else "not_scored",
        failed=bool(stored and stored["failed"]),
        # Not strict: a score without a value has neither values nor stats.
        values=dict(zip(metric.values, stored["values"], strict=False)) if stored else {},
        stats=dict(zip(metric.stats, stored["stats"], strict=False)) if stored else {},
        detail=json.loads(stored["detail"]) if stored else {},
    )


def as_json(explanation: Explanation) -> dict[str, Json]:
    """Return an explanation as JSON values, its masks as run lengths."""
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
