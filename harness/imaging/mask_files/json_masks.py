"""Masks as JSON: run lengths, or nested lists of 0 and 1."""

from collections.abc import Mapping

import numpy as np

from harness.errors import DataError
from harness.imaging.masks import area, check_extent, checked_counts, encode
from harness.records import Json, Mask, Size
from harness.records.codec import mask_to_json


def to_json(mask: Mask) -> dict[str, Json]:
    """Return `{"size": [H, W], "counts": str}` or `{"size": [D, H, W], "slices": {"17": str, ...}}`."""
    return mask_to_json(mask)


def from_json(value: Json, *, where: str, check: bool = True) -> Mask:
    """Return the mask that a JSON value holds.

    Args:
        value: An object as `to_json` writes it, the same with run lengths as lists, or nested lists of 0 and 1 as
            (H, W) or (D, H, W).
        where: File and line, or sample; begins every message.
        check: Whether to verify every run length; False only for masks that the harness itself wrote.
    Raises:
        DataError: The value has another form (`{"path": ...}` is for `read_file`), or its runs do not fit its size.
    """
    if not check:
        size = tuple(value["size"])
        if "counts" in value:
            return Mask(size=size, counts=value["counts"])
        return Mask(size=size, slices=tuple(sorted((int(index), counts) for index, counts in value["slices"].items())))
    if isinstance(value, list):
        try:
            nested = np.array(value)
        except ValueError:
            message = f"{where}: expected nested lists with rows of one length, found rows that differ"
            raise DataError(message) from None
        return encode(nested, where=where)
    if not isinstance(value, dict):
        raise DataError(f"{where}: expected a mask as an object or as nested lists, found {type(value).__name__}")
    kinds = [key for key in ("counts", "slices", "path") if key in value]
    if len(kinds) != 1:
        found = ", ".join(map(repr, value)) or "no key"
        raise DataError(f"{where}: expected a mask with one of 'counts', 'slices' and 'path', found {found}")
    if kinds == ["path"]:
        raise DataError(f"{where}: expected run lengths, found a mask in a file of its own, {value['path']!r}")
    if kinds == ["slices"]:
        return _from_slices(value, where)
    size = _json_size(value, 2, where)
    return Mask(size=size, counts=checked_counts(value["counts"], size, f"{where}: counts"))


def _from_slices(value: Mapping[str, Json], where: str) -> Mask:
    size = _json_size(value, 3, where)
    if not isinstance(value["slices"], dict):
        raise DataError(f"{where}: slices: expected an object, found {type(value['slices']).__name__}")
    planes = {}
    for key, counts in value["slices"].items():
        # Also refuses `01`, which would name slice 1 a second time.
        if not (key.isascii() and key.isdigit() and len(key) < 10 and str(int(key)) == key and int(key) < size[0]):
            raise DataError(f"{where}: slices: expected indices '0' to '{size[0] - 1}', found '{key}'")
        planes[int(key)] = checked_counts(counts, size[1:], f"{where}: slices['{key}']")
    # Empty slices are left out, so that one mask has one form and equal masks compare equal.
    filled = ((index, counts) for index, counts in sorted(planes.items()) if area(Mask(size=size[1:], counts=counts)))
    return Mask(size=size, slices=tuple(filled))


def _json_size(value: Mapping[str, Json], axes: int, where: str) -> Size:
    size = value.get("size")
    if not isinstance(size, list) or len(size) != axes or not all(type(length) is int for length in size):
        order = "[H, W]" if axes == 2 else "[D, H, W]"
        raise DataError(f"{where}: size: expected {order} as integers, found {size!r}")
    check_extent(tuple(size), f"{where}: size")
    return tuple(size)
