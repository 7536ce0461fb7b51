"""Opening of a release's images and masks while it is read: each is read, digested and decoded once."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.errors import DataError
from harness.imaging.images import UPRIGHT, examine_image, read_image, read_mask
from harness.imaging.masks import area, encode, merge
from harness.imaging.windowing import Window
from harness.records import Json, Mask, Media, Size
from harness.records.codec import mask_from_json, mask_to_json, to_json

MISSING = "missing"
"""What is found out about a file that is not there."""

INVERTED_AREA = 0.5
INVERTED_BORDER = 0.75
"""A mask looks inverted above this share of its image and from this share of the border on, corners included.

Of the 241 masks of the small real SA-Med2D none covers more than 1 corner, 3 % of the border or 32 % of its image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseImage:
    """An image of a release.

    Attributes:
        media: Its record; without digest and size where it cannot be read.
        defect: Why a question on it cannot be asked; None where it can.
    """

    media: Media
    defect: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseMask:
    """What one or several mask files of an image cover together.

    Attributes:
        mask: None where one of the files cannot be used.
        area: Foreground pixels of `mask`; 0 without one.
        defect: Why there is no mask; None where there is one.
    """

    mask: Mask | None = None
    area: int = 0
    defect: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFiles:
    """The pictures of a prepared release, opened again by their paths.

    Attributes:
        root: The data root.
        derived: Where files lie that the release holds in another form.
        window: Which grey values become 0 and 255 in images of more than 8 bits.
    """

    root: Path
    derived: Path
    window: Window | None = None

    def image(self, path: str) -> NDArray[np.uint8]:
        """Return uint8 (H, W, 3).

        Raises:
            DataError: The path leaves both folders, there is no such file, or it cannot be read as an image.
        """
        return read_image(self._content(path), window=self.window, where=path)

    def mask(self, path: str) -> NDArray[np.bool_]:
        """Return boolean (H, W).

        Raises:
            DataError: As `image`.
        """
        return read_mask(self._content(path), where=path)

    def _content(self, path: str) -> bytes:
        for folder in (self.root, self.derived):
            content = ReleaseFiles(root=folder, derived=self.derived).read(path)
            if content is not None:
                return content
        raise DataError(f"{path}: expected a file of the release, found none; run `harness prepare` again")


def inspect_file(files: ReleaseFiles, path: str, *, window: Window | None, integrity: Integrity) -> ReleaseImage:
    """Return the image at `path` below the data root; what is wrong with it goes into the report."""

    def inspect() -> Json:
        content = files.read(path)
        return MISSING if content is None else _image_facts(content, path, window)

    try:
        found = files.once(["picture", to_json(window)], path, inspect)
    except DataError as error:
        return _unreadable(path, error, integrity)
    if found == MISSING:
        integrity.find("missing_file", path)
        return ReleaseImage(media=Media(path=path, sha256=None), defect=f"image {path} is missing")
    return _release_image(found, path, integrity)


def _image_facts(content: bytes, path: str, window: Window | None) -> dict[str, Json]:
    """Return what there is to know of an image as JSON values; a DataError where it cannot be read."""
    facts = examine_image(content, window=window, where=path)
    return {"sha256": hashlib.sha256(content).hexdigest(), **asdict(facts)}


def inspect_embedded(
    files: ReleaseFiles, content: bytes, folder: str, place: str, *, window: Window | None, integrity: Integrity
) -> ReleaseImage:
    """Return an image whose bytes stand in a table, written below the derived folder under its digest."""
    try:
        facts = _image_facts(content, place, window)
    except DataError as error:
        return _unreadable(place, error, integrity)
    path = f"{folder}/{facts['sha256']}{facts['suffix']}"
    files.derive(path, content)
    return _release_image(facts, path, integrity)


def inspect_bytes(content: bytes, path: str, *, window: Window | None, integrity: Integrity) -> ReleaseImage:
    """Return the image that these bytes are."""
    try:
        facts = _image_facts(content, path, window)
    except DataError as error:
        return _unreadable(path, error, integrity)
    return _release_image(facts, path, integrity)


