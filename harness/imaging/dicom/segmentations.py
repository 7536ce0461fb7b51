"""The segments of a DICOM SEG as masks in the volume of the series they were drawn on."""

from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.imaging.dicom.headers import PIXELS, Frame, Header, Open, discreet
from harness.imaging.dicom.series import Stack

_SEGMENTS = ("SegmentSequence", "SegmentationType", "MaximumFractionalValue")

_OFF_GRID = 0.1
"""Voxels by which a frame of a segmentation may lie beside the grid of its series."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One segment of a segmentation: its name and its voxels, boolean (slices, rows, columns) of the series."""

    label: str
    voxels: NDArray[np.bool_]


def read_segments(header: Header, found: Stack, open_file: Open) -> tuple[list[Segment], list[str]]:
    """Return the segments of a segmentation on the grid of its series, and remarks on the file.

    Every frame is placed by its position, else on the slice it was drawn on. Several segments of one name are joined.

    Raises:
        DataError: The file cannot be read, or a frame lies beside the grid of the series.
    """
    pixels, labels, remarks = _segmentation(open_file(header.where), header.where)
    frames = header.frames[: len(pixels)]
    if len(header.frames) > len(pixels):
        remarks.append(f"it describes {len(header.frames)} frames and holds the pixels of {len(pixels)}")
    if len(frames) < len(pixels):
        raise DataError(f"{header.where}: expected a place for each of its {len(pixels)} frames, found {len(frames)}")
    voxels = {label: np.zeros(found.shape, dtype=np.bool_) for label in labels.values()}
    for frame, values in zip(frames, pixels, strict=True):
        for number, label in labels.items():
            covered = values == number if frame.segment is None else (values > 0) & (frame.segment == number)
            if covered.any():
                _place(covered, frame, found, voxels[label], header.where)
    return [Segment(label=label, voxels=array) for label, array in voxels.items()], remarks


def read_labels(header: Header, open_file: Open) -> tuple[str, ...]:
    """Return the names of the segments, without their pixels.

    Raises:
        DataError: The file cannot be read.
    """
    with open_file(header.where) as file, discreet(header.where) as pydicom:
        data = pydicom.dcmread(file, specific_tags=list(_SEGMENTS), stop_before_pixels=True)
        return tuple(dict.fromkeys(_label(item) for item in data.get("SegmentSequence") or ()))


def _segmentation(file: BinaryIO, where: str) -> tuple[NDArray[Any], dict[int, str], list[str]]:
    """Return (frames of 0 and 1 or of segment numbers, segment number -> label, remarks)."""
    with file, discreet(where) as pydicom:
        data = pydicom.dcmread(file, specific_tags=[*PIXELS, *_SEGMENTS])
        pixels: NDArray[Any] = data.pixel_array
        pixels = pixels[np.newaxis] if pixels.ndim == 2 else pixels
        labels = {int(item.SegmentNumber): _label(item) for item in data.get("SegmentSequence") or ()}
        remarks = []
        if str(data.get("SegmentationType", "")) == "FRACTIONAL":
            most = int(data.get("MaximumFractionalValue") or 255)
            pixels = (2 * pixels.astype(np.int64) >= most).astype(np.uint8)
            remarks.append("its segments are shares of each voxel; half and more counts")
        return pixels, labels, remarks


def _label(item: Any) -> str:
    label = str(item.get("SegmentLabel") or "").strip()
    return " ".join(label.split()) or f"segment {int(item.SegmentNumber)}"


def _place(covered: NDArray[np.bool_], frame: Frame, found: Stack, target: NDArray[np.bool_], where: str) -> None:
    """Write a frame's foreground into the volume of its series."""
    if frame.position is None or frame.orientation is None or frame.spacing is None:
        _place_on_source(covered, frame, found, target, where)
        return
    to_voxels = np.linalg.inv(np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.array(found.affine))
    rows, columns = np.nonzero(covered)
    along, down = np.array(frame.orientation[:3]), np.array(frame.orientation[3:])
    places = (
        np.array(frame.position)
        + columns[:, np.newaxis] * along * frame.spacing[1]
        + rows[:, np.newaxis] * down * frame.spacing[0]
    )
    exact = places @ to_voxels[:3, :3].T + to_voxels[:3, 3]
    index = np.rint(exact).astype(np.int64)
    if (abs(exact - index) > _OFF_GRID).any():
        raise DataError(
            f"{where}: a frame lies beside the voxels of its series; resample the segmentation to the series"
        )
    column, row, slice_number = index.T
    _write(target, (slice_number, row, column), where)


def _place_on_source(
    covered: NDArray[np.bool_], frame: Frame, found: Stack, target: NDArray[np.bool_], where: str
) -> None:
    sources = [place for place, (header, _) in enumerate(found.slices) if header.instance == frame.source]
    if not sources or covered.shape != found.shape[1:]:
        raise DataError(f"{where}: a frame says neither where it lies nor on which slice of the series it was drawn")
    target[sources[0]] |= covered


def _write(target: NDArray[np.bool_], index: tuple[NDArray[np.int64], ...], where: str) -> None:
    outside = [(axis < 0).any() or (axis >= length).any() for axis, length in zip(index, target.shape, strict=True)]
    if any(outside):
        raise DataError(f"{where}: a frame lies outside the slices of its series; the series may lack slices")
    target[index] = True
