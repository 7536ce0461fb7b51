"""Opening of volumes: NIfTI and npy, brought to the closest RAS+ orientation, never resampled."""

import zlib
from dataclasses import dataclass
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError

VOXEL_CAP = 2**30
"""Most voxels of one volume: 4 GiB once read."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume in memory.

    Attributes:
        voxels: float32 (D, H, W) = (z, y, x), read-only.
        spacing_mm: Per array axis, z first; None where the file does not say.
        affine: Row-major 4 x 4 matrix from (x, y, z) voxels to millimetres; None where the file does not say.
    """

    voxels: NDArray[np.float32]
    spacing_mm: tuple[float, ...] | None
    affine: tuple[float, ...] | None


def read_volume(path: Path) -> Volume:
    """Return the volume of a `.nii`, `.nii.gz` or `.npy` file; an `.npy` array is (D, H, W) as it stands.

    Raises:
        DataError: The suffix is another, nibabel is missing, or the file does not hold numbers on three axes, or more
            than `VOXEL_CAP` of them.
    """
    if path.name.endswith((".nii", ".nii.gz")):
        return _read_nifti(path)
    if path.suffix == ".npy":
        return Volume(_read_npy(path), None, None)
    raise DataError(f"{path.name}: expected a .nii, .nii.gz or .npy volume, found '{path.suffix}'")


def _read_npy(path: Path) -> NDArray[np.float32]:
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
        _check(stored.shape, stored.dtype, path)
        return _frozen(np.array(stored, dtype=np.float32, order="C"))
    except (OSError, ValueError, EOFError, TypeError) as error:
        raise DataError(f"{path.name}: cannot be read as npy: {error}") from error


def _read_nifti(path: Path) -> Volume:
    try:
        nibabel: Any = import_module("nibabel")  # heavy, optional, and only partly typed
    except ImportError:
        raise DataError(f"{path.name}: reading NIfTI needs nibabel; pip install 'medground[medical]'") from None
    try:
        stored = nibabel.load(path)
        _check(stored.shape, stored.get_data_dtype(), path)
        image = nibabel.as_closest_canonical(stored)
        voxels = np.asarray(image.dataobj, dtype=np.float32)
    except (nibabel.filebasedimages.ImageFileError, OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path.name}: cannot be read as NIfTI: {error}") from error
    spacing = tuple(float(size) for size in image.header.get_zooms()[:3])
    affine = tuple(float(value) for value in np.asarray(image.affine).ravel())
    return Volume(_frozen(np.ascontiguousarray(voxels.T)), spacing[::-1], affine)


def _check(shape: tuple[int, ...], dtype: np.dtype[Any], path: Path) -> None:
    if len(shape) != 3 or dtype.kind not in "biuf":
        raise DataError(f"{path.name}: expected numbers on three axes, found {dtype} of shape {tuple(shape)}")
    if prod(shape) > VOXEL_CAP:
        raise DataError(f"{path.name}: expected at most {VOXEL_CAP} voxels, found {prod(shape)}")


def _frozen(voxels: NDArray[np.float32]) -> NDArray[np.float32]:
    voxels.setflags(write=False)
    return voxels
