"""Masks of volumes as DICOM SEG, written by highdicom: a file for each sample, a segment for each of its masks.

Where the DICOM series of the release is given, frames lie on its slices and refer to them by their identifiers. Else a
file refers to slices that exist nowhere, in the place of the volume. No name, number or date of a patient is copied.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.phantoms.writers.dicom import uid
from harness.errors import DataError, SpecError
from harness.exports.finished_run import ExportedSample, FinishedRun, library_version
from harness.exports.predictions.folder import FOLDER
from harness.exports.predictions.masks import axes_of
from harness.imaging import masks as run_lengths
from harness.imaging.dicom.headers import group_series, read_header
from harness.imaging.dicom.segmentations import is_background
from harness.imaging.dicom.series import Stack, stack
from harness.imaging.nifti import import_nibabel
from harness.records import Json, Mask

MOST_LABEL = 60  # characters; LO holds 64, and a number may follow
# Share of a voxel by which a series may be off the volume of the release, which was made of it.
_SAME_PLACE = 1e-3
# Cosine of the angle between rows and columns above which they are not at right angles, as a frame has to be.
_SKEW = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The slices that a segmentation refers to.

    Attributes:
        datasets: One per slice, in the order of the array: pydicom datasets without pixels.
        turns: Orientation by nibabel from the array (columns, rows, slices) to the volume (x, y, z) of the harness.
    """

    datasets: Sequence[Any]
    turns: NDArray[np.float64]


