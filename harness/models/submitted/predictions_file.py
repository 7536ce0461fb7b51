"""Submitted predictions as JSON lines: the adapter that answers from such a file, and a report of every faulty line."""

import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from harness.errors import DataError, ModelError, SpecError, nearest
from harness.models import answer_check
from harness.models.submitted import prediction_lines, predictions_format
from harness.models.submitted.prediction_lines import MOST_MESSAGE, Line, printable
from harness.records import Answer, Capabilities, ErrorInfo, Grid, Request, Resources

# Finds the sample id in a line that is not JSON, such as one that was cut off, so that the problem can name the sample.
READABLE_ID = re.compile(rb'"sample_id"\s*:\s*"([^"\\]{1,1000})"')

# What code outside of this package may raise over a value that no check foresaw: it costs its line and no other.
UNFORESEEN = (ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RecursionError, TypeError, ValueError)

# Other harnesses whose logs are read, and the file that each of them writes.
LOGS = {
    "lm-eval": "a file of --log_samples, such as samples_TASK_DATE.jsonl",
    "lmms-eval": "a file of --log_samples, such as DATE_samples_TASK.jsonl",
    "inspect": "a log of inspect_ai, .eval or .json",
    "vlmevalkit": "a table of predictions, such as MODEL_DATASET.xlsx or .tsv",
}

Slot = tuple[str, int]  # sample id and repetition


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something wrong with a line of a predictions file, or with a file of a predictions folder.

    Attributes:
        line: 1-based; 0 for a file of a folder.
        sample_id: The sample that the line names, if it could be read, without characters that cannot be shown.
        message: What is wrong and how the line counts.
    """

    line: int
    sample_id: str | None
    message: str

    def __str__(self) -> str:
        words = [f"line {self.line}" if self.line else None, self.sample_id, self.message]
        return ": ".join(word for word in words if word is not None)


@dataclass(slots=True)
class PredictionsFile:
    """The index of a predictions file: where each sample's line begins, and the problems of its lines.

    Answers stay in the file: a line is read again by its offset when its sample is asked for.

    Attributes:
        path: The file.
        lines: (1-based line number, byte offset) of the line that counts for each sample and repetition.
        problems: Broken lines, duplicates, unknown fields, in file order.
    """

    path: Path
    lines: dict[Slot, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def unknown(self, slots: Container[Slot]) -> Iterator[Problem]:
        """Yield a problem for every line that answers none of `slots`, the samples and repetitions of the run."""
        for (sample_id, repeat), (number, _) in self.lines.items():
            if (sample_id, repeat) not in slots:
                known = (sample_id, 0) in slots
                what = f"has repeat {repeat} of this sample" if known else "has this sample_id"
                yield Problem(
                    line=number,
                    sample_id=printable(sample_id),
                    message=printable(f"no task of this run {what}; the line is ignored"),
                )

    def answer(self, request: Request, file: BinaryIO) -> Answer:
        """Return the file's answer to a request, or an answer whose error names the line.

        Args:
            request: A request that carries its `sample_id`.
            file: The file at `path`, open for reading bytes.
        """
        slot = (request.sample_id or "", request.repeat)
        if slot not in self.lines:
            which = f", repeat {slot[1]}" if slot[1] else ""
            return _refuse(f"{self.path.name}: no line answers this sample{which}")
        number, offset = self.lines[slot]
        file.seek(offset)
        content = file.readline(prediction_lines.MOST_LINE_BYTES)
        try:
            value = prediction_lines.parse(Line(number=number, offset=offset, content=content, size=len(content)))
            answer = prediction_lines.to_answer(value, self.path.parent, owner_of(request))
            if answer.error is None:
                answer_check.checked(request, answer)
        except (DataError, ModelError) as error:
            # A name of a file in it may hold characters that change what a terminal shows.
            return _refuse(printable(f"{self.path.name}:{number}: {error}", MOST_MESSAGE))
        except UNFORESEEN as error:
            words = f"{self.path.name}:{number}: cannot be read ({reason_of(error)})"
            return _refuse(printable(words, MOST_MESSAGE))
        return answer


def owner_of(request: Request) -> Grid | None:
    """Return size and affine of the image or volume that the masks of an answer belong to; None without one."""
    if not request.media:
        return None
    record = request.media[0].record
    # Masks of a cropped image lie in the crop, where the affine of the whole does not hold.
    return Grid(size=record.size, affine=record.affine if record.crop is None else None)


def read(path: Path) -> PredictionsFile:
    """Return the index of a predictions file; faulty lines are listed in `problems`, not raised.

    Raises:
        DataError: The file does not exist.
    """
    if not path.is_file():
        raise DataError(f"--predictions {path}: no such file; expected JSON lines, see docs/hand-in-predictions.md")
    result = PredictionsFile(path)
    with path.open("rb") as file:
        for line in prediction_lines.lines_of(file):
            if line.content.strip():
                _index_line(result, line)
    return result


def _index_line(index: PredictionsFile, line: Line) -> None:
    """Note where a sample's line begins, or why the line cannot count."""
    try:
        value = prediction_lines.parse(line)
    except DataError as error:
        meant_for = READABLE_ID.search(line.content)
        sample_id = meant_for and printable(meant_for[1].decode(errors="replace"))
        message = f"{error}; its sample counts as missing"
        index.problems.append(Problem(line=line.number, sample_id=sample_id, message=message))
        return
    slot: Slot = (value["sample_id"], value.get("repeat", 0))
    sample_id = printable(slot[0])
    index.problems += [
        Problem(line=line.number, sample_id=sample_id, message=message)
        for message in prediction_lines.unknown_fields(value)
    ]
    first, _ = index.lines.setdefault(slot, (line.number, line.offset))
    if first != line.number:
        message = f"answered before on line {first}, which counts; this line is ignored"
        index.problems.append(Problem(line=line.number, sample_id=sample_id, message=message))


