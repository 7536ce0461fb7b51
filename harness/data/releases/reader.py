"""What a reader of a published dataset is, and what it is handed: the request, the files, the selection."""

import codecs
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal

from harness.data.inspection_cache import Looked
from harness.data.integrity import Integrity
from harness.errors import DataError, SpecError, nearest
from harness.imaging.windowing import Window
from harness.records import Json, Sample

ALL = "all"
"""The one split of a release that has none."""

UNKNOWN = "unknown"
"""Value of a stratum that the release does not tell."""

Base = Literal["root", "derived"]
Noted = Callable[[Base, str, int, int], None]
"""Told of each file consulted: below which folder, relative path, size in bytes, mtime in ns; -1, -1 where absent."""

_CHUNK = 1 << 20
_BLANKS = " \t\r\n"


class ReleaseAbsentError(DataError):
    """Raised when no data root holds the folders of a release, or the asked split of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRequest:
    """Which part of a release to read, and under which name.

    Attributes:
        dataset: First part of every sample id.
        split: One of the reader's splits.
        subset: One of the reader's subsets; None where it has none.
        where: Per record field, the values to keep; compared without case and outer blanks.
        options: Choices of the reader.
        window: Which grey values become 0 and 255 in images of more than 8 bits.
    """

    dataset: str
    split: str
    subset: str | None = None
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    options: Mapping[str, Json] = field(default_factory=dict)
    window: Window | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFiles:
    """The files of a data root, read only, with a note of each that was consulted.

    Attributes:
        root: The data root.
        derived: Folder for files that a reader must make; never below the root.
        noted: Told of each file consulted, so that a later preparation can tell whether anything changed.
        looked: What an interrupted preparation found out; None where nothing is kept.
    """

    root: Path
    derived: Path
    noted: Noted = lambda *_: None
    looked: Looked | None = None

    def once(self, what: Json, relative: str, make: Callable[[], Json]) -> Json:
        """Return what `make` finds out about a file, or found out in a preparation of the same file that was cut short.

        Args:
            what: Tells apart what is asked of one file.
            relative: The file; `make` reads it.
            make: Returns JSON values, not None, that depend on the file's bytes and `what` alone.
        Raises:
            DataError: The path leaves the data root, or what `make` raises.
        """
        path = self.path(relative)
        if self.looked is None:
            return make()
        size, mtime_ns = _state(path)
        answer, repeated = self.looked.once([what, relative, size, mtime_ns], make)
        if repeated:
            self.noted("root", relative, size, mtime_ns)
        return answer

    def read(self, relative: str) -> bytes | None:
        """Return a file's bytes; None where there is no such file.

        Raises:
            DataError: The path leaves the data root, or the file is there and cannot be read.
        """
        path = self.path(relative)
        if not self._note("root", relative, path):
            return None
        try:
            return path.read_bytes()
        except OSError as error:
            raise DataError(f"{relative}: cannot be read: {error.strerror}; check the file and its rights") from error

    def open(self, relative: str) -> BinaryIO:
        """Return a file opened for reading.

        Raises:
            DataError: The path leaves the data root, or the file is missing or cannot be opened.
        """
        path = self.path(relative)
        self._note("root", relative, path)
        try:
            return path.open("rb")
        except OSError as error:
            raise DataError(f"{relative}: cannot be read: {error.strerror}; check the file and its rights") from error

    def has(self, relative: str) -> bool:
        """Say whether a file or folder of the release is there."""
        return self._note("root", relative, self.path(relative))

    def names(self, folder: str) -> Iterator[str]:
        """Yield the names of the files in a folder, in no order; none where there is no such folder.

        Raises:
            DataError: The path leaves the data root, or the folder is there and cannot be listed.
        """
        yield from self._entries(folder, lambda entry: entry.is_file())

    def _entries(self, folder: str, wanted: "Callable[[os.DirEntry[str]], bool]") -> Iterator[str]:
        path = self.path(folder)
        self._note("root", folder, path)
        if not path.is_dir():
            return
        try:
            with os.scandir(path) as entries:
                yield from (entry.name for entry in entries if wanted(entry))
        except OSError as error:
            raise DataError(f"{folder}: cannot be listed: {error.strerror}; check the folder and its rights") from error

    def walk(self, folder: str) -> Iterator[str]:
        """Yield the paths of all files in a folder and below, sorted within each folder; links to folders are left out.

        Raises:
            DataError: As `names`.
        """
        yield from (f"{folder}/{name}" for name in sorted(self.names(folder)))
        for name in sorted(self.folders(folder)):
            yield from self.walk(f"{folder}/{name}")

    def folders(self, folder: str) -> Iterator[str]:
        """Yield the names of the folders in a folder, in no order; links are left out.

        Raises:
            DataError: As `names`.
        """
        yield from self._entries(folder, lambda entry: entry.is_dir(follow_symlinks=False))

    def derive(self, relative: str, content: bytes) -> None:
        """Write a file that the release holds in another form below the derived folder, once."""
        path = self.derived / relative
        if not path.is_file() or path.stat().st_size != len(content):
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, content)
        self._note("derived", relative, path)

    def path(self, relative: str) -> Path:
        """Return where a file of the release is or would be.

        Raises:
            DataError: The path is absolute or climbs out of the data root.
        """
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
    """Return size and time of change of a file or folder; -1 of one that is not there."""
    try:
        state = path.stat()
    except OSError:
        return -1, -1
    return state.st_size, state.st_mtime_ns


Read = Callable[[ReleaseFiles, ReleaseRequest, Integrity], Iterator[tuple[str, Sample]]]
"""Yields (place in the release, sample) in the order of the release; the place is for messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Free:
    """An option whose value the task writes itself, as against one of a list.

    Attributes:
        default: Where the task is silent.
        fault: Value -> `expected ..., found ...`; nothing where the value is right.
    """

    default: Json
    fault: Callable[[Json], str]


