"""Reading of DICOM files: the geometry in their headers, their grouping into series, and their stored values.

Only the elements named here are read. Nothing that identifies a person, a place, a date or a device leaves this module,
and no message holds the value of an element other than sizes and counts of pixels. Warnings and messages of pydicom may
hold one, so they end here.
"""

import os
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.imaging.dicom.elements import Vector, directions, length, lengths, number, pixel_mm, vector

Open = Callable[[str], BinaryIO]  # opens a file by the name under which its header was read

# SOP classes of segmentations: Segmentation Storage, with a frame per segment, and Label Map Segmentation Storage.
SEG_CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})

# Value of the element Modality -> modality code; anything else is `other`.
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

# pydicom skips the elements that are not named here, so that identifying ones are never parsed.
_HEADER = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "InstanceNumber", "Modality"),
    *("FrameOfReferenceUID", "Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "NumberOfFrames"),
    *("PixelSpacing", "PixelSpacingCalibrationType", "ImagerPixelSpacing", "NominalScannedPixelSpacing"),
    *("EstimatedRadiographicMagnificationFactor", "SequenceOfUltrasoundRegions", "SliceThickness"),
    *(
        "GridFrameOffsetVector",
        "SpacingBetweenSlices",
        "ImageOrientationPatient",
        "ImagePositionPatient",
        "RescaleSlope",
        "RescaleIntercept",
    ),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "ReferencedSeriesSequence"),
)
# Transfer syntaxes that store pixels as they are: implicit and explicit little endian, and explicit big endian.
_UNCOMPRESSED = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"})
# The elements that pydicom needs to decode pixels.
PIXELS = (
    *("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "PhotometricInterpretation", "PlanarConfiguration", "PixelData"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The geometry of one slice, as its header states it; None for values that the header leaves out.

    Attributes:
        position: (x, y, z) of the centre of the first pixel in millimetres, in DICOM's LPS+ coordinates.
        orientation: Direction cosines (x, y, z) along a row, then (x, y, z) down a column.
        spacing: Millimetres between rows, then between columns, both above 0.
        step: Millimetres to the next slice, by the spacing between slices, else by their thickness.
        between: Millimetres to the next slice by the spacing between slices alone.
        slope: Grey value = stored value * slope + intercept.
        intercept: See `slope`.
        segment: Number of the segment to which a frame of a segmentation belongs.
        source: SOP Instance UID of the slice on which a frame of a segmentation was drawn.
    """

    position: Vector | None = None
    orientation: Vector | None = None
    spacing: Vector | None = None
    step: float | None = None
    between: float | None = None
    slope: float = 1.0
    intercept: float = 0.0
    segment: int | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The elements of one file's header that the harness uses.

    The identifiers (UIDs) serve only to relate files to each other and are never written out.

    Attributes:
        where: Name under which the file is opened again.
        is_seg: Whether the file is a segmentation.
        instance: SOP Instance UID.
        series: Series Instance UID.
        modality: Modality code.
        number: Number of the series; 0 if the header does not say.
        instance_number: Number of the file in its series; 0 if the header does not say.
        rows: Height of a frame in pixels.
        columns: Width of a frame in pixels.
        samples: Samples per pixel: 1 for grey values, 3 for colours.
        references: Series Instance UIDs of the series on which a segmentation was drawn.
        frames: The frames in the order of the pixels.
        space: Frame of Reference UID: positions of files with another one cannot be compared; empty if it is not given.
        pixel_mm: Millimetres between rows, then between columns, of an image without a place in space; see `elements`.
        remarks: A sentence for each contradiction on the size of its pixels, with the values and which of them counts.
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
    space: str = ""
    pixel_mm: Vector | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The files of one series, ordered by instance number."""

    headers: tuple[Header, ...]

    @property
    def first(self) -> Header:
        """The file with the lowest instance number, which represents the series where all files agree."""
        return self.headers[0]

    @property
    def slices(self) -> int:
        """Number of slices, including duplicates."""
        return sum(len(header.frames) for header in self.headers)


def _pydicom() -> Any:
    try:
        return import_module("pydicom")  # heavy, optional, and only partly typed
    except ImportError:
        raise DataError("reading DICOM needs pydicom; pip install 'medground[medical]'") from None


@contextmanager
def discreet(where: str) -> Iterator[Any]:
    """Yield pydicom; its warnings are silenced, and its exceptions become a DataError that holds no value.

    Args:
        where: Name of the file, for messages.
    Raises:
        DataError: pydicom is missing, or the body of the `with` raised.
    """
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
            MemoryError,
            OSError,
            RuntimeError,
            TypeError,
            ValueError,
            pydicom.errors.BytesLengthException,
            struct.error,
            zlib.error,
        ) as error:
            # `from None`, because a chained traceback would print the value after all.
            raise DataError(f"{where}: cannot be read as DICOM ({type(error).__name__}); check the file") from None


def read_header(file: BinaryIO, where: str) -> Header | None:
    """Return the header of a file and close the file.

    Args:
        file: The open file.
        where: Name under which the file can be opened again.
    Returns:
        None if it is not a DICOM file or holds no pixels.
    Raises:
        DataError: It is a DICOM image with a damaged header, it claims more frames than its bytes can hold, or pydicom
            is missing.
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
        frames = _frames(data, file.seek(0, os.SEEK_END), where)
        size_mm, remarks = pixel_mm(data, frames[0].spacing)
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
            frames=frames,
            space=str(data.get("FrameOfReferenceUID") or ""),
            pixel_mm=size_mm,
            remarks=remarks,
        )


def _frames(data: Any, file_bytes: int, where: str) -> tuple[Frame, ...]:
    count = int(data.get("NumberOfFrames") or 1)
    bits = int(data.Rows) * int(data.Columns) * int(data.get("SamplesPerPixel") or 1)
    bits *= int(data.get("BitsAllocated") or 8)
    compressed = str(data.file_meta.get("TransferSyntaxUID", "")) not in _UNCOMPRESSED
    # Checked before anything of that length is made. A compressed frame takes a byte at least, any other half of its
    # bits, because colours may be stored for every second pixel.
    if count > 1 and (count if compressed else count * bits // 16) > file_bytes:
        frame = f"{int(data.Rows)} x {int(data.Columns)} pixels"
        message = f"{where}: expected the pixels of {count} frames of {frame}, found a file of {file_bytes} bytes"
        raise DataError(f"{message}; it is damaged or torn")
    groups = data.get("PerFrameFunctionalGroupsSequence")
    if not groups:
        first = _plain_frame(data)
        if count == 1 or first.position is None or first.orientation is None:
            return (first,) * count  # such as the frames of an ultrasound clip
        # Several frames with one position: those of a dose grid lie at offsets from it, of others that is not known.
        offsets = vector(data, "GridFrameOffsetVector", count)
        if offsets is None:
            return (replace(first, position=None),) * count
        normal = np.cross(first.orientation[:3], first.orientation[3:])
        # Offsets that begin with 0 count from the position, others along the axis of the patient (PS3.3 C.8.8.3.2).
        start = 0.0 if offsets[0] == 0 else float(np.dot(first.position, normal))
        places = [np.array(first.position) + (offset - start) * normal for offset in offsets]
        return tuple(replace(first, position=tuple(place.tolist())) for place in places)
    shared = (data.get("SharedFunctionalGroupsSequence") or [None])[0]
    return tuple(_grouped_frame(group, shared) for group in groups)


def _plain_frame(data: Any) -> Frame:
    return Frame(
        position=vector(data, "ImagePositionPatient", 3),
        orientation=directions(data),
        spacing=lengths(data, "PixelSpacing"),
        step=_step(data),
        between=length(data, "SpacingBetweenSlices"),
        slope=number(data, "RescaleSlope", 1.0),
        intercept=number(data, "RescaleIntercept", 0.0),
    )


def _grouped_frame(group: Any, shared: Any) -> Frame:
    """Return a frame of a multi-frame file: its own functional groups come first, then those that all frames share."""

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
        position=vector(item("PlanePositionSequence"), "ImagePositionPatient", 3),
        orientation=directions(item("PlaneOrientationSequence")),
        spacing=lengths(measures, "PixelSpacing"),
        step=_step(measures),
        between=length(measures, "SpacingBetweenSlices"),
        slope=number(values, "RescaleSlope", 1.0),
        intercept=number(values, "RescaleIntercept", 0.0),
        segment=None if segment is None else int(segment),
        source=str(sources[0].get("ReferencedSOPInstanceUID", "")) if sources else None,
    )


def _step(data: Any) -> float | None:
    return length(data, "SpacingBetweenSlices") or length(data, "SliceThickness")


def group_series(headers: Sequence[Header]) -> list[Series]:
    """Return the image series among the headers: most slices first, then by series number, then by name of a file.

    Segmentations are ignored.
    """
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
    """Return the pixels of a file with one image.

    Args:
        open_file: Opens the file by name.
        header: Its header.
    Returns:
        Colours as uint8 (H, W, 3). Grey values as uint8 (H, W) if they have at most 8 bits and are not rescaled, else
        rescaled as float32 (H, W). MONOCHROME1 is inverted, so that higher is always brighter.
    Raises:
        DataError: The file holds several images or cannot be decoded.
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
    """Return the stored values of a file and close it.

    Args:
        file: The open file.
        where: Name of the file, for messages.
    Returns:
        (values, bits). Values are integers (H, W), or (frames, H, W) if there are several frames, with a last axis of 3
        for colours; MONOCHROME1 is inverted. Bits is the number of bits stored per value.
    Raises:
        DataError: The file cannot be decoded or holds a kind of pixels that is not supported.
    """
    with file, discreet(where) as pydicom:
        data = pydicom.dcmread(file, specific_tags=list(PIXELS))
        photometric, bits = str(data.get("PhotometricInterpretation", "")), int(data.get("BitsStored", 8))
        colour = photometric == "RGB" or photometric.startswith("YBR")
        if not colour and not photometric.startswith("MONOCHROME"):
            raise DataError(f"{where}: expected grey values, RGB or YBR, found another kind of pixels; export it anew")
        if colour and bits != 8:
            raise DataError(f"{where}: expected 8 bits a colour channel, found {bits}; export it anew")
        values = decoded(data, where)
        if photometric == "MONOCHROME1":
            # Inverted within the range of the stored type, before slope and intercept are applied.
            values = (-1 if data.get("PixelRepresentation") else 2**bits - 1) - values.astype(np.int64)
        return values, bits


def decoded(data: Any, where: str) -> NDArray[Any]:
    """Return the pixels of a dataset as pydicom decodes them.

    Args:
        data: The dataset with the elements `PIXELS`; to be called within `discreet`.
        where: Name of the file, for messages.
    Raises:
        DataError: The pixels are compressed in a way for which no decoder is installed, or which pydicom does not know.
    """
    syntax = data.file_meta.get("TransferSyntaxUID")
    # Only a name of the standard is repeated in a message: what stands there in a damaged file may be anything.
    if syntax is not None and syntax.keyword:
        compressed = f"{where}: its pixels are compressed as {syntax.name} ({syntax})"
        try:
            decoder = import_module("pydicom.pixels").get_decoder(syntax)
        except NotImplementedError:
            raise DataError(f"{compressed}, which cannot be decoded here; export it uncompressed") from None
        if not decoder.is_available:
            packages = "; or ".join(line.partition(" requires ")[2] or line for line in decoder.missing_dependencies)
            raise DataError(f"{compressed}, and no decoder for them is installed; install {packages}")
    pixels: NDArray[Any] = data.pixel_array
    return pixels