@dataclass(slots=True)
class DicomSegMasks:
    """DICOM Segmentation Storage, binary, explicit little endian.

    Attributes:
        roots: Folders with the DICOM series of the release, at any depth; empty if there are none.
        without_source: Number of files that refer to slices which exist nowhere.
    """

    roots: Sequence[Path] = ()
    name: str = "dicom-seg"
    without_source: int = 0
    _model: str = ""
    _details: dict[str, str] = field(default_factory=dict)
    _series: list[tuple[Stack, list[Path]]] | None = None

    def begin(self, run: FinishedRun) -> None:
        """Note model, digests and versions, which the files name as their algorithm."""
        self._model = run.model_name
        self._details = {
            "model": str(run.model["id"]),
            "model version": str(run.model["version"]),
            "weights": " ".join(map(str, run.model["weights"])),
            "run": run.started,
        }

    def refusal(self, item: ExportedSample) -> str | None:
        """Return why a sample's masks cannot be held; None if they can."""
        where = f"{item.task.task}: {item.sample.id}"
        if axes_of(item) == 2:
            return (
                f"{where}: expected masks of a volume (D, H, W), found those of an image, whose place in space is not "
                "known; `harness export png` holds them"
            )
        if item.prediction is None or not item.prediction.masks:
            return None
        affine = item.sample.media[0].affine if item.sample.media else None
        if affine is None:
            return (
                f"{where}: expected a volume with an affine, found none, and a DICOM SEG is placed in space; "
                "`harness export nifti` holds its masks"
            )
        axes = np.asarray(affine, dtype=np.float64).reshape(4, 4)[:3, :3]
        axes = axes / np.linalg.norm(axes, axis=0)
        if abs(axes[:, 0] @ axes[:, 1]) > _SKEW:
            return (
                f"{where}: expected rows and columns at right angles, found a sheared affine; `harness export nifti` "
                "holds its masks"
            )
        return None

    def write(self, folder: Path, stem: str, item: ExportedSample, masks: Sequence[Mask]) -> list[dict[str, Json]]:
        """Write a sample's masks; return their entries in a predictions line, which name segments by number.

        Raises:
            DataError: highdicom or pydicom is missing, or a series of the release cannot be read.
        """
        highdicom, codes = _highdicom()
        source = self._source(item)
        orientations = import_nibabel("DICOM").orientations
        back = orientations.ornt_transform(orientations.axcodes2ornt("RAS"), source.turns)
        # (slices, rows, columns, segments), on the grid of the source.
        planes = [orientations.apply_orientation(run_lengths.decode(mask).T, back).T for mask in masks]
        identification = highdicom.AlgorithmIdentificationSequence(
            name=_text(self._model or "model"),
            family=codes.cid7162.ArtificialIntelligence,
            version=_text(self._details.get("model version", "")) or "unknown",
            parameters={name: _text(words, 400) for name, words in self._details.items()},
        )
        descriptions = [
            highdicom.seg.SegmentDescription(
                segment_number=number,
                segment_label=label,
                segmented_property_category=codes.SCT.AnatomicalStructure,
                segmented_property_type=codes.SCT.Tissue,
                algorithm_type="AUTOMATIC",
                algorithm_identification=identification,
            )
            for number, label in enumerate(labels_of(item), start=1)
        ]
        name = f"{item.task.task}/{item.sample.id}/{item.repeat}/{item.prediction.key if item.prediction else ''}"
        with warnings.catch_warnings():
            # On names and empty segments; what a reader finds is tested.
            warnings.simplefilter("ignore")
            found = highdicom.seg.Segmentation(
                source_images=list(source.datasets),
                pixel_array=np.stack(planes, axis=-1).astype(np.uint8),
                segmentation_type="BINARY",
                segment_descriptions=descriptions,
                series_instance_uid=uid(f"{name}/series"),
                series_number=1,
                sop_instance_uid=uid(f"{name}/instance"),
                instance_number=1,
                manufacturer="MedGround",
                manufacturer_model_name="harness export dicom-seg",
                software_versions=library_version(),
                device_serial_number="none",
                content_description=_text(item.sample.id),
                content_label="SEGMENTATION",
                omit_empty_frames=any(plane.any() for plane in planes),
            )
            found.SpecificCharacterSet = "ISO_IR 192"  # UTF-8: ids and names come in any script
            path = f"{FOLDER}/{stem}.dcm"
            found.save_as(folder / path)
        return [{"path": path, "label": number} for number in range(1, len(masks) + 1)]

    def _source(self, item: ExportedSample) -> Source:
        media = item.sample.media[0]
        affine = np.asarray(media.affine, dtype=np.float64).reshape(4, 4)
        fitting = [found for found in self._stacks() if _fits(found[0], affine, media.size)]
        # Phases of one scan share a grid; the id of a sample holds the folder of its series.
        named = [found for found in fitting if f"/{found[1][0].parent.name}" in item.sample.id]
        if len(fitting) > 1 and len(named) != 1:
            raise DataError(
                f"{item.sample.id}: expected one series on its grid below --data-root, found {len(fitting)}; name the "
                "folder of the series"
            )
        if fitting:
            return _read_source(*(named or fitting)[0])
        self.without_source += 1
        return _made_source(affine, media.size, media.sha256 or media.path)

    def _stacks(self) -> list[tuple[Stack, list[Path]]]:
        """Return the series below the roots, with the file of each slice."""
        if self._series is None:
            self._series = []
            files = {str(path): path for root in self.roots for path in sorted(root.rglob("*")) if path.is_file()}
            headers = [header for name, path in files.items() if (header := read_header(path.open("rb"), name))]
            for series in group_series(headers):
                if all(len(header.frames) == 1 and header.frames[0].position for header in series.headers):
                    found = stack(series.headers, series.first.where)
                    if not found.fault:
                        self._series.append((found, [files[header.where] for header, _ in found.slices]))
            if self.roots and not self._series:
                roots = ", ".join(map(str, self.roots))
                raise SpecError(f"--data-root {roots}: expected DICOM series with a place in space, found none")
        return self._series


def labels_of(item: ExportedSample) -> list[str]:
    """Return a label for each mask: the name in the answer, else that of the target; each is unique.

    A label that readers would take for background gets a word behind it.
    """
    prediction = item.prediction
    assert prediction is not None
    asked = ", ".join(entity.name for entity in item.sample.target.entities) or "mask"
    named = {entity.mask: entity.name for entity in prediction.entities}
    found: list[str] = []
    for place in range(len(prediction.masks)):
        label = _text(named.get(place, asked), MOST_LABEL) or "mask"
        label = f"{label[: MOST_LABEL - 10]} structure" if is_background(label) else label
        known = {one.casefold() for one in found}
        found.append(label if label.casefold() not in known else f"{label} {place + 1}")
    return found


def _text(words: str, most: int = 64) -> str:
    """Return words as LO and ST hold them: without control characters and backslashes, which separate values."""
    clean = "".join(letter if letter.isprintable() and letter != "\\" else " " for letter in words)
    return " ".join(clean[:most].split())


