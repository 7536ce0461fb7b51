"""Masks from JSON, PNG and NIfTI, and back to JSON."""

import zlib
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.errors import DataError
from harness.imaging.masks import area, check_extent, checked_counts, encode
from harness.records import Json, Mask, Size


def to_json(mask: Mask) -> dict[str, Json]:
    """Return `{"size": [H, W], "counts": str}` or `{"size": [D, H, W], "slices": {"17": str, ...}}`."""
    if mask.slices is None:
        return {"size": list(mask.size), "counts": mask.counts}
    return {"size": list(mask.size), "slices": {str(index): counts for index, counts in mask.slices}}


def from_json(value: Json, *, where: str, check: bool = True) -> Mask:
    """Return the mask that a JSON value holds.

    Args:
        value: What `to_json` writes, the same with run lengths as lists, or nested lists of 0 and 1 (2-D or 3-D).
        where: File and line, or sample; begins every message.
        check: Verify every run length. False only for what `to_json` wrote and the harness itself stored.
    Raises:
        DataError: The value is none of these (`{"path": ...}` is for `read_file`), or its runs do not fit its size.
    """
    if not check:
        return _stored(value)
    if isinstance(value, list):
        return encode(_nested(value, where), where=where)
    if not isinstance(value, dict):
        raise DataError(f"{where}: expected a mask as an object or as nested lists, found {type(value).__name__}")
    kinds = [key for key in ("counts", "slices", "path") if key in value]
    if len(kinds) != 1:
        found = ", ".join(map(repr, value)) or "no key"
        raise DataError(f"{where}: expected a mask with one of 'counts', 'slices' and 'path', found {found}")
    if kinds == ["path"]:
        raise DataError(f"{where}: expected run lengths, found a mask in a file of its own, {value['path']!r}")
    return _from_counts(value, where) if kinds == ["counts"] else _from_slices(value, where)


def read_file(path: Path | str, label: int | None, where: str) -> Mask:
    """Return the mask that an image or volume file holds.

    Args:
        path: `.png` with one channel, a palette or equal channels, in its stored frame; or `.nii`, `.nii.gz`, which is
            brought to the closest RAS+ orientation by flips and permutations and held as (z, y, x).
        label: The value >= 1 that is foreground; None means every value >= 1.
        where: Begins every message.
    Raises:
        DataError: The file is missing, unreadable, too large or not a mask, the label is no integer >= 1, or nibabel
            is not installed.
    """
    if label is not None and (type(label) is not int or label < 1):
        raise DataError(f"{where}: label: expected an integer >= 1, found {label!r}")
    file = Path(path)
    if not file.is_file():
        raise DataError(f"{where}: mask file {file.name} is missing; expected it at {file}")
    if file.name.lower().endswith(".png"):
        values = _read_png(file, where)
    elif file.name.lower().endswith((".nii", ".nii.gz")):
        values = _read_nifti(file, where)
    else:
        raise DataError(f"{where}: expected a mask file .png, .nii or .nii.gz, found {file.name}")
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise DataError(f"{where}: {file.name}: expected labels, found NaN")
    return encode(values >= 1 if label is None else values == label, where=where)


# --- JSON


def _stored(value: Mapping[str, Json]) -> Mask:
    size = tuple(value["size"])
    if "counts" in value:
        return Mask(size=size, counts=value["counts"])
    return Mask(size=size, slices=tuple(sorted((int(index), counts) for index, counts in value["slices"].items())))


def _nested(value: Json, where: str) -> NDArray[Any]:
    try:
        return np.array(value)
    except ValueError:
        raise DataError(f"{where}: expected nested lists with rows of one length, found rows that differ") from None


def _from_counts(value: Mapping[str, Json], where: str) -> Mask:
    size = _json_size(value, 2, where)
    return Mask(size=size, counts=checked_counts(value["counts"], size, f"{where}: counts"))


def _from_slices(value: Mapping[str, Json], where: str) -> Mask:
    size = _json_size(value, 3, where)
    if not isinstance(value["slices"], dict):
        raise DataError(f"{where}: slices: expected an object, found {type(value['slices']).__name__}")
    planes = {
        _slice_index(key, size[0], where): checked_counts(counts, size[1:], f"{where}: slices['{key}']")
        for key, counts in value["slices"].items()
    }
    filled = ((index, counts) for index, counts in sorted(planes.items()) if area(Mask(size=size[1:], counts=counts)))
    return Mask(size=size, slices=tuple(filled))


def _json_size(value: Mapping[str, Json], axes: int, where: str) -> Size:
    size = value.get("size")
    if not isinstance(size, list) or len(size) != axes or not all(type(length) is int for length in size):
        order = "[H, W]" if axes == 2 else "[D, H, W]"
        raise DataError(f"{where}: size: expected {order} as integers, found {size!r}")
    check_extent(tuple(size), f"{where}: size")
    return tuple(size)


def _slice_index(key: str, depth: int, where: str) -> int:
    """Return the index a key names; `01` is refused, since it would name slice 1 a second time."""
    if not (key.isascii() and key.isdigit() and len(key) < 10 and str(int(key)) == key and int(key) < depth):
        raise DataError(f"{where}: slices: expected indices '0' to '{depth - 1}', found '{key}'")
    return int(key)


# --- files


def _read_png(file: Path, where: str) -> NDArray[Any]:
    try:
        with Image.open(file) as image:
            check_extent(image.size[::-1], f"{where}: {file.name}")
            values = np.asarray(image)
    except (OSError, SyntaxError, ValueError, zlib.error, Image.DecompressionBombError) as error:
        raise DataError(f"{where}: mask file {file.name} cannot be read as an image: {error}") from error
    if values.ndim == 2:
        return values
    colours = values[..., : 3 if values.shape[-1] > 2 else 1]
    if (colours != colours[..., :1]).any():
        raise DataError(
            f"{where}: {file.name}: expected one channel or equal ones, found {values.shape[-1]} that differ"
        )
    return values[..., 0]


def _read_nifti(file: Path, where: str) -> NDArray[Any]:
    try:
        nibabel: Any = import_module("nibabel")  # heavy, optional, and only partly typed
    except ImportError as error:
        raise DataError(f"{where}: {file.name} needs nibabel; pip install 'medground[medical]'") from error
    try:
        image = nibabel.load(file)
        if len(image.shape) != 3:
            raise DataError(f"{where}: {file.name}: expected a volume with 3 axes, found shape {image.shape}")
        check_extent(image.shape, f"{where}: {file.name}")
        return np.asarray(nibabel.as_closest_canonical(image).dataobj).transpose(2, 1, 0)
    except (OSError, EOFError, ValueError, zlib.error, nibabel.filebasedimages.ImageFileError) as error:
        raise DataError(f"{where}: mask file {file.name} cannot be read as NIfTI: {error}") from error
