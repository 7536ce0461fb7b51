"""Images in the cells of a table: paths, embedded files, base64, and references to other rows."""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.folders.file_names import folded
from harness.data.releases.question_tables.answers import listed_text
from harness.data.releases.train_overlap import SplitImages
from harness.records import Json

if TYPE_CHECKING:
    from harness.data.releases.images import ReleaseImage

# VLMEvalKit takes a cell of at most this many characters for the index of the row that holds the image.
REFERENCE_MOST = 64
# Tried if a cell names a file without a suffix.
_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".dcm", ".nii.gz")
_DATA_URI = re.compile(r"data:image/[\w.+-]+;base64,")
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]+={0,2}\s*")


@dataclass(frozen=True, slots=True)
class Source:
    """Where an image comes from: one of the three is set.

    Attributes:
        name: Path as the cell has it.
        content: Bytes of an image file.
        fault: Why the cell names no image.
    """

    name: str = ""
    content: bytes | None = None
    fault: str = ""


def sources(cell: Json, separator: str | None) -> Iterator[Source]:
    """Yield the images of one cell: of a list each of its items, of an empty cell none."""
    if cell is None or cell != cell or cell == "":
        return
    if isinstance(cell, bytes):
        yield Source(content=cell)
    elif isinstance(cell, dict):
        # As the hub stores images: the bytes of the file, or its path.
        yield from sources(cell.get("bytes") or cell.get("path"), None)
    elif isinstance(cell, list):
        for one in cell:
            yield from sources(one, separator)
    elif not isinstance(cell, str):
        yield Source(name=str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell))
    elif cell.lstrip().startswith("[") and isinstance(listed_text(cell.strip()), list):
        yield from sources(listed_text(cell.strip()), separator)
    elif is_base64(cell):
        yield _decoded(cell)
    elif separator is not None and separator in cell:
        yield from sources([part for part in cell.split(separator) if part.strip()], None)
    elif cell.strip():
        yield Source(name=cell.strip())


def is_base64(cell: str) -> bool:
    """Return whether a cell holds an image in base64, perhaps as a data URI."""
    # A path of this length has a full stop or another character that base64 lacks.
    return bool(_DATA_URI.match(cell)) or (len(cell) > REFERENCE_MOST and bool(_BASE64.fullmatch(cell)))


def _decoded(cell: str) -> Source:
    try:
        return Source(content=base64.b64decode("".join(_DATA_URI.sub("", cell, count=1).split()), validate=True))
    except (binascii.Error, ValueError) as error:
        return Source(fault=f"base64 that cannot be decoded: {error}")


@dataclass(slots=True)
class CellImages:
    """The images of one reading of a table.

    Attributes:
        images: The images read so far.
        folder: Folder below the data root that names are relative to; empty for the root itself.
        prefix: Beginning of the names that the folder replaces.
        separator: Between several names in a cell; None if a cell holds one.
        referred: The images of rows that other rows refer to, by the id of the row.
    """

    images: SplitImages
    folder: str
    prefix: str
    separator: str | None
    referred: "dict[str, ReleaseImage]" = field(default_factory=dict)
    _names: dict[str, Mapping[str, str]] = field(default_factory=dict)
    _located: dict[str, tuple[str | None, str]] = field(default_factory=dict)

    @property
    def files(self) -> ReleaseFiles:
        """The release."""
        return self.images.files

    @property
    def integrity(self) -> Integrity:
        """The report."""
        return self.images.integrity

    def remember(self, place: str, row_id: str, cells: Iterable[Json]) -> None:
        """Keep the image of a row for the rows that refer to it by its id."""
        for source in (source for cell in cells for source in sources(cell, self.separator)):
            if source.content is not None:
                self.referred[row_id] = self.images.image(place, None, source.content)

    def of_row(self, place: str, cells: Iterable[Json]) -> "list[ReleaseImage]":
        """Return the images of a row in their order; a row that names none gets one with the defect."""
        found = [self._image(place, source) for cell in cells for source in sources(cell, self.separator)]
        return found or [self.images.image(place, None)]

    def _image(self, place: str, source: Source) -> "ReleaseImage":
        if source.content is not None:
            return self.images.image(place, None, source.content)
        if source.name in self.referred:
            return self.referred[source.name]
        if source.fault:
            return self._faulty(place, "unreadable_file", source.fault, "the image in the table cannot be decoded")
        path, fault = self.locate(source.name, place)
        if path is not None:
            return self.images.image(place, path)
        # The path itself stays out of the defect, which runs and pages show: it may name a person or a machine.
        return self._faulty(place, "outside_path", fault, "the image is named outside of the data root")

    def _faulty(self, place: str, kind: str, fault: str, defect: str) -> "ReleaseImage":
        from harness.data.releases.images import ReleaseImage
        from harness.records import Media

        self.integrity.find(kind, place, fault)
        return ReleaseImage(media=Media(path=place, sha256=None), defect=defect)

    def locate(self, name: str, place: str) -> tuple[str | None, str]:
        """Return the path below the data root of the image that a cell names, or None and why there is no such path.

        A name that does not exist as written is tried with slashes for backslashes, with the usual suffixes, and in
        another case or Unicode form; each is counted as a repair, once for each name.
        """
        # Kept, because many questions are on one image.
        if name not in self._located:
            self._located[name] = self._locate(name, place)
        return self._located[name]

    def _locate(self, name: str, place: str) -> tuple[str | None, str]:
        if re.match(r"[a-z]+://", name):
            return None, f"{name[:80]!r} is an address; download the images and name the files"
        inner = name.removeprefix(self.prefix) if self.prefix else name
        if "\\" in inner:
            self.integrity.repair("backslash_in_path", place)
            inner = inner.replace("\\", "/")
        path = PurePosixPath(inner)
        if path.is_absolute() or ".." in path.parts or "\0" in inner or re.match(r"[A-Za-z]:/", inner):
            return None, (
                f"{inner!r} leads out of the data root; set release.options.image_prefix to the beginning to remove, "
                "and images to the folder"
            )
        written = str(PurePosixPath(self.folder) / path)
        if self.files.has(written):
            return written, ""
        if not path.suffix:
            for suffix in _SUFFIXES:
                if self.files.has(f"{written}{suffix}"):
                    self.integrity.repair("suffix_added", place)
                    return f"{written}{suffix}", ""
        parent, _, last = written.rpartition("/")
        if parent not in self._names:
            self._names[parent] = _by_form(self.files.names(parent))
        other = self._names[parent].get(folded(last))
        if other is not None:
            self.integrity.repair("name_form", place)
            return str(PurePosixPath(parent) / other), ""
        return written, ""  # absent; the inspection reports it


def _by_form(names: Iterable[str]) -> Mapping[str, str]:
    """Return the names by their form; without those that differ in form only, which are ambiguous."""
    found: dict[str, str] = {}
    doubled = set()
    for name in names:
        if found.setdefault(folded(name), name) != name:
            doubled.add(folded(name))
    return {form: name for form, name in found.items() if form not in doubled}


def is_reference(cell: Json) -> bool:
    """Return whether a cell may be the index of another row rather than an image."""
    if isinstance(cell, str):
        return 0 < len(cell.strip()) <= REFERENCE_MOST and "." not in cell and "/" not in cell
    return isinstance(cell, int | float) and cell == cell