Options = Mapping[str, tuple[Json, ...] | Free]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """One published dataset layout.

    Attributes:
        name: As in task files.
        version: Raised by any change that can move a manifest.
        folders: What it looks for below a data root; all must be there, of `one|other` either.
        strata: Keys it fills in every sample, `unknown` where the release does not tell.
        splits: Splits that a data root's files hold.
        read: See `Read`.
        obtain: One sentence: how to get the data.
        subsets: Values of `release.subset`; empty where it takes none.
        options: Per key of `release.options` its values, the default first, or what checks a value of the task's own.
        fit: Where folders or splits follow from a request's options: returns the reader with those of the request.
    """

    name: str
    version: int
    folders: tuple[str, ...]
    strata: tuple[str, ...]
    splits: Callable[[Path], tuple[str, ...]]
    read: Read
    obtain: str
    subsets: tuple[str, ...] = ()
    options: Options = field(default_factory=dict)
    fit: "Callable[[ReleaseRequest], Reader] | None" = None

    def option(self, request: ReleaseRequest, name: str) -> Json:
        """Return the value of an option, its default where the request is silent."""
        return request.options.get(name, self.defaults[name])

    @property
    def defaults(self) -> dict[str, Json]:
        """Value of each option where a request is silent."""
        return {key: known.default if isinstance(known, Free) else known[0] for key, known in self.options.items()}

    def fitted(self, request: ReleaseRequest) -> "Reader":
        """Return the reader with the folders and splits that a request's options name."""
        return self if self.fit is None else self.fit(request)

    def find_root(self, roots: Sequence[Path]) -> Path:
        """Return the first data root that holds all folders of this release.

        Raises:
            ReleaseAbsentError: None does; the message says what was looked for where, and how to get it.
        """
        for root in roots:
            if all(any((root / name).is_dir() for name in folder.split("|")) for folder in self.folders):
                return root
        wanted = " and ".join(f"{folder.replace('|', '/ or ')}/" for folder in self.folders)
        looked = ", ".join(str(root) for root in roots) or "no data root was given"
        raise ReleaseAbsentError(
            f"{self.name}: expected {wanted} below a data root, looked in: {looked}. {self.obtain}"
        )

    def check(self, request: ReleaseRequest) -> None:
        """Check what does not depend on the files.

        Raises:
            SpecError: An unknown subset, option or value of an option.
        """
        if request.subset not in (self.subsets or (None,)):
            expected = " or ".join(map(repr, self.subsets)) or "none"
            raise SpecError(f"release.subset: reader {self.name} expects {expected}, found {request.subset!r}")
        for key, value in request.options.items():
            if key not in self.options:
                known = ", ".join(self.options) or "none"
                hint = nearest(key, tuple(self.options))
                raise SpecError(f"release.options.{key}: reader {self.name} has the options {known}{hint}")
            fault = option_fault(self.options[key], value)
            if fault:
                raise SpecError(f"release.options.{key}: {fault}")

    def check_split(self, root: Path, split: str) -> None:
        """Check that the files below `root` hold the split.

        Raises:
            ReleaseAbsentError: They do not; the message lists those they hold.
        """
        known = self.splits(root)
        if split not in known:
            held = ", ".join(known) or "none"
            raise ReleaseAbsentError(
                f"release.split: reader {self.name} found the splits {held}, not {split!r}. {self.obtain}"
            )