def _highdicom() -> tuple[Any, Any]:
    try:
        return import_module("highdicom"), import_module("pydicom.sr.codedict").codes
    except ImportError:
        raise DataError("writing DICOM SEG needs highdicom; pip install 'medground[medical]'") from None


def _fits(found: Stack, affine: NDArray[np.float64], size: tuple[int, ...]) -> bool:
    turns, own = _canonical(found)
    shape = [0, 0, 0]
    for axis, length in enumerate(found.shape[::-1]):
        shape[int(turns[axis, 0])] = length
    if tuple(shape[::-1]) != size:
        return False
    corners = np.array([[x, y, z, 1] for x in (0, shape[0]) for y in (0, shape[1]) for z in (0, shape[2])]).T
    off = np.abs((own - affine) @ corners).max()
    return bool(off <= _SAME_PLACE * np.linalg.norm(affine[:3, :3], axis=0).min())


def _canonical(found: Stack) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how nibabel turns a stack (columns, rows, slices) closest to RAS+, and the affine it has then."""
    orientations = import_nibabel("DICOM").orientations
    affine = np.asarray(found.affine, dtype=np.float64)
    turns: NDArray[np.float64] = orientations.io_orientation(affine)
    return turns, affine @ orientations.inv_ornt_aff(turns, found.shape[::-1])


def _read_source(found: Stack, paths: Sequence[Path]) -> Source:
    """Return the slices of a series by their identifiers, without anything that names a patient."""
    pydicom = import_module("pydicom")
    datasets: list[Any] = []
    for (header, _), path in zip(found.slices, paths, strict=True):
        frame = header.frames[0]
        kept = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["StudyInstanceUID", "SOPClassUID"])
        datasets.append(
            _dataset(
                study=str(kept.get("StudyInstanceUID") or uid(f"{header.series}/study")),
                series=header.series,
                instance=header.instance,
                space=header.space or uid(f"{header.series}/space"),
                sop_class=str(kept.SOPClassUID),
                position=frame.position or (),
                orientation=frame.orientation or (),
                spacing=frame.spacing or (),
                size=(header.rows, header.columns),
                number=len(datasets) + 1,
            )
        )
    return Source(datasets=datasets, turns=_canonical(found)[0])


def _made_source(affine: NDArray[np.float64], size: tuple[int, ...], name: str) -> Source:
    """Return slices that exist nowhere, in the place of a volume, with identifiers made of its digest."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    lengths = np.linalg.norm(lps[:3, :3], axis=0)
    datasets = [
        _dataset(
            study=uid(f"{name}/study"),
            series=uid(f"{name}/series"),
            instance=uid(f"{name}/{index}"),
            space=uid(f"{name}/space"),
            sop_class="1.2.840.10008.5.1.4.1.1.2",
            position=tuple((lps @ (0, 0, index, 1))[:3]),
            orientation=(*(lps[:3, 0] / lengths[0]), *(lps[:3, 1] / lengths[1])),
            spacing=(lengths[1], lengths[0]),
            size=(size[1], size[2]),
            number=index + 1,
        )
        for index in range(size[0])
    ]
    return Source(datasets=datasets, turns=import_nibabel("DICOM").orientations.axcodes2ornt("RAS"))


def _dataset(
    *,
    study: str,
    series: str,
    instance: str,
    space: str,
    sop_class: str,
    position: Sequence[float],
    orientation: Sequence[float],
    spacing: Sequence[float],
    size: tuple[int, int],
    number: int,
) -> Any:
    """Return the header of a slice as highdicom needs it: geometry, identifiers, and empty fields for the patient."""
    pydicom = import_module("pydicom")
    decimal = import_module("pydicom.valuerep").format_number_as_ds
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    data.SOPClassUID, data.SOPInstanceUID = sop_class, instance
    data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = study, series, space
    for name in (
        *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
        *("AccessionNumber", "ReferringPhysicianName", "PositionReferenceIndicator"),
    ):
        setattr(data, name, "")
    data.Modality, data.InstanceNumber = "OT", number
    data.ImagePositionPatient = [decimal(float(value)) for value in position]
    data.ImageOrientationPatient = [decimal(float(value)) for value in orientation]
    data.PixelSpacing = [decimal(float(value)) for value in spacing]
    data.SliceThickness = decimal(1.0)
    data.Rows, data.Columns = size
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    return data
