"""The images of one reading of a release: each is looked at once, and those of test are sought in train."""

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
    """The images of the samples so far.

    Attributes:
        embedded: Folder, below the derived one, of images that stand in a table.
    """

    files: ReleaseFiles
    request: ReleaseRequest
    integrity: Integrity
    embedded: str = ""
    _images: "dict[str, ReleaseImage]" = field(default_factory=dict)

    @property
    def digests(self) -> dict[str, str]:
        """Path of each image that could be read, by digest."""
        media = (picture.media for picture in self._images.values())
        return {item.sha256: item.path for item in media if item.sha256 is not None}

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of all images, those that could not be read too."""
        return tuple(picture.media.path for picture in self._images.values())

    def image(self, place: str, path: str | None, content: bytes | None = None) -> "ReleaseImage":
        """Return the image of a record; one that the record does not name is reported.

        Args:
            place: The record, for messages.
            path: Below the data root; None where the image is embedded or not named.
            content: Bytes of an embedded image.
        """
        from harness.data.releases.images import (
            ReleaseImage,  # numpy and Pillow load when a release is read, not listed
        )

        if path is None and content is None:
            self.integrity.find("missing_value", place, "image")
            return ReleaseImage(media=Media(path=place, sha256=None), defect="the record names no image")
        key = path or digest_of(content)
        if key not in self._images:
            self._images[key] = self._inspect(place, path, content)
        return self._images[key]

    def _inspect(self, place: str, path: str | None, content: bytes | None) -> "ReleaseImage":
        from harness.data.releases.images import inspect_embedded, inspect_file

        window = self.request.window
        if content is None:
            return inspect_file(self.files, path or "", window=window, integrity=self.integrity)
        return inspect_embedded(self.files, content, self.embedded, place, window=window, integrity=self.integrity)


def digest_of(content: bytes | None) -> str:
    """Return the sha256 of an image's bytes; nothing where there is none."""
    return "" if content is None else hashlib.sha256(content).hexdigest()


def digests_of(
    files: ReleaseFiles, images: Iterable[tuple[str, str | None, bytes | None]]
) -> Iterator[tuple[str, str]]:
    """Yield (name, sha256) of each image that can be read, once a name.

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
    """Return the sha256 of a file; nothing where it cannot be read, which is a finding of its own split."""
    try:
        found: str = files.once("digest", path, lambda: digest_of(files.read(path)))
    except DataError:
        return ""
    return found


def find_overlap(images: SplitImages, train: Iterable[tuple[str, str]] | None, folder: str) -> None:
    """Report the test images, by digest, whose bytes also occur in train.

    Args:
        images: The images of test.
        train: (name, sha256) of the train images; None where there is no train split.
        folder: The release's, for the report.
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
    """As `find_overlap`, by the paths of the images where each has its own: no train image is opened."""
    integrity = images.integrity
    if train is None:
        integrity.find("not_checked", folder, "no train split, so its overlap with test was not checked")
        return
    test = set(images.paths)
    integrity.checked["train_test_overlap"] = len(test)
    for path in sorted(test & set(train)):
        integrity.find("train_test_overlap", path, "also in train")
