"""Any folder of images and masks: the task gives patterns of their paths, and the labels.

A pattern is a path below the release's folder. `{case}`, `{patient}`, `{split}`, `{session}` and `{group}` stand for a
part of a name, `{label}` for the text of a label, `.*` for the suffix of any image and `*` for anything. The parts of
an image's path are put into the pattern of its masks. Suffixes count in any letter case.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles, read_json
from harness.data.releases.folders.file_names import (
    FileNames,
    Named,
    PassedOver,
    check_encoding,
    report_repairs,
    split_suffix,
)
from harness.data.releases.folders.labels import (
    Label,
    LabelSet,
    label_set,
    labels_fault,
    labels_in_json,
    values_fault,
    values_of,
)
from harness.data.releases.folders.patterns import NAME_IN_BRACES, Layout, folder_option, pattern_fault
from harness.data.releases.reader import ALL, UNKNOWN, Free, Reader, ReleaseRequest
from harness.errors import DataError, SpecError
from harness.records import Json, Sample

if TYPE_CHECKING:
    from harness.data.releases.folders.labelled_cases import LabelReading, Masks

FOLDER = "segmentation"
NAMES = "labels.json"  # label -> value, in the release's folder; read if the task names no labels
TARGET = "target"  # the only label if neither the task nor `labels.json` names any: the whole mask

MODALITIES = (UNKNOWN, "ct", "mr", "xray", "us", "derm", "fundus", "endo", "oct", "micro", "pet", "other")

_IN_IMAGES = ("split", "patient", "case", "session", "group")
EXIF = ("auto", "apply", "ignore")


def layout_of(request: ReleaseRequest) -> Layout:
    """Return the layout that a request's options describe.

    Raises:
        SpecError: The patterns and labels do not suit each other.
    """
    images, masks, labels = (READER.option(request, name) for name in ("images", "masks", "labels"))
    unknown = set(NAME_IN_BRACES.findall(masks)) - set(NAME_IN_BRACES.findall(images)) - {"label"}
    if unknown:
        raise SpecError(f"masks: '{{{min(unknown)}}}' does not occur in images, which is {images!r}")
    in_paths = "{label}" in masks
    found: LabelSet | None = None
    if labels:
        found = _labels(labels, in_paths=in_paths).options(**_ignored(request))
    elif in_paths:
        raise SpecError("labels: expected the labels, because masks holds '{label}'; found none")
    several = found is not None and found.by_value and (len(found.named) > 1 or found.ignored or found.void)
    if READER.option(request, "threshold") is not None and several:
        raise SpecError(f"threshold: expected one label of one value beside it and nothing ignored, found {labels!r}")
    return Layout(folder=READER.option(request, "folder").rstrip("/"), images=images, masks=masks, labels=found)


def _ignored(request: ReleaseRequest) -> dict[str, Sequence[int]]:
    return {"ignored": READER.option(request, "labels_ignored"), "void": READER.option(request, "ignore")}


def _labels(given: Json, *, in_paths: bool) -> LabelSet:
    """Return labels as a task gives them: a list of names, or name -> text, value or values."""
    found: dict[str, str | tuple[int, ...] | None] = {}
    for name, value in (given if isinstance(given, dict) else {name: name for name in given}).items():
        if in_paths != isinstance(value, str):
            expected = "text that stands for '{label}'" if in_paths else "values, because masks holds no '{label}'"
            hint = f"; names come first: `{{{value}: {name}}}`" if not in_paths and str(name).isdigit() else ""
            raise SpecError(f"labels.{name}: expected {expected}, found {value!r}{hint}")
        found[str(name)] = value if isinstance(value, str) else values_of(value)  # YAML may give a number
    try:
        return label_set(found, "labels")
    except DataError as error:
        raise SpecError(f"{error}, which is never asked about; name a structure") from error


# --- faults of the values of options


def threshold_fault(value: Json) -> str:
    """Return what is wrong with the option `threshold`, or an empty string if it is right."""
    # Imported here, because numpy should load when a release is read, not when readers are listed.
    from harness.imaging.mask_files.values import threshold_fault as fault

    return fault(value)


# --- reading


def splits(request: ReleaseRequest, root: Path) -> tuple[str, ...]:
    """Return the values of `{split}` in the paths of images, or `all` if the pattern does not hold it."""
    layout = layout_of(request)
    if "{split}" not in layout.images:
        return (ALL,)
    files = ReleaseFiles(root=root, derived=root)
    layout, _ = layout.on_disk(FileNames(files))
    found = (layout.parts(path) for path in files.walk(layout.start(layout.images)))
    return tuple(sorted({parts["split"] for parts in found if parts is not None}))


def labels_of(request: ReleaseRequest, root: Path) -> LabelSet:
    """Return the labels that the task or `labels.json` names.

    Raises:
        DataError: `labels.json` is malformed.
    """
    return _labels_in(ReleaseFiles(root=root, derived=root), request, layout_of(request))


def _labels_in(files: ReleaseFiles, request: ReleaseRequest, layout: Layout) -> LabelSet:
    return layout.labels or _named_labels(files, layout.folder).options(**_ignored(request))


def read(files: ReleaseFiles, request: ReleaseRequest, integrity: Integrity) -> Iterator[tuple[str, Sample]]:
    """Yield (place, sample) of every label of every image, by the path of the image, and of masks without an image.

    Images whose EXIF rotation depends on the other images come last.

    Raises:
        DataError: There are no images, `labels.json` is malformed, or the labels do not fit the masks.
        SpecError: `where` names no field of the samples.
    """
    # Imported here, because numpy and Pillow should load when a release is read, not when readers are listed.
    from harness.data.releases.folders.labelled_cases import LabelReading

    layout = layout_of(request)
    labels = _labels_in(files, request, layout)
    reading = LabelReading(
        files,
        request,
        integrity,
        labels,
        exif=str(READER.option(request, "exif")),
        threshold=READER.option(request, "threshold"),
    )
    cases = _Cases(reading, layout, labels)
    for masks in cases.all():
        yield from reading.samples(masks)
    yield from reading.finish(cases.unopened)


def _named_labels(files: ReleaseFiles, folder: str) -> LabelSet:
    """Return the labels of `labels.json`, or the one label that covers a whole mask if there is no such file."""
    where = f"{folder}/{NAMES}"
    if not files.has(where):
        return LabelSet(labels=(Label(name=TARGET),), source=NAMES)
    return labels_in_json(read_json(files, where), where)


class _Cases:
    """The images of a folder and the mask files that belong to them, matched by their names.

    Attributes:
        unopened: Mask files of images that the task does not ask about.
    """

    def __init__(self, reading: "LabelReading", layout: Layout, labels: LabelSet) -> None:
        self._files, self._request = reading.files, reading.request
        names = FileNames(self._files)
        layout, written = layout.on_disk(names)
        report_repairs(written, reading.integrity)
        self._reading, self._layout, self._labels = reading, layout, labels
        self._images: dict[str, dict[str, str]] = {}
        beside = PassedOver()
        for path in self._files.walk(layout.start(layout.images)):
            parts = layout.parts(path)
            if parts is not None:
                check_encoding(path)
                self._images[path] = parts
            elif layout.is_beside(path) and path != f"{layout.folder}/{NAMES}":
                beside.add(path, below=layout.start(layout.images))
        beside.report(reading.integrity)
        if not self._images:
            others = ", ".join(f"{len(files):,} {kind}" for kind, files in beside.files.items()) or "no other files"
            raise DataError(
                f"{layout.folder}/{layout.images}: expected images that match this pattern, found none ({others}); "
                "correct release.options.images"
            )
        wanted = {self._layout.mask(parts, label.text) for parts in self._images.values() for label in labels.labels}
        self._named = names.all_of(sorted(wanted))
        # Where both are in one folder, the mask `a_MASK.PNG` of `a.png` looks like an image.
        masks = {mask.path for mask in self._named.values() if mask.found}
        self._images = {path: parts for path, parts in self._images.items() if path not in masks}
        self.unopened: list[str] = []

    def all(self) -> "Iterator[Masks]":
        """Yield the images that the task asks about with their masks, then the masks whose image is not there."""
        from harness.data.releases.folders.labelled_cases import Masks

        asked: dict[str, Named] = {}
        for path, parts in self._images.items():
            by_file = self._wanted(
                parts, {label: self._layout.mask(parts, label.text) for label in self._labels.labels}
            )
            found = {wanted: self._named[wanted] for wanted in by_file}
            if not by_file:
                masks = (self._named[self._layout.mask(parts, label.text)] for label in self._labels.labels)
                self.unopened += dict.fromkeys(mask.path for mask in masks if mask.found)
                continue
            asked |= found
            yield Masks(
                image=path,
                path=path.removeprefix(f"{self._layout.folder}/"),
                patient=parts.get("patient", ""),
                modality=self._modality,
                files={found[wanted].path: labels for wanted, labels in by_file.items()},
                missing={mask.path: mask.detail for mask in found.values() if not mask.found},
            )
        report_repairs(asked, self._reading.integrity)
        yield from self._without_image()

    def _without_image(self) -> "Iterator[Masks]":
        """Yield the masks that belong to no image, each with the image that it should have."""
        from harness.data.releases.folders.labelled_cases import Masks

        used = {mask.path for mask in self._named.values()}
        named = set(self._images)
        # Most masks without an image miss one with the usual suffix.
        usual = Counter(split_suffix(path)[1] for path in self._images).most_common(1)
        suffix = usual[0][0] if usual else ".png"
        for path in self._files.walk(self._layout.start(self._layout.masks)):
            if path in used or path in self._images:
                continue
            check_encoding(path)
            found = {label: self._layout.parts_of_mask(path, label.text) for label in self._labels.labels}
            parts = next((one for one in found.values() if one is not None), None)
            labels = {label: path for label, one in found.items() if one is not None}
            by_file = {} if parts is None else self._wanted(parts, labels)
            if parts is None or not by_file:
                continue
            image = self._layout.image(parts, suffix)
            if image in named:
                self._reading.integrity.find("passed_over", path, "1 file: a second mask of its image")
                continue
            named.add(image or path)
            wanted = image or f"{self._layout.folder}/{self._layout.images}"
            self._reading.integrity.find("missing_image", path, f"expected its image at {wanted}, found none")
            place = (image or path).removeprefix(f"{self._layout.folder}/")
            patient = parts.get("patient", "")
            yield Masks(
                image=image or path,
                path=place,
                patient=patient,
                modality=self._modality,
                files=by_file,
                has_image=False,
            )

    def _wanted(self, parts: Mapping[str, str], files: Mapping[Label, str]) -> dict[str, list[Label]]:
        """Return the labels that the selection may keep, by their files: a shared file is opened once."""
        # Without `{split}` in the pattern of masks, the split of a mask without an image is unknown.
        if parts.get("split", self._request.split) != self._request.split:
            return {}
        names = [label.name for label in files]
        patient = parts.get("patient", "")
        kept = self._reading.questions.admits(names, patient=patient, modality=self._modality)
        found: dict[str, list[Label]] = {}
        for label, path in files.items():
            if label.name in kept:
                found.setdefault(path, []).append(label)
        return found

    @property
    def _modality(self) -> str:
        return str(READER.option(self._request, "modality"))


def _fit(request: ReleaseRequest) -> Reader:
    return replace(READER, folders=(layout_of(request).folder,), splits=partial(splits, request))


READER = Reader(
    name="segmentation",
    version=2,
    folders=(FOLDER,),
    strata=("modality", "class", "target_size", "presence"),
    splits=lambda _: (ALL,),
    read=read,
    obtain="Put images and masks there, or name another folder with release.options.folder; see docs/your-own-data.md.",
    options={
        "folder": folder_option(FOLDER),
        "images": Free(default="images/{case}.*", fault=partial(pattern_fault, _IN_IMAGES, wild=True)),
        "masks": Free(default="masks/{case}.png", fault=partial(pattern_fault, (*_IN_IMAGES, "label"), wild=False)),
        "labels": Free(default=[], fault=labels_fault),
        "labels_ignored": Free(default=[], fault=values_fault),
        "ignore": Free(default=[], fault=values_fault),
        "threshold": Free(default=None, fault=threshold_fault),
        "exif": EXIF,
        "modality": MODALITIES,
    },
    labels=labels_of,
    fit=_fit,
)
