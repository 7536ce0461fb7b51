"""Inspection of images and volumes in any file format, and of the label images on them, while a release is read."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.images import MISSING, ReleaseImage, inspect_embedded, inspect_file
from harness.errors import DataError
from harness.imaging.dicom.headers import read_header, read_pixels
from harness.imaging.dicom.series import Stack, read_voxels, stack
from harness.imaging.images import UPRIGHT, StoredAs, read_stored_mask, stored_as
from harness.imaging.mask_files.frame import displacement
from harness.imaging.mask_files.values import counted, read_values
from harness.imaging.masks import encode
from harness.imaging.target_size import skewed_steps
from harness.imaging.volumes import SUFFIXES, Volume, check, closest_canonical, read_volume, to_nifti
from harness.imaging.windowing import Window, limits
from harness.records import Grid, Json, Mask, Media, Size
from harness.records.codec import mask_from_json, mask_to_json, sha256_file, to_json

# Folder below the derived one for copies of DICOM images that hold the pixels and nothing that identifies a patient.
DERIVED = "dicom"

# A label image with more values than this is taken for a photograph or a scan.
LABELS_MOST = 1024
# Nothing that is scanned in a clinic is longer; of a volume that is the header has the unit wrong. So it has of most
# volumes in micrometres that are shorter than a millimetre: their numbers are mm as a rule.
_LONGEST_M, _SHORTEST_M = 10.0, 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The masks of a label image, one for each value from 1 on.

    Attributes:
        size, affine: As in `Media`.
        unit: Unit that the file names, as in `Volume`.
        masks: The mask of each value that occurs.
        orientation: EXIF orientation of the file, 1 to 8; it is not applied.
        one_bit: Whether the file holds black and white and nothing else, which programs read as 0 and 1 or 0 and 255.
    """

    size: Size
    affine: tuple[float, ...] | None
    masks: Mapping[int, Mask]
    orientation: int = UPRIGHT
    one_bit: bool = False
    unit: str = "mm"


def is_volume(path: str) -> bool:
    """Return whether a file is a NIfTI or npy volume by its name."""
    return path.lower().endswith(SUFFIXES)


def inspect_scan(
    files: ReleaseFiles, path: str, *, window: Window | None, integrity: Integrity, report_rotation: bool = True
) -> ReleaseImage:
    """Return the image, volume or DICOM file at `path`, and report its faults.

    An EXIF rotation is reported as one that is not applied, unless the caller sees to it: `report_rotation` is False.
    """
    if is_volume(path):
        return inspect_volume(files, path, window=window, integrity=integrity)
    if PurePosixPath(path).suffix.lower() == ".dcm":
        return _inspect_dicom(files, path, window, integrity)
    return inspect_file(files, path, window=window, integrity=integrity, report_rotation=report_rotation)


def inspect_volume(
    files: ReleaseFiles, path: str, *, integrity: Integrity, window: Window | None = None
) -> ReleaseImage:
    """Return the NIfTI or npy volume at `path`, and report its faults."""

    def inspect() -> Json:
        if not files.has(path):
            return MISSING
        found = read_volume(files.path(path))
        facts: dict[str, Any] = {
            "size": found.voxels.shape,
            "spacing_mm": found.spacing_mm,
            "affine": found.affine,
            "flat": found.flat,
            "remarks": found.remarks,
        }
        sides = np.multiply(found.voxels.shape, found.spacing_mm or 0.0) / 1000
        if sides.max() > _LONGEST_M or (found.unit == "um" and sides.max() < _SHORTEST_M):
            metres = " x ".join(f"{side:.4g}" for side in sides)
            words = f"the volume is {metres} m large if its unit of length, {found.unit}, is right; mm if none is named"
            facts["remarks"] = (*found.remarks, words)
        window_limits = None if window is None else limits(window, found.voxels, path)
        return to_json({"sha256": sha256_file(files.path(path)), "window": window_limits, **facts})

    try:
        facts = files.once(["volume in mm, flat or not", to_json(window)], path, inspect)
    except DataError as error:
        return unreadable(path, error, integrity)
    except MemoryError:
        return unreadable(path, DataError("too large for the memory of this machine"), integrity)
    if facts == MISSING:
        integrity.find("missing_file", path)
        return ReleaseImage(media=Media(path=path, sha256=None, kind="volume"), defect=f"volume {path} is missing")
    media = Media(
        path=path,
        sha256=facts["sha256"],
        kind="volume",
        size=tuple(facts["size"]),
        spacing_mm=_tuple(facts["spacing_mm"]),
        affine=_tuple(facts["affine"]),
        flat=facts["flat"],
        window=None if facts["window"] is None else (facts["window"][0], facts["window"][1]),
    )
    report_geometry(path, facts["remarks"], media.affine, integrity)
    return ReleaseImage(media=media)


