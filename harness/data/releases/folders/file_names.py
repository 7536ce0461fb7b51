"""Names of files as people have them: what lies beside images without being one, and names that differ in form only."""

import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.errors import DataError

# Suffixes of the files that are read as images, masks or volumes.
READ_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".webp"),
    *(".dcm", ".nii.gz", ".nii", ".npy"),
)
# Suffixes of images that need another program first: they become samples that cannot be asked, whose finding says what
# to do, because an image that is passed over in silence is missed by nobody.
FOREIGN_SUFFIXES = (
    *(".jp2", ".j2k", ".jpx", ".jxl", ".heic", ".heif", ".avif", ".dicom", ".ima"),
    *(".nrrd", ".nhdr", ".mha", ".mhd", ".mgz", ".mgh", ".svs", ".ndpi", ".exr"),
)

_ARCHIVED = "__MACOSX"  # the folder in which macOS's archives keep attributes of files, under the files' own names


def is_hidden(path: str) -> bool:
    """Return whether a file is hidden or lies in a hidden folder: `._a.png`, `.DS_Store`, `__MACOSX/a.png`."""
    return any(part.startswith(".") or part == _ARCHIVED for part in PurePosixPath(path).parts)


def suffix_of(name: str) -> str:
    """Return a name's suffix in lower case with its dot, `.nii.gz` being one; empty if it has none."""
    lower = name.lower()
    return ".nii.gz" if lower.endswith(".nii.gz") else PurePosixPath(lower).suffix


