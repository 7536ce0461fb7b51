"""From stored predictions to numbers: score every cell, aggregate, and make the content of `results.json`.

`results.json` is a pure function of the stored predictions, the task versions and the installed packages.
"""

import json
import os
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from harness.errors import HarnessError
from harness.evaluation.judging.rows import judged_rows, read_columns
from harness.metrics.metric import Metric, Pair, settle
from harness.records import FAULTS, Json, Prediction
from harness.records.codec import canonical, to_json
from harness.runs import plan_file
from harness.runs.directory import RunDirectory
from harness.runs.scored_ahead.spool import SpooledScores
from harness.runs.store import RunStore
from harness.scoring.aggregate import to_json as row_to_json
from harness.scoring.availability import MissingMetric, UsableMetric, UsableMetrics, usable_metrics
from harness.scoring.floor_and_ceiling import BoundsSample
from harness.scoring.parallel import Asked, score_all
from harness.scoring.results import ANSWERED, SCHEMA, Failure, Tally, aggregate_metric, combine_group, task_block
from harness.scoring.score import ScoreFile, readable, score_files
from harness.tasks.spec import GroupSpec, TaskSpec

# Failures of a cell that are kept for the report; a model that fails on a million samples must not fill the memory.
# `failures.jsonl` holds all of them.
FAILURES_KEPT = 1000


@dataclass(slots=True)
class Scored:
    """The outcome of scoring a run.

    Attributes:
        results: The content of `results.json`.
        failures: Failures of all cells, at most FAILURES_KEPT per cell.
        wanted: Number of scores that the supported cells should have.
        faults: Number of samples that `--max-failures` counts.
        broken: Metrics that raised an exception while their numbers were computed, one line each. They stand in the
            results as `unavailable`.
        silent: A line for each task to which the model gave no answer, though there is something to answer; none for
            the baselines.
    """

    results: dict[str, Json]
    failures: list[Failure]
    wanted: int
    faults: int
    broken: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)


def score_run(
    store: RunStore,
    run: Mapping[str, Json],
    tasks: Sequence[TaskSpec],
    groups: Sequence[GroupSpec],
    out: RunDirectory,
    ahead: SpooledScores | None = None,
) -> Scored:
    """Score every stored prediction under every metric of its task and return the results.

    In `out` it leaves `scores/`, one parquet file per task, metric and protocol, and `failures.jsonl` with every sample
    that has no usable answer.

    Args:
        store: The run directory.
        run: The content of `run.json`.
        tasks: The tasks of the run, with the metrics to compute.
        groups: The groups of the run.
        out: The run directory, or another folder to leave the run unchanged.
        ahead: Scores that were computed while the model was asked.
    """
    cells, unavailable = store.directory.read_cells()
    blocks: dict[str, Json] = {}
    failures: list[Failure] = []
    broken: list[str] = []
    silent: list[str] = []
    # A baseline may find nothing, or say nothing on purpose: it is there to show what that is worth. One of the user's
    # own files may have the same name.
    is_floor = str(run["model"]["id"]).startswith("baseline:") and run["model"].get("source_sha256") is None
    wanted = faults = 0
    columns = read_columns(store.directory)
    with out.failures_path.open("w", encoding="utf-8") as every_failure:
        for task in tasks:
            cell = cells.get(task.task)
            if cell is None or cell.unsupported is not None:
                continue
            found = usable_metrics(task, {column.rubric for column in columns if task.task in column.judgements})
            count = cell.samples * task.repeats
            if run["limit"] is not None and cell.samples != cell.of and (cell.of or cell.samples == run["limit"]):
                _leave_out_rivals(found, cell.samples, cell.of)
            raised: list[MissingMetric] = []
            tally, numbers = _score_cell(
                store, task, found.rows, count, out.scores_folder, every_failure, raised, ahead
            )
            numbers += judged_rows(task, columns, tally, out.scores_folder)
            unavailable += [
                {"task": task.task, "metric": missing.metric, "reason": missing.reason, "remedy": missing.remedy}
                for missing in (*found.missing, *raised)
            ]
            broken += [f"{task.task}: {missing.reason}" for missing in raised]
            blocks[task.task] = task_block(
                task,
                tally,
                numbers,
                samples=cell.samples,
                fallbacks=cell.fallbacks,
                data_digest=cell.data_digest,
                wording=task.words_used(run["data"]),
            )
            if tally.silent and not is_floor:
                silent.append(_silence(task, tally))
            failures += tally.failures
            wanted += count
            faults += sum(tally.counts[status] for status in FAULTS)
    results = {
        "schema": SCHEMA,
        "model": json.loads(canonical(run["model"])),  # the same order of keys in a fresh run and a resumed one
        "data": run["data"],
        "limited": run["limit"] is not None,
        "tasks": blocks,
        "groups": {group.name: combine_group(group, tasks, blocks) for group in groups},
        "unsupported": {name: cell.unsupported for name, cell in cells.items() if cell.unsupported is not None},
        "unavailable": unavailable,
    }
    return Scored(results=results, failures=failures, wanted=wanted, faults=faults, broken=broken, silent=silent)


def _silence(task: TaskSpec, tally: Tally) -> str:
    empty, refused = tally.counts["empty"], tally.counts["refused"]
    words = [f"{empty} empty"] * (empty > 0) + [f"{refused} refused"] * (refused > 0)
    return f"{task.task}: none of {sum(tally.counts.values())} answers can be scored: {', '.join(words)}"


