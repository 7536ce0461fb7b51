"""Patterns of paths: which files of a folder are images, which masks belong to them, and which are neither."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import PurePosixPath

from harness.data.releases.folders.file_names import FOREIGN_SUFFIXES, READ_SUFFIXES, FileNames, Named, is_hidden
from harness.data.releases.folders.labels import LabelSet
from harness.data.releases.reader import Free
from harness.records import Json

NAME_IN_BRACES = re.compile(r"\{(\w*)\}")
# Longer suffixes first, so that `.nii.gz` is one.
_SUFFIXES = "|".join(re.escape(suffix) for suffix in sorted((*READ_SUFFIXES, *FOREIGN_SUFFIXES), key=len, reverse=True))
_WILD = {".*": f"(?i:{_SUFFIXES})", "*": "[^/]*"}
# The same with any suffix for `.*`, to find the files among the images that are not images.
_WILDER = {".*": r"(?:\.[^/]*)?", "*": "[^/]*"}
_END = re.compile(r"(?:\.\w+)+$")  # a suffix at the end of a pattern


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The places of images and masks below the release's folder.

    Attributes:
        folder: The release's folder.
        images, masks: Patterns.
        labels: The labels to ask about; None if `labels.json` names them.
    """

    folder: str
    images: str
    masks: str
    labels: LabelSet | None

    def start(self, pattern: str) -> str:
        """Return the folder below which all files of a pattern lie."""
        fixed = re.split(r"[{*]", pattern)[0]
        return f"{self.folder}/{fixed}".rpartition("/")[0]

    def on_disk(self, names: FileNames) -> "tuple[Layout, dict[str, Named]]":
        """Return (layout with its folders as written on disk, the folders whose names differ from the patterns).

        Only the folders before the first name in braces are looked up.
        """
        found: dict[str, Named] = {}
        patterns = []
        for pattern in (self.images, self.masks):
            start = self.start(pattern)
            named = names.folder(start)
            if named.found and named.path != start:
                found[start] = named
                below = named.path.removeprefix(f"{self.folder}/")
                pattern = f"{below}{pattern[len(start) - len(self.folder) - 1 :]}"
            patterns.append(pattern)
        return replace(self, images=patterns[0], masks=patterns[1]), found

    def parts(self, path: str) -> dict[str, str] | None:
        """Return the parts of an image's path below the data root by their names in the pattern, or None."""
        below = path.removeprefix(f"{self.folder}/")
        # Images and masks may share a folder, where the pattern of images may match masks too.
        if matcher(self.masks).fullmatch(below) or is_hidden(self._beyond_start(path)):
            return None
        match = matcher(self.images).fullmatch(below)
        return None if match is None else match.groupdict()

    def is_beside(self, path: str) -> bool:
        """Return whether a file among the images is not an image: a hidden file, or one with another suffix."""
        below = path.removeprefix(f"{self.folder}/")
        if matcher(self.masks).fullmatch(below) and not is_hidden(self._beyond_start(path)):
            return False
        # A hidden folder, such as `__MACOSX`, repeats the folders of the images, so their depth does not count.
        hidden = path.startswith(f"{self.start(self.images)}/") and is_hidden(self._beyond_start(path))
        return hidden or matcher(self.images, wild=_WILDER).fullmatch(below) is not None

    def _beyond_start(self, path: str) -> str:
        return path.removeprefix(f"{self.start(self.images)}/")

    def mask(self, parts: Mapping[str, str], text: str) -> str:
        """Return the path of an image's mask below the data root.

        Args:
            parts: The parts of the image's path, by their names in the pattern.
            text: The text that `{label}` stands for.
        """
        return f"{self.folder}/{NAME_IN_BRACES.sub(lambda name: {**parts, 'label': text}[name[1]], self.masks)}"

    def parts_of_mask(self, path: str, text: str) -> dict[str, str] | None:
        """Return the parts of a mask's path below the data root by their names in the pattern, or None."""
        below = path.removeprefix(f"{self.folder}/")
        match = matcher(self.masks.replace("{label}", text)).fullmatch(below)
        hidden = is_hidden(path.removeprefix(f"{self.start(self.masks)}/"))
        return None if match is None or hidden else match.groupdict()

    def image(self, parts: Mapping[str, str], suffix: str) -> str | None:
        """Return the path that the image of a mask would have; None if the mask's path does not determine it."""
        names = set(NAME_IN_BRACES.findall(self.images))
        pattern = self.images.replace(".*", suffix)
        if "*" in pattern or not names <= parts.keys():
            return None
        return f"{self.folder}/{NAME_IN_BRACES.sub(lambda name: parts[name[1]], pattern)}"


@cache
def _compiled(pattern: str, wild: tuple[tuple[str, str], ...]) -> re.Pattern[str]:
    end = _END.search(pattern)
    body, suffix = (pattern[: end.start()], end[0]) if end else (pattern, "")
    means = dict(wild)
    seen: set[str] = set()
    pieces = []
    for piece in re.split(r"(\{\w+\}|\.\*|\*)", body):
        name = NAME_IN_BRACES.fullmatch(piece)
        if piece in means:
            pieces.append(means[piece])
        elif name is None:
            pieces.append(re.escape(piece))
        else:
            pieces.append(f"(?P={name[1]})" if name[1] in seen else f"(?P<{name[1]}>[^/]+?)")
            seen.add(name[1])
    return re.compile("".join(pieces) + (f"(?i:{re.escape(suffix)})" if suffix else ""))


def matcher(pattern: str, *, wild: Mapping[str, str] = _WILD) -> re.Pattern[str]:
    """Return a regular expression for the paths of a pattern; a name that occurs twice stands for the same text.

    Args:
        pattern: The pattern; a suffix at its end counts in any letter case.
        wild: What `.*` and `*` stand for.
    """
    return _compiled(pattern, tuple(wild.items()))


def folder_option(default: str) -> Free:
    """Return the option that names a release's folder below the data root."""
    return Free(
        default=default,
        fault=lambda value: "" if _is_below(value) else f"expected a path below the data root, found {value!r}",
    )


def _is_below(value: Json) -> bool:
    """Return whether a value is a path that stays below the folder it is relative to."""
    if not isinstance(value, str) or not value.strip("/") or "\0" in value:
        return False
    return not PurePosixPath(value).is_absolute() and ".." not in PurePosixPath(value).parts


def pattern_fault(names: Sequence[str], value: Json, *, wild: bool, needs: str = "{case}") -> str:
    """Return what is wrong with a pattern of paths below a release's folder, or an empty string if it is right.

    Args:
        names: Names that may occur in braces.
        value: The pattern.
        wild: Whether `*` may occur.
        needs: Text that must occur.
    """
    if not _is_below(value):
        return f"expected a path below the release's folder, found {value!r}"
    known = ", ".join(f"'{{{name}}}'" for name in names)
    for name in NAME_IN_BRACES.findall(value):
        if name not in names:
            return f"expected names among {known}, found '{{{name}}}' in {value!r}"
    if needs not in value or set("{}") & set(NAME_IN_BRACES.sub("", value)):
        return f"expected a pattern with {needs or 'names'} and whole names in braces, found {value!r}"
    return f"expected no '*' in this pattern, found {value!r}" if "*" in value and not wild else ""
