"""A finished run on MMMU as the file that its server takes: {id: letter, or the words of an open answer}."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import SpecError
from harness.metrics.answers.choice import reply
from harness.runs import plan_file
from harness.runs.directory import RunDirectory
from harness.runs.store import RunStore
from harness.tasks.catalog import index
from harness.text.choices.mmmu import mmmu

# Tasks are recognised by their reader, so that a user's own task over MMMU can be submitted, too.
READER = "mmmu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """The answers for MMMU's server, and the number of those that are missing.

    Attributes:
        answers: Answers by MMMU's own id; empty if missing or unreadable, which the server counts as wrong.
        unread: Number of replies without a letter that MMMU's rule finds; its released code would draw one at random.
        unanswered: Number of questions without a usable reply.
    """

    answers: dict[str, str]
    unread: int
    unanswered: int


def submission(run_folder: Path, task_paths: Sequence[Path] = ()) -> Submission:
    """Return the answers of every MMMU task of a run, first repetitions only.

    Raises:
        SpecError: `run_folder` is no run directory, another process holds it, or none of its tasks reads MMMU.
    """
    directory = RunDirectory(run_folder)
    run = directory.read_run()
    tasks, _ = index(task_paths, stored=directory.tasks_folder).resolve(run["requested"])
    cells, _ = directory.read_cells()
    asked = [task.task for task in tasks if task.release.reader == READER and task.task in cells]
    names = [name for name in asked if cells[name].unsupported is None]
    if not names:
        raise SpecError(
            f"{run_folder}: expected a run of mmmu_hm_test or another task that reads MMMU, "
            f"found {', '.join(cells) or 'no task'}"
        )
    answers: dict[str, str] = {}
    unread = unanswered = 0
    # The lock is taken, unlike in `explain`: a run that is still in progress would be submitted in part.
    store = RunStore(run_folder)
    try:
        store.open(run)
        for name in names:
            for row in plan_file.read(directory.plan_path(name)):
                if row.repeat:  # the server takes one answer per question
                    continue
                prediction = store.prediction(row.key) if row.key else None
                text = reply(prediction).strip() if prediction is not None else ""
                sample = row.sample
                answer = mmmu(text, sample.choices).letter or "" if sample.choices and text else text
                unanswered += not text
                unread += bool(text) and not answer
                answers[sample.id.rpartition("/")[2]] = answer
    finally:
        store.close()
    return Submission(answers=answers, unread=unread, unanswered=unanswered)


def write_submission(path: Path, found: Submission) -> None:
    """Write the answers to a JSON file.

    Raises:
        SpecError: The file cannot be written.
    """
    try:
        path.write_text(json.dumps(found.answers, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise SpecError(f"--out {path}: cannot be written: {error.strerror}; name another file") from error