def report_geometry(path: str, remarks: Sequence[str], affine: tuple[float, ...] | None, integrity: Integrity) -> None:
    """Report what contradicts each other in the headers of a volume, and axes that are not at right angles.

    Args:
        path: The file or folder.
        remarks: A sentence for each contradiction.
        affine: As in `Media`.
        integrity: The report.
    """
    for remark in remarks:
        integrity.find("geometry_conflict", path, remark)
    steps = skewed_steps(affine)
    if steps is not None:
        unit = [np.array(step) / np.linalg.norm(step) for step in steps]
        angles = [np.degrees(np.arccos(abs(first @ second))) for first, second in combinations(unit, 2)]
        detail = f"two axes are at {min(angles):.1f} degrees; distances are measured in space"
        integrity.find("skewed_grid", path, detail)


def _tuple(value: Json) -> tuple[float, ...] | None:
    return None if value is None else tuple(value)


def unreadable(path: str, error: DataError, integrity: Integrity) -> ReleaseImage:
    """Report a volume that cannot be read, and return a record of it without digest and size."""
    # Errors of the volume reader begin with the file's name, others with its path; the finding has a place of its own.
    name = PurePosixPath(path).name
    integrity.find("unreadable_file", path, str(error).removeprefix(f"{path}: ").removeprefix(f"{name}: "))
    return ReleaseImage(media=Media(path=path, sha256=None, kind="volume"), defect=f"volume {path} cannot be read")


def _inspect_dicom(files: ReleaseFiles, path: str, window: Window | None, integrity: Integrity) -> ReleaseImage:
    """Return the image of one DICOM file, or its volume if it has several frames with positions in space."""
    try:
        if not files.has(path):
            integrity.find("missing_file", path)
            return ReleaseImage(media=Media(path=path, sha256=None), defect=f"image {path} is missing")
        header = read_header(files.open(path), path)
        if header is None or header.is_seg:
            raise DataError(f"{path}: expected a DICOM image, found none")
        if len(header.frames) > 1 and header.frames[0].position is not None:
            frames = stack([header], header.where)
            if frames.fault:
                raise DataError(f"{header.where}: {frames.fault}")
            check(frames.shape, np.dtype(np.float32), path)
            volume = closest_canonical(read_voxels(frames, files.open), frames.affine)
            report_slices(path, frames, integrity)
            return derived_volume(files, volume, path, window=window)
        content = io.BytesIO()
        # Uncompressed TIFF: its bytes depend on the pixels alone, where PNG's depend on the version of zlib.
        Image.fromarray(read_pixels(files.open, header)).save(content, "TIFF")
    except (DataError, MemoryError) as error:
        large = isinstance(error, MemoryError)
        detail = "too large for the memory of this machine" if large else str(error).removeprefix(f"{path}: ")
        integrity.find("unreadable_file", path, detail)
        return ReleaseImage(media=Media(path=path, sha256=None), defect=f"image {path} cannot be read")
    report_geometry(path, header.remarks, None, integrity)
    found = inspect_embedded(files, content.getvalue(), DERIVED, path, window=window, integrity=integrity)
    if found.defect is not None:
        return found
    return replace(found, media=replace(found.media, spacing_mm=header.pixel_mm))


def report_slices(path: str, found: Stack, integrity: Integrity) -> None:
    """Report what is not as it should be with the slices of a DICOM series.

    Args:
        path: The file or folder.
        found: The slices.
        integrity: The report.
    """
    if found.fault:
        integrity.find("missing_slices", path, found.fault)
    for kind, count in (("doubled_slices", found.doubled), ("foreign_slices", found.foreign)):
        if count:
            integrity.find(kind, path, f"{count} left out, {len(found.slices)} kept")
    if found.uneven:
        integrity.find("uneven_slices", path, found.uneven)
    affine = tuple(value for row in found.affine for value in row)
    report_geometry(path, [found.conflict] if found.conflict else [], None if found.fault else affine, integrity)


def derived_volume(files: ReleaseFiles, volume: Volume, where: str, *, window: Window | None) -> ReleaseImage:
    """Return a volume that the release holds as DICOM, and write it as NIfTI below the derived folder.

    Args:
        files: The release.
        volume: Its voxels (D, H, W), with spacing and affine in mm.
        where: The files it is made of, for messages.
        window: The grey values that become 0 and 255; None if the task names none.
    Raises:
        SpecError: The window's low end is not below its high end.
    """
    content = to_nifti(volume)
    digest = hashlib.sha256(content).hexdigest()
    path = f"{DERIVED}/{digest}.nii"
    files.derive(path, content)
    media = Media(
        path=path,
        sha256=digest,
        kind="volume",
        size=volume.voxels.shape,
        spacing_mm=volume.spacing_mm,
        affine=volume.affine,
        window=None if window is None else limits(window, volume.voxels, where),
    )
    return ReleaseImage(media=media)


