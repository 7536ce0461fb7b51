"""Reading of volumes from NIfTI, npy, DICOM and folders of slices.

Volumes are brought to the closest RAS+ orientation by flips and permutations and are never resampled.
"""

import io
import re
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.imaging.dicom.headers import group_series, read_header
from harness.imaging.dicom.series import read_voxels, stack
from harness.imaging.images import read_image
from harness.imaging.nifti import import_nibabel, open_nifti, reading

VOXEL_CAP = 2**30  # 4 GiB as float32

# What NumPy raises on a damaged npy file, whose header is Python source.
NPY_DAMAGED = (OSError, ValueError, EOFError, TypeError, SyntaxError, TokenError, MemoryError, RecursionError)

SUFFIXES = (".nii", ".nii.gz", ".npy")  # a DICOM file may hold a volume, too, but most hold one slice

SLICE_SUFFIXES = (".jpeg", ".jpg", ".png")
# Weights of red, green and blue in a grey value, in parts of 65,536: ITU-R BT.601, as Pillow rounds them.
LUMA = (19595, 38470, 7471)


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume in memory.

    Attributes:
        voxels: (D, H, W) = (z, y, x), read-only; float32 unless they were read as stored.
        spacing_mm: Voxel size in millimetres in the order (z, y, x); None if the file does not say.
        affine: Row-major 4 x 4 matrix from (x, y, z) voxels to millimetres in RAS+; None if the file does not say.
        unit: Unit in which the file gives them, `mm`, `m` or `um`; `unknown` if it names none and mm were taken.
        remarks: A sentence for each contradiction in the headers, with both values and which of them counts.
        flat: Whether the file holds a 2-D image, which is a volume of one slice without a thickness.
    """

    voxels: NDArray[Any]
    spacing_mm: tuple[float, ...] | None
    affine: tuple[float, ...] | None
    unit: str = "mm"
    remarks: tuple[str, ...] = ()
    flat: bool = False


def read_volume(path: Path, *, as_stored: bool = False) -> Volume:
    """Return the volume of a file or folder.

    Args:
        path: A `.nii`, `.nii.gz`, `.npy` or `.dcm` file, a folder with a DICOM series, or a folder of numbered JPEG or
            PNG files, one per slice, whose grey values range from 0 to 255. An `.npy` array is taken as (D, H, W).
            Leading axes of length 1 of npy and trailing ones of NIfTI are dropped; a 2-D NIfTI has one slice.
        as_stored: Whether numbers of NIfTI and npy keep their type, as labels should; otherwise they become float32.
    Raises:
        DataError: The suffix is unknown, a package is missing, the file cannot be read, does not hold numbers on three
            axes, or holds more than `VOXEL_CAP` of them.
    """
    suffixes = path.name.lower()
    if suffixes.endswith((".nii", ".nii.gz")):
        return _read_nifti(path, None if as_stored else np.float32)
    if suffixes.endswith(".npy"):
        return Volume(_read_npy(path, None if as_stored else np.float32), None, None)
    if path.is_dir() and slice_names(path):
        slices = read_slices(path, where=path.name).slices
        check((len(slices), *slices[0].shape), np.dtype(np.float32), path.name)
        return Volume(_frozen(np.stack(slices).astype(np.float32)), None, None)
    if path.is_dir() or suffixes.endswith(".dcm"):
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return read_dicom([file for file in files if file.is_file()], path.name)
    raise DataError(f"{path.name}: expected a .nii, .nii.gz, .npy or .dcm volume, found '{path.suffix}'")


def read_dicom(paths: Sequence[Path], where: str) -> Volume:
    """Return the volume of the DICOM series with the most slices among these files.

    Slices that were left out are not reported here; `harness.data.releases.folders.dicom` does that.

    Args:
        paths: DICOM files; others among them are ignored.
        where: Name of the folder or file, for messages.
    Raises:
        DataError: No file holds a slice, slices are missing, or a file cannot be decoded.
    """
    headers = [read_header(path.open("rb"), path.name) for path in paths]
    series = group_series([header for header in headers if header is not None])
    if not series:
        raise DataError(f"{where}: expected DICOM images, found none")
    by_name = {path.name: path for path in paths}
    found = stack(series[0].headers, where)
    if found.fault:
        raise DataError(f"{where}: {found.fault}")
    check(found.shape, np.dtype(np.float32), where)
    voxels = read_voxels(found, lambda name: by_name[name].open("rb"))
    return closest_canonical(voxels, found.affine)


def closest_canonical(voxels: NDArray[Any], affine: Sequence[Sequence[float]]) -> Volume:
    """Return a volume with its axes flipped and permuted to the closest RAS+ orientation.

    Args:
        voxels: Numbers as (slices, rows, columns); converted to float32.
        affine: 4 x 4 matrix from (column, row, slice) to millimetres in RAS+.
    Raises:
        DataError: nibabel is missing.
    """
    matrix = np.asarray(affine, dtype=np.float64)
    # Seven digits, as in a header: the lengths of oblique columns are off in the last digits of float64.
    lengths = tuple(float(str(np.float32(length))) for length in np.linalg.norm(matrix[:3, :3], axis=0))
    # The affine counts axes as (x, y, z); ours are the reverse.
    return _reoriented(np.asarray(voxels).T, matrix, lengths)


def _reoriented(
    voxels: NDArray[Any], affine: NDArray[np.float64], spacing_mm: Sequence[float], dtype: Any = np.float32
) -> Volume:
    """Return a volume in the closest RAS+ orientation; its axes and those of its spacing are (x, y, z) as stored."""
    orientations = import_nibabel("DICOM").orientations
    turns = orientations.io_orientation(affine)
    turned = orientations.apply_orientation(voxels, turns)
    # Row i of `turns` names the axis that stored axis i becomes.
    spacing = [side for _, side in sorted(zip(turns[:, 0], spacing_mm, strict=True), key=lambda pair: pair[0])]
    matrix = affine @ orientations.inv_ornt_aff(turns, voxels.shape)
    return Volume(
        _frozen(np.ascontiguousarray(turned.T, dtype=dtype)),
        tuple(spacing[::-1]),
        tuple(float(value) + 0.0 for value in matrix.ravel()),
    )


def to_nifti(volume: Volume) -> bytes:
    """Return a volume as an uncompressed NIfTI file, the same bytes on any machine.

    Voxels are written as int16 if all are whole numbers in its range, and as float32 otherwise.

    Args:
        volume: A volume with an affine.
    Raises:
        DataError: nibabel is missing.
    """
    nibabel = import_nibabel("NIfTI")
    voxels = volume.voxels
    small = np.iinfo(np.int16)
    whole = bool(np.isfinite(voxels).all() and (voxels == np.rint(voxels)).all())
    if whole and small.min <= voxels.min() and voxels.max() <= small.max:
        voxels = voxels.astype(np.int16)
    image = nibabel.Nifti1Image(voxels.T, np.array(volume.affine).reshape(4, 4))
    image.header.set_xyzt_units("mm")
    content: bytes = image.to_bytes()
    return content


def _read_npy(path: Path, dtype: Any) -> NDArray[Any]:
    try:
        # Mapped into memory, so that the size is checked before the array is read; no pickles, which can run code.
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
        while stored.ndim > 3 and stored.shape[0] == 1:
            stored = stored[0]
        check(stored.shape, stored.dtype, path.name)
        return _frozen(np.array(stored, dtype=dtype, order="C"))
    except NPY_DAMAGED as error:
        raise DataError(f"{path.name}: cannot be read as npy: {npy_fault(error)}") from error


def read_npy_picture(path: Path) -> NDArray[Any]:
    """Return the numbers (H, W) of an `.npy` file as stored; axes of length 1 before or behind them are dropped.

    Raises:
        DataError: The file cannot be read, does not hold numbers on two axes, or holds more than `VOXEL_CAP` of them.
    """
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)  # mapped and without pickles, as in `_read_npy`
        while stored.ndim > 2 and 1 in (stored.shape[0], stored.shape[-1]):
            stored = stored[0] if stored.shape[0] == 1 else stored[..., 0]
        if stored.ndim != 2:
            raise DataError(f"{path.name}: expected numbers (H, W), found {stored.dtype} of shape {stored.shape}")
        check((1, *stored.shape), stored.dtype, path.name)
        return _frozen(np.array(stored, order="C"))
    except NPY_DAMAGED as error:
        raise DataError(f"{path.name}: cannot be read as npy: {npy_fault(error)}") from error


def npy_fault(error: BaseException) -> str:
    """Return what is wrong with an npy file, by what NumPy raised, in a line without the bytes of its header."""
    if isinstance(error, MemoryError):
        return "too large for the memory of this machine"
    return "a broken header" if isinstance(error, TokenError) else re.split(r": [\"']|\n", str(error))[0]


def _read_nifti(path: Path, dtype: Any) -> Volume:
    """Return the volume of a NIfTI file; a 2-D image, as nnU-Net keeps pictures, is a volume of one slice."""
    file = open_nifti(path)
    shape, stored = tuple(file.image.shape), file.image.get_data_dtype()
    if len(shape) < 2 or prod(shape[3:]) != 1:
        raise DataError(
            f"{path.name}: expected numbers on three axes, found {stored} of shape {shape}; save the volume that is "
            "meant to a file of its own"
        )
    space = (*shape, 1)[:3]
    check(space, stored, path.name)
    with reading(path.name):
        found = _reoriented(np.asanyarray(file.image.dataobj).reshape(space), file.affine, file.spacing_mm, dtype)
    return replace(found, unit=file.unit, remarks=file.remarks, flat=len(shape) == 2)


def check(shape: tuple[int, ...], dtype: np.dtype[Any], where: str) -> None:
    """Check the shape and dtype of a volume before its voxels are read.

    Raises:
        DataError: It does not hold numbers on three axes, or more than `VOXEL_CAP` of them.
    """
    if len(shape) != 3 or dtype.kind not in "biuf":
        raise DataError(f"{where}: expected numbers on three axes, found {dtype} of shape {tuple(shape)}")
    if prod(shape) > VOXEL_CAP:
        raise DataError(f"{where}: expected at most {VOXEL_CAP} voxels, found {prod(shape)}")


def _frozen(voxels: NDArray[Any]) -> NDArray[Any]:
    voxels.setflags(write=False)
    return voxels


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceFolder:
    """The slices of a volume that is stored as a folder of images.

    Attributes:
        slices: uint8 (H, W) grey values of each slice, by ascending number.
        left_out: (file name, reason) of images that do not belong to the volume.
    """

    slices: list[NDArray[np.uint8]]
    left_out: tuple[tuple[str, str], ...]


def slice_names(folder: Path) -> list[str]:
    """Return the names of a folder's JPEG and PNG files: numbered ones first, by number, then the others by name."""
    names = (path.name for path in folder.iterdir() if path.suffix.lower() in SLICE_SUFFIXES and path.is_file())

    def order(name: str) -> tuple[bool, int, str]:
        numbered = _stem(name).isdecimal()
        return not numbered, int(_stem(name)) if numbered else 0, name

    return sorted(names, key=order)


