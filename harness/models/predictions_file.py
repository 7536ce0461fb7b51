"""Submitted predictions as JSON lines: the adapter that answers from such a file, and a report of every faulty line."""

import json
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from harness.errors import DataError, ModelError, nearest
from harness.imaging import mask_files
from harness.models import answer_check
from harness.records import (
    Answer,
    AnswerStatus,
    Box,
    Capabilities,
    ErrorInfo,
    Grid,
    Json,
    Mask,
    PredictedEntity,
    Request,
)
from harness.records.codec import digest, sha256_file

FIELDS = (
    "sample_id",
    "text",
    "choice",
    "masks",
    "grid",
    "mask_scores",
    "entities",
    "boxes",
    "nll",
    "nll_tokens",
    "embedding",
    "status",
    "repeat",
)
STATUSES = ("ok", "truncated", "refused", "empty", "model_error", "timeout")

# Finds the sample id in a line that is not JSON, such as one that was cut off, so that the problem can name the sample.
READABLE_ID = re.compile(rb'"sample_id"\s*:\s*"([^"\\]+)"')

Slot = tuple[str, int]  # sample id and repetition


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something wrong with a line of a predictions file.

    Attributes:
        line: 1-based.
        sample_id: The sample that the line names, if it could be read.
        message: What is wrong and how the line counts.
    """

    line: int
    sample_id: str | None
    message: str

    def __str__(self) -> str:
        words = [f"line {self.line}", self.sample_id, self.message]
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
                what = f"has repeat {repeat} of this sample" if (sample_id, 0) in slots else "has this sample_id"
                message = f"no task of this run {what}; the line is ignored"
                yield Problem(line=number, sample_id=sample_id, message=message)

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
        try:
            answer = _answer(json.loads(file.readline()), self.path.parent)
            if answer.error is None:
                answer_check.checked(request, answer)
        except (DataError, ModelError) as error:
            return _refuse(f"{self.path.name}:{number}: {error}")
        return answer


def read(path: Path) -> PredictionsFile:
    """Return the index of a predictions file; faulty lines are listed in `problems`, not raised.

    Raises:
        DataError: The file does not exist.
    """
    if not path.is_file():
        raise DataError(f"--predictions {path}: no such file; expected JSON lines, see docs/hand-in-predictions.md")
    result = PredictionsFile(path)
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                _index_line(result, number, offset, line)
            offset += len(line)
    return result


def _index_line(index: PredictionsFile, number: int, offset: int, line: bytes) -> None:
    """Note where a sample's line begins, or why the line cannot count.

    Args:
        index: The index, which is extended.
        number: 1-based.
        offset: Of the line's first byte in the file.
        line: The line's bytes.
    """
    try:
        value = _fields(line)
    except DataError as error:
        meant_for = READABLE_ID.search(line)
        sample_id = meant_for and meant_for[1].decode(errors="replace")
        message = f"{error}; its sample counts as missing"
        index.problems.append(Problem(line=number, sample_id=sample_id, message=message))
        return
    slot: Slot = (value["sample_id"], value.get("repeat", 0))
    messages = [
        f"unknown field '{name}'{nearest(name, FIELDS)}; the field is ignored" for name in value if name not in FIELDS
    ]
    first, _ = index.lines.setdefault(slot, (number, offset))
    if first != number:
        messages.append(f"answered before on line {first}, which counts; this line is ignored")
    index.problems.extend(Problem(line=number, sample_id=slot[0], message=message) for message in messages)


def _fields(line: bytes) -> dict[str, Json]:
    """Return the object that a line holds.

    Raises:
        DataError: The line is no JSON object, or its sample id or repetition is missing or of the wrong type.
    """
    try:
        value = json.loads(line.strip())
    except json.JSONDecodeError as error:
        raise DataError(f"cannot be read as JSON ({error.msg}, column {error.colno})") from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"cannot be read as JSON ({error})") from None
    if not isinstance(value, dict):
        raise DataError(f"expected a JSON object, found {type(value).__name__}")
    if "sample_id" not in value:
        raise DataError("has no sample_id")
    sample_id, repeat = value["sample_id"], value.get("repeat", 0)
    if not isinstance(sample_id, str):
        raise DataError(f"sample_id: expected text, found {sample_id!r:.80}")
    if type(repeat) is not int or repeat < 0:  # JSON's true is an int in Python
        raise DataError(f"repeat: expected a whole number of at least 0, found {repeat!r:.80}")
    return value


def _answer(value: Mapping[str, Json], folder: Path) -> Answer:
    """Return the answer of one line as records; `answer_check.checked` judges their content.

    Raises:
        DataError: A part has another shape than its record.
    """
    status = value.get("status", "ok")
    if status not in STATUSES:
        raise DataError(f"status: expected one of {', '.join(STATUSES)}, found {status!r:.80}")
    if status in ("model_error", "timeout"):
        kind = "Timeout" if status == "timeout" else "HandedIn"
        return Answer(error=ErrorInfo(type=kind, message=f"handed in as {status}"))
    if status == "empty":
        return Answer()
    # Masks before entities: an entity may bring its mask along, and that is appended to those of the line.
    found = [_mask(item, f"masks[{index}]", folder) for index, item in enumerate(_list(value, "masks"))]
    entities = tuple(
        _entity(item, f"entities[{index}]", found, folder) for index, item in enumerate(_list(value, "entities"))
    )
    boxes = []
    for index, item in enumerate(_list(value, "boxes")):
        if not isinstance(item, list):
            raise DataError(f"boxes[{index}]: expected a list of numbers, found {type(item).__name__}")
        boxes.append(Box(corners=tuple(item)))
    return Answer(
        text=value.get("text"),
        choice=value.get("choice"),
        masks=tuple(found),
        grid=_grid(value.get("grid")),
        mask_scores=_list(value, "mask_scores"),
        entities=entities,
        boxes=tuple(boxes),
        nll=_list(value, "nll"),
        nll_tokens=_list(value, "nll_tokens"),
        embedding=_list(value, "embedding"),
        status=cast(AnswerStatus, status),
    )


def _list(value: Mapping[str, Json], name: str) -> list[Json]:
    items = value.get(name)
    if items is None:
        return []
    if not isinstance(items, list):
        raise DataError(f"{name}: expected a list, found {type(items).__name__}")
    return items


def _grid(value: Json) -> Grid | None:
    """Return the grid that the masks lie on; `answer_check.checked` judges its numbers."""
    if value is None:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("size"), list) or set(value) - {"size", "affine"}:
        raise DataError(f'grid: expected {{"size": [...]}} and perhaps "affine", found {value!r:.80}')
    affine = value.get("affine")
    return Grid(size=tuple(value["size"]), affine=tuple(affine) if isinstance(affine, list) else affine)


def mask_files_digest(path: Path) -> str | None:
    """Return the sha256 of the names and bytes of the mask files in a predictions file; None if it names none."""
    found: set[Path] = set()
    with path.open("rb") as file:
        for line in file:
            if b'"path"' in line:
                with suppress(ValueError):
                    found.update(_paths(json.loads(line)))
    files = {name.as_posix(): path.parent / name for name in found if (path.parent / name).is_file()}
    return digest({name: sha256_file(file) for name, file in files.items()}) if files else None


def _paths(value: Json) -> Iterator[Path]:
    """Yield every path below the predictions file's folder that a line holds, at any depth."""
    if isinstance(value, list):
        for item in value:
            yield from _paths(item)
    elif isinstance(value, dict):
        if isinstance(value.get("path"), str):
            with suppress(DataError):
                yield _below(Path(), value["path"], "")
        for item in value.values():
            yield from _paths(item)


