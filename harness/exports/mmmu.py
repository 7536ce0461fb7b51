"""A finished run on MMMU as the file its server takes: {id: letter, or the words of an open answer}."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import SpecError
from harness.metrics.answers.choice import reply
from harness.records import Prediction, Sample
from harness.runs import plan_file
from harness.runs.directory import RunDirectory
from harness.runs.store import RunStore
from harness.tasks.catalog import index
from harness.text.choices.mmmu import mmmu

READER = "mmmu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What is handed in.

    Attributes:
        answers: By MMMU's own id; empty where there is no answer or none could be read, which the server counts wrong.
        unread: Replies without a letter that MMMU's rule finds; its released code would draw one.
        unanswered: Questions without a usable reply.
    """

    answers: dict[str, str]
    unread: int
    unanswered: int


def submission(run_folder: Path, task_paths: Sequence[Path] = ()) -> Submission:
    """Return the answers of every MMMU task of a run, first repetitions only.

    Raises:
        SpecError: It is no run directory, another process holds it, or none of its tasks reads MMMU.
    """
    directory = RunDirectory(run_folder)
    run = directory.read_run()
    tasks, _ = index(task_paths).resolve(run["requested"])
    cells, _ = directory.read_cells()
    asked = [task.task for task in tasks if task.release.reader == READER and task.task in cells]
    names = [name for name in asked if cells[name].unsupported is None]
    if not names:
        raise SpecError(
            f"{run_folder}: expected a run of mmmu_hm_test or another task that reads MMMU, "
            f"found {', '.join(cells) or 'no task'}"
        )
    store = RunStore(run_folder)
    try:
        store.open(run)
        return _collected(pair for name in names for pair in _pairs(store, name))
    finally:
        store.close()


def write_submission(path: Path, found: Submission) -> None:
    """Write the file.

    Raises:
        SpecError: It cannot be written.
    """
    try:
        path.write_text(json.dumps(found.answers, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise SpecError(f"--out {path}: cannot be written: {error.strerror}; name another file") from error


def _pairs(store: RunStore, task: str) -> Iterator[tuple[Sample, Prediction | None]]:
    for row in plan_file.read(store.directory.plan_path(task)):
        if not row.repeat:
            yield row.sample, store.prediction(row.key) if row.key else None


def _collected(pairs: Iterator[tuple[Sample, Prediction | None]]) -> Submission:
    answers: dict[str, str] = {}
    unread = unanswered = 0
    for sample, prediction in pairs:
        text = reply(prediction).strip() if prediction is not None else ""
        answer = mmmu(text, sample.choices).letter or "" if sample.choices and text else text
        unanswered += not text
        unread += bool(text) and not answer
        answers[sample.id.rpartition("/")[2]] = answer
    return Submission(answers=answers, unread=unread, unanswered=unanswered)
