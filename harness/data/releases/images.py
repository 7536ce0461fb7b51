"""Inspection of a release's images and masks while it is read: each file is read, digested and decoded once."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.errors import DataError
from harness.imaging.images import UPRIGHT, examine_image, read_image, read_stored_mask
from harness.imaging.mask_files.values import MaskValues, Note, read_values
from harness.imaging.masks import area, encode, merge
from harness.imaging.windowing import Window
from harness.records import Json, Mask, Media, Size
from harness.records.codec import mask_from_json, mask_to_json, to_json

MISSING = "missing"  # the result of an inspection of a file that does not exist

# A mask seems inverted if it covers more than this share of its image, all four corners and at least this share of the
# border. Of the 241 masks of the small real SA-Med2D none covers more than 1 corner, 3 % of the border or 32 % of its
# image; the optic-disc masks of one of its fundus sets (ADAM) are known to be inverted.
INVERTED_AREA = 0.5
INVERTED_BORDER = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseImage:
    """An image of a release.

    Attributes:
        media: Its record, without digest and size if it cannot be read.
        defect: Why a question on it cannot be asked; None if it can.
        orientation: EXIF orientation of its file, 1 to 8; it is not applied.
    """

    media: Media
    defect: str | None = None
    orientation: int = UPRIGHT


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseMask:
    """The union of one or several mask files of an image.

    Attributes:
        mask: The union; None if one of the files cannot be used.
        area: Number of foreground pixels of `mask`; 0 without a mask.
        defect: Why there is no mask; None if there is one.
    """

    mask: Mask | None = None
    area: int = 0
    defect: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFiles:
    """The images and masks of a prepared release, opened by the paths in its manifest.

    Attributes:
        root: The data root.
        derived: Folder of the files that the release holds in another form.
        window: The grey values that become 0 and 255 in images of more than 8 bits.
    """

    root: Path
    derived: Path
    window: Window | None = None

    def image(self, path: str) -> NDArray[np.uint8]:
        """Return the image at a path as uint8 (H, W, 3) in RGB.

        Raises:
            DataError: The path leaves both folders, there is no such file, or it cannot be read as an image.
        """
        return read_image(self._content(path), window=self.window, where=path)

    def mask(self, path: str) -> NDArray[np.bool_]:
        """Return the mask at a path as boolean (H, W).

        Raises:
            DataError: As `image`.
        """
        return read_one_mask(self._content(path), path).labels > 0

    def _content(self, path: str) -> bytes:
        for folder in (self.root, self.derived):
            content = ReleaseFiles(root=folder, derived=self.derived).read(path)
            if content is not None:
                return content
        raise DataError(f"{path}: expected a file of the release, found none; run `harness prepare` again")


def inspect_file(
    files: ReleaseFiles, path: str, *, window: Window | None, integrity: Integrity, report_rotation: bool = True
) -> ReleaseImage:
    """Return the image at `path` below the data root, and report its faults.

    An EXIF rotation is reported as one that is not applied, unless the caller sees to it: `report_rotation` is False.
    """

    def inspect() -> Json:
        content = files.read(path)
        return MISSING if content is None else _image_facts(content, path, window)

    try:
        # The facts depend on the window too, so it is part of the question.
        found = files.once(["picture", to_json(window)], path, inspect)
    except DataError as error:
        return _unreadable(path, error, integrity)
    if found == MISSING:
        integrity.find("missing_file", path)
        return ReleaseImage(media=Media(path=path, sha256=None), defect=f"image {path} is missing")
    return _release_image(found, path, integrity if report_rotation else None)


def _image_facts(content: bytes, path: str, window: Window | None) -> dict[str, Json]:
    """Return digest, size, orientation and so on of an image as JSON values; DataError if it cannot be read."""
    facts = examine_image(content, window=window, where=path)
    return {"sha256": hashlib.sha256(content).hexdigest(), **asdict(facts)}


def inspect_embedded(
    files: ReleaseFiles,
    content: bytes,
    folder: str,
    place: str,
    *,
    window: Window | None,
    integrity: Integrity,
    report_rotation: bool = True,
) -> ReleaseImage:
    """Return an image that is embedded in a table, and write it below the derived folder under its digest.

    Args:
        files: The release.
        content: Bytes of the image file.
        folder: Folder below the derived one.
        place: The record that holds the image, for the report.
        window: The grey values that become 0 and 255 if it has more than 8 bits.
        integrity: The report.
        report_rotation: Whether to report an EXIF rotation as one that is not applied.
    """
    try:
        facts = _image_facts(content, place, window)
    except DataError as error:
        return _unreadable(place, error, integrity)
    path = f"{folder}/{facts['sha256']}{facts['suffix']}"
    files.derive(path, content)
    return _release_image(facts, path, integrity if report_rotation else None)


def _release_image(facts: Mapping[str, Json], path: str, integrity: Integrity | None) -> ReleaseImage:
    """Return the image that the facts describe; its rotation is reported if there is a report."""
    if facts["orientation"] != UPRIGHT and integrity is not None:
        integrity.find("exif_rotation", path, f"orientation {facts['orientation']}, not applied: kept as stored")
    media = Media(
        path=path,
        sha256=facts["sha256"],
        size=tuple(facts["size"]),
        window=None if facts["window"] is None else (facts["window"][0], facts["window"][1]),
    )
    return ReleaseImage(media=media, orientation=facts["orientation"])


def _unreadable(path: str, error: DataError, integrity: Integrity) -> ReleaseImage:
    # The defect goes into the manifest, whose digest must not change with Pillow's wording.
    integrity.find("unreadable_file", path, str(error).removeprefix(f"{path}: "))
    return ReleaseImage(media=Media(path=path, sha256=None), defect=f"image {path} cannot be read")


def inspect_masks(
    files: ReleaseFiles,
    paths: Sequence[str],
    size: Size,
    *,
    integrity: Integrity,
    image: str = "",
    class_name: str = "",
) -> ReleaseMask:
    """Return the union of mask files, and report their faults.

    Args:
        files: The release.
        paths: Mask files below the data root, at least one. All are inspected even if one of them is at fault.
        size: (H, W) of their image in pixels; empty if it could not be read.
        integrity: The report.
        image: Path of their image below the data root, for the report; empty if the reader does not know it.
        class_name: Class whose masks are compared with each other; masks without a class form a class of their own.
    """
    defect = None
    usable: list[Mask] = []
    for path in paths:
        # Every file is inspected, so that the report does not depend on which of them comes first.
        found, problem = _mask_file(files, path, size, _MaskFindings(integrity, image, class_name))
        defect = defect or problem
        if found is not None:
            usable.append(found)
    if not usable or defect is not None:
        return ReleaseMask(defect=defect)
    union = merge(usable)
    return ReleaseMask(mask=union, area=area(union))


@dataclass(frozen=True, slots=True)
class _MaskFindings:
    """The report that findings on a mask go to, with the mask's image and class."""

    integrity: Integrity
    image: str
    class_name: str

    def find(self, kind: str, path: str, detail: str = "") -> None:
        self.integrity.find(kind, path, detail, image=self.image)