def _mask(value: Json, where: str, folder: Path) -> Mask:
    if isinstance(value, dict) and "path" in value:
        return mask_files.read_file(_below(folder, value["path"], where), value.get("label"), where)
    return mask_files.from_json(value, where=where)


def _below(folder: Path, path: Json, where: str) -> Path:
    """Return the file below `folder`; absolute paths and `..` are refused."""
    # The file comes from outside: it must not make the harness read other files of this machine.
    if not isinstance(path, str) or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise DataError(f"{where}.path: expected a path below the predictions file's folder, found {path!r:.80}")
    return folder / path


def _entity(value: Json, where: str, found: list[Mask], folder: Path) -> PredictedEntity:
    """Return the named entity; a mask that is given in place of an index is appended to `found`."""
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise DataError(f'{where}: expected {{"name": text, "mask": index, mask or null}}, found {value!r:.80}')
    mask = value.get("mask")
    if isinstance(mask, dict | list):
        found.append(_mask(mask, f"{where}.mask", folder))
        mask = len(found) - 1
    return PredictedEntity(name=value["name"], mask=mask)


def _refuse(message: str) -> Answer:
    return Answer(error=ErrorInfo(type="DataError", message=message))


class Predictions:
    """Adapter that answers each request with its sample's line of a predictions file.

    Args:
        file: JSON lines, one object per sample and repetition.
    """

    def __init__(self, file: str) -> None:
        self.path = Path(file).resolve()
        self.file: PredictionsFile | None = None

    @property
    def version(self) -> str:
        """The adapter's version and, if the file names mask files, the digest of their names and bytes."""
        masks = mask_files_digest(self.path) if self.path.is_file() else None
        return "1" if masks is None else f"1+{masks}"

    def capabilities(self) -> Capabilities:
        """Anything may have been asked and answered."""
        return Capabilities(
            takes=frozenset({"text", "image", "images", "volume", "point", "box", "region"}),
            gives=frozenset({"text", "masks", "boxes", "nll", "embedding"}),
            max_images=1000,
            max_batch=1024,
            batch_invariant=True,
            per_sample=True,
            # The file is the model: its bytes are digested as weights are.
            weights=(str(self.path),),
        )

    def load(self, device: str) -> None:  # noqa: ARG002 - there is nothing to place on a device
        """Index the file."""
        self.file = read(self.path)

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
        submitted = self.file or read(self.path)
        return sorted([*submitted.problems, *submitted.unknown(slots)], key=lambda problem: problem.line)
