"""Predictions that somebody hands in as JSON lines: reading them, and naming every line that is not as it should be."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from harness import masks
from harness.errors import DataError, nearest
from harness.records import Answer, Box, ErrorInfo, Json, Mask, PredictedEntity, Size

FIELDS = (
    "sample_id",
    "text",
    "choice",
    "masks",
    "mask_scores",
    "entities",
    "boxes",
    "nll",
    "embedding",
    "status",
    "repeat",
)
STATUSES = ("ok", "truncated", "refused", "empty", "model_error", "timeout")

Slot = tuple[str, int]
"""Sample id and repetition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something wrong with a predictions file.

    Attributes:
        line: 1-based; None for an id that no line has.
        sample_id: Where one could be read.
        message: What is wrong and what it counts as.
    """

    line: int | None
    sample_id: str | None
    message: str

    def __str__(self) -> str:
        where = f"line {self.line}" if self.line is not None else "no line"
        return f"{where}: {self.message}" if self.sample_id is None else f"{where}: {self.sample_id}: {self.message}"


@dataclass(slots=True)
class HandIn:
    """An indexed predictions file: where each sample's line is, and what is wrong with the others.

    Attributes:
        path: The file.
        lines: (line number, byte offset) of the line that counts for each sample and repetition.
        problems: Broken lines, duplicates, unknown fields, in file order.
    """

    path: Path
    lines: dict[Slot, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def unknown(self, slots: Mapping[Slot, Size]) -> Iterator[Problem]:
        """Yield a problem for every line whose sample id no task of the run has."""
        for (sample_id, repeat), (number, _) in self.lines.items():
            if (sample_id, repeat) not in slots:
                what = f"repeat {repeat} of this sample" if (sample_id, 0) in slots else "this id"
                yield Problem(
                    line=number, sample_id=sample_id, message=f"the tasks of this run have not {what}; ignored"
                )

    def answer(self, slot: Slot, size: Size, file: BinaryIO) -> Answer:
        """Return what the file answers for one sample, or an answer whose error names the line.

        Args:
            size: (H, W) or (D, H, W) of the sample's image; empty where it has none.
            file: The open file.
        """
        if slot not in self.lines:
            return _refuse(f"{self.path.name}: no line for {slot[0]}" + (f", repeat {slot[1]}" if slot[1] else ""))
        number, offset = self.lines[slot]
        file.seek(offset)
        where = f"{self.path.name}:{number}: {slot[0]}"
        try:
            return _answer(json.loads(file.readline()), size, where, self.path.parent)
        except DataError as error:
            return _refuse(str(error))


def read(path: Path) -> HandIn:
    """Return the index of a predictions file; what is wrong with it is listed, not raised.

    Raises:
        DataError: The file does not exist.
    """
    if not path.is_file():
        raise DataError(f"--predictions {path}: no such file; expected JSON lines, see docs/hand-in-predictions.md")
    result = HandIn(path)
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                _index_line(result, number, offset, line)
            offset += len(line)
    return result


def _index_line(hand_in: HandIn, number: int, offset: int, line: bytes) -> None:
    try:
        value = json.loads(line)
        if not isinstance(value, dict):
            raise ValueError(f"expected an object, found {type(value).__name__}")
    except ValueError as error:
        message = f"cannot be read as JSON ({error}); its sample counts as missing"
        hand_in.problems.append(Problem(line=number, sample_id=None, message=message))
        return
    sample_id = value.get("sample_id")
    repeat = value.get("repeat", 0)
    if not isinstance(sample_id, str) or not isinstance(repeat, int):
        message = 'expected "sample_id" as text and "repeat" as a whole number; its sample counts as missing'
        hand_in.problems.append(Problem(line=number, sample_id=None, message=message))
        return
    for unknown in [key for key in value if key not in FIELDS]:
        message = f"unknown field '{unknown}'{nearest(unknown, FIELDS)}; the field is ignored"
        hand_in.problems.append(Problem(line=number, sample_id=sample_id, message=message))
    first = hand_in.lines.setdefault((sample_id, repeat), (number, offset))
    if first[0] != number:
        message = f"answered before on line {first[0]}, which counts"
        hand_in.problems.append(Problem(line=number, sample_id=sample_id, message=message))


def _answer(value: Mapping[str, Json], size: Size, where: str, folder: Path) -> Answer:
    """Return the answer of one line, every part checked.

    Raises:
        DataError: A part is malformed.
    """
    status = value.get("status", "ok")
    if status not in STATUSES:
        raise DataError(f"{where}: status: expected one of {', '.join(STATUSES)}, found {status!r}")
    if status in ("model_error", "timeout"):
        kind = "Timeout" if status == "timeout" else "HandedIn"
        return Answer(error=ErrorInfo(type=kind, message=f"{where}: handed in as {status}"))
    found = [
        _mask(item, size, f"{where}: masks[{index}]", folder) for index, item in enumerate(_list(value, "masks", where))
    ]
    entities = _entities(value, found, size, where, folder)
    return Answer(
        text=_text(value, "text", where),
        choice=_text(value, "choice", where),
        masks=tuple(found),
        mask_scores=_numbers(_list(value, "mask_scores", where), f"{where}: mask_scores"),
        entities=entities,
        boxes=tuple(
            Box(corners=_numbers(item, f"{where}: boxes[{index}]"))
            for index, item in enumerate(_list(value, "boxes", where))
        ),
        nll=_numbers(_list(value, "nll", where), f"{where}: nll"),
        embedding=tuple(_numbers(item, f"{where}: embedding") for item in _list(value, "embedding", where)),
        status="ok" if status == "empty" else cast(Any, status),
    )


def _text(value: Mapping[str, Json], name: str, where: str) -> str | None:
    text = value.get(name)
    if text is not None and not isinstance(text, str):
        raise DataError(f"{where}: {name}: expected text, found {text!r}")
    return text


def _list(value: Mapping[str, Json], name: str, where: str) -> list[Json]:
    items = value.get(name)
    if items is None:
        return []
    if not isinstance(items, list):
        raise DataError(f"{where}: {name}: expected a list, found {type(items).__name__}")
    return items


def _numbers(items: Json, where: str) -> tuple[float, ...]:
    if not isinstance(items, list):
        raise DataError(f"{where}: expected a list of numbers, found {type(items).__name__}")
    for item in items:
        if isinstance(item, bool) or not isinstance(item, int | float) or not math.isfinite(item):
            raise DataError(f"{where}: expected finite numbers, found {item!r}")
    return tuple(float(item) for item in items)


def _mask(value: Json, size: Size, where: str, folder: Path) -> Mask:
    if isinstance(value, dict) and "path" in value:
        mask = masks.read_file(_below(folder, value["path"], where), value.get("label"), where)
    else:
        mask = masks.from_json(value, where=where)
    if size:
        masks.check_size(mask, size, where)
    return mask


def _below(folder: Path, path: Json, where: str) -> Path:
    """Return the file below `folder`; absolute paths and `..` are refused."""
    if not isinstance(path, str) or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise DataError(f"{where}: path: expected a path below the predictions file's folder, found {path!r}")
    return folder / path


def _entities(
    value: Mapping[str, Json], found: list[Mask], size: Size, where: str, folder: Path
) -> tuple[PredictedEntity, ...]:
    """Return the named entities; a mask given in place is appended to `found`."""
    result = []
    for index, item in enumerate(_list(value, "entities", where)):
        place = f"{where}: entities[{index}]"
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise DataError(f'{place}: expected {{"name": text, "mask": index, mask or null}}, found {item!r}')
        mask = item.get("mask")
        if isinstance(mask, dict | list):
            found.append(_mask(mask, size, f"{place}.mask", folder))
            mask = len(found) - 1
        if mask is not None and (not isinstance(mask, int) or not 0 <= mask < len(found)):
            raise DataError(f"{place}.mask: expected an index below {len(found)} or null, found {mask!r}")
        result.append(PredictedEntity(name=item["name"], mask=mask))
    return tuple(result)


def _refuse(message: str) -> Answer:
    return Answer(error=ErrorInfo(type="HandedIn", message=message))
