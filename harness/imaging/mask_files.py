"""Reading of masks from JSON, PNG and NIfTI, and writing to JSON. This is where masks from outside are checked."""

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


def read_file(path: Path | str, label: int | None, where: str) -> Mask:
    """Return the mask that an image or volume file holds.

    Args:
        path: A `.png` with one channel, a palette or equal channels, which gives (H, W) in its stored frame; or a
            `.nii` or `.nii.gz`, which is brought to the closest RAS+ orientation by flips and permutations and gives
            (D, H, W) = (z, y, x).
        label: The value >= 1 that is foreground; None means every value >= 1.
        where: File and line, or sample; begins every message.
    Raises:
        DataError: The file is missing, unreadable, too large or not a mask, the label is not an integer >= 1, or
            nibabel is not installed.
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


# --- files


def _read_png(file: Path, where: str) -> NDArray[Any]:
    """Return the stored values of a PNG as (H, W); alpha is dropped."""
    try:
        with Image.open(file) as image:
            # The header is read before the pixels, so that a file that claims a huge size is refused cheaply.
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
    """Return the values of a NIfTI file as (z, y, x) in the orientation closest to RAS+."""
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