def _mask_file(files: ReleaseFiles, path: str, size: Size, findings: _MaskFindings) -> tuple[Mask | None, str | None]:
    """Return (mask, why it cannot be used) of one mask file; one of the two is None."""

    def inspect() -> Json:
        content = files.read(path)
        if content is None:
            return MISSING
        read = read_one_mask(content, path)
        pixels = read.labels > 0
        fault = "" if pixels.any() and not pixels.all() else "full_mask" if pixels.any() else "empty_mask"
        inverted = "" if fault else why_inverted(pixels)
        return to_json(
            {"mask": mask_to_json(encode(pixels)), "fault": fault, "inverted": inverted, "notes": read.notes}
        )

    try:
        found = files.once("mask by value", path, inspect)
    except DataError as error:
        findings.find("unreadable_file", path, str(error).removeprefix(f"{path}: "))
        return None, f"mask {path} cannot be read"
    if found == MISSING:
        findings.find("missing_file", path)
        return None, f"mask {path} is missing"
    for kind, detail in found["notes"]:
        findings.find(kind, path, detail)
    if found["fault"]:
        findings.find(found["fault"], path)
    else:
        findings.integrity.compare(findings.class_name, path, found["inverted"], image=findings.image)
    mask = mask_from_json(found["mask"])
    if mask.size == size:
        return mask, None
    if not size:
        # An image that could not be read has no size to compare, and is reported already.
        return None, f"mask {path} has no image to lie on"
    findings.find("size_mismatch", path, f"mask is {mask.size}, image is {size} as (H, W)")
    return None, f"mask {path} is {mask.size}, its image {size} as (H, W)"


def read_one_mask(content: bytes, where: str) -> MaskValues:
    """Return the labels of a file that is one mask, whatever its values, and what was changed in reading them.

    Raises:
        DataError: The file cannot be read, or its values do not say what is foreground.
    """
    stored = read_stored_mask(content, where=where)
    found = read_values(stored.values, where=where, named=(), lossy=stored.lossy)
    return replace(found, notes=(Note("alpha_mask", ""), *found.notes)) if stored.from_alpha else found


def why_inverted(pixels: NDArray[np.bool_]) -> str:
    """Return why a mask seems to cover the surroundings of its structure, or an empty string if it does not.

    Such a mask covers all four corners, most of the border and more than half of the image. Structures that fill an
    image, such as a large lesion, leave a corner free. `Integrity.conclude` later compares the masks of a class.

    Args:
        pixels: Boolean (H, W), neither empty nor full.
    """
    border = np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])
    corners = pixels[[0, 0, -1, -1], [0, -1, 0, -1]]
    share, along = float(pixels.mean()), float(border.mean())
    if not corners.all() or share <= INVERTED_AREA or along < INVERTED_BORDER:
        return ""
    return f"covers {share:.1%} of the image, all four corners and {along:.0%} of the border"
