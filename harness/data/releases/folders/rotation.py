"""EXIF rotation of images and their masks: one rule for both, so that they are compared in one frame.

Viewers, annotation tools and cv2.imread turn a photo as its tag says, and masks are usually made on the turned image;
some programs ignore it. By default (`auto`) it is applied unless the sizes of image and masks only fit without it.
If they fit both ways (turned by 180 degrees, mirrored, or square), the other images of the release decide: the tag is
not applied if every image whose sizes are conclusive fits without it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.images import ReleaseImage
from harness.data.releases.volumes import Labels
from harness.errors import DataError
from harness.imaging.images import UPRIGHT, upright, upright_copy
from harness.imaging.masks import decode, encode
from harness.records import Size

Frame = Literal["upright", "stored"]

# Folder below the derived one for upright copies of images.
DERIVED = "upright"

_SWAPPED = 5  # orientations from this one on exchange height and width


def fits(image: ReleaseImage, masks: Sequence[Labels]) -> frozenset[Frame]:
    """Return the frames in which all masks have the size of their image; both if there is nothing to compare."""
    size = image.media.size
    found: set[Frame] = set()
    if all(mask.size == size for mask in masks):
        found.add("stored")
    if all(_turned(mask.size, mask.orientation) == _turned(size, image.orientation) for mask in masks):
        found.add("upright")
    return frozenset(found)


def is_turned(image: ReleaseImage, masks: Sequence[Labels]) -> bool:
    """Return whether an image or one of its masks has a tag that turns it."""
    return image.orientation != UPRIGHT or any(mask.orientation != UPRIGHT for mask in masks)


def _turned(size: Size, orientation: int) -> Size:
    return size[::-1] if orientation >= _SWAPPED else size


@dataclass(slots=True)
class Votes:
    """How many images of a release fit their masks in one frame only."""

    upright: int = 0
    stored: int = 0

    def count(self, frames: frozenset[Frame]) -> None:
        """Count an image by the frames in which it fits its masks."""
        self.upright += frames == {"upright"}
        self.stored += frames == {"stored"}

    def choose(self, frames: frozenset[Frame]) -> tuple[Frame, str]:
        """Return the frame of an image and, in words, why it is that one."""
        if frames == {"upright"}:
            return "upright", "the sizes of image and mask fit with it only"
        if frames == {"stored"}:
            return "stored", "the sizes of image and mask fit without it only"
        if not frames:
            return "upright", "the sizes of image and mask do not fit either way"
        if self.stored and not self.upright:
            return "stored", f"as of {self.stored} other turned images, whose masks fit without it only"
        if self.stored:
            return "upright", f"as viewers do; but {self.stored} other images fit their masks without it only"
        return "upright", "as viewers do; if masks were made on the pixels as stored, write `exif: ignore`"


def brought(
    files: ReleaseFiles,
    image: ReleaseImage,
    masks: Mapping[str, Labels],
    frame: Frame,
    why: str,
    integrity: Integrity,
) -> tuple[ReleaseImage, dict[str, Labels]]:
    """Return an image and its masks in one frame, and report the tags.

    Args:
        files: The release; an upright copy of the image is written below its derived folder.
        image: The image as stored.
        masks: Its masks as stored, by path.
        frame: The frame that both are brought to.
        why: Why it is that frame, for the report.
        integrity: The report.
    """
    done = "applied" if frame == "upright" else "not applied"
    tags = {image.media.path: image.orientation} | {path: mask.orientation for path, mask in masks.items()}
    for path, orientation in tags.items():
        if orientation != UPRIGHT:
            integrity.find("exif_rotation", path, f"orientation {orientation}, {done}: {why}")
    if frame == "stored":
        return image, dict(masks)
    turned = {
        path: replace(
            mask,
            size=_turned(mask.size, mask.orientation),
            masks={value: encode(upright(decode(one), mask.orientation)) for value, one in mask.masks.items()},
        )
        if mask.orientation != UPRIGHT
        else mask
        for path, mask in masks.items()
    }
    return _upright_image(files, image, None, integrity), turned


def as_shown(files: ReleaseFiles, image: ReleaseImage, content: bytes | None, integrity: Integrity) -> ReleaseImage:
    """Return an image without masks as viewers show it, and report its tag.

    Args:
        files: The release; an upright copy is written below its derived folder.
        image: The image as stored.
        content: Its bytes; None if it is a file of the release.
        integrity: The report.
    """
    if image.orientation != UPRIGHT:
        detail = f"orientation {image.orientation}, applied: as viewers do"
        integrity.find("exif_rotation", image.media.path, detail)
    return _upright_image(files, image, content, integrity)


def _upright_image(
    files: ReleaseFiles, image: ReleaseImage, content: bytes | None, integrity: Integrity
) -> ReleaseImage:
    """Return an image without a tag as it is, and one with a tag as an upright copy without it."""
    media = image.media
    if image.orientation == UPRIGHT or image.defect is not None:
        return image
    try:
        stored = files.read(media.path) if content is None else content
        content = upright_copy(stored or b"", image.orientation, where=media.path)
    except DataError as error:
        # It was read before, so it has been removed or changed since.
        integrity.find("unreadable_file", media.path, str(error).removeprefix(f"{media.path}: "))
        return replace(image, media=replace(media, sha256=None, size=()), defect=f"image {media.path} cannot be read")
    sha256 = hashlib.sha256(content).hexdigest()
    path = f"{DERIVED}/{sha256}.tif"
    files.derive(path, content)
    return replace(
        image,
        media=replace(media, path=path, sha256=sha256, size=_turned(media.size, image.orientation)),
        orientation=UPRIGHT,
    )
