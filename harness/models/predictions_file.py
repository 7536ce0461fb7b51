"""Predictions that somebody hands in as JSON lines: reading them, and naming every line that is not as it should be."""

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

READABLE_ID = re.compile(rb'"sample_id"\s*:\s*"([^"\\]+)"')
"""Finds the sample a broken line was meant for, to name it."""

Slot = tuple[str, int]
"""Sample id and repetition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something wrong with a line of a predictions file.

    Attributes:
        line: 1-based.
        sample_id: Where one could be read.
        message: What is wrong and what it counts as.
    """

    line: int
    sample_id: str | None
    message: str

    def __str__(self) -> str:
        words = [f"line {self.line}", self.sample_id, self.message]
        return ": ".join(word for word in words if word is not None)


@dataclass(slots=True)
class SubmittedPredictions:
    """An indexed predictions file: where each sample's line is, and what is wrong with the others.

    Attributes:
        path: The file.
        lines: (line number, byte offset) of the line that counts for each sample and repetition.
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
        """Return what the file answers to a request, or an answer whose error names the line.

        Args:
            request: With its `sample_id`.
            file: The open file.
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


def read(path: Path) -> SubmittedPredictions:
    """Return the index of a predictions file; what is wrong with it is listed, not raised.

    Raises:
        DataError: The file does not exist.
    """
    if not path.is_file():
        raise DataError(f"--predictions {path}: no such file; expected JSON lines, see docs/hand-in-predictions.md")
    result = SubmittedPredictions(path)
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                _index_line(result, number, offset, line)
            offset += len(line)
    return result


def _index_line(hand_in: SubmittedPredictions, number: int, offset: int, line: bytes) -> None:
    """Note where a sample's line is, or why the line cannot count."""

    def note(message: str, sample_id: str | None) -> None:
        hand_in.problems.append(Problem(line=number, sample_id=sample_id, message=message))

    try:
        value = _object(line)
        slot = _slot(value)
    except DataError as error:
        meant_for = READABLE_ID.search(line)
        note(f"{error}; its sample counts as missing", meant_for and meant_for[1].decode(errors="replace"))
        return
    for unknown in [key for key in value if key not in FIELDS]:
        note(f"unknown field '{unknown}'{nearest(unknown, FIELDS)}; the field is ignored", slot[0])
    first, _ = hand_in.lines.setdefault(slot, (number, offset))
    if first != number:
        note(f"answered before on line {first}, which counts; this line is ignored", slot[0])


def _object(line: bytes) -> dict[str, Json]:
    try:
        value = json.loads(line.strip())
    except json.JSONDecodeError as error:
        raise DataError(f"cannot be read as JSON ({error.msg}, column {error.colno})") from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"cannot be read as JSON ({error})") from None
    if not isinstance(value, dict):
        raise DataError(f"expected a JSON object, found {type(value).__name__}")
    return value


def _slot(value: Mapping[str, Json]) -> Slot:
    if "sample_id" not in value:
        raise DataError("has no sample_id")
    sample_id, repeat = value["sample_id"], value.get("repeat", 0)
    if not isinstance(sample_id, str):
        raise DataError(f"sample_id: expected text, found {sample_id!r:.80}")
    if type(repeat) is not int or repeat < 0:
        raise DataError(f"repeat: expected a whole number of at least 0, found {repeat!r:.80}")
    return sample_id, repeat


def _answer(value: Mapping[str, Json], folder: Path) -> Answer:
    """Return the answer of one line as records; `answers.checked` looks at what is in them.

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
    found = [_mask(item, f"masks[{index}]", folder) for index, item in enumerate(_list(value, "masks"))]
    entities = tuple(
        _entity(item, f"entities[{index}]", found, folder) for index, item in enumerate(_list(value, "entities"))
    )
    return Answer(
        text=value.get("text"),
        choice=value.get("choice"),
        masks=tuple(found),
        grid=_grid(value.get("grid")),
        mask_scores=_list(value, "mask_scores"),
        entities=entities,
        boxes=tuple(_box(item, f"boxes[{index}]") for index, item in enumerate(_list(value, "boxes"))),
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
    """Return the grid that masks lie on; `answers.checked` looks at its numbers."""
    if value is None:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("size"), list) or set(value) - {"size", "affine"}:
        raise DataError(f'grid: expected {{"size": [...]}} and perhaps "affine", found {value!r:.80}')
    affine = value.get("affine")
    return Grid(size=tuple(value["size"]), affine=tuple(affine) if isinstance(affine, list) else affine)


def _box(value: Json, where: str) -> Box:
    if not isinstance(value, list):
        raise DataError(f"{where}: expected a list of numbers, found {type(value).__name__}")
    return Box(corners=tuple(value))


def mask_files_digest(path: Path) -> str | None:
    """Return the digest of the names and bytes of all mask files that a predictions file names; None without any."""
    found: set[Path] = set()
    with path.open("rb") as file:
        for line in file:
            if b'"path"' in line:
                with suppress(ValueError):
                    found.update(_paths(json.loads(line)))
    files = {name.as_posix(): path.parent / name for name in found if (path.parent / name).is_file()}
    return digest({name: sha256_file(file) for name, file in files.items()}) if files else None


def _paths(value: Json) -> Iterator[Path]:
    """Yield every path below the predictions file's folder that stands in a line, at any depth."""
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
    if not isinstance(path, str) or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise DataError(f"{where}.path: expected a path below the predictions file's folder, found {path!r:.80}")
    return folder / path


def _entity(value: Json, where: str, found: list[Mask], folder: Path) -> PredictedEntity:
    """Return the named entity; a mask given in place is appended to `found`."""
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
    """Answers each sample with its line of a predictions file.

    Args:
        file: JSON lines, one object a sample.
    """

    def __init__(self, file: str) -> None:
        self.path = Path(file).resolve()
        self.hand_in: SubmittedPredictions | None = None

    @property
    def version(self) -> str:
        """The adapter's version and, where the file names mask files, the digest of their names and bytes."""
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
            weights=(str(self.path),),
        )

    def load(self, device: str) -> None:  # noqa: ARG002 - there is nothing to place on a device
        """Index the file."""
        self.hand_in = read(self.path)

    def predict(self, requests: Sequence[Request]) -> list[Answer]:
        """Look each sample up."""
        assert self.hand_in is not None
        with self.path.open("rb") as file:
            return [self.hand_in.answer(request, file) for request in requests]
