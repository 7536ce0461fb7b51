"""The images of one reading of a release: each is inspected once, and test images are looked up in train."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.reader import ReleaseRequest
from harness.errors import DataError
from harness.records import Media

if TYPE_CHECKING:
    from harness.data.releases.images import ReleaseImage


@dataclass(slots=True)
class SplitImages:
    """The images of the samples read so far, each inspected once.

    Attributes:
        files: The release.
        request: The part of it that is read.
        integrity: The report.
        embedded: Folder below the derived one for images that are embedded in a table.
        upright: Whether an EXIF rotation is applied, as viewers do; published releases are taken as stored.
    """

    files: ReleaseFiles
    request: ReleaseRequest
    integrity: Integrity
    embedded: str = ""
    upright: bool = False
    _images: "dict[str, ReleaseImage]" = field(default_factory=dict)
    _stored: "dict[str, ReleaseImage]" = field(default_factory=dict)

    @property
    def digests(self) -> dict[str, str]:
        """The path of each readable image, by the sha256 of its file as stored."""
        media = (image.media for image in self._stored.values())
        return {item.sha256: item.path for item in media if item.sha256 is not None}

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of all images, including those that could not be read."""
        return tuple(image.media.path for image in self._stored.values())

    def image(self, place: str, path: str | None, content: bytes | None = None) -> "ReleaseImage":
        """Return the image of a record; a record without an image is reported.

        Args:
            place: The record, for messages.
            path: Path below the data root; None if the image is embedded or not named.
            content: Bytes of an embedded image.
        """
        # Imported here, because numpy and Pillow should load when a release is read, not when readers are listed.
        from harness.data.releases.folders.rotation import as_shown
        from harness.data.releases.images import ReleaseImage, inspect_embedded
        from harness.data.releases.volumes import inspect_scan

        if path is None and content is None:
            self.integrity.find("missing_value", place, "image")
            return ReleaseImage(media=Media(path=place, sha256=None), defect="the record names no image")
        key = path or digest_of(content)
        if key in self._images:
            return self._images[key]
        window, report = self.request.window, not self.upright
        if content is None:
            found = inspect_scan(
                self.files, path or "", window=window, integrity=self.integrity, report_rotation=report
            )
        else:
            found = inspect_embedded(
                self.files,
                content,
                self.embedded,
                place,
                window=window,
                integrity=self.integrity,
                report_rotation=report,
            )
        self._stored[key] = found
        self._images[key] = as_shown(self.files, found, content, self.integrity) if self.upright else found
        return self._images[key]


def digest_of(content: bytes | None) -> str:
    """Return the sha256 of an image's bytes, or an empty string for None."""
    return "" if content is None else hashlib.sha256(content).hexdigest()


def digests_of(
    files: ReleaseFiles, images: Iterable[tuple[str, str | None, bytes | None]]
) -> Iterator[tuple[str, str]]:
    """Yield (name, sha256) of each readable image, once per name.

    Args:
        files: The release.
        images: (place of the record, path or None, bytes of an embedded image or None).
    """
    seen: set[str] = set()
    for place, path, content in images:
        name = path or place
        if name not in seen:
            seen.add(name)
            found = digest_of(content) if path is None else _file_digest(files, path)
            if found:
                yield name, found


def _file_digest(files: ReleaseFiles, path: str) -> str:
    """Return the sha256 of a file, or an empty string if it cannot be read, which its own split reports."""
    try:
        found: str = files.once("digest", path, lambda: digest_of(files.read(path)))
    except DataError:
        return ""
    return found


def find_overlap(images: SplitImages, train: Iterable[tuple[str, str]] | None, folder: str) -> None:
    """Report the test images whose bytes also occur in train, compared by digest.

    Args:
        images: The images of test.
        train: (name, sha256) of the train images; None if there is no train split.
        folder: Folder of the release, for the report.
    """
    integrity = images.integrity
    if train is None:
        integrity.find("not_checked", folder, "no train split, so its overlap with test was not checked")
        return
    test = images.digests
    integrity.checked["train_test_overlap"] = len(test)
    known: dict[str, str] = {}
    for name, digest in train:
        if digest in test:
            known.setdefault(digest, name)
    for digest, name in known.items():
        integrity.find("train_test_overlap", test[digest], f"in train as {name}")


def find_named_overlap(images: SplitImages, train: Iterable[str] | None, folder: str) -> None:
    """Report the test images that train names too, compared by path, so that no train image is opened.

    Args:
        images: The images of test, in a release that gives every image a path of its own.
        train: Paths of the train images below the data root; None if there is no train split.
        folder: Folder of the release, for the report.
    """
    integrity = images.integrity
    if train is None:
        integrity.find("not_checked", folder, "no train split, so its overlap with test was not checked")
        return
    test = set(images.paths)
    integrity.checked["train_test_overlap"] = len(test)
    for path in sorted(test & set(train)):
        integrity.find("train_test_overlap", path, "also in train")