def read_slices(folder: Path, *, where: str) -> SliceFolder:
    """Return the slices of a folder in the order of their numbers, `2.png` before `10.png`.

    As in M3D's preparation, an image is left out if it cannot be read or if its size differs from that of most.

    Args:
        folder: A folder with JPEG or PNG files; other files in it are ignored.
        where: Name of the folder; begins every message.
    Raises:
        DataError: No image of the folder can be used.
    """
    left_out: list[tuple[str, str]] = []
    read: list[tuple[str, NDArray[np.uint8]]] = []
    for name in slice_names(folder):
        if not _stem(name).isdecimal():
            left_out.append((name, "its name is no number"))
            continue
        try:
            pixels = read_image((folder / name).read_bytes(), window=None, where=f"{where}/{name}").astype(np.uint32)
            grey = (pixels @ np.array(LUMA, dtype=np.uint32) + 0x8000) >> 16
            read.append((name, grey.astype(np.uint8)))
        except (DataError, OSError):
            left_out.append((name, "cannot be read"))
    if not read:
        raise DataError(f"{where}: expected numbered pictures of slices, found none that can be read")
    usual = Counter(pixels.shape for _, pixels in read).most_common(1)[0][0]
    left_out += [(name, f"is {pixels.shape}, most are {usual}") for name, pixels in read if pixels.shape != usual]
    return SliceFolder(slices=[pixels for _, pixels in read if pixels.shape == usual], left_out=tuple(left_out))


def packed(folder: Path) -> bytes:
    """Return the files of a folder as one zip archive, to be sent to another node; subfolders are ignored."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.iterdir()):
            if path.is_file():
                archive.write(path, path.name)
    return content.getvalue()


def unpack(content: bytes, folder: Path) -> bool:
    """Write the files of a zip archive into a folder.

    Args:
        content: Bytes as `packed` returns them.
        folder: Where to write; it is made if needed.
    Returns:
        False if `content` is not such an archive.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
            if any(Path(name).name != name for name in names):  # a path could lead out of the folder
                return False
            folder.mkdir(parents=True, exist_ok=True)
            for name in names:
                (folder / name).write_bytes(archive.read(name))
    except zipfile.BadZipFile:
        return False
    return True


def _stem(name: str) -> str:
    return name.rpartition(".")[0]
