"""DICOM segmentations: their segments as masks in the volume of the series on which they were drawn."""

from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.imaging.dicom.headers import PIXELS, Frame, Header, Open, discreet
from harness.imaging.dicom.series import Stack

_SEGMENTS = ("SegmentSequence", "SegmentationType", "MaximumFractionalValue")

# Voxels by which a pixel of a segmentation may be off the grid of its series: rounded coordinates stay below it,
# another resolution does not.
_OFF_GRID = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One segment of a segmentation.

    Attributes:
        label: Its name.
        number: Its segment number; of segments with one name the first.
        voxels: Boolean (slices, rows, columns), in the order of the series' stack.
    """

    label: str
    number: int
    voxels: NDArray[np.bool_]


def read_segments(header: Header, found: Stack, open_file: Open) -> tuple[list[Segment], list[str]]:
    """Return the segments of a segmentation on the grid of its series, and remarks on the file.

    Each frame is placed by its position in space, or on the slice on which it was drawn if it states no position.
    Segments with the same name are joined. Frames of different segments may overlap.

    Args:
        header: Header of the segmentation.
        found: The stack of the series.
        open_file: Opens the file by name.
    Returns:
        (segments, remarks); each remark is a sentence on something that was left out or interpreted.
    Raises:
        DataError: The file cannot be read, or a frame lies off the grid of the series or outside it.
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
    numbers = {label: number for number, label in reversed(labels.items())}
    return [Segment(label=label, number=numbers[label], voxels=array) for label, array in voxels.items()], remarks


def read_labels(header: Header, open_file: Open) -> tuple[str, ...]:
    """Return the names of the segments without reading their pixels.

    Raises:
        DataError: The file cannot be read.
    """
    with open_file(header.where) as file, discreet(header.where) as pydicom:
        data = pydicom.dcmread(file, specific_tags=list(_SEGMENTS), stop_before_pixels=True)
        return tuple(dict.fromkeys(_label(item) for item in data.get("SegmentSequence") or ()))


def _segmentation(file: BinaryIO, where: str) -> tuple[NDArray[Any], dict[int, str], list[str]]:
    """Return the frames, the label of each segment number, and remarks.

    The frames are integers (frames, rows, columns): 0 and 1, or segment numbers in a label map.
    """
    with file, discreet(where) as pydicom:
        data = pydicom.dcmread(file, specific_tags=[*PIXELS, *_SEGMENTS])
        pixels: NDArray[Any] = data.pixel_array
        pixels = pixels[np.newaxis] if pixels.ndim == 2 else pixels
        labels = {int(item.SegmentNumber): _label(item) for item in data.get("SegmentSequence") or ()}
        remarks = []
        if str(data.get("SegmentationType", "")) == "FRACTIONAL":
            most = int(data.get("MaximumFractionalValue") or 255)
            # Half and more counts as foreground; doubled, so that the comparison is exact for odd maxima.
            pixels = (2 * pixels.astype(np.int64) >= most).astype(np.uint8)
            remarks.append("its segments are shares of each voxel; half and more counts")
        return pixels, labels, remarks


def _label(item: Any) -> str:
    label = str(item.get("SegmentLabel") or "").strip()
    return " ".join(label.split()) or f"segment {int(item.SegmentNumber)}"


def _place(covered: NDArray[np.bool_], frame: Frame, found: Stack, target: NDArray[np.bool_], where: str) -> None:
    """Write the foreground of a frame, boolean (rows, columns), into the volume of its series."""
    if frame.position is None or frame.orientation is None or frame.spacing is None:
        sources = [place for place, (header, _) in enumerate(found.slices) if header.instance == frame.source]
        if not sources or covered.shape != found.shape[1:]:
            raise DataError(
                f"{where}: a frame says neither where it lies nor on which slice of the series it was drawn"
            )
        target[sources[0]] |= covered
        return
    # Pixel by pixel, since a segmentation may run along other axes than its series (flipped rows, another plane).
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
    voxels = (slice_number, row, column)
    if any((axis < 0).any() or (axis >= length).any() for axis, length in zip(voxels, target.shape, strict=True)):
        raise DataError(f"{where}: a frame lies outside the slices of its series; the series may lack slices")
    target[voxels] = True
