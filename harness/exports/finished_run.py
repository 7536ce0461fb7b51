"""A finished run as every export reads it: its numbers, and each sample with its request, prediction and scores."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from math import isfinite
from pathlib import Path
from typing import Any

from harness.errors import SpecError, listed, nearest
from harness.exports.sample_scores import scores_of_task
from harness.models.description import display_name
from harness.records import Json, Prediction, Sample, TextPart
from harness.records.codec import mask_to_json, request_from_json
from harness.runs import plan_file
from harness.runs.directory import RunDirectory
from harness.runs.store import RunStore
from harness.tasks.catalog import index
from harness.tasks.spec import TaskSpec

SCHEMA = 1
LIBRARY = "medground"
NO_TIME = "1970-01-01T00:00:00Z"  # of a run without a readable session: formats require a time, and none is invented
MOST_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleScore:
    """The score of one sample under one metric and protocol.

    Attributes:
        protocol_version: Version of the protocol.
        status: As in `Score`; `not_scored` if there is none.
        failed: The prediction failed, and the worst value stands in for it.
        values: By the names of the metric's values, all None without a value.
    """

    metric: str
    protocol: str
    protocol_version: int
    status: str
    failed: bool
    values: Mapping[str, float | None]

    def named(self) -> Iterator[tuple[str, float | None]]:
        """Yield name and value, the name as in the columns of `load_scores`: `dice.standard`."""
        for name, value in self.values.items():
            yield number_name(self.metric, self.protocol, name), value


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedSample:
    """One sample and repetition of a run.

    Attributes:
        task: The task.
        sample: The sample with its target.
        repeat: 0-based number of the repetition.
        status: Of the prediction; `data_error` or `not_run` if there is none.
        prediction: None if the sample was not asked.
        defect: Why it was not asked.
        asked: The words of the request, turns and parts by lines; the question of the release if it was not asked.
        scores: In the order of the metrics.
    """

    task: TaskSpec
    sample: Sample
    repeat: int
    status: str
    prediction: Prediction | None
    defect: str | None
    asked: str
    scores: tuple[SampleScore, ...]

    @property
    def error(self) -> str | None:
        """Why there is no answer; None if the model has answered."""
        if self.prediction is not None and self.prediction.error is not None:
            return f"{self.prediction.error.type}: {self.prediction.error.message}"
        return self.defect

    @property
    def reply(self) -> str:
        """The words of the answer, else its letter; empty without either."""
        if self.prediction is None:
            return ""
        return self.prediction.text or self.prediction.choice or ""

    @property
    def geometry(self) -> dict[str, Json]:
        """Masks as run lengths, boxes and points in pixels of the original image; empty if the answer has none."""
        found = self.prediction
        if found is None:
            return {}
        parts: dict[str, Json] = {
            "masks": [mask_to_json(mask) for mask in found.masks],
            "mask_scores": list(found.mask_scores),
            "boxes": [list(box.corners) for box in found.boxes],
            "points": [list(point) for point in found.points],
            "entities": [{"name": entity.name, "mask": entity.mask} for entity in found.entities],
        }
        return {name: value for name, value in parts.items() if value}


@dataclass(slots=True, kw_only=True)
class FinishedRun:
    """A finished run, locked while it is read.

    Attributes:
        directory: Its files.
        results: The content of `results.json`.
        started: When its first session began, ISO 8601 in UTC.
        tasks: The exported tasks by name.
        losses: What the format does not hold, and how often; filled by the export.
    """

    directory: RunDirectory
    results: Mapping[str, Any]
    started: str
    tasks: Mapping[str, TaskSpec]
    losses: dict[str, int] = field(default_factory=dict)
    _store: RunStore

    @property
    def model(self) -> Mapping[str, Any]:
        """The `model` block of `results.json`, with versions, arguments and digests of the weights."""
        found: Mapping[str, Any] = self.results["model"]
        return found

    @property
    def model_name(self) -> str:
        """The name to show."""
        return display_name(self.model)

    def block(self, task: str) -> Mapping[str, Any]:
        """Return the block of a task in `results.json`."""
        found: Mapping[str, Any] = self.results["tasks"][task]
        return found

    def samples(self, task: str) -> Iterator[ExportedSample]:
        """Yield the samples of a task with their repetitions, in the order of the plan.

        Raises:
            SpecError: A file of scores is missing.
            DataError: A stored prediction is damaged.
        """
        numbers = self.block(task)["metrics"]
        versions = {(row["metric"], row["protocol"]): row["protocol_version"] for row in numbers}
        scored = scores_of_task(self.directory, task, numbers)
        for row in plan_file.read(self.directory.plan_path(task)):
            prediction = self._store.prediction(row.key) if row.key else None
            status = "data_error" if row.defect is not None else "not_run"
            scores = []
            for (metric, protocol), found in scored.items():
                score = found.rows.get((row.sample.id, row.repeat))
                scores.append(
                    SampleScore(
                        metric=metric,
                        protocol=protocol,
                        protocol_version=versions[metric, protocol],
                        status="not_scored" if score is None else score["status"],
                        failed=bool(score and score["failed"]),
                        # A task's own metric may give infinity, which JSON does not know: no value.
                        values={
                            name: value if value is not None and isfinite(value) else None
                            for name, value in found.values_of(score).items()
                        },
                    )
                )
            yield ExportedSample(
                task=self.tasks[task],
                sample=row.sample,
                repeat=row.repeat,
                status=status if prediction is None else prediction.status,
                prediction=prediction,
                defect=row.defect,
                asked=_words(row.request) if row.request else row.sample.question,
                scores=tuple(scores),
            )

    def lose(self, what: str, count: int = 1) -> None:
        """Note something that the format does not hold."""
        if count:
            self.losses[what] = self.losses.get(what, 0) + count

    @property
    def notes(self) -> list[str]:
        """The losses in words, one sentence each."""
        found = [f"not held by this format: {what} ({count:,})" for what, count in self.losses.items()]
        if self.results["limited"]:
            found.append("the run is of a part of the samples; scored again, all others of the task count as failed")
        return found

    def record(self, form: str) -> dict[str, Json]:
        """Return what every export carries: harness, run, model with digests, and the numbers of its tasks.

        Args:
            form: Name of the format.
        """
        return {
            "schema": SCHEMA,
            "format": form,
            "harness": {"name": LIBRARY, "version": library_version()},
            "run": {"started": self.started, "data": self.results["data"], "limited": self.results["limited"]},
            "model": dict(self.model),
            "tasks": {name: dict(self.block(name)) for name in self.tasks},
            "not_held": [f"{what} ({count:,})" for what, count in self.losses.items()],
        }


@contextmanager
def finished_run(path: Path, *, task: str | None = None, task_paths: Sequence[Path] = ()) -> Iterator[FinishedRun]:
    """Yield a finished run, under its lock.

    Args:
        path: The run directory.
        task: Only this task; None: all tasks with numbers.
        task_paths: Folders with further task files.
    Raises:
        SpecError: The run is not finished, another process writes it, or it has no such task or none at all.
    """
    directory = RunDirectory(path)
    results = directory.read_results()
    known = list(results["tasks"])
    if task is not None and task not in known:
        raise SpecError(
            f"{path}: expected --task with one of {listed(known, MOST_NAMED, 'tasks')}, found {task!r:.80}"
            f"{nearest(task, known)}"
        )
    if not known:
        raise SpecError(f"{path}: has no scored task, so there is nothing to export; its results.json says why")
    chosen = known if task is None else [task]
    specs, _ = index(task_paths, stored=directory.tasks_folder).resolve(chosen)
    # The lock is taken, unlike in `explain`: a run that is still in progress would be exported in part.
    store = RunStore(path)
    try:
        store.open(directory.read_run())
        yield FinishedRun(
            directory=directory,
            results=results,
            started=_started(directory),
            tasks={spec.task: spec for spec in specs},
            _store=store,
        )
    finally:
        store.close()


def number_name(metric: str, protocol: str, name: str) -> str:
    """Return the name of a number, as in the columns of `load_scores`: a metric with one value is named once."""
    return ".".join(dict.fromkeys((metric, protocol, name)))


def stratum_name(row: Mapping[str, Any]) -> str:
    """Return the stratum of a number as `[modality=ct]`; empty for a number of the whole task."""
    return "".join(f"[{key}={value}]" for key, value in (row["stratum"] or {}).items())


def library_version() -> str:
    """Return the version of the installed harness; `unknown` if it is not installed."""
    try:
        return metadata.version(LIBRARY)
    except metadata.PackageNotFoundError:
        return "unknown"


def _started(directory: RunDirectory) -> str:
    return next((str(session["started"]) for session in directory.read_sessions() if "started" in session), NO_TIME)


def _words(request: str) -> str:
    turns = request_from_json(json.loads(request)).messages
    parts = ("".join(part.text if isinstance(part, TextPart) else "<image>" for part in turn.parts) for turn in turns)
    return "\n".join(parts)
