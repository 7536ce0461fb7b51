"""Masks in files of their own: PNG and other pictures, NIfTI, npy and DICOM SEG."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from harness.errors import DataError
from harness.imaging.dicom.headers import read_header
from harness.imaging.dicom.segmentations import Segment, read_segments
from harness.imaging.dicom.series import Stack
from harness.imaging.images import UPRIGHT, read_stored_mask, stored_as
from harness.imaging.mask_files.frame import displacement
from harness.imaging.mask_files.values import FULL_VALUES, Labels, counted, read_values, threshold_fault
from harness.imaging.masks import check_extent, encode
from harness.imaging.volumes import SUFFIXES, Volume, read_npy_picture, read_volume
from harness.records import Grid, Json, Mask

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp")

Remark = Callable[[str], None]


def read_file(
    path: Path | str,
    label: Json,
    where: str,
    *,
    threshold: Json = None,
    owner: Grid | None = None,
    remark: Remark = lambda _: None,
) -> Mask:
    """Return the mask that a file holds.

    Args:
        path: A picture, which gives (H, W) in its stored frame: one channel, a palette or equal channels. Or a `.nii`,
            `.nii.gz` or `.npy` volume, (D, H, W) = (z, y, x), NIfTI in the orientation closest to RAS+; an `.npy`
            array is (H, W) if `owner` is. Or a DICOM SEG (`.dcm`, or a folder that holds it), which is placed on the
            grid of `owner`.
        label: The value >= 1 that is foreground, or the name or number of a segment; None means every value >= 1.
        where: File and line, or sample; begins every message.
        threshold: Numbers from this one on are foreground; None means that the file holds labels.
        owner: Size and affine of the image or volume that the mask belongs to; None if that is not known. A mask of
            another size is returned as it is, since `masks.check_size` has a message for that.
        remark: Called with each change of `read_values`, as a sentence that begins with `where`.
    Raises:
        DataError: The file is missing, unreadable, too large or no mask, `label` or `threshold` is of the wrong kind,
            the mask does not lie on its volume (`frame_mismatch`), or a package is not installed.
    """
    file = Path(path)
    name = file.name.lower()
    here = f"{where}: {file.name}"
    is_seg = file.is_dir() or name.endswith(".dcm")
    if label is not None and (type(label) is not int or label < 1) and not (is_seg and isinstance(label, str)):
        raise DataError(f"{where}: label: expected an integer >= 1, found {label!r:.80}")
    if fault := threshold_fault(threshold):
        raise DataError(f"{where}: threshold: {fault}")
    if label is not None and threshold is not None:
        raise DataError(f"{where}: expected a label or a threshold, found both; a threshold makes a file one mask")
    if not (file.is_file() or file.is_dir()):
        raise DataError(f"{where}: mask file {file.name} is missing; expected it at {file}")
    if is_seg:
        segments = read_dicom_seg(file, where, owner=owner, remark=remark)
        wanted = [segment for segment in segments if label is None or label in (segment.label, segment.number)]
        if not wanted:
            names = ", ".join(f"{segment.number} ({segment.label})" for segment in segments) or "none"
            raise DataError(f"{here}: label: expected one of its segments, {names}, found {label!r:.80}")
        return encode(np.logical_or.reduce([segment.voxels for segment in wanted]), where=where)
    # A label is usually one of several, so values are kept; 255 is the foreground of a binary mask.
    named = (label,) if isinstance(label, int) and label in FULL_VALUES else None if label else ()
    labels, one_bit = read_label_file(file, where, named=named, threshold=threshold, owner=owner, remark=remark)
    if isinstance(label, int):
        foreground = labels == (1 if one_bit and label == FULL_VALUES[0] else label)
        if not foreground.any():
            _check_label(labels, label, here)
        return encode(foreground, where=where)
    return encode(labels > 0, where=where)


def read_label_file(
    file: Path,
    where: str,
    *,
    named: Sequence[int] | None,
    threshold: Json = None,
    owner: Grid | None = None,
    remark: Remark = lambda _: None,
) -> tuple[Labels, bool]:
    """Return the labels of a picture or a volume, and whether the file holds single bits, of which 1 is foreground.

    Args:
        file: A picture, or a `.nii`, `.nii.gz` or `.npy` volume; it exists.
        where: File and line, or sample; begins every message.
        named: As in `read_values`.
        threshold, owner, remark: As in `read_file`.
    Raises:
        DataError: As `read_file`.
    """
    name, here = file.name.lower(), f"{where}: {file.name}"
    lossy = one_bit = False
    if name.endswith(PICTURES):
        content = file.read_bytes()
        stored = read_stored_mask(content, where=here)
        if (orientation := stored_as(content).orientation) != UPRIGHT:
            raise DataError(
                f"{here}: expected pixels as they are shown, found an EXIF rotation (orientation {orientation}); save "
                "the mask without it"
            )
        values, lossy, one_bit = stored.values, stored.lossy, stored.values.dtype == np.bool_
        if stored.from_alpha:
            remark(f"{here}: read from the alpha channel, because all of its colours are equal")
    elif name.endswith(SUFFIXES):
        picture = owner is not None and len(owner.size) == 2
        if picture and not name.endswith(".npy"):
            # Which end of a NIfTI axis is left in a picture depends on the program that wrote it.
            raise DataError(f"{here}: expected a picture such as PNG as the mask of a 2-D image, found a volume")
        try:
            volume = Volume(read_npy_picture(file), None, None) if picture else read_volume(file, as_stored=True)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
        for conflict in volume.remarks:
            remark(f"{here}: {conflict}")
        values = volume.voxels
        if owner is not None and owner.size == values.shape:
            beside = displacement(Grid(size=values.shape, affine=volume.affine), owner, unit=volume.unit)
            if beside is not None:
                raise DataError(f"{here}: frame_mismatch: the mask does not lie on its volume, {beside}")
    else:
        known = ", ".join((*PICTURES, *SUFFIXES))
        raise DataError(f"{where}: expected a mask file ({known} or .dcm), found {file.name}")
    check_extent(values.shape, here)
    found = read_values(values, where=here, named=named, lossy=lossy, threshold=threshold)
    for note in found.notes:
        remark(f"{here}: {note.detail}")
    return found.labels, one_bit


def _check_label(labels: Labels, label: int, where: str) -> None:
    """Refuse a label that is not in a binary mask; in a label image it may just be absent.

    Raises:
        DataError: The file is a binary mask, and its foreground has another value.
    """
    shown = np.flatnonzero(counted(labels)[1:]) + 1
    if shown.size == 1 and (shown[0] in FULL_VALUES or label in FULL_VALUES):
        raise DataError(f"{where}: label: expected a value of the file, which holds 0 and {shown[0]}, found {label}")


def read_dicom_seg(path: Path, where: str, *, owner: Grid | None, remark: Remark = lambda _: None) -> list[Segment]:
    """Return the segments of the DICOM SEG files at a path, on the grid of the volume that they belong to.

    Args:
        path: A file, or a folder of them.
        where: File and line, or sample; begins every message.
        owner: Size and affine of the volume.
        remark: Called with everything that was left out or interpreted, as a sentence that begins with `where`.
    Raises:
        DataError: There is no DICOM SEG, it cannot be read or does not lie on the volume, or the volume has no affine.
    """
    where = f"{where}: {path.name}"
    if owner is None or owner.affine is None or len(owner.size) != 3:
        raise DataError(f"{where}: expected a mask for a volume with an affine, because a DICOM SEG is placed in space")
    files = {file.name: file for file in (sorted(path.iterdir()) if path.is_dir() else [path]) if file.is_file()}
    try:
        headers = [read_header(file.open("rb"), name) for name, file in files.items()]
        found = [header for header in headers if header is not None and header.is_seg]
        if not found:
            raise DataError(f"{where}: expected a DICOM SEG, found none")
        rows = tuple(owner.affine[start : start + 4] for start in (0, 4, 8, 12))
        grid = Stack(slices=(), affine=rows, shape=owner.size)
        segments: list[Segment] = []
        for header in found:
            read, remarks = read_segments(header, grid, lambda name: files[name].open("rb"))
            segments += read
            for words in remarks:
                remark(f"{where}: {words}")
    except (DataError, OSError) as error:
        words = str(error).removeprefix(f"{where}: ").removeprefix(f"{path.name}: ")
        raise DataError(f"{where}: {words}") from error
    return segments
