"""Writing of DICOM: slices of a series and segmentations, with names and dates that no reader may reveal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.imaging.dicom.elements import Vector

# SOP classes and the transfer syntax, by their identifiers in DICOM PS3.6.
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"

# Elements of every file. Tests search for them in everything that a reader or a report writes.
PRIVATE: Mapping[str, str] = {
    "PatientName": "Drawn^Nobody",
    "PatientID": "ID-4711-SECRET",
    "PatientBirthDate": "19700102",
    "StudyDate": "20210304",
    "InstitutionName": "Hospital of Nowhere",
    "AccessionNumber": "ACC-0815",
    "ReferringPhysicianName": "Doctor^Invented",
    "SeriesDescription": "series of Nobody",
}

AXIAL: Vector = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnSeries:
    """The properties that all files of a synthetic series share.

    Attributes:
        name: Identifies patient and series; the DICOM identifiers are made from it.
        number: Number of the series.
        modality: Modality as DICOM writes it.
        orientation: Direction cosines along a row, then down a column.
        spacing: Millimetres between rows, then between columns.
        slope, intercept: Grey value = slope * stored value + intercept.
        inverted: Whether it is stored as MONOCHROME1, in which large values are dark.
    """

    name: str
    number: int = 1
    modality: str = "CT"
    orientation: Vector = AXIAL
    spacing: Vector = (1.0, 1.0)
    slope: float = 1.0
    intercept: float = -1024.0
    inverted: bool = False


def uid(name: str) -> str:
    """Return the DICOM identifier of a name, always the same."""
    # Root 2.25 is open to anyone for numbers below 2**128 (PS3.5 B.2); a hash, unlike a random UUID, repeats.
    return f"2.25.{int.from_bytes(sha256(name.encode()).digest()[:15], 'big')}"


def write_slice(path: Path, series: DrawnSeries, number: int, position: Sequence[float], grey: NDArray[Any]) -> None:
    """Write one slice as a CT image.

    Args:
        path: The file; its folder is made if it is missing.
        series: The series of the slice.
        number: Instance number.
        position: (x, y, z) of the first pixel's centre in mm.
        grey: Grey values of any numeric type, (rows, columns), clipped to what 12 bits hold under slope and intercept.
    """
    data = _dataset(CT_IMAGE, f"{series.name}/{series.number}/{number}")
    stored = np.clip(np.rint((grey - series.intercept) / series.slope), 0, 2**12 - 1).astype(np.uint16)
    data.Modality = series.modality
    data.SeriesInstanceUID = uid(f"{series.name}/{series.number}")
    data.SeriesNumber, data.InstanceNumber = series.number, number
    data.ImageOrientationPatient = [f"{value:.6g}" for value in series.orientation]
    data.ImagePositionPatient = [f"{value:.8g}" for value in position]
    data.PixelSpacing = list(series.spacing)
    data.RescaleSlope, data.RescaleIntercept = series.slope, series.intercept
    data.Rows, data.Columns = stored.shape
    data.SamplesPerPixel, data.BitsAllocated, data.BitsStored, data.HighBit = 1, 16, 12, 11
    data.PixelRepresentation = 0
    data.PhotometricInterpretation = "MONOCHROME1" if series.inverted else "MONOCHROME2"
    data.PixelData = (2**12 - 1 - stored if series.inverted else stored).astype("<u2").tobytes()
    _save(data, path)


def write_segmentation(
    path: Path,
    series: DrawnSeries,
    segments: Mapping[str, NDArray[np.bool_]],
    positions: Sequence[Sequence[float]],
    *,
    referenced: bool = True,
    between: float | None = None,
) -> None:
    """Write a binary DICOM SEG with a frame for each slice that a segment covers.

    Args:
        path: The file; its folder is made if it is missing.
        series: The series that is segmented.
        segments: Label -> boolean (slices, rows, columns).
        positions: (x, y, z) of each slice's first pixel in mm.
        referenced: Whether the file names its series.
        between: Spacing between slices in mm that it states; None for none.
    """
    data = _dataset(SEGMENTATION, f"{series.name}/{series.number}/segmentation/{path.name}")
    data.SeriesInstanceUID = uid(f"{series.name}/seg/{path.name}")
    data.Modality, data.SegmentationType = "SEG", "BINARY"
    data.SegmentSequence = [_item(SegmentNumber=at, SegmentLabel=label) for at, label in enumerate(segments, 1)]
    if referenced:
        data.ReferencedSeriesSequence = [_item(SeriesInstanceUID=uid(f"{series.name}/{series.number}"))]
    orientation = _item(ImageOrientationPatient=list(series.orientation))
    measures = _item(PixelSpacing=list(series.spacing))
    if between is not None:
        measures.SpacingBetweenSlices = between
    data.SharedFunctionalGroupsSequence = [
        _item(PlaneOrientationSequence=[orientation], PixelMeasuresSequence=[measures])
    ]
    # The last slice first: a reader must go by positions, never by the order of frames.
    frames = [
        (at, slice_number, mask[slice_number])
        for at, mask in enumerate(segments.values(), 1)
        for slice_number in reversed(np.flatnonzero(mask.any(axis=(1, 2))).tolist())
    ]
    data.PerFrameFunctionalGroupsSequence = [
        _item(
            PlanePositionSequence=[_item(ImagePositionPatient=[f"{value:.8g}" for value in positions[slice_number]])],
            SegmentIdentificationSequence=[_item(ReferencedSegmentNumber=at)],
        )
        for at, slice_number, _ in frames
    ]
    rows, columns = next(iter(segments.values())).shape[1:]
    data.Rows, data.Columns, data.NumberOfFrames = rows, columns, len(frames)
    data.SamplesPerPixel, data.BitsAllocated, data.BitsStored, data.HighBit = 1, 1, 1, 0
    data.PixelRepresentation, data.PhotometricInterpretation = 0, "MONOCHROME2"
    # Frames follow each other bit by bit, without padding between them; the whole has an even number of bytes.
    packed = np.packbits(np.stack([mask for _, _, mask in frames]).ravel(), bitorder="little").tobytes()
    data.PixelData = packed + b"\0" * (len(packed) % 2)
    _save(data, path)


def _pydicom() -> Any:
    try:
        return import_module("pydicom")  # heavy, optional, and only partly typed
    except ImportError:
        raise DataError("drawing DICOM files needs pydicom; pip install 'medground[medical]'") from None


def _item(**elements: Any) -> Any:
    item = _pydicom().Dataset()
    for name, value in elements.items():
        setattr(item, name, value)
    return item


def _dataset(kind: str, name: str) -> Any:
    data = _item(SOPClassUID=kind, SOPInstanceUID=uid(name), **PRIVATE)
    meta = _pydicom().dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, data.SOPInstanceUID
    meta.TransferSyntaxUID = EXPLICIT_LITTLE_ENDIAN
    data.file_meta = meta
    return data


def _save(data: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
