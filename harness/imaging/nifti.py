"""The geometry of NIfTI files: units, affine and voxel sizes, read from the header and checked against each other.

A header says up to three times where its voxels lie: by sform, by qform and by pixdim. nibabel takes the first that has
a code and silently repairs bad values; here every contradiction is a remark, and a matrix without an inverse does not
count.
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError

Matrix = NDArray[np.float64]

# Code of `xyzt_units` -> (unit, its length in mm). Files that name no unit are in mm, as every tool of the field takes
# them.
UNITS = {0: ("unknown", 1.0), 1: ("m", 1000.0), 2: ("mm", 1.0), 3: ("um", 0.001)}
UNKNOWN_UNIT = "unknown"

# Relative difference of two voxel sizes that is no contradiction: programs round pixdim to four digits or so.
_SAME_SIZE = 1e-3
# Share of the smallest voxel side by which two affines may place a corner of the volume apart: they are in float32.
SAME_PLACE = 0.1
# Determinant of the directions of the three axes below which they do not span a space.
_FLAT = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class NiftiFile:
    """A NIfTI file whose voxels have not been read yet.

    Attributes:
        image: nibabel's image; its own affine and zooms are in the file's unit and not checked.
        affine: float64 (4, 4) from (x, y, z) voxels as stored to mm in RAS+.
        spacing_mm: Voxel size in mm along the stored axes (x, y, z), of 2-D images too.
        unit: `mm`, `m`, `um`, or `unknown` if the file names none and was taken to be in mm.
        remarks: A sentence for each contradiction, with both values and which of them counts.
    """

    image: Any
    affine: Matrix
    spacing_mm: tuple[float, ...]
    unit: str
    remarks: tuple[str, ...]


def import_nibabel(needs: str, where: str = "") -> Any:
    """Return nibabel.

    Args:
        needs: The format that needs it.
        where: Beginning of the message.
    Raises:
        DataError: It is not installed.
    """
    try:
        return import_module("nibabel")  # heavy, optional, and only partly typed
    except ImportError:
        raise DataError(f"{where}reading {needs} needs nibabel; pip install 'medground[medical]'") from None


@contextmanager
def reading(where: str) -> Iterator[Any]:
    """Yield nibabel; what it raises on a damaged file becomes a DataError, and what it logs is dropped.

    Args:
        where: Name of the file, for messages.
    Raises:
        DataError: nibabel is missing, or the body of the `with` raised.
    """
    nibabel = import_nibabel("NIfTI", f"{where}: ")
    broken = (
        nibabel.filebasedimages.ImageFileError,
        nibabel.spatialimages.HeaderDataError,
        nibabel.spatialimages.ImageDataError,
        nibabel.orientations.OrientationError,
        *(ArithmeticError, EOFError, LookupError, MemoryError, OSError, TypeError, ValueError, zlib.error),
    )
    # nibabel's log reports repairs without the name of the file; the remarks of `open_nifti` have both.
    logger = nibabel.imageglobals.logger
    silent, logger.disabled = logger.disabled, True
    try:
        # Numbers of a damaged header overflow; what comes of them is checked.
        with np.errstate(all="ignore"):
            yield nibabel
    except broken as error:
        # One line, with the name of the file in place of its path on this machine.
        words = re.sub(rf"/[^\n]*?{re.escape(where)}", where, str(error)).partition("\n")[0].removesuffix(" from ")
        reason = "too large for the memory of this machine" if isinstance(error, MemoryError) else words
        raise DataError(f"{where}: cannot be read as NIfTI: {reason}") from error
    finally:
        logger.disabled = silent


def open_nifti(path: Path) -> NiftiFile:
    """Return a NIfTI file with its geometry in millimetres.

    Of sform and qform the first that has a code above 0 and an inverse counts, and pixdim where neither has a code. An
    sform that is the identity while pixdim says otherwise tells nothing: the qform counts, and without one the sizes of
    pixdim along the axes.

    Args:
        path: A `.nii` or `.nii.gz` file.
    Raises:
        DataError: nibabel is missing, the file cannot be read, or no matrix of its header can be inverted.
    """
    with reading(path.name) as nibabel:
        image = nibabel.load(path)
        if not isinstance(image, nibabel.Nifti1Image):
            raise DataError(f"{path.name}: expected a NIfTI volume, found {type(image).__name__}")
        # Read once more without checks, because on loading nibabel replaces a size of 0 by 1 and drops signs.
        with image.file_map["image"].get_prepare_fileobj("rb") as file:
            header = image.header_class.from_fileobj(file, check=False)
        return _geometry(image, header, path.name)


def _geometry(image: Any, header: Any, where: str) -> NiftiFile:
    shape = (*image.shape[:3], 1, 1, 1)[:3]
    remarks: list[str] = []
    code = int(header["xyzt_units"]) & 7  # the other bits are the unit of time
    unit, scale = UNITS.get(code, UNITS[0])
    if code not in UNITS:
        remarks.append(f"{code} is no code of a unit of length; taken as mm")
    stored = [float(value) for value in header["pixdim"][1:4]]
    sizes, unusable = _voxel_sizes(stored, shape, scale)
    if unusable:
        remarks.append(f"pixdim is {_by(stored)}; {unusable}")
    sform = _matrix(header.get_sform() if header["sform_code"] > 0 else None, shape, sizes, scale)
    qform = _matrix(_qform(header, sizes, scale) if header["qform_code"] > 0 else None, shape, sizes, scale)
    affine = sform
    if sform is not None and sizes is not None and _is_lost(sform, sizes, scale):
        affine, counts = (qform, "the qform counts") if qform is not None else (sform, "pixdim counts")
        if qform is None:
            affine = sform @ np.diag([*(sizes / scale), 1.0])
        remarks.append(f"the sform is the identity and pixdim is {_by(sizes)} mm; {counts}")
    elif sform is not None:
        remarks += _against_sform(sform, qform, sizes, shape, header)
    elif header["sform_code"] > 0 or header["qform_code"] > 0:
        affine = qform
        if qform is None:
            message = f"{where}: expected an affine with an inverse, found none in sform and qform"
            raise DataError(f"{message} (pixdim {_by(stored)}); save it anew")
        if header["sform_code"] > 0:
            remarks.append("the sform has no inverse; the qform counts")
    elif sizes is None:
        raise DataError(f"{where}: expected voxel sizes above 0, found a pixdim of {_by(stored)}; save it anew")
    else:
        # Neither has a code: nibabel's rule, the sizes of pixdim around the centre of the volume, x to the left.
        affine = np.diag([-sizes[0], *sizes[1:], 1.0])
        affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    assert affine is not None
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    # Where both agree, pixdim has the rounder numbers: the lengths of oblique columns are off in their last digits.
    agree = sizes is not None and bool((abs(lengths - sizes) <= _SAME_SIZE * lengths).all())
    spacing = sizes if sizes is not None and agree else lengths
    return NiftiFile(image=image, affine=affine, spacing_mm=tuple(spacing.tolist()), unit=unit, remarks=tuple(remarks))


def _by(sizes: Sequence[float] | Matrix) -> str:
    return " x ".join(f"{size:.6g}" for size in sizes)


def _voxel_sizes(stored: Sequence[float], shape: Sequence[int], scale: float) -> tuple[Matrix | None, str]:
    """Return the sizes of pixdim in mm, None if they cannot be used, and what is wrong with them.

    An axis of one voxel needs no size: where pixdim has 0 there, as in 2-D images, it is 1 mm.
    """
    sizes = _in_mm(np.array(stored, dtype=np.float64), scale)
    for axis, length in enumerate(shape):
        if length == 1 and sizes[axis] == 0:
            sizes[axis] = 1.0
    if not np.isfinite(sizes).all() or not sizes.all():
        return None, "sizes of 0 and values that are no number do not count"
    return abs(sizes), "the signs do not count" if (sizes < 0).any() else ""


def _qform(header: Any, sizes: Matrix | None, scale: float) -> Matrix | None:
    """Return the matrix of the qform in the file's unit, None if its rotation or its sizes cannot be used."""
    if sizes is None:
        return None
    usable = header.copy()
    usable["pixdim"][1:4] = sizes / scale
    # nibabel refuses other values of the sign; 0 is common, and the standard takes it as 1.
    usable["pixdim"][0] = -1.0 if header["pixdim"][0] < 0 else 1.0
    try:
        return np.asarray(usable.get_qform(), dtype=np.float64)
    except ValueError:
        return None  # its three numbers are no rotation


