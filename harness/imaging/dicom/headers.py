"""Reading of DICOM files: what a header says of its slices, which files form a series, and stored values.

Only the elements named here are read. Nothing that names a person, a place, a date or a device leaves this module, and
no message holds the value of an element: pydicom's own warnings and messages may, so they end here.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError

Vector = tuple[float, ...]
Open = Callable[[str], BinaryIO]
"""Opens a file by the name its header was read under."""

SEG_CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})
"""SOP classes of segmentations: segments in frames of their own, and label maps."""

MODALITIES: Mapping[str, str] = {
    "CT": "ct",
    "MR": "mr",
    "CR": "xray",
    "DX": "xray",
    "MG": "xray",
    "RF": "xray",
    "US": "us",
    "PT": "pet",
    "ES": "endo",
    "OP": "fundus",
    "OPT": "oct",
    "SM": "micro",
    "DMS": "derm",
}
"""Value of the element Modality -> modality code; everything else is `other`."""

_HEADER = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "InstanceNumber", "Modality"),
    *("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames", "PixelSpacing", "SliceThickness"),
    *("SpacingBetweenSlices", "ImageOrientationPatient", "ImagePositionPatient", "RescaleSlope", "RescaleIntercept"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "ReferencedSeriesSequence"),
)
PIXELS = (
    *("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "PhotometricInterpretation", "PlanarConfiguration", "PixelData"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One slice as its header places it.

    Attributes:
        position: Of its first pixel, in millimetres as DICOM counts them (to the left, back, and head).
        orientation: Direction along a row, then down a column, as six cosines.
        spacing: Millimetres between rows, then between columns.
        step: Millimetres to the next slice, as far as the header tells.
        slope, intercept: Stored value to grey value.
        segment: Number of the segment it belongs to, in a segmentation.
        source: Instance that it was drawn on, in a segmentation.
    """

    position: Vector | None = None
    orientation: Vector | None = None
    spacing: Vector | None = None
    step: float | None = None
    slope: float = 1.0
    intercept: float = 0.0
    segment: int | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What is needed of one file; the identifiers only tell files apart and go nowhere.

    Attributes:
        where: Under which name the file is opened again.
        modality: Modality code.
        number, instance_number: Of the series and of the file in it; 0 where the header does not say.
        references: Series that a segmentation was drawn on.
        frames: In the order of the pixels.
    """

    where: str
    is_seg: bool
    instance: str
    series: str
    modality: str
    number: int
    instance_number: int
    rows: int
    columns: int
    samples: int
    references: frozenset[str]
    frames: tuple[Frame, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The files of one series, by instance number."""

    headers: tuple[Header, ...]

    @property
    def first(self) -> Header:
        """The file with the lowest instance number, which stands for all where they agree."""
        return self.headers[0]

    @property
    def slices(self) -> int:
        """Number of slices, doubled ones included."""
        return sum(len(header.frames) for header in self.headers)


def _pydicom() -> Any:
    try:
        return import_module("pydicom")  # heavy, optional, and only partly typed
    except ImportError:
        raise DataError("reading DICOM needs pydicom; pip install 'medground[medical]'") from None


