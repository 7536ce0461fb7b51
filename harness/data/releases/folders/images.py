"""Any folder of images and masks: the task gives patterns of their paths, and the labels.

A pattern is a path below the release's folder in which `{case}`, `{patient}` and `{split}` stand for a part of a name,
`{label}` for the text of a label, `.*` for any suffix and `*` for anything. The parts of an image's path are put into
the pattern of its masks.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles, read_json
from harness.data.releases.reader import ALL, UNKNOWN, Free, Reader, ReleaseRequest
from harness.errors import DataError, SpecError
from harness.records import Json, Sample

if TYPE_CHECKING:
    from harness.data.releases.folders.labelled_cases import Named, Questions

FOLDER = "segmentation"
NAMES = "labels.json"  # label -> value, in the release's folder; read if the task names no labels
TARGET = "target"  # the only label if neither the task nor `labels.json` names any: the whole mask

MODALITIES = (UNKNOWN, "ct", "mr", "xray", "us", "derm", "fundus", "endo", "oct", "micro", "pet", "other")

_NAME = re.compile(r"\{(\w*)\}")
_WILD = {".*": r"\.(?:nii\.gz|[^/.]+)", "*": "[^/]*"}
_IN_IMAGES = ("split", "patient", "case")

# Name, text in the masks' paths, and values in label images; None if every value above 0 counts.
Label = tuple[str, str, tuple[int, ...] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The places of images and masks below the release's folder.

    Attributes:
        folder: The release's folder.
        images, masks: Patterns.
        labels: The labels to ask about; empty if `labels.json` names them.
    """

    folder: str
    images: str
    masks: str
    labels: tuple[Label, ...]

    @property
    def start(self) -> str:
        """The folder below which all images lie."""
        fixed = re.split(r"[{*]", self.images)[0]
        return f"{self.folder}/{fixed}".rpartition("/")[0]

    def parts(self, path: str) -> dict[str, str] | None:
        """Return the parts of an image's path below the data root by their names in the pattern, or None."""
        below = path.removeprefix(f"{self.folder}/")
        # Images and masks may share a folder, where the pattern of images may match masks too.
        if matcher(self.masks).fullmatch(below):
            return None
        match = matcher(self.images).fullmatch(below)
        return None if match is None else match.groupdict()

    def mask(self, parts: Mapping[str, str], text: str) -> str:
        """Return the path of an image's mask below the data root.

        Args:
            parts: The parts of the image's path, by their names in the pattern.
            text: The text that `{label}` stands for.
        """
        return f"{self.folder}/{_NAME.sub(lambda name: {**parts, 'label': text}[name[1]], self.masks)}"


def matcher(pattern: str) -> re.Pattern[str]:
    """Return a regular expression for the paths of a pattern; a name that occurs twice stands for the same text."""
    seen: set[str] = set()
    pieces = []
    for piece in re.split(r"(\{\w+\}|\.\*|\*)", pattern):
        name = _NAME.fullmatch(piece)
        if piece in _WILD:
            pieces.append(_WILD[piece])
        elif name is None:
            pieces.append(re.escape(piece))
        else:
            pieces.append(f"(?P={name[1]})" if name[1] in seen else f"(?P<{name[1]}>[^/]+?)")
            seen.add(name[1])
    return re.compile("".join(pieces))


def layout_of(request: ReleaseRequest) -> Layout:
    """Return the layout that a request's options describe.

    Raises:
        SpecError: The patterns and labels do not suit each other.
    """
    images, masks, labels = (READER.option(request, name) for name in ("images", "masks", "labels"))
    unknown = set(_NAME.findall(masks)) - set(_NAME.findall(images)) - {"label"}
    if unknown:
        raise SpecError(
            f"masks: '{{{min(unknown)}}}' does not stand in images, so nothing says it; images is {images!r}"
        )
    found = _labels(labels, in_paths="{label}" in masks)
    return Layout(folder=READER.option(request, "folder").rstrip("/"), images=images, masks=masks, labels=found)


def _labels(given: Json, *, in_paths: bool) -> tuple[Label, ...]:
    """Return labels as a task or `labels.json` gives them: a list of names, or name -> text, value or values."""
    if in_paths and not given:
        raise SpecError("labels: expected the labels, because masks holds '{label}'; found none")
    found: list[Label] = []
    for name, value in (given if isinstance(given, dict) else {name: name for name in given}).items():
        if in_paths != isinstance(value, str):
            expected = "text that stands for '{label}'" if in_paths else "values, because masks holds no '{label}'"
            raise SpecError(f"labels.{name}: expected {expected}, found {value!r}")
        if isinstance(value, str):
            found.append((name, value, None))
        else:
            found.append((name, "", (value,) if isinstance(value, int) else tuple(value)))
    return tuple(found)


# --- faults of the values of options


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
    for name in _NAME.findall(value):
        if name not in names:
            return f"expected names among {known}, found '{{{name}}}' in {value!r}"
    if needs not in value or set("{}") & set(_NAME.sub("", value)):
        return f"expected a pattern with {needs or 'names'} and whole names in braces, found {value!r}"
    return f"expected no '*' in this pattern, found {value!r}" if "*" in value and not wild else ""


