"""The plan of an unpacked bundle, made anew from one's own data, and the check that its predictions answer it.

A bundle holds predictions by the keys of their requests. A key is the digest of the whole request and of the model's
identity, so whoever has the data and the task can say which keys a run must have: a prediction for another question,
another image or another model has a key that is not among them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.data.releases.reader import ReleaseAbsentError
from harness.data.roots import data_roots
from harness.errors import DataError, HarnessError, SpecError, listed
from harness.evaluation.judging.answers import StoredAnswers
from harness.evaluation.judging.verification import check_judgements
from harness.evaluation.planning import prepare_cells, write_plan
from harness.exports.bundles.layout import UnverifiedBundleError, identity_of, shipped_names
from harness.models.answer_check import STATUSES, checked
from harness.records import FAULTS, Answer, Capabilities, Json, MediaPart, Prediction, Request, Sample, Turn
from harness.records.codec import request_from_json
from harness.runs import plan_file
from harness.runs.cells import Cell, Plan
from harness.runs.directory import RunDirectory
from harness.tasks.catalog import index
from harness.tasks.overrides import with_parameters
from harness.tasks.prepare import Notice
from harness.tasks.spec import GroupSpec, TaskSpec

NAMED = 3  # tasks and samples that a message names


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuiltRun:
    """An unpacked bundle with a plan.

    Attributes:
        directory: Its folder, a run directory by now.
        run: The content of `run.json`.
        tasks, groups: Of the run, as they are here.
        private: Names of tasks and groups that the harness does not ship.
    """

    directory: RunDirectory
    run: Mapping[str, Json]
    tasks: tuple[TaskSpec, ...]
    groups: tuple[GroupSpec, ...]
    private: tuple[str, ...]


def rebuild(
    folder: Path,
    capabilities: Capabilities,
    *,
    given_roots: Sequence[str],
    task_paths: Sequence[Path],
    cache: Path,
    notice: Notice,
) -> RebuiltRun:
    """Write the plan of an unpacked bundle, and check that its predictions are the answers to it, each once.

    Args:
        folder: The unpacked bundle, whose files have the form of a run directory.
        capabilities: Of the model, as the bundle says them.
        given_roots: As `--data-root` gives them.
        task_paths: Folders with further task files.
        cache: Folder of manifests and derived files.
        notice: Called with news, one line each.
    Raises:
        UnverifiedBundleError: The data of a task are not here.
        SpecError: A task or a parameter is unknown.
        DataError: A version, a digest or the predictions do not fit.
    """
    directory = RunDirectory(folder)
    run = directory.read_run()
    catalog = index(task_paths)
    found, groups = catalog.resolve(run["requested"])
    tasks = [task for task in with_parameters(found, run["parameters"]) if task.task in run["tasks"]]
    _check_versions(run["tasks"], tasks)
    roots = data_roots(given_roots, cache)
    if roots.kind != run["data"]:
        raise DataError(f"run.json: the run is on {run['data']} data, and --data-root names {roots.kind} data")
    try:
        cells, absent = prepare_cells(tasks, groups, [], roots, cache, notice)
    except ReleaseAbsentError as error:
        raise UnverifiedBundleError(str(error)) from error
    if absent:
        raise UnverifiedBundleError("; ".join(f"{one['task']}: {one['reason']}" for one in absent))
    for cell in cells:
        said = run["tasks"][cell.task.task]["data_digest"]
        if cell.prepared.digest != said:
            raise DataError(
                f"run.json: tasks.{cell.task.task}.data_digest: the data below --data-root have the digest "
                f"{cell.prepared.digest[:12]}, those of the run {said[:12]}; its targets may differ, so nothing can be "
                "said of its numbers"
            )
    planned = Plan(directory=directory, cells=cells)
    write_plan(
        planned,
        capabilities,
        identity_of(run["model"]),
        roots=roots,
        cache=cache,
        limit=run["limit"],
        seed=run["seed"],
        notice=notice,
    )
    _check_keys(directory, planned.supported)
    _check_answers(directory, planned.supported)
    check_judgements(directory, [cell.task for cell in planned.supported], task_paths)
    known = shipped_names()
    names = [*(task.task for task in tasks), *(group.name for group in groups)]
    return RebuiltRun(
        directory=directory,
        run=run,
        tasks=tuple(tasks),
        groups=tuple(groups),
        private=tuple(name for name in names if name not in known),
    )


def _check_versions(stored: Mapping[str, Json], tasks: Sequence[TaskSpec]) -> None:
    names = {task.task for task in tasks}
    if strangers := sorted(stored.keys() - names):
        raise SpecError(f"run.json: tasks: {listed(strangers, NAMED)} is none of the tasks that the run asked for")
    if not tasks:
        raise SpecError("run.json: tasks: expected at least one task, found none")
    for task in tasks:
        said = stored[task.task]
        if said["version"] != task.version:
            raise SpecError(
                f"run.json: tasks.{task.task}.version: {said['version']} is not known here, where the task has version "
                f"{task.version}; verify with the MedGround of the run, or run the task again"
            )
        if said["digest"] != task.digest:
            raise DataError(
                f"run.json: tasks.{task.task}.digest: the task file of version {task.version} has the digest "
                f"{task.digest[:12]} here, the run's {said['digest'][:12]}"
            )
        if said["decoding"] != dict(task.decoding):
            raise DataError(f"run.json: tasks.{task.task}.decoding: the task says {dict(task.decoding)}")


def _check_keys(directory: RunDirectory, cells: Sequence[Cell]) -> None:
    """Check that every planned request has one prediction, and every prediction a planned request.

    Raises:
        DataError: One is missing, added, damaged or there twice, or blames data that can be read here.
    """
    where = directory.predictions_path.relative_to(directory.path).as_posix()
    statuses: dict[bytes, str] = {}
    for number, line in enumerate(directory.read_lines(), 1):
        if line.key is None:
            raise DataError(f"{where}:{number}: the line is damaged, or its file of masks is not in the bundle")
        if line.key in statuses:
            raise DataError(f"{where}:{number}: the same request is answered twice")
        statuses[line.key] = line.status
    missing: list[str] = []
    blamed: list[str] = []
    planned: set[bytes] = set()
    for cell in cells:
        for sample_id, _, key in plan_file.read_keys(directory.plan_path(cell.task.task)):
            if not key:
                continue
            name = bytes.fromhex(key)
            planned.add(name)
            if name not in statuses:
                missing.append(sample_id)
            elif statuses[name] == "data_error":
                blamed.append(sample_id)
    added = statuses.keys() - planned
    if missing or added:
        words = [f"{len(missing):,} of {len(planned):,} samples have no prediction"] if missing else []
        words += [f"{len(added):,} predictions answer no request of this model to these tasks"] if added else []
        example = f", such as {missing[0]}" if missing else ""
        raise DataError(
            f"{where}: {'; '.join(words)}{example}. The key of a prediction holds the question, the image and the "
            "model's id, version, arguments and weights"
        )
    if blamed:
        # Left out of the mean, so a model could gain by saying so; where the file is broken, it is broken here, too.
        raise DataError(
            f"{where}: {len(blamed):,} predictions say that the data cannot be read, and here they can: "
            f"{listed(blamed, NAMED)}; run the model again on a whole copy of the data"
        )


def _check_answers(directory: RunDirectory, cells: Sequence[Cell]) -> None:
    """Check every prediction as the answer of a model is checked before it is stored.

    An answer without anything that was asked for is `empty`, the worst one, and a mask of another size is an error. If
    it passed for `ok`, a metric might find nothing to score in it and leave it out of the mean.

    Raises:
        DataError: A prediction could not have been stored so.
    """
    answers = StoredAnswers(directory)
    try:
        for cell in cells:
            for row in plan_file.read(directory.plan_path(cell.task.task)):
                prediction = answers.find(row.key)
                if prediction is None or prediction.status in FAULTS:
                    continue
                where = f"predictions: {row.sample.id}"
                try:
                    status = _status_of(prediction, request_from_json(json.loads(row.request)), row.sample)
                except HarnessError as error:
                    raise DataError(f"{where}: is no valid answer: {error}") from error
                if status != prediction.status:
                    raise DataError(f"{where}: says {prediction.status}, and what it holds is {status}")
    finally:
        answers.close()


def _status_of(prediction: Prediction, request: Request, sample: Sample) -> str:
    """Return the status under which an answer with this content is stored.

    Raises:
        ModelError: The answer breaks the Protocol.
        DataError: A mask is invalid, or has another size than the image.
    """
    if "embedding" not in request.wants:  # of which there is one for each slice that was shown
        # What is stored lies in the frame of the original image, whatever crop or slices the model was shown.
        parts = tuple(MediaPart(media=media) for media in sample.media)
        request = replace(request, messages=(Turn(role="user", parts=parts),), one_by_one=False)
    answer = Answer(
        text=prediction.text,
        choice=prediction.choice,
        masks=prediction.masks,
        soft_masks=prediction.soft_masks,
        mask_scores=prediction.mask_scores,
        boxes=prediction.boxes,
        points=prediction.points,
        entities=prediction.entities,
        nll=prediction.nll,
        nll_tokens=prediction.nll_tokens,
        embedding=prediction.embedding,
        status=next((known for known in STATUSES if known == prediction.status), "ok"),
    )
    return checked(request, answer).status
