"""One stored prediction of a bundle: every field of the type that a scorer expects, so that none can break it."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from harness.records import PREDICTION_STATUSES

MOST_TEXT = 500_000  # characters, as of a predictions file
MOST_WORDS = 10_000  # of an error and of remarks
KEY = re.compile(r"[0-9a-f]{64}")
SPARE = 16  # characters of run lengths beyond the number of pixels, for numbers that take several
MASK_FIELDS = ("masks", "soft_masks")


def check_line(value: Mapping[str, Any]) -> tuple[str, ...]:
    """Check one line of predictions, its checksum excepted; return the digest of the masks that it names elsewhere.

    Raises:
        ValueError: A field is unknown, or has another type or an over-long text.
    """
    for name, found in value.items():
        if name not in FIELDS:
            raise ValueError(f"{name[:80]!r}: is no field of a prediction in a bundle")
        if not FIELDS[name](found):
            raise ValueError(f"{name}: has another type than a prediction has, or is too long")
    for name in ("key", "status", "crc32"):
        if name not in value:
            raise ValueError(f"{name}: is missing")
    if ("masks_blob" in value) != ("masks_blob_bytes" in value):
        raise ValueError("masks_blob: expected its size beside it")
    if "masks_blob" in value and any(name in value for name in MASK_FIELDS):
        raise ValueError("masks_blob: expected no masks in the line itself")
    return (value["masks_blob"],) if "masks_blob" in value else ()


def check_masks(value: Any) -> None:
    """Check the content of a file of masks: a list of masks, or an object with `masks` and `soft_masks`.

    Raises:
        ValueError: It is neither.
    """
    moved = {"masks": value} if isinstance(value, list) else value
    if not isinstance(moved, dict) or not moved.keys() <= {*MASK_FIELDS}:
        raise ValueError("expected masks")
    for name, found in moved.items():
        if not FIELDS[name](found):
            raise ValueError(f"{name}: expected masks as run lengths or as probabilities")


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number that a float can hold."""
    # To Python, true is the number 1; an integer of 400 digits cannot be made a float.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e300 if isinstance(value, int) else math.isfinite(value)


def is_whole(value: Any) -> bool:
    """Return whether a value is a whole number of a size that counts have."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def _text(most: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and len(value) <= most


def _optional(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


def _list_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _object(**fields: tuple[Callable[[Any], bool], bool]) -> Callable[[Any], bool]:
    """Return a check of an object with these fields, each (check, required)."""

    def check(value: Any) -> bool:
        if not isinstance(value, dict) or not value.keys() <= fields.keys():
            return False
        return all(test(value[name]) if name in value else not required for name, (test, required) in fields.items())

    return check


def _is_size(value: Any) -> bool:
    return isinstance(value, list) and len(value) in (2, 3) and all(is_whole(one) and one > 0 for one in value)


def _is_mask(value: Any) -> bool:
    if not isinstance(value, dict) or not _is_size(value.get("size")):
        return False
    # A character of run lengths stands for at least one pixel.
    *_, height, width = value["size"]
    most = height * width + SPARE
    if value.keys() == {"size", "counts"}:
        return isinstance(value["counts"], str) and len(value["counts"]) <= most
    slices = value.get("slices")
    if value.keys() != {"size", "slices"} or not isinstance(slices, dict) or len(value["size"]) != 3:
        return False
    return all(
        re.fullmatch(r"[0-9]{1,6}", index)
        and int(index) < value["size"][0]
        and isinstance(counts, str)
        and len(counts) <= most
        for index, counts in slices.items()
    )


_numbers = _list_of(is_number)
_box = _object(corners=(lambda value: _numbers(value) and len(value) in (4, 6), True))
_soft_mask = _object(size=(_is_size, True), levels=(_numbers, False), data=(_text(1 << 26), True))
_grid = _object(size=(_is_size, True), affine=(_optional(_numbers), False))
_span = _optional(lambda value: _list_of(is_whole)(value) and len(value) == 2)
_entity = _object(name=(_text(MOST_WORDS), True), span=(_span, False), mask=(_optional(is_whole), False))
_error = _object(type=(_text(500), True), message=(_text(MOST_WORDS), True), traceback=(_text(0), False))

# The fields of a stored prediction; `rendered` and tracebacks are not among those of a bundle.
FIELDS: Mapping[str, Callable[[Any], bool]] = {
    "key": lambda value: isinstance(value, str) and KEY.fullmatch(value) is not None,
    "status": lambda value: isinstance(value, str) and value in PREDICTION_STATUSES,
    "text": _optional(_text(MOST_TEXT)),
    "choice": _optional(_text(100)),
    "masks": _list_of(_is_mask),
    "soft_masks": _list_of(_soft_mask),
    "grid": _optional(_grid),
    "mask_scores": _numbers,
    "boxes": _list_of(_box),
    "points": _list_of(_numbers),
    "entities": _list_of(_entity),
    "nll": _numbers,
    "nll_tokens": _list_of(is_whole),
    "embedding": _list_of(_numbers),
    "seconds": is_number,
    "usage": lambda value: isinstance(value, dict) and all(map(is_number, value.values())) and len(value) <= 100,
    "error": _optional(_error),
    "remarks": _list_of(_text(MOST_WORDS)),
    "read_as": _optional(_text(500)),
    "masks_blob": lambda value: isinstance(value, str) and KEY.fullmatch(value) is not None,
    "masks_blob_bytes": is_whole,
    "crc32": lambda value: isinstance(value, str) and re.fullmatch(r"[0-9a-f]{8}", value) is not None,
}