def _leave_out_rivals(found: UsableMetrics, samples: int, of: int | None) -> None:
    """Move the metrics that rank a sample against all others to the missing ones: a limited run holds only some."""
    ranked = [row for row in found.rows if row.metric.rivals]
    found.rows = [row for row in found.rows if not row.metric.rivals]
    found.missing += [
        MissingMetric(
            row.metric.name,
            f"{row.metric.name} ({row.metric.protocol}) ranks each sample among all of its pool, and --limit left "
            f"{samples:,}{f' of {of:,}' if of else ''} samples: the number would be too high",
            "run without --limit",
        )
        for row in ranked
    ]


def _score_cell(
    store: RunStore,
    task: TaskSpec,
    found: Sequence[UsableMetric],
    count: int,
    folder: Path,
    every_failure: TextIO,
    raised: list[MissingMetric],
    ahead: SpooledScores | None,
) -> tuple[Tally, list[dict[str, Json]]]:
    """Score every prediction of a cell; return the tally of its samples, and its rows of `results.json`.

    A metric that raises an exception costs its own rows only: it is added to `raised`, and the others are computed.
    """
    folder.mkdir(exist_ok=True)
    rows = []
    for row in found:
        if row.metric.prepare is None:
            rows.append(row)
            continue
        try:
            # A metric that reads the whole corpus first is scored in this process: another would load it by name,
            # without what it learned from the corpus.
            rows.append(UsableMetric(settle(row.metric, _answered(store, task)), None))
        except HarnessError:
            raise  # the stored predictions cannot be read, which is no fault of the metric
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a metric may be a task's own code
            raised.append(_raised(row.metric, error))
    metrics = [row.metric for row in rows]
    paths = score_files(folder, task.task, metrics)
    files = {key: ScoreFile(path) for key, path in paths.items()}
    tally, spread = Tally(), BoundsSample()
    asked = _predictions(store, task, tally, every_failure)
    # On all cores the others may be scored anew before those that are known are read.
    if ahead is not None and ahead.count(task.task) >= count * (1 - 1 / len(os.sched_getaffinity(0))):
        scored = ahead.scored(task.task, metrics, asked)
    else:
        scored = score_all(rows, (one for _, one in asked), count, task.folder)
    for (sample, _, _), scores in scored:
        spread.add(sample)
        for score in filter(None, scores):
            files[score.metric, score.protocol].add(score)
            tally.unscored[score.metric, score.protocol] += score.status in ("unjudged", "scorer_error")
    for file in files.values():
        file.close()
    numbers: list[dict[str, Json]] = []
    for metric in metrics:
        try:
            bounds = spread.bounds(metric)
            # A number depends on more than its protocol: the metric's parameters and the resource that it used.
            pedigree: dict[str, Json] = {"parameters": dict(metric.bound)} if metric.bound else {}
            if metric.resource is not None:
                pedigree["resource"] = dict(metric.resource.describe(metric.bound))
            rows_of_metric = []
            # Read back from the files, not kept: of a million samples one metric at a time fits into memory.
            for result in aggregate_metric(task, metric, paths[metric.name, metric.protocol]):
                number = {**row_to_json(result), **pedigree}
                # Floor and ceiling are about the metric's first value over the whole task.
                if result.stratum is None and result.name == metric.values[0]:
                    number |= {"floor": bounds.floor, "ceiling": bounds.ceiling}
                rows_of_metric.append(number)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a metric may be a task's own code
            raised.append(_raised(metric, error))
        else:
            numbers += rows_of_metric
    return tally, numbers


def _raised(metric: Metric, error: BaseException) -> MissingMetric:
    """Return why a metric has no rows: the last line of the traceback, and the line of code that it comes from."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    # The file's name alone: results hold no path of a machine.
    place = f"{Path(last.filename).name}:{last.lineno}"
    words = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    return MissingMetric(
        metric.name,
        f"{metric.name} ({metric.protocol}) raised {words} ({place})",
        "mend the metric, then `harness score RUN_DIR` scores the stored predictions again",
    )


def _answered(store: RunStore, task: TaskSpec) -> Iterator[Pair]:
    """Yield the pairs of a cell that have a prediction, for metrics that read all of them before they score."""
    for row in plan_file.read(store.directory.plan_path(task.task), requests=False):
        prediction = store.prediction(row.key) if row.defect is None else None
        if prediction is not None and prediction.status != "data_error":
            yield readable(row.sample, prediction, task.grammar)


def _predictions(store: RunStore, task: TaskSpec, tally: Tally, every_failure: TextIO) -> Iterator[tuple[int, Asked]]:
    """Yield every sample of a cell, by its row in the plan, with its prediction; count statuses, note failures."""
    for number, row in enumerate(plan_file.read(store.directory.plan_path(task.task), requests=False)):
        prediction = store.prediction(row.key) if row.defect is None else Prediction(key=row.key, status="data_error")
        status = "not_run" if prediction is None else prediction.status
        tally.count(status, absent=row.sample.target.absent)
        if status not in ANSWERED:
            message, trace = "not asked yet", ""
            if prediction is not None:
                error = prediction.error
                message = row.defect or (f"{error.type}: {error.message}" if error is not None else "")
                trace = error.traceback if error is not None else ""
            failure = Failure(task=task.task, sample_id=row.sample.id, status=status, message=message, traceback=trace)
            every_failure.write(canonical(to_json(failure)) + "\n")
            if len(tally.failures) < FAILURES_KEPT:
                tally.failures.append(failure)
        if prediction is not None:
            sample, prediction = readable(row.sample, prediction, task.grammar)
            yield number, (sample, row.repeat, prediction)