def _release_image(facts: Mapping[str, Json], path: str, integrity: Integrity) -> ReleaseImage:
    if facts["orientation"] != UPRIGHT:
        integrity.find("exif_rotation", path, f"orientation {facts['orientation']}")
    media = Media(
        path=path,
        sha256=facts["sha256"],
        size=tuple(facts["size"]),
        window=None if facts["window"] is None else (facts["window"][0], facts["window"][1]),
    )
    return ReleaseImage(media=media)


def _unreadable(path: str, error: DataError, integrity: Integrity) -> ReleaseImage:
    # The defect goes into the manifest, whose digest must not move with Pillow's wording.
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
    """Return the union of mask files; what is wrong with them goes into the report.

    Args:
        files: The release.
        paths: Mask files below the data root, at least one. All are looked at, whatever is wrong with one of them.
        size: (H, W) of their image; empty where it could not be read.
        integrity: The report.
        image: Their image below the data root, for the report; empty where the reader does not tell it.
        class_name: Masks of one class are compared with each other; without a class, with all that have none.
    """
    defect = None
    usable: list[Mask] = []
    for path in paths:
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
    """Where findings on a mask go, and what is known of the mask."""

    integrity: Integrity
    image: str
    class_name: str

    def find(self, kind: str, path: str, detail: str = "") -> None:
        self.integrity.find(kind, path, detail, image=self.image)


def _mask_file(files: ReleaseFiles, path: str, size: Size, told: _MaskFindings) -> tuple[Mask | None, str | None]:
    """Return (what one mask file covers, why it cannot be used)."""

    def inspect() -> Json:
        content = files.read(path)
        return MISSING if content is None else _mask_facts(read_mask(content, where=path))

    try:
        found = files.once("mask", path, inspect)
    except DataError as error:
        told.find("unreadable_file", path, str(error).removeprefix(f"{path}: "))
        return None, f"mask {path} cannot be read"
    if found == MISSING:
        told.find("missing_file", path)
        return None, f"mask {path} is missing"
    if found["fault"]:
        told.find(found["fault"], path)
    else:
        told.integrity.compare(told.class_name, path, found["inverted"], image=told.image)
    mask = mask_from_json(found["mask"])
    if mask.size != size:
        return None, _size_defect(path, mask.size, size, told)
    return mask, None


def _mask_facts(pixels: NDArray[np.bool_]) -> dict[str, Json]:
    """Return what there is to know of a mask as JSON values."""
    fault = "" if pixels.any() and not pixels.all() else "full_mask" if pixels.any() else "empty_mask"
    inverted = "" if fault else why_inverted(pixels)
    return {"mask": mask_to_json(encode(pixels)), "fault": fault, "inverted": inverted}


def why_inverted(pixels: NDArray[np.bool_]) -> str:
    """Return what makes a mask look like the surroundings of its structure; nothing where it does not.

    It covers all four corners, most of the border and more than half of the image. Structures that fill an image, such
    as a large lesion, leave a corner free; whether the whole class looks so is asked later, by `Integrity.conclude`.

    Args:
        pixels: (H, W), neither empty nor full.
    """
    border = np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])
    corners = pixels[[0, 0, -1, -1], [0, -1, 0, -1]]
    share, along = float(pixels.mean()), float(border.mean())
    if not corners.all() or share <= INVERTED_AREA or along < INVERTED_BORDER:
        return ""
    return f"covers {share:.1%} of the image, all four corners and {along:.0%} of the border"


def _size_defect(path: str, found: Size, size: Size, told: _MaskFindings) -> str:
    """Return why a mask of another size cannot be used; an image that could not be read has no size to compare."""
    if not size:
        return f"mask {path} has no image to lie on"
    told.find("size_mismatch", path, f"mask is {found}, image is {size} as (H, W)")
    return f"mask {path} is {found}, its image {size} as (H, W)"