@contextmanager
def discreet(where: str) -> Iterator[Any]:
    """Give pydicom; what it warns of is silent and what it raises becomes a DataError that tells no value."""
    pydicom = _pydicom()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield pydicom
        except (
            ArithmeticError,
            AttributeError,
            EOFError,
            LookupError,
            OSError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as error:
            raise DataError(f"{where}: cannot be read as DICOM ({type(error).__name__}); check the file") from None


def read_header(file: BinaryIO, where: str) -> Header | None:
    """Return what a file says of its slices; None where it is no DICOM file, or one without pixels. Closes the file.

    Raises:
        DataError: It is a DICOM image whose header is damaged, or pydicom is missing.
    """
    with file, discreet(where) as pydicom:
        try:
            data = pydicom.dcmread(file, specific_tags=list(_HEADER), stop_before_pixels=True)
        except pydicom.errors.InvalidDicomError:
            return None
        if "Rows" not in data or "Columns" not in data or "SeriesInstanceUID" not in data:
            return None
        is_seg = str(data.get("SOPClassUID", "")) in SEG_CLASSES
        references = data.get("ReferencedSeriesSequence") or ()
        return Header(
            where=where,
            is_seg=is_seg,
            instance=str(data.get("SOPInstanceUID", "")),
            series=str(data.SeriesInstanceUID),
            modality=MODALITIES.get(str(data.get("Modality", "")), "other"),
            number=int(data.get("SeriesNumber") or 0),
            instance_number=int(data.get("InstanceNumber") or 0),
            rows=int(data.Rows),
            columns=int(data.Columns),
            samples=int(data.get("SamplesPerPixel") or 1),
            references=frozenset(str(item.get("SeriesInstanceUID", "")) for item in references),
            frames=_frames(data),
        )


def _frames(data: Any) -> tuple[Frame, ...]:
    count = int(data.get("NumberOfFrames") or 1)
    groups = data.get("PerFrameFunctionalGroupsSequence")
    if not groups:
        return (_plain_frame(data),) * count
    shared = (data.get("SharedFunctionalGroupsSequence") or [None])[0]
    return tuple(_grouped_frame(group, shared) for group in groups)


def _plain_frame(data: Any) -> Frame:
    return Frame(
        position=_vector(data, "ImagePositionPatient", 3),
        orientation=_vector(data, "ImageOrientationPatient", 6),
        spacing=_vector(data, "PixelSpacing", 2),
        step=_step(data),
        slope=_number(data, "RescaleSlope", 1.0),
        intercept=_number(data, "RescaleIntercept", 0.0),
    )


def _grouped_frame(group: Any, shared: Any) -> Frame:
    """Return a frame of a multi-frame file: what it says itself, else what the file says of all frames."""

    def item(name: str) -> Any:
        for place in (group, shared):
            found = None if place is None else place.get(name)
            if found:
                return found[0]
        return {}

    measures, values = item("PixelMeasuresSequence"), item("PixelValueTransformationSequence")
    segment = item("SegmentIdentificationSequence").get("ReferencedSegmentNumber")
    sources = item("DerivationImageSequence").get("SourceImageSequence")
    return Frame(
        position=_vector(item("PlanePositionSequence"), "ImagePositionPatient", 3),
        orientation=_vector(item("PlaneOrientationSequence"), "ImageOrientationPatient", 6),
        spacing=_vector(measures, "PixelSpacing", 2),
        step=_step(measures),
        slope=_number(values, "RescaleSlope", 1.0),
        intercept=_number(values, "RescaleIntercept", 0.0),
        segment=None if segment is None else int(segment),
        source=str(sources[0].get("ReferencedSOPInstanceUID", "")) if sources else None,
    )


def _vector(data: Any, name: str, length: int) -> Vector | None:
    values = data.get(name)
    found = () if values is None else tuple(float(value) for value in values)
    return found if len(found) == length and all(map(math.isfinite, found)) else None


def _number(data: Any, name: str, default: float) -> float:
    value = data.get(name)
    return default if value is None or str(value) == "" else float(value)


def _step(data: Any) -> float | None:
    found = (_number(data, name, 0.0) for name in ("SpacingBetweenSlices", "SliceThickness"))
    return next((abs(value) for value in found if value), None)


def group_series(headers: Sequence[Header]) -> list[Series]:
    """Return the image series among the headers: most slices first, then by series number, then by name of a file."""
    found: dict[str, list[Header]] = {}
    for header in headers:
        if not header.is_seg:
            found.setdefault(header.series, []).append(header)
    ordered = (
        Series(headers=tuple(sorted(members, key=lambda one: (one.instance_number, one.where))))
        for members in found.values()
    )
    return sorted(ordered, key=lambda one: (-one.slices, one.first.number, min(head.where for head in one.headers)))


def read_pixels(open_file: Open, header: Header) -> NDArray[Any]:
    """Return the one image of a file: uint8 (H, W, 3) of colours, uint8 (H, W) of 8 bits, else float32 (H, W).

    Grey values are rescaled, MONOCHROME1 is inverted.

    Raises:
        DataError: It holds several images, or cannot be decoded.
    """
    if len(header.frames) > 1:
        raise DataError(
            f"{header.where}: expected one image, found {len(header.frames)} frames without a place in space"
        )
    values, bits = stored_values(open_file(header.where), header.where)
    frame = header.frames[0]
    if values.ndim == 3 or (bits <= 8 and (frame.slope, frame.intercept) == (1.0, 0.0) and values.min() >= 0):
        return values.astype(np.uint8)
    return (values * np.float64(frame.slope) + frame.intercept).astype(np.float32)


def stored_values(file: BinaryIO, where: str) -> tuple[NDArray[Any], int]:
    """Return (stored values with MONOCHROME1 inverted, bits): frames first where there are several, colours last."""
    with file, discreet(where) as pydicom:
        data = pydicom.dcmread(file, specific_tags=list(PIXELS))
        shown, bits = str(data.get("PhotometricInterpretation", "")), int(data.get("BitsStored", 8))
        colour = shown == "RGB" or shown.startswith("YBR")
        if not colour and not shown.startswith("MONOCHROME"):
            raise DataError(f"{where}: expected grey values, RGB or YBR, found another kind of pixels; export it anew")
        if colour and bits != 8:
            raise DataError(f"{where}: expected 8 bits a colour channel, found {bits}; export it anew")
        values: NDArray[Any] = data.pixel_array
        if shown == "MONOCHROME1":
            values = (-1 if data.get("PixelRepresentation") else 2**bits - 1) - values.astype(np.int64)
        return values, bits
