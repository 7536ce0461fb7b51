"""Opening of a release's images while it is read: each is read, digested and decoded once."""

import hashlib
from dataclasses import dataclass

from harness.errors import DataError
from harness.images import UPRIGHT, ImageFacts, Window, examine_image
from harness.integrity import Integrity
from harness.records import Media
from harness.releases.reader import ReleaseFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image of a release.

    Attributes:
        media: Its record; without digest and size where it cannot be read.
        defect: Why a question on it cannot be asked; None where it can.
    """

    media: Media
    defect: str | None = None


def look_at_file(files: ReleaseFiles, path: str, *, window: Window | None, integrity: Integrity) -> Picture:
    """Return the image at `path` below the data root; what is wrong with it goes into the report."""
    try:
        content = files.read(path)
    except DataError as error:
        return _unreadable(path, error, integrity)
    if content is None:
        integrity.find("missing_file", path)
        return Picture(media=Media(path=path, sha256=None), defect=f"image {path} is missing")
    return look_at_bytes(content, path, window=window, integrity=integrity)


def look_at_embedded(
    files: ReleaseFiles, content: bytes, folder: str, place: str, *, window: Window | None, integrity: Integrity
) -> Picture:
    """Return an image whose bytes stand in a table, written below the derived folder under its digest."""
    try:
        facts = examine_image(content, window=window, where=place)
    except DataError as error:
        return _unreadable(place, error, integrity)
    path = f"{folder}/{hashlib.sha256(content).hexdigest()}{facts.suffix}"
    files.derive(path, content)
    return _picture(content, path, facts, window, integrity)


def look_at_bytes(content: bytes, path: str, *, window: Window | None, integrity: Integrity) -> Picture:
    """Return the image that these bytes are."""
    try:
        facts = examine_image(content, window=window, where=path)
    except DataError as error:
        return _unreadable(path, error, integrity)
    return _picture(content, path, facts, window, integrity)


def _picture(content: bytes, path: str, facts: ImageFacts, window: Window | None, integrity: Integrity) -> Picture:
    if facts.orientation != UPRIGHT:
        integrity.find("exif_rotation", path, f"orientation {facts.orientation}")
    media = Media(
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        size=facts.size,
        window=window if facts.deep else None,
    )
    return Picture(media=media)


def _unreadable(path: str, error: DataError, integrity: Integrity) -> Picture:
    # The defect goes into the manifest, whose digest must not move with Pillow's wording.
    integrity.find("unreadable_file", path, str(error).removeprefix(f"{path}: "))
    return Picture(media=Media(path=path, sha256=None), defect=f"image {path} cannot be read")
