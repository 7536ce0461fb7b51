"""The answers of a run, or of two runs side by side, as a judge sees them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from harness.errors import SpecError, listed
from harness.metrics.answers.judge_replies import MIDDLE
from harness.records import FAILED, Media, MediaHandle, Prediction, Sample
from harness.records.codec import request_from_json
from harness.runs import plan_file
from harness.runs.directory import RunDirectory
from harness.scoring.score import readable
from harness.tasks.spec import TaskSpec
from harness.text.judgement import BEST
from harness.text.reply import answer_part

# A task that gives these is answered in words of its own, which a judge can compare with a reference.
JUDGED = frozenset({"text", "grounded_text"})
IDS_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerToJudge:
    """One answer of a run, or one pair of answers.

    Attributes:
        task, sample, repeat: Whose answer it is.
        texts: By the names of a rubric's prompt: question, reference, and `answer`, or `own` and `other` of a pair.
        decided: Value that stands without asking a judge, 0 to 100; None: the judge decides.
        why: Why it stands.
        failed: The run's own answer failed.
        media: The images that the model was shown, if the judge is to see them.
    """

    task: str
    sample: Sample
    repeat: int
    texts: Mapping[str, str]
    decided: float | None = None
    why: str = ""
    failed: bool = False
    media: tuple[Media | MediaHandle, ...] = ()

    @property
    def length(self) -> int:
        """Length of the run's own answer, in characters."""
        return len(self.texts.get("answer", self.texts.get("own", "")))


class StoredAnswers:
    """The predictions of a run by key, read without its lock.

    Args:
        directory: The run.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory
        self._file: BinaryIO | None = None
        self._places: dict[bytes, int] = {}
        if directory.predictions_path.is_file():
            for line in directory.read_lines():
                if line.key is not None:
                    self._places.setdefault(line.key, line.offset)

    def find(self, key: str) -> Prediction | None:
        """Return a finished prediction; None if it is not finished."""
        place = self._places.get(bytes.fromhex(key)) if key else None
        if place is None:
            return None
        if self._file is None:
            self._file = self.directory.predictions_path.open("rb")
        self._file.seek(place)
        return self.directory.read_prediction(self._file.readline())

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


class AnswersToJudge:
    """The answers of a run that a judge can be asked about; they can be read any number of times, in the same order.

    Left out are samples without a reference, and those that the run itself leaves out: broken data, and what is not
    finished.

    Args:
        run: The run.
        tasks: Its tasks that are judged.
        other: For a pairwise rubric, the run whose answers the judge compares with.
        with_images: Whether the judge sees the images that the model was shown; volumes are never among them.
    Raises:
        SpecError: The other run does not hold the same samples.
    """

    def __init__(
        self,
        run: RunDirectory,
        tasks: Sequence[TaskSpec],
        other: RunDirectory | None = None,
        *,
        with_images: bool = False,
    ) -> None:
        self.run = run
        self.tasks = tasks
        self.with_images = with_images
        self.own = StoredAnswers(run)
        self.other = None if other is None else StoredAnswers(other)
        self._others: dict[str, dict[tuple[str, int], str]] = {}
        if other is not None:
            self._others = {task.task: _keys_of_pairs(run, other, task.task) for task in tasks}

    def __iter__(self) -> Iterator[AnswerToJudge]:
        for task in self.tasks:
            for row in plan_file.read(self.run.plan_path(task.task)):
                if row.defect is not None or not row.sample.target.answers:
                    continue
                prediction = self.own.find(row.key)
                if prediction is None or prediction.status == "data_error":
                    continue
                answer, fault = _words(task, row.sample, prediction)
                sample, _ = readable(row.sample, prediction, task.grammar)
                texts = {"question": sample.question or task.title, "reference": _reference(sample.target.answers)}
                decided, why, failed = (0.0, f"the model's answer is {fault}", True) if fault else (None, "", False)
                if self.other is None:
                    texts["answer"] = answer
                else:
                    theirs = self.other.find(self._others[task.task][sample.id, row.repeat])
                    if theirs is None or theirs.status == "data_error":
                        continue
                    rival, their_fault = _words(task, row.sample, theirs)
                    texts |= {"own": answer, "other": rival}
                    if not fault and their_fault:
                        decided, why = BEST, f"the other run's answer is {their_fault}"
                    elif not fault and answer == rival:
                        decided, why = MIDDLE, "both answers are the same"
                shown = request_from_json(json.loads(row.request)).media if self.with_images else ()
                yield AnswerToJudge(
                    task=task.task,
                    sample=row.sample,
                    repeat=row.repeat,
                    texts=texts,
                    decided=decided,
                    why=why,
                    failed=failed,
                    media=tuple(one for one in shown if isinstance(one, Media) and one.kind == "image"),
                )

    def close(self) -> None:
        """Close the files."""
        self.own.close()
        if self.other is not None:
            self.other.close()


def judged_tasks(path: Path, tasks: Sequence[TaskSpec], supported: Sequence[str]) -> list[TaskSpec]:
    """Return the tasks whose answers a judge can compare with a reference in words.

    Raises:
        SpecError: There is none.
    """
    found = [task for task in tasks if task.gives in JUDGED and task.task in supported]
    if not found:
        given = ", ".join(
            f"{task.task} gives {task.gives}{'' if task.task in supported else ', which the model does not support'}"
            for task in tasks
        )
        raise SpecError(
            f"{path}: no task of this run is answered in words that a judge can read; expected one that gives "
            f"{' or '.join(sorted(JUDGED))}, found {given}"
        )
    return found


def _keys_of_pairs(run: RunDirectory, other: RunDirectory, task: str) -> dict[tuple[str, int], str]:
    """Return the keys of the other run's answers by sample and repeat.

    Raises:
        SpecError: It does not hold all samples of this run.
    """
    path = other.plan_path(task)
    if not path.is_file():
        raise SpecError(
            f"{other.path}: pairwise compares answers to the same samples, and this run has no task {task}; "
            "run both with the same tasks"
        )
    keys = {(sample_id, repeat): key for sample_id, repeat, key in plan_file.read_keys(path)}
    wanted = {(sample_id, repeat) for sample_id, repeat, _ in plan_file.read_keys(run.plan_path(task))}
    missing = sorted(f"{name} (repeat {repeat})" for name, repeat in wanted - keys.keys())
    if missing:
        raise SpecError(
            f"{other.path}: pairwise compares answers to the same samples, and {len(missing):,} of {len(wanted):,} of "
            f"{task} are not in this run: {listed(missing, IDS_NAMED)}; run both with the same tasks, data, --limit "
            "and --seed"
        )
    return keys


def _words(task: TaskSpec, sample: Sample, prediction: Prediction) -> tuple[str, str]:
    """Return the answer without its reasoning, and why there is none; one of them is empty."""
    if prediction.status in FAILED:
        return "", prediction.status.replace("_", " ")
    _, named = readable(sample, prediction, task.grammar)
    answer = (answer_part(named.text or "") or "").strip()
    return answer, "" if answer else "empty"


def _reference(answers: Sequence[str]) -> str:
    if len(answers) == 1:
        return answers[0]
    return "Each of these is right:\n" + "\n".join(f"- {answer}" for answer in dict.fromkeys(answers))