def check_encoding(path: str) -> None:
    """Check that a file's name is text, because ids and records hold it.

    Raises:
        DataError: It holds bytes that are no UTF-8, as names of old archives do.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        shown = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        raise DataError(
            f"{shown}: expected a file name in UTF-8, found other bytes; rename it, e.g. with convmv"
        ) from None


@dataclass(slots=True)
class PassedOver:
    """The files beside the images that are none, reported once for each kind."""

    files: dict[str, list[str]] = field(default_factory=dict)

    def add(self, path: str, *, below: str = "") -> None:
        """Note a file below the data root, which is hidden if a part of its path below the folder `below` is."""
        name = PurePosixPath(path).name
        hidden = is_hidden(path.removeprefix(f"{below}/"))
        kind = "hidden" if hidden else f"*{suffix_of(name)}" if suffix_of(name) else "without a suffix"
        self.files.setdefault(kind, []).append(path)

    def report(self, integrity: Integrity) -> None:
        """Report one finding for each kind of file, at the first of them."""
        for kind, paths in self.files.items():
            count = len(paths)
            integrity.find("passed_over", min(paths), f"{count:,} {'file' if count == 1 else 'files'}: {kind}")


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _stem(name: str) -> str:
    return name[: len(name) - len(suffix_of(name))]


def _any_suffix(name: str) -> str:
    found = _composed(name)
    return _stem(found) + suffix_of(found)


# How names may differ, from the least: archives made on macOS hold letters and accents apart (NFD), cameras and Windows
# write suffixes, and people names, in another case.
_FORMS: tuple[Callable[[str], str], ...] = (_composed, _any_suffix, lambda name: _composed(name).casefold())

# Missing files for which the nearest name is looked for, which takes long in a large folder; a person reads the first.
_HINTS = 10


@dataclass(frozen=True, slots=True)
class Named:
    """The file that a name means.

    Attributes:
        path: Its path below the data root; that of the name itself if there is no such file.
        found: Whether the file is there.
        detail: Why none was found, or empty.
    """

    path: str
    found: bool = True
    detail: str = ""


@dataclass(slots=True)
class FileNames:
    """Finds files whose names differ from the wanted ones in Unicode form or letter case only.

    Every match of that kind is a repair, and one that is not certain is refused: two files that could be meant, or a
    file that is, by its exact name or by a match, that of another image.
    """

    files: ReleaseFiles
    _names: dict[str, frozenset[str]] = field(default_factory=dict)
    _folders: dict[str, frozenset[str]] = field(default_factory=dict)
    _forms: dict[str, tuple[dict[str, list[str]], ...]] = field(default_factory=dict)
    _hints: int = 0

    def all_of(self, wanted: Collection[str]) -> dict[str, Named]:
        """Return the file that each wanted path means.

        Args:
            wanted: Paths below the data root, each of a file of its own.
        """
        found = {path: self._find(path) for path in wanted}
        owners: dict[str, list[str]] = {}
        for path, named in found.items():
            if named.found:
                owners.setdefault(named.path, []).append(path)
        for path, named in found.items():
            others = [other for other in owners.get(named.path, ()) if other != path]
            if named.found and named.path != path and others:
                detail = f"{named.path} differs from it in form only, but may be that of {others[0]} as well"
                found[path] = Named(path, found=False, detail=detail)
        return found

    def folder(self, path: str) -> Named:
        """Return the folder that a path means, of which each part may be written in another form."""
        reached = ""
        for part in path.split("/"):
            # Asked for by itself first, because a folder that links elsewhere is not listed.
            exact = self.files.has(f"{reached}/{part}".lstrip("/"))
            same = [part] if exact else _same(part, _by_form(self._folders_in(reached)))
            if len(same) != 1:
                return Named(path, found=False, detail=_ambiguous(same) if same else f"there is no folder {path}")
            reached = f"{reached}/{same[0]}".lstrip("/")
        return Named(reached)

    def _find(self, path: str) -> Named:
        folder, _, name = path.rpartition("/")
        if name in self._names_in(folder):
            return Named(path)
        place = self.folder(folder)
        if not place.found:
            return Named(path, found=False, detail=place.detail)
        reached = place.path
        if reached not in self._forms:
            self._forms[reached] = _by_form(self._names_in(reached))
        same = [name] if name in self._names_in(reached) else _same(name, self._forms[reached])
        if len(same) == 1:
            return Named(f"{reached}/{same[0]}")
        return Named(path, found=False, detail=_ambiguous(same) if same else self._nearest(name, reached))

    def _nearest(self, name: str, folder: str) -> str:
        from difflib import get_close_matches  # imported here, so that only a fault pays for it

        self._hints += 1
        if self._hints > _HINTS:
            return ""
        # Without suffixes, which make all names alike; `p01_mask` is nearer to `p01` than their lengths say.
        stems = {_stem(one): one for one in sorted(self._names_in(folder), reverse=True) if not is_hidden(one)}
        stem = _stem(name)
        longer = [one for one in sorted(stems) if one.startswith(stem) and not one[len(stem) :][:1].isalnum()]
        close = longer or get_close_matches(stem, stems, n=1)
        return f"did you mean '{stems[close[0]]}'?" if close else f"no file in {folder} has nearly that name"

    def _names_in(self, folder: str) -> frozenset[str]:
        if folder not in self._names:
            self._names[folder] = frozenset(self.files.names(folder))
        return self._names[folder]

    def _folders_in(self, folder: str) -> frozenset[str]:
        if folder not in self._folders:
            self._folders[folder] = frozenset(self.files.folders(folder))
        return self._folders[folder]


def _by_form(names: Iterable[str]) -> tuple[dict[str, list[str]], ...]:
    """Return, for each form, the names by their text in it."""
    found: tuple[dict[str, list[str]], ...] = tuple({} for _ in _FORMS)
    for name in sorted(names):
        for form, by_text in zip(_FORMS, found, strict=True):
            by_text.setdefault(form(name), []).append(name)
    return found


def _same(name: str, by_form: tuple[dict[str, list[str]], ...]) -> list[str]:
    """Return the names that are the same in the first form in which any is, sorted; empty if none is."""
    texts = ((by_text, form(name)) for form, by_text in zip(_FORMS, by_form, strict=True))
    return next((by_text[text] for by_text, text in texts if text in by_text), [])


def _ambiguous(names: Iterable[str]) -> str:
    return f"expected one file that differs from it in form only, found {' and '.join(names)}"


def report_repairs(found: Mapping[str, Named], integrity: Integrity) -> None:
    """List the files that were found under another form of their names."""
    for path, named in found.items():
        if named.found and named.path != path:
            integrity.repair("file_name", f"{named.path} for {PurePosixPath(path).name}")
