"""DICOM segmentations: their segments as masks in the volume of the series on which they were drawn.

A segmentation on the grid of its series is placed pixel by pixel, whatever the direction and order of its frames. On
another grid each voxel of the series takes the value of the segmentation's voxel whose centre is nearest.
"""

from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.imaging.dicom.headers import PIXELS, Frame, Header, Open, decoded, discreet
from harness.imaging.dicom.seg_grid import grid_of, to_lps
from harness.imaging.dicom.series import Stack

_SEGMENTS = ("SegmentSequence", "SegmentationType", "MaximumFractionalValue")

# Voxels by which a pixel of a segmentation may be off the grid of its series: rounded coordinates stay below it,
# another resolution does not.
_OFF_GRID = 0.1

# The property "Background" of PS3.16 CID 7150 and 7159, and what programs call a segment of all that is no structure.
_BACKGROUND_CODE = ("DCM", "125040")
_BACKGROUND = frozenset({"background", "bg", "hintergrund", "arrière-plan", "fondo", "sfondo", "achtergrond", "背景"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One segment of a segmentation.

    Attributes:
        label: Its name.
        number: Its segment number; of segments with one name the first.
        voxels: Boolean (slices, rows, columns), in the order of the series' stack.
        lost: Whether it has pixels and none of them is nearest to a voxel of the series.
    """

    label: str
    number: int
    voxels: NDArray[np.bool_]
    lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmentation:
    """The segments of a segmentation on the grid of its series; background is none of them.

    Attributes:
        segments: In the order of the file; those with one name are joined.
        remarks: A sentence on each thing that was left out or interpreted.
        resampled: How its own grid differs from that of the series; empty if it does not.
        conflict: What else contradicts that it lies on the series; empty if nothing does.
    """

    segments: tuple[Segment, ...]
    remarks: tuple[str, ...]
    resampled: str = ""
    conflict: str = ""


def read_segmentation(header: Header, found: Stack, open_file: Open, *, resample: bool) -> Segmentation:
    """Return the segments of a segmentation on the grid of its series.

    Each frame is placed by its position in space, or on the slice on which it was drawn if it states no position.
    Segments with the same name are joined. Frames of different segments may overlap.

    Args:
        header: Header of the segmentation.
        found: The stack of the series.
        open_file: Opens the file by name.
        resample: Whether a segmentation on another grid is brought to that of the series; else it is refused.
    Raises:
        DataError: The file cannot be read, or a frame does not lie on the voxels of the series.
    """
    pixels, labels, remarks = _pixels(open_file(header.where), header.where)
    frames = header.frames[: len(pixels)]
    if len(header.frames) > len(pixels):
        remarks.append(f"it describes {len(header.frames)} frames and holds the pixels of {len(pixels)}")
    if len(frames) < len(pixels):
        raise DataError(f"{header.where}: expected a place for each of its {len(pixels)} frames, found {len(frames)}")
    conflict = ""
    if found.slices and header.space and found.slices[0][0].space not in ("", header.space):
        conflict = "it names another frame of reference than its series; positions were compared all the same"
    own = grid_of(frames, pixels.shape[1:], found, header.where)
    if own.differs and not resample:
        raise DataError(f"{header.where}: frame_mismatch: {own.differs}; resample the segmentation to its volume")
    if own.differs and conflict:
        message = "it lies on another grid than its series and names another frame of reference"
        raise DataError(f"{header.where}: {message}; resample the segmentation to the series")
    if own.sparse:
        remarks.append(own.sparse)
    segments: dict[str, Segment] = {}
    for number, label in labels.items():
        covered = [
            (frame, values == number if frame.segment is None else values > 0)
            for frame, values in zip(frames, pixels, strict=True)
            if frame.segment in (None, number)
        ]
        placed = [(frame, mask) for frame, mask in covered if mask.any()]
        voxels = np.zeros(found.shape, dtype=np.bool_)
        if own.differs:
            own.pull(placed, voxels, header.where)
        else:
            for frame, mask in placed:
                _place(mask, frame, found, voxels, header.where)
        before = segments.get(label)
        if before is not None:
            voxels |= before.voxels
        lost = bool(placed or (before is not None and before.lost)) and not voxels.any()
        segments[label] = Segment(
            label=label, number=number if before is None else before.number, voxels=voxels, lost=lost
        )
    return Segmentation(
        segments=tuple(segments.values()), remarks=tuple(remarks), resampled=own.differs, conflict=conflict
    )


def read_segments(header: Header, found: Stack, open_file: Open) -> tuple[list[Segment], list[str]]:
    """Return the segments of a segmentation that lies on a given grid, and remarks on it.

    The arguments are those of `read_segmentation`. Of a stack only affine and shape are needed.

    Raises:
        DataError: As `read_segmentation`; or it lies on another grid (`frame_mismatch`).
    """
    read = read_segmentation(header, found, open_file, resample=False)
    return list(read.segments), list(read.remarks)


def read_labels(header: Header, open_file: Open) -> tuple[str, ...]:
    """Return the names of the segments, without background, and without reading their pixels.

    Raises:
        DataError: The file cannot be read.
    """
    with open_file(header.where) as file, discreet(header.where) as pydicom:
        data = pydicom.dcmread(file, specific_tags=list(_SEGMENTS), stop_before_pixels=True)
        return tuple(dict.fromkeys(_labels(data).values()))


def is_background(label: str) -> bool:
    """Say whether a name is one of those that programs give to all that is no structure."""
    return label.strip().casefold() in _BACKGROUND


def _pixels(file: BinaryIO, where: str) -> tuple[NDArray[Any], dict[int, str], list[str]]:
    """Return the frames, the label of each segment number, and remarks.

    The frames are integers (frames, rows, columns): 0 and 1, or segment numbers in a label map.
    """
    with file, discreet(where) as pydicom:
        data = pydicom.dcmread(file, specific_tags=[*PIXELS, *_SEGMENTS])
        pixels = decoded(data, where)
        pixels = pixels[np.newaxis] if pixels.ndim == 2 else pixels
        labels = _labels(data)
        remarks = []
        if not labels:
            remarks.append("it has no segment but background")
        kind = str(data.get("SegmentationType", ""))
        if kind == "FRACTIONAL":
            most = int(data.get("MaximumFractionalValue") or 255)
            # Half and more counts as foreground; doubled, so that the comparison is exact for odd maxima.
            pixels = (2 * pixels.astype(np.int64) >= most).astype(np.uint8)
            remarks.append("its segments are shares of each voxel; half and more counts")
        if kind == "LABELMAP":
            described = {int(item.SegmentNumber) for item in data.get("SegmentSequence") or ()}
            unnamed = sorted(set(np.unique(pixels).tolist()) - described - {0})
            if unnamed:
                remarks.append(f"no segment describes its values {', '.join(map(str, unnamed[:10]))}; left out")
        return pixels, labels, remarks


def _labels(data: Any) -> dict[int, str]:
    """Return the label of each segment number; background, and number 0 of a label map, is no segment."""
    found = {}
    for item in data.get("SegmentSequence") or ():
        number = int(item.SegmentNumber)
        label = " ".join(str(item.get("SegmentLabel") or "").split())
        codes = [
            code
            for name in ("SegmentedPropertyCategoryCodeSequence", "SegmentedPropertyTypeCodeSequence")
            for code in item.get(name) or ()
        ]
        background = is_background(label) or any(
            (str(code.get("CodingSchemeDesignator", "")), str(code.get("CodeValue", ""))) == _BACKGROUND_CODE
            or is_background(str(code.get("CodeMeaning", "")))
            for code in codes
        )
        if number > 0 and not background:
            found[number] = label or f"segment {number}"
    return found


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
    to_voxels = np.linalg.inv(to_lps(found.affine))
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
            f"{where}: a frame lies between the voxels of its series; resample the segmentation to the series"
        )
    column, row, slice_number = index.T
    voxels = (slice_number, row, column)
    if any((axis < 0).any() or (axis >= length).any() for axis, length in zip(voxels, target.shape, strict=True)):
        raise DataError(f"{where}: a frame lies outside the slices of its series; the series may lack slices")
    target[voxels] = True