def option_fault(known: tuple[Json, ...] | Free, value: Json) -> str:
    """Return what is wrong with the value of an option; nothing where it is right."""
    if isinstance(known, Free):
        return known.fault(value)
    return "" if value in known else f"expected {' or '.join(map(repr, known))}, found {value!r}"


@dataclass(slots=True)
class Selection:
    """The samples that `release.where` keeps, counted.

    A reader asks `admits` as soon as it knows a record's fields, and again when it knows more of them.
    """

    where: Mapping[str, frozenset[str]]
    before: int = 0
    after: int = 0

    @classmethod
    def of(cls, request: ReleaseRequest, fields: Sequence[str]) -> "Selection":
        """Return the selection of a request over records with these fields.

        Raises:
            SpecError: The request names another field.
        """
        for key in request.where:
            if key not in fields:
                known = ", ".join(sorted(fields))
                hint = nearest(key, tuple(fields))
                raise SpecError(f"release.where.{key}: expected a field of the records ({known}), found {key!r}{hint}")
        return cls({key: frozenset(map(_folded, values)) for key, values in request.where.items()})

    def admits(self, fields: Mapping[str, Json]) -> bool:
        """Say whether the known fields agree with the selection; fields that are not known yet do not count."""
        return all(_folded(fields[key]) in kept for key, kept in self.where.items() if key in fields)

    def report(self, integrity: Integrity) -> None:
        """Write the numbers before and after into the report; nothing where nothing was asked."""
        if self.where:
            integrity.selected = (self.before, self.after)


def _folded(value: Json) -> str:
    return str(value).strip().casefold()


def read_json(files: ReleaseFiles, relative: str) -> Json:
    """Return a JSON file of the release.

    Raises:
        DataError: Missing, or not JSON.
    """
    content = files.read(relative)
    if content is None:
        raise DataError(f"{relative}: expected a JSON file, found none; the download may be incomplete")
    try:
        return json.loads(content)
    except ValueError as error:
        raise DataError(f"{relative}: expected JSON, found {error}; the download may be incomplete") from error


def stream_object(files: ReleaseFiles, relative: str) -> Iterator[tuple[str, Json]]:
    """Yield (key, value) of a JSON file that holds one object, in file order, without holding the file in memory.

    Raises:
        DataError: The file is missing, is not one JSON object, or ends early.
    """
    decoder = json.JSONDecoder()
    with files.open(relative) as file:
        buffer = _Buffer(file, relative, "object")
        for key in buffer.keys(decoder):
            yield key, buffer.value(decoder)
        buffer.finish()


def stream_list(files: ReleaseFiles, relative: str) -> Iterator[Json]:
    """Yield the values of a JSON file that holds one list, in file order, without holding the file in memory.

    Raises:
        DataError: The file is missing, is not one JSON list, or ends early.
    """
    decoder = json.JSONDecoder()
    with files.open(relative) as file:
        buffer = _Buffer(file, relative, "list")
        yield from buffer.values(decoder)
        buffer.finish()