def reason_of(error: Exception) -> str:
    """Return an exception in words, without the path of a file on this machine."""
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{type(error).__name__}: {words}"


def _refuse(message: str) -> Answer:
    return Answer(error=ErrorInfo(type="DataError", message=message))


class Predictions:
    """Adapter that answers each request with its sample's line of a predictions file.

    Args:
        file: JSON lines, one object per sample and repetition; or a folder with such lines as `predictions.jsonl`; or
            a folder of masks or of COCO results, which an evaluation turns into such a file before it asks
            (`harness.evaluation.submitted.folder`).
        log: One of LOGS if the file is the log of another harness, which an evaluation turns into such a file, too
            (`harness.evaluation.submitted.foreign_log`).
    Raises:
        SpecError: There is no such harness.
    """

    def __init__(self, file: str, log: str | None = None) -> None:
        if log is not None and log not in LOGS:
            raise SpecError(f"log: expected one of {', '.join(LOGS)}, found {log!r:.80}{nearest(str(log), list(LOGS))}")
        self.given = file
        self.log = log
        self.path = predictions_format.exported(Path(file).resolve()) if log is None else Path(file).resolve()
        self.file: PredictionsFile | None = None

    @property
    def version(self) -> str:
        """The adapter's version and, if the file names mask files, the digest of their names and bytes."""
        lines = self.log is None and self.path.is_file()
        masks = prediction_lines.mask_files_digest(self.path) if lines else None
        return "1" if masks is None else f"1+{masks}"

    @property
    def display_name(self) -> str:
        """The name of the file without its suffix, or of the folder, as the model's name unless one is given."""
        return printable(
            self.path.parent.name if Path(self.given).is_dir() and self.path.is_file() else self.path.stem, 80
        )

    def capabilities(self) -> Capabilities:
        """Anything may have been asked and answered.

        Raises:
            DataError: There is no such file, or it is no JSON lines as a whole.
        """
        is_source = self.log is not None or self.path.is_dir()
        if self.log is not None and not self.path.is_file():
            what = "is a folder; expected" if self.path.is_dir() else "no such file; expected"
            raise DataError(f"--from-{self.log} {self.given}: {what} {LOGS[self.log]}; see docs/other-harnesses.md")
        if not is_source:
            predictions_format.check(self.path, self.given)
        return Capabilities(
            takes=frozenset({"text", "image", "images", "volume", "point", "box", "region"}),
            gives=frozenset({"text", "masks", "boxes", "nll", "embedding"}),
            max_images=1000,
            max_batch=1024,
            batch_invariant=True,
            per_sample=True,
            # The file is the model: its bytes are digested as weights are. A folder or a log is made a file before it
            # is asked.
            weights=() if is_source else (str(self.path),),
            resources=Resources(gpus=0),
        )

    def load(self, device: str) -> None:  # noqa: ARG002 - there is nothing to place on a device
        """Index the file."""
        self.submitted()

    def submitted(self) -> PredictionsFile:
        """Return the index of the file, which is read once.

        Raises:
            DataError: The file does not exist.
        """
        if self.file is None:
            self.file = read(self.path)
        return self.file

    def predict(self, requests: Sequence[Request]) -> list[Answer]:
        """Look each sample up."""
        assert self.file is not None
        with self.path.open("rb") as file:
            return [self.file.answer(request, file) for request in requests]

    def submission_problems(self, slots: Container[Slot]) -> list[Problem]:
        """Return the problems of the file's lines, by line number; `load` need not have been called.

        An adapter that has this method has its problems reported beside the results of a run.

        Args:
            slots: The samples and repetitions of the run; a line for any other is a problem.
        Raises:
            DataError: The file does not exist.
        """
        found = self.submitted()
        return sorted([*found.problems, *found.unknown(slots)], key=lambda problem: problem.line)
