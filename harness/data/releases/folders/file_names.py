"""Names of files as people have them: suffixes, hidden files, names that differ from the expected ones in form."""

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
# Suffixes of images that must be converted first. They become samples that cannot be asked, with a finding that says
# what to do: nobody would notice if they were left out.
FOREIGN_SUFFIXES = (
    *(".jp2", ".j2k", ".jpx", ".jxl", ".heic", ".heif", ".avif", ".dicom", ".ima"),
    *(".nrrd", ".nhdr", ".mha", ".mhd", ".mgz", ".mgh", ".svs", ".ndpi", ".exr"),
)

_ARCHIVED = "__MACOSX"  # the folder in which macOS's archives keep attributes of files, under the files' own names


def is_hidden(path: str) -> bool:
    """Return whether a file is hidden or lies in a hidden folder: `._a.png`, `.DS_Store`, `__MACOSX/a.png`."""
    return any(part.startswith(".") or part == _ARCHIVED for part in PurePosixPath(path).parts)


def split_suffix(name: str) -> tuple[str, str]:
    """Return (stem, suffix) of a name or path as written; `.nii.gz` is one suffix, and `.hidden` has none."""
    length = len(".nii.gz") if name.lower().endswith(".nii.gz") else len(PurePosixPath(name).suffix)
    return name[: len(name) - length], name[len(name) - length :]


def folded(name: str) -> str:
    """Return a name without its letter case and Unicode form, to compare it with others."""
    return unicodedata.normalize("NFC", name).casefold()


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
    """Files among the images that are not images, reported once for each kind."""

    files: dict[str, list[str]] = field(default_factory=dict)

    def add(self, path: str, *, below: str = "") -> None:
        """Note a file below the data root, which is hidden if a part of its path below the folder `below` is."""
        suffix = split_suffix(path)[1].lower()
        kind = "hidden" if is_hidden(path.removeprefix(f"{below}/")) else f"*{suffix}" if suffix else "without a suffix"
        self.files.setdefault(kind, []).append(path)

    def report(self, integrity: Integrity) -> None:
        """Report one finding for each kind of file, at the first of them."""
        for kind, paths in self.files.items():
            count = len(paths)
            integrity.find("passed_over", min(paths), f"{count:,} {'file' if count == 1 else 'files'}: {kind}")


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _any_suffix(name: str) -> str:
    stem, suffix = split_suffix(_composed(name))
    return stem + suffix.lower()


# How names may differ, the smallest difference first: archives made on macOS store accents as characters of their own
# (NFD), cameras and Windows write suffixes in capitals, and people write names so.
_FORMS: tuple[Callable[[str], str], ...] = (_composed, _any_suffix, folded)

# Missing files for which a similar name is searched: it takes long in a large folder, and people read only the first.
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

    Every such match is reported as a repair. A match that is not certain is refused: two files could be meant, or the
    file also belongs to another image.
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
                detail = f"{named.path} differs from it in form only, but may also belong to {others[0]}"
                found[path] = Named(path, found=False, detail=detail)
        return found

    def folder(self, path: str) -> Named:
        """Return the folder that a path means; each of its parts may be written in another form."""
        reached = ""
        for part in path.split("/"):
            # The exact name first, because a symbolic link to a folder elsewhere is not listed.
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
        # Without suffixes, which make all names similar. `p01_mask` comes first for `p01`, though difflib, which
        # compares lengths too, finds others closer.
        stems = {
            split_suffix(one)[0]: one for one in sorted(self._names_in(folder), reverse=True) if not is_hidden(one)
        }
        stem, _ = split_suffix(name)
        longer = [one for one in sorted(stems) if one.startswith(stem) and not one[len(stem) :][:1].isalnum()]
        close = longer or get_close_matches(stem, stems, n=1)
        return f"did you mean '{stems[close[0]]}'?" if close else f"no file in {folder} has a similar name"

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