def stream_lists(files: ReleaseFiles, relative: str, keys: Sequence[str] | None = None) -> Iterator[tuple[str, Json]]:
    """Yield (key, value) for every value of every list of a JSON file that holds one object of lists, in file order.

    One value is in memory at a time.

    Args:
        files: The release.
        relative: The file.
        keys: Those that are wanted; what stands under the others is passed over and need be no list. None for all.
    Raises:
        DataError: The file is missing, is not one JSON object of lists, or ends early.
    """
    decoder = json.JSONDecoder()
    with files.open(relative) as file:
        buffer = _Buffer(file, relative, "object of lists")
        for key in buffer.keys(decoder):
            if keys is not None and key not in keys:
                buffer.value(decoder)
                continue
            for value in buffer.values(decoder):
                yield key, value
        buffer.finish()


class _Buffer:
    """The part of a JSON text that is not read yet."""

    def __init__(self, file: BinaryIO, where: str, holds: str) -> None:
        self._file = file
        self._where = where
        self._holds = holds
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._at = 0

    def broken(self, found: str) -> DataError:
        return DataError(f"{self._where}: expected one JSON {self._holds}: {found}; the download may be incomplete")

    def ahead(self, character: str) -> bool:
        """Say whether the next character after blanks is this one."""
        self._skip_blanks()
        return self._text.startswith(character, self._at)

    def expect(self, character: str) -> None:
        if not self.ahead(character):
            raise self.broken(f"expected {character!r}, found {self._text[self._at : self._at + 20]!r}")
        self._at += 1

    def finish(self) -> None:
        """Check that nothing follows."""
        self._skip_blanks()
        if self._at < len(self._text):
            raise self.broken(f"expected nothing more, found {self._text[self._at : self._at + 20]!r}")

    def keys(self, decoder: json.JSONDecoder) -> Iterator[str]:
        """Yield the keys of the next object; what follows a key is to be read before the next is asked for."""
        self.expect("{")
        more = not self.ahead("}")
        if not more:
            self.expect("}")
        while more:
            key = self.value(decoder)
            if not isinstance(key, str):
                raise self.broken(f"expected a key in quotes, found {key!r}")
            self.expect(":")
            yield key
            more = self.ahead(",")
            self.expect("," if more else "}")

    def values(self, decoder: json.JSONDecoder) -> Iterator[Json]:
        """Yield the values of the next list."""
        self.expect("[")
        more = not self.ahead("]")
        if not more:
            self.expect("]")
        while more:
            yield self.value(decoder)
            more = self.ahead(",")
            self.expect("," if more else "]")

    def value(self, decoder: json.JSONDecoder) -> Json:
        """Return the next value, reading on while what is there does not end in one."""
        self._skip_blanks()
        while True:
            try:
                value, end = decoder.raw_decode(self._text, self._at)
            except ValueError as error:
                if not self._more():
                    raise self.broken(str(error)) from error
                continue
            length = end - self._at
            if self._ends(value, end) or not self._more():
                self._at += length
                return value

    def _ends(self, value: Json, end: int) -> bool:
        """Say whether a value ends here: `12` of `12.5` and `12` of `123` are numbers too."""
        return not isinstance(value, int | float) or self._text[end : end + 1] in (*_BLANKS, ",", "}", "]")

    def _skip_blanks(self) -> None:
        while True:
            while self._at < len(self._text) and self._text[self._at] in _BLANKS:
                self._at += 1
            if self._at < len(self._text) or not self._more():
                return

    def _more(self) -> bool:
        chunk = self._file.read(_CHUNK)
        try:
            text = self._decode.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            raise self.broken(f"not UTF-8 text: {error.reason}") from error
        self._text = self._text[self._at :] + text
        self._at = 0
        return bool(chunk)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that no reader ever sees half of it."""
    temporary = path.with_name(f".partial-{uuid.uuid4().hex}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