def _matrix(affine: Any, shape: Sequence[int], sizes: Matrix | None, scale: float) -> Matrix | None:
    """Return an affine in mm as float64 (4, 4), None if it has no inverse.

    The column of a 2-D image across its plane may be 0; it gets the direction across the other two.
    """
    if affine is None or not np.isfinite(affine).all():
        return None
    columns = _in_mm(np.asarray(affine, dtype=np.float64)[:3], scale)
    flat = [axis for axis in range(3) if shape[axis] == 1 and not columns[:, axis].any()]
    if len(flat) == 1:
        across = np.cross(columns[:, flat[0] - 2], columns[:, flat[0] - 1])
        length = float(np.linalg.norm(across)) or 1.0
        columns[:, flat[0]] = across / length * (1.0 if sizes is None else sizes[flat[0]])
    lengths = np.linalg.norm(columns[:, :3], axis=0)
    if not lengths.all() or abs(np.linalg.det(columns[:, :3] / lengths)) <= _FLAT:
        return None
    return np.vstack([columns, [0.0, 0.0, 0.0, 1.0]])


def _is_lost(sform: Matrix, sizes: Matrix, scale: float) -> bool:
    """Return whether an sform is the identity, which programs write that lost the affine, and pixdim knows better."""
    identity = bool((abs(sform[:3, :3]) == scale * np.eye(3)).all())
    return identity and bool((abs(sizes - scale) > _SAME_SIZE * scale).any())


