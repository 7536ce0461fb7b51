"""The files of a release below a data root; every file consulted is noted."""

import json
import os
import stat
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal

from harness.data.inspection_cache import InspectionCache
from harness.errors import DataError
from harness.records import Json

Base = Literal["root", "derived"]
# Called for each file consulted with the folder it is relative to, its relative path, size in bytes and mtime in ns;
# a file that is absent has size and mtime -1, so that a later preparation notices when it appears.
Noted = Callable[[Base, str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFiles:
    """Read-only access to the files of a data root, with a note of each file consulted.

    Attributes:
        root: The data root.
        derived: Folder for files that a reader must make; never below the root.
        noted: Called for each file consulted, so that a later preparation can detect changes.
        unreadable: Called for each folder below another that cannot be listed, with its relative path and the reason.
        inspections: Results of an interrupted preparation; None if none are kept.
    """

    root: Path
    derived: Path
    noted: Noted = lambda *_: None
    unreadable: Callable[[str, str], None] = lambda *_: None
    inspections: InspectionCache | None = None

    def once(self, what: Json, relative: str, make: Callable[[], Json]) -> Json:
        """Return the result of `make`, or its result for the same file in a preparation that was interrupted.

        Args:
            what: Names the inspection, because one file may be inspected in several ways.
            relative: The file that `make` reads.
            make: Returns JSON values other than None that depend only on the file's bytes and on `what`.
        Raises:
            DataError: The path leaves the data root, or `make` raises it.
        """
        path = self.path(relative)
        if self.inspections is None or not _is_unicode(relative):
            return make()
        size, mtime_ns = _state(path)
        answer, repeated = self.inspections.get_or_compute([what, relative, size, mtime_ns], make)
        if repeated:
            # `make` would have noted the file; the index must name it even though nobody read it this time.
            self.noted("root", relative, size, mtime_ns)
        return answer

    def read(self, relative: str) -> bytes | None:
        """Return a file's bytes, or None if there is no such file.

        Raises:
            DataError: The path leaves the data root, or the file exists and cannot be read, as a pipe or a device.
        """
        path = self.path(relative)
        if not self._note("root", relative, path):
            return None
        try:
            _check_regular(path, relative)
            return path.read_bytes()
        except OSError as error:
            raise DataError(f"{relative}: cannot be read: {error.strerror}; check the file and its rights") from error

    def open(self, relative: str) -> BinaryIO:
        """Return a file opened for reading in binary mode.

        Raises:
            DataError: The path leaves the data root, or the file is missing or cannot be opened.
        """
        path = self.path(relative)
        self._note("root", relative, path)
        try:
            _check_regular(path, relative)
            return path.open("rb")
        except OSError as error:
            raise DataError(f"{relative}: cannot be read: {error.strerror}; check the file and its rights") from error

    def has(self, relative: str) -> bool:
        """Return whether a file or folder of the release exists; a pipe or a device counts as neither.

        Raises:
            DataError: The path leaves the data root.
        """
        path = self.path(relative)
        # These, unlike the methods of `Path`, raise nothing where a folder above may not be entered.
        return self._note("root", relative, path) and (os.path.isfile(path) or os.path.isdir(path))  # noqa: PTH112, PTH113

    def names(self, folder: str) -> Iterator[str]:
        """Yield the names of the files in a folder, in no particular order; none if there is no such folder.

        Raises:
            DataError: The path leaves the data root, or the folder exists and cannot be listed.
        """
        yield from self._entries(folder, lambda entry: entry.is_file())

    def _entries(self, folder: str, wanted: "Callable[[os.DirEntry[str]], bool]") -> Iterator[str]:
        path = self.path(folder)
        self._note("root", folder, path)
        if not os.path.isdir(path):  # noqa: PTH112 - `Path.is_dir` raises where a folder above may not be entered
            return
        try:
            with os.scandir(path) as entries:
                yield from (entry.name for entry in entries if wanted(entry))
        except OSError as error:
            raise DataError(f"{folder}: cannot be listed: {error.strerror}; check the folder and its rights") from error

    def walk(self, folder: str) -> Iterator[str]:
        """Yield the paths of all files in a folder and below, sorted within each folder.

        Links to folders are not followed, because they may lead in a circle. A folder below that cannot be listed is
        reported by `unreadable`.

        Raises:
            DataError: As `names`.
        """
        yield from (f"{folder}/{name}" for name in sorted(self.names(folder)))
        for name in sorted(self.folders(folder)):
            below = f"{folder}/{name}"
            try:
                yield from self.walk(below)
            except DataError as error:
                self.unreadable(below, str(error).removeprefix(f"{below}: "))

    def folders(self, folder: str) -> Iterator[str]:
        """Yield the names of the folders in a folder, in no particular order, without links to folders.

        Raises:
            DataError: As `names`.
        """
        yield from self._entries(folder, lambda entry: entry.is_dir(follow_symlinks=False))

    def locate(self, folder: str, name: str, *, depth: int) -> str | None:
        """Return the path of the file or folder of this name in a folder or below it; None if there is none.

        Args:
            folder: The folder, below the data root.
            name: Name of the file or folder, or the end of its path.
            depth: Levels of folders below `folder` that are searched too, breadth first.
        Raises:
            DataError: As `names`.
        """
        level = [folder]
        for _ in range(depth + 1):
            for place in level:
                if self.has(f"{place}/{name}"):
                    return f"{place}/{name}"
            level = [f"{place}/{below}" for place in level for below in sorted(self.folders(place))]
        return None

    def derive(self, relative: str, content: bytes) -> None:
        """Write a file that the release holds in another form below the derived folder, unless it is there already."""
        path = self.derived / relative
        # Names hold the digest of the content, so a file of the same size is the same file.
        if not path.is_file() or path.stat().st_size != len(content):
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, content)
        self._note("derived", relative, path)

    def path(self, relative: str) -> Path:
        """Return the path of a file of the release, whether or not it exists.

        Raises:
            DataError: The path is absolute or climbs out of the data root.
        """
        # Paths come from the release's own listings, which nobody has checked.
        parts = PurePosixPath(relative)
        if parts.is_absolute() or ".." in parts.parts or "\0" in relative:
            raise DataError(
                f"{relative!r}: expected a path below the data root; the release may have been tampered with"
            )
        return self.root / parts

    def _note(self, base: Base, relative: str, path: Path) -> bool:
        size, mtime_ns = _state(path)
        self.noted(base, relative, size, mtime_ns)
        return size >= 0


def _state(path: Path) -> tuple[int, int]:
    """Return size in bytes and mtime in ns of a file or folder, or (-1, -1) if it does not exist."""
    try:
        state = path.stat()
    except (OSError, ValueError):  # no such file, or half a surrogate pair in its name
        return -1, -1
    return state.st_size, state.st_mtime_ns


def _check_regular(path: Path, relative: str) -> None:
    """Refuse a pipe, whose reader waits for ever, and a device, which may have no end.

    Raises:
        DataError: The path, or what it links to, is one.
        OSError: There is no such file.
    """
    if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
        raise DataError(f"{relative}: cannot be read: it is a pipe or a device; expected a file")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_json(files: ReleaseFiles, relative: str) -> Json:
    """Return the content of a JSON file of the release.

    Raises:
        DataError: The file is missing or is not JSON.
    """
    content = files.read(relative)
    if content is None:
        raise DataError(f"{relative}: expected a JSON file, found none; the download may be incomplete")
    try:
        return json.loads(content)
    except ValueError as error:
        raise DataError(f"{relative}: expected JSON, found {error}; the download may be incomplete") from error
    except RecursionError as error:
        raise DataError(f"{relative}: expected JSON, found lists or objects that are nested too deeply") from error


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that no other process ever sees half of it."""
    # The random name keeps two processes that write the same file apart.
    temporary = path.with_name(f".partial-{uuid.uuid4().hex}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