def _labels_fault(value: Json) -> str:
    """Return what is wrong with labels, or an empty string if they are right."""
    if isinstance(value, list) and value and all(isinstance(name, str) and name for name in value):
        return ""
    if not isinstance(value, dict) or not value:
        return f"expected a list of texts, or label: value, found {value!r}"
    for name, found in value.items():
        numbers = found if isinstance(found, list) and found else [found]
        # Not `isinstance`, because True is an int too.
        if not (isinstance(found, str) and found) and not all(type(one) is int and one > 0 for one in numbers):
            return f"{name}: expected a whole number of at least 1, a list of them, or text, found {found!r}"
    return ""


# --- reading


def splits(request: ReleaseRequest, root: Path) -> tuple[str, ...]:
    """Return the values of `{split}` in the paths of images, or `all` if the pattern does not hold it."""
    layout = layout_of(request)
    if "{split}" not in layout.images:
        return (ALL,)
    files = ReleaseFiles(root=root, derived=root)
    found = (layout.parts(path) for path in files.walk(layout.start))
    return tuple(sorted({parts["split"] for parts in found if parts is not None}))


def read(files: ReleaseFiles, request: ReleaseRequest, integrity: Integrity) -> Iterator[tuple[str, Sample]]:
    """Yield (place, sample) of every label of every image, by the path of the image.

    Raises:
        DataError: `labels.json` is malformed.
        SpecError: `where` names no field of the samples.
    """
    # Imported here, because numpy and Pillow should load when a release is read, not when readers are listed.
    from harness.data.releases.folders.labelled_cases import Questions

    layout = layout_of(request)
    if not layout.labels:
        layout = replace(layout, labels=_named_labels(files, layout.folder))
    questions = Questions(request, integrity)
    reading = _Reading(files, request, integrity, layout, questions)
    for path in files.walk(layout.start):
        parts = layout.parts(path)
        if parts is not None and parts.get("split", request.split) == request.split:
            yield from reading.samples(path, parts)
    questions.selection.report(integrity)


def _named_labels(files: ReleaseFiles, folder: str) -> tuple[Label, ...]:
    """Return the labels of `labels.json`, or the one label that covers a whole mask if there is no such file."""
    if not files.has(f"{folder}/{NAMES}"):
        return ((TARGET, "", None),)
    given = read_json(files, f"{folder}/{NAMES}")
    fault = _labels_fault(given)
    if fault or not isinstance(given, dict) or any(isinstance(value, str) for value in given.values()):
        raise DataError(f"{folder}/{NAMES}: {fault or 'expected label: value'}")
    return _labels(given, in_paths=False)


@dataclass(frozen=True, slots=True)
class _Reading:
    """One reading of a folder, with the fields that all images share."""

    files: ReleaseFiles
    request: ReleaseRequest
    integrity: Integrity
    layout: Layout
    questions: "Questions"

    def samples(self, path: str, parts: Mapping[str, str]) -> Iterator[tuple[str, Sample]]:
        """Yield (place, sample) of an image; it is not opened if the selection keeps no question on it."""
        from harness.data.releases.folders.labelled_cases import Case, parts_of
        from harness.data.releases.volumes import inspect_scan

        modality = str(READER.option(self.request, "modality"))
        names = [name for name, _, _ in self.layout.labels]
        wanted = self.questions.admits(names, patient=parts.get("patient", ""), modality=modality)
        if not wanted:
            return
        image = inspect_scan(self.files, path, window=self.request.window, integrity=self.integrity)
        values = [value for _, _, values in self.layout.labels for value in values or ()]
        # Labels that share a file are read from it together, so that it is opened once.
        by_file: dict[str, list[Named]] = {}
        for name, text, means in self.layout.labels:
            if name in wanted:
                by_file.setdefault(self.layout.mask(parts, text), []).append((name, means))
        case = Case(
            path=path.removeprefix(f"{self.layout.folder}/"),
            patient=parts.get("patient", ""),
            modality=modality,
            image=image,
            parts=[
                part
                for mask, inside in by_file.items()
                for part in parts_of(self.files, mask, image, inside, values, self.integrity)
            ],
        )
        yield from self.questions.samples(case)


def _fit(request: ReleaseRequest) -> Reader:
    return replace(READER, folders=(layout_of(request).folder,), splits=partial(splits, request))


READER = Reader(
    name="segmentation",
    version=1,
    folders=(FOLDER,),
    strata=("modality", "class", "target_size", "presence"),
    splits=lambda _: (ALL,),
    read=read,
    obtain="Put images and masks there, or name another folder with release.options.folder; see docs/your-own-data.md.",
    options={
        "folder": folder_option(FOLDER),
        "images": Free(default="images/{case}.*", fault=partial(pattern_fault, _IN_IMAGES, wild=True)),
        "masks": Free(default="masks/{case}.png", fault=partial(pattern_fault, (*_IN_IMAGES, "label"), wild=False)),
        "labels": Free(default=[], fault=_labels_fault),
        "modality": MODALITIES,
    },
    fit=_fit,
)