def _against_sform(
    sform: Matrix, qform: Matrix | None, sizes: Matrix | None, shape: Sequence[int], header: Any
) -> list[str]:
    """Return what contradicts the sform, which counts."""
    remarks = []
    lengths = np.linalg.norm(sform[:3, :3], axis=0)
    if sizes is not None and (abs(lengths - sizes) > _SAME_SIZE * lengths).any():
        remarks.append(f"voxels are {_by(lengths)} mm by the sform and {_by(sizes)} mm by pixdim; the sform counts")
    if qform is None and header["qform_code"] > 0:
        remarks.append("the qform has no inverse; the sform counts")
    apart = 0.0 if qform is None else corner_distance(sform, qform, shape)
    if apart > SAME_PLACE * lengths.min():
        codes = f"sform (code {int(header['sform_code'])}) and qform (code {int(header['qform_code'])})"
        remarks.append(f"{codes} place corners up to {apart:.3g} mm apart; the sform counts")
    return remarks


def _in_mm(values: Matrix, scale: float) -> Matrix:
    """Return float32 numbers of a file's unit in mm.

    A header's 0.0015 m is 0.0015000000130 in binary, of which a thousandfold is no longer 1.5; of its shortest decimal
    form it is.
    """
    if scale == 1.0:
        return values.copy()
    decimal = [
        round(float(str(np.float32(value))) * scale, 9) if np.isfinite(value) else value
        for value in values.ravel().tolist()
    ]
    return np.array(decimal, dtype=np.float64).reshape(values.shape)


def corner_distance(first: Matrix, second: Matrix, shape: Sequence[int]) -> float:
    """Return how far two affines place a corner of a volume apart, the largest of all distances in it.

    Args:
        first, second: (4, 4) from (x, y, z) voxels to any unit.
        shape: Number of voxels along x, y and z.
    """
    corners = np.array([(*corner, 1.0) for corner in product(*((0, length - 1) for length in shape))])
    return float(np.linalg.norm(corners @ (first - second)[:3].T, axis=1).max())
