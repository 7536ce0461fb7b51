"""Opening of volumes: NIfTI and npy, brought to the closest RAS+ orientation, never resampled."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError


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
    """Return the volume of a `.nii`, `.nii.gz` or `.npy` file.

    Raises:
        DataError: The suffix is another, nibabel is missing, or the file does not hold three axes of numbers.
    """
    if path.name.endswith((".nii", ".nii.gz")):
        return _read_nifti(path)
    if path.suffix == ".npy":
        return Volume(_three_axes(np.load(path, allow_pickle=False), path), None, None)
    raise DataError(f"{path.name}: expected a .nii, .nii.gz or .npy volume, found '{path.suffix}'")


def _read_nifti(path: Path) -> Volume:
    try:
        import nibabel
    except ImportError:
        raise DataError(f"{path.name}: reading NIfTI needs nibabel; pip install 'medground[medical]'") from None
    try:
        image = nibabel.as_closest_canonical(nibabel.load(path))
        voxels = np.asarray(image.dataobj, dtype=np.float32)
    except (nibabel.filebasedimages.ImageFileError, OSError, EOFError) as error:
        raise DataError(f"{path.name}: cannot be read as NIfTI: {error}") from error
    spacing = tuple(float(size) for size in image.header.get_zooms()[:3])
    affine = tuple(float(value) for value in np.asarray(image.affine).ravel())
    return Volume(_three_axes(voxels.T, path), spacing[::-1], affine)


def _three_axes(voxels: NDArray[np.generic], path: Path) -> NDArray[np.float32]:
    if voxels.ndim != 3 or voxels.dtype.kind not in "biuf":
        raise DataError(f"{path.name}: expected numbers on three axes, found {voxels.dtype} of shape {voxels.shape}")
    result = np.ascontiguousarray(voxels, dtype=np.float32)
    result.setflags(write=False)
    return result