def inspect_labels(
    files: ReleaseFiles,
    path: str,
    media: Media,
    *,
    integrity: Integrity,
    named: Sequence[int] | None = None,
    threshold: float | None = None,
) -> Labels | str:
    """Return the masks of a label image, or why it cannot be used, and report its faults.

    Args:
        files: The release.
        path: An image or volume whose values are labels; 0 is background.
        media: The image or volume that the labels belong to.
        integrity: The report.
        named, threshold: As in `inspect_label_file`.
    """
    labels = inspect_label_file(files, path, integrity=integrity, named=named, threshold=threshold)
    return labels if isinstance(labels, str) else misfit(labels, path, media, integrity) or labels


def inspect_label_file(
    files: ReleaseFiles,
    path: str,
    *,
    integrity: Integrity,
    named: Sequence[int] | None = None,
    threshold: float | None = None,
) -> Labels | str:
    """Return the masks of a label image in the frame of its file, or why it cannot be read, and report its faults.

    Args:
        files: The release.
        path: An image or volume whose values are labels; 0 is background.
        integrity: The report.
        named: The values that labels have in this file. Empty: it is one mask, of any value. None: not known.
        threshold: Numbers from this one on are foreground; None if the file holds labels.
    """

    def inspect() -> Json:
        if not files.has(path):
            return MISSING
        affine: tuple[float, ...] | None = None
        unit, conflicts = "mm", list[tuple[str, str]]()
        stored_facts, lossy, from_alpha = StoredAs(), False, False
        if is_volume(path):
            volume = read_volume(files.path(path), as_stored=True)
            conflicts = [("geometry_conflict", conflict) for conflict in volume.remarks]
            values, affine, unit = volume.voxels, volume.affine, volume.unit
        else:
            content = files.read(path) or b""
            stored, stored_facts = read_stored_mask(content, where=path), stored_as(content)
            values, lossy, from_alpha = stored.values, stored.lossy, stored.from_alpha
        found = read_values(values, where=path, named=named, lossy=lossy, threshold=threshold)
        notes = [*([("alpha_mask", "")] if from_alpha else []), *conflicts, *found.notes]
        facts = {
            "size": values.shape,
            "affine": affine,
            "unit": unit,
            "masks": _masks(found.labels, path),
            "notes": notes,
        }
        return to_json(facts | asdict(stored_facts))

    try:
        # What the values mean depends on the labels too, so they are part of the question.
        found = files.once(["labels by value in mm", to_json(named), threshold], path, inspect)
    except DataError as error:
        detail = str(error).removeprefix(f"{path}: ").removeprefix(f"{PurePosixPath(path).name}: ")
        integrity.find("unreadable_file", path, detail)
        return f"mask {path} cannot be read"
    if found == MISSING:
        integrity.find("missing_file", path)
        return f"mask {path} is missing"
    for kind, detail in found["notes"]:
        integrity.find(kind, path, detail)
    masks = {int(value): mask_from_json(mask) for value, mask in found["masks"].items()}
    return Labels(
        size=tuple(found["size"]),
        affine=_tuple(found["affine"]),
        unit=found["unit"],
        masks=masks,
        orientation=found["orientation"],
        one_bit=found["one_bit"],
    )


def _masks(values: NDArray[np.unsignedinteger], path: str) -> dict[str, Json]:
    """Return the mask of each value of a label image (H, W) or volume (D, H, W), as JSON values."""
    present = np.flatnonzero(counted(values))
    if len(present) > LABELS_MOST:
        raise DataError(f"{path}: expected at most {LABELS_MOST} labels, found {len(present)}; is it a picture?")
    return {str(value): mask_to_json(encode(values == value)) for value in present.tolist() if value}


def misfit(labels: Labels, path: str, media: Media, integrity: Integrity) -> str:
    """Return why labels do not fit their image, which is reported; an empty string if they do or it cannot be read."""
    if not media.size:
        return ""
    if labels.size != media.size:
        axes = "(H, W)" if len(media.size) == 2 else "(D, H, W)"
        integrity.find(
            "size_mismatch", path, f"mask is {labels.size}, image is {media.size} as {axes}", image=media.path
        )
        return f"mask {path} is {labels.size}, its image {media.size} as {axes}"
    own, owner = (Grid(size=one.size, affine=one.affine) for one in (labels, media))
    beside = displacement(own, owner, unit=labels.unit)
    if beside is None:
        return ""
    integrity.find("frame_mismatch", path, str(beside), image=media.path)
    # The manifest says only how far, because its digest must not change with the wording of a hint.
    return f"mask {path} is off its volume by up to {beside.off_mm:.3g} mm"
