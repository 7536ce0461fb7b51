"""Inspection of M3D-Seg's masks: one class of one volume, or all classes as a sparse matrix."""

import io
import zipfile
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.images import MISSING, ReleaseMask
from harness.errors import DataError
from harness.imaging.mask_files.values import read_values
from harness.imaging.masks import area, empty, encode
from harness.imaging.volumes import NPY_DAMAGED, VOXEL_CAP, npy_fault
from harness.records import Json, Mask, Size
from harness.records.codec import mask_from_json, mask_to_json, to_json

MOST_SPARSE_BYTES = 2**33  # in a sparse matrix once unpacked: 8 GiB, so that a crafted archive cannot fill the memory
_ABSENT = (1, 1, 1, 1)  # shape of the mask of a class that a prepared volume does not show


def inspect_class(files: ReleaseFiles, path: str, size: Size, integrity: Integrity) -> ReleaseMask:
    """Return a prepared mask; that of an absent class, which is a single voxel of 0, becomes an empty mask.

    Args:
        files: The release.
        path: An npy file with (1, D, H, W) below the data root.
        size: (D, H, W) of the volume in voxels; empty if it could not be read.
        integrity: The report.
    """
    found = _inspected(files, "class mask by value", path, lambda: _class_facts(files.path(path)), integrity)
    if isinstance(found, str):
        return ReleaseMask(defect=found)
    if found["mask"] is None:
        return _release_mask(empty(size) if size else None, path, size, integrity)
    return _release_mask(mask_from_json(found["mask"]), path, size, integrity)


def inspect_sparse(
    files: ReleaseFiles, path: str, shape: tuple[int, int, int, int], size: Size, integrity: Integrity
) -> tuple[ReleaseMask, ...] | str:
    """Return the mask of each class of a raw file, by its index, or why the file cannot be used.

    Args:
        files: The release.
        path: An npz file below the data root, with a matrix of compressed rows, one row per class.
        shape: (classes, X, Y, Z) of the dense array, as in the file's name.
        size: (D, H, W) = (Z, Y, X) of the volume in voxels; empty if it could not be read.
        integrity: The report.
    """
    # The matrix has two dimensions; only the file's name gives the other two, as in the released code.
    found = _inspected(
        files, ["sparse mask by value", list(shape)], path, lambda: _sparse_facts(files.path(path), shape), integrity
    )
    if isinstance(found, str):
        return found
    masks = (mask_from_json(mask) for mask in found["masks"])
    return tuple(_release_mask(mask, f"{path}: class {index}", size, integrity) for index, mask in enumerate(masks))


def _inspected(files: ReleaseFiles, what: Json, path: str, facts: Callable[[], Json], integrity: Integrity) -> Json:
    """Return the facts of a file, or as text why it cannot be used, which is reported too."""
    try:
        found = files.once(what, path, lambda: facts() if files.has(path) else MISSING)
    except DataError as error:
        integrity.find("unreadable_file", path, str(error).partition(": ")[2])
        return f"mask {path} cannot be read"
    if found == MISSING:
        integrity.find("missing_file", path)
        return f"mask {path} is missing"
    for kind, detail in found["notes"]:
        integrity.find(kind, path, detail)
    return found


def _release_mask(mask: Mask | None, where: str, size: Size, integrity: Integrity) -> ReleaseMask:
    if mask is None or not size:
        return ReleaseMask(defect=f"mask {where} has no volume to lie on")
    if mask.size != size:
        integrity.find("size_mismatch", where, f"mask is {mask.size}, volume is {size} as (D, H, W)")
        return ReleaseMask(defect=f"mask {where} is {mask.size}, its volume {size} as (D, H, W)")
    return ReleaseMask(mask=mask, area=area(mask))


def _class_facts(path: Path) -> Json:
    stored = _read_array(path)
    if stored.shape == _ABSENT and not stored.any():
        return {"mask": None, "notes": []}
    if stored.ndim not in (3, 4) or (stored.ndim == 4 and stored.shape[0] != 1):
        raise DataError(f"{path.name}: expected a mask (1, D, H, W), found shape {stored.shape}")
    read = read_values(stored.reshape(stored.shape[-3:]), where=path.name, named=())
    return to_json({"mask": mask_to_json(encode(read.labels > 0, where=path.name)), "notes": read.notes})


def _read_array(path: Path) -> NDArray[Any]:
    try:
        stored: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except NPY_DAMAGED as error:
        raise DataError(f"{path.name}: cannot be read as npy: {npy_fault(error)}") from error
    if stored.dtype.kind not in "biuf" or prod(stored.shape) > VOXEL_CAP:
        raise DataError(
            f"{path.name}: expected at most {VOXEL_CAP} numbers, found {stored.dtype} of shape {stored.shape}"
        )
    return stored


def _sparse_facts(path: Path, shape: tuple[int, int, int, int]) -> Json:
    """Return the masks of all rows, made dense one row at a time."""
    classes, *extent = shape
    starts, columns, values = _read_rows(path, (classes, prod(extent)))
    found: list[Json] = []
    # Values without their places: whether they lie in edges or areas is not asked, so that every value above 0 counts.
    read = read_values(values[np.newaxis], where=path.name, named=None)
    foreground = read.labels[0] > 0
    for row in range(classes):
        own = slice(int(starts[row]), int(starts[row + 1]))
        dense = np.zeros(prod(extent), dtype=np.bool_)
        dense[columns[own][foreground[own]]] = True
        # (X, Y, Z) as stored becomes (Z, Y, X), which is (D, H, W).
        found.append(mask_to_json(encode(dense.reshape(extent).T, where=path.name)))
    return to_json({"masks": found, "notes": read.notes})


def _read_rows(path: Path, shape: tuple[int, int]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return (starts, columns, values) of a matrix in compressed rows, checked against its shape."""
    try:
        with zipfile.ZipFile(path) as packed:
            unpacked = sum(item.file_size for item in packed.infolist())
        if unpacked > MOST_SPARSE_BYTES or max(shape) > VOXEL_CAP:
            raise DataError(f"{path.name}: expected at most {MOST_SPARSE_BYTES} bytes, found {unpacked} once unpacked")
        # Not `scipy.sparse.load_npz`, which checks neither the unpacked size nor the column indices.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as parts:
            kind, found = bytes(parts["format"].item()), tuple(parts["shape"].tolist())
            starts, columns, values = parts["indptr"], parts["indices"], parts["data"]
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(f"{path.name}: cannot be read as a sparse matrix: {error}") from error
    if kind != b"csr" or found != shape:
        raise DataError(f"{path.name}: expected compressed rows of shape {shape}, found {kind.decode()} of {found}")
    whole = len(starts) == shape[0] + 1 and starts[0] == 0 and starts[-1] == len(columns) == len(values)
    if (
        not whole
        or (np.diff(starts) < 0).any()
        or (len(columns) and not 0 <= columns.min() <= columns.max() < shape[1])
    ):
        raise DataError(f"{path.name}: expected rows within the shape {shape}, found others; the file is damaged")
    return starts, columns, values
