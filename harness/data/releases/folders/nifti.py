"""Volumes with label volumes: the layout of nnU-Net and the Medical Segmentation Decathlon, or folders of pairs.

Source of the layout: nnU-Net's documentation of its dataset format, versions 1 and 2.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
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
    is_hidden,
    report_repairs,
)
from harness.data.releases.folders.images import EXIF, MODALITIES, NAMES, TARGET, threshold_fault
from harness.data.releases.folders.labels import Label, LabelSet, label_set, values_fault, values_of
from harness.data.releases.folders.patterns import folder_option
from harness.data.releases.reader import ALL, UNKNOWN, Free, Reader, ReleaseRequest
from harness.errors import DataError
from harness.records import Json, Sample

if TYPE_CHECKING:
    from harness.data.releases.folders.labelled_cases import LabelReading

FOLDER = "nifti_seg"
DATASET = "dataset.json"
NO_FILE = "there is no such file"
# Names of the files of a pair, each pair in a folder of its own.
IMAGE, LABEL = "image.nii.gz", "label.nii.gz"

# Folders of images and labels of each split.
PARTS: Mapping[str, tuple[str, str]] = {"train": ("imagesTr", "labelsTr"), "test": ("imagesTs", "labelsTs")}

# Channel names that are MR, most of them sequences: `dataset.json` names channels freely.
_MR = frozenset({"mr", "mri", "t1", "t1w", "t1c", "t1ce", "t1gd", "t2", "t2w", "flair", "adc", "dwi", "pd"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """The content of `dataset.json`.

    Attributes:
        labels: What the values of a label volume mean.
        modality: Modality code of the channel that is shown.
        ending: Suffix of the files' names.
    """

    labels: LabelSet
    modality: str = UNKNOWN
    ending: str = ".nii.gz"


@dataclass(frozen=True, slots=True)
class _Pair:
    """A volume and its labels, as paths below the data root; `no_image` says why there is no volume."""

    image: str
    label: str
    no_image: str = ""


def splits(folder: str, root: Path) -> tuple[str, ...]:
    """Return the splits whose labels exist, or `all` for folders of pairs."""
    if not (root / folder / DATASET).is_file():
        return (ALL,)
    return tuple(split for split, (_, labels) in PARTS.items() if (root / folder / labels).is_dir())


def labels_of(request: ReleaseRequest, root: Path) -> LabelSet:
    """Return the labels that `dataset.json` or, for folders of pairs, `labels.json` names.

    Raises:
        DataError: It is malformed.
    """
    return _dataset(ReleaseFiles(root=root, derived=root), request).labels


def _dataset(files: ReleaseFiles, request: ReleaseRequest) -> Dataset:
    """Return what the release's JSON file says, with the task's options applied."""
    folder, channel = str(READER.option(request, "folder")).rstrip("/"), str(READER.option(request, "channel"))
    dataset, names = f"{folder}/{DATASET}", f"{folder}/{NAMES}"
    if request.split != ALL:
        found = read_dataset(read_json(files, dataset), dataset, channel)
    elif files.has(names):
        found = read_dataset({"labels": read_json(files, names)}, names, channel)
    else:
        found = Dataset(labels=LabelSet(labels=(Label(name=TARGET),), source=NAMES))
    labels = found.labels.options(
        ignored=READER.option(request, "labels_ignored"), void=READER.option(request, "ignore")
    )
    modality = str(READER.option(request, "modality"))
    return replace(found, labels=labels, modality=found.modality if modality == UNKNOWN else modality)


def read(files: ReleaseFiles, request: ReleaseRequest, integrity: Integrity) -> Iterator[tuple[str, Sample]]:
    """Yield (place, sample) of every label of every volume, in the order of the names.

    Raises:
        DataError: A JSON file is malformed, or the labels do not fit the masks.
        SpecError: `where` names no field of the samples, or an option names a value that a label has.
    """
    # Imported here, because numpy and Pillow should load when a release is read, not when readers are listed.
    from harness.data.releases.folders.labelled_cases import LabelReading

    folder, channel = str(READER.option(request, "folder")).rstrip("/"), str(READER.option(request, "channel"))
    unopened: list[str] = []
    dataset = _dataset(files, request)
    if request.split == ALL:
        pairs = _plain_pairs(files, folder, integrity)
    else:
        pairs = _pairs(files, folder, request.split, channel, dataset.ending, integrity)
        for split, (_, labels_of_split) in PARTS.items():
            if split != request.split:
                names = sorted(files.names(f"{folder}/{labels_of_split}"))
                unopened += [f"{folder}/{labels_of_split}/{name}" for name in names if _is_file(name, dataset.ending)]
    reading = LabelReading(
        files,
        request,
        integrity,
        dataset.labels,
        exif=str(READER.option(request, "exif")),
        threshold=READER.option(request, "threshold"),
    )
    for pair in pairs:
        yield from _samples(pair, dataset.modality, folder, reading, unopened)
    yield from reading.finish(unopened)


def read_dataset(value: Json, where: str, channel: str) -> Dataset:
    """Return the content of `dataset.json`; in version 1 values are the keys of its labels, in version 2 names are.

    Args:
        value: Its JSON.
        where: Its path, for messages.
        channel: Four digits of the channel that is shown.
    Raises:
        DataError: It names no labels.
    """
    given = value.get("labels") if isinstance(value, dict) else None
    if not isinstance(given, dict):
        raise DataError(f"{where}: expected an object with 'labels', found {str(value)[:60]!r}")
    version_1 = all(key.isdigit() and isinstance(name, str) for key, name in given.items())
    by_name = {name: number for number, name in given.items()} if version_1 else given
    try:
        # A list of values is a region of version 2, several labels asked about as one. `regions_class_order` says in
        # which order a model's regions become labels; of the masks it says nothing.
        labels = {str(name): values_of(number) for name, number in by_name.items()}
    except (TypeError, ValueError):
        raise DataError(f"{where}: labels: expected names and whole numbers, found {str(given)[:60]!r}") from None
    return Dataset(
        labels=label_set(labels, f"{where}: labels"),
        modality=_modality(value.get("channel_names") or value.get("modality") or {}, channel),
        ending=str(value.get("file_ending") or ".nii.gz"),
    )


def _modality(channels: Mapping[str, Json], channel: str) -> str:
    """Return the modality code of a channel, `0000` being the key "0"."""
    name = str(channels.get(str(int(channel)), "")).strip().lower() if isinstance(channels, dict) else ""
    if name in _MR:
        return "mr"
    return {"": UNKNOWN, "ct": "ct", "pet": "pet"}.get(name, "other")


def _is_file(name: str, ending: str) -> bool:
    return name.lower().endswith(ending.lower()) and not is_hidden(name)


def _pairs(
    files: ReleaseFiles, folder: str, split: str, channel: str, ending: str, integrity: Integrity
) -> Iterator[_Pair]:
    """Yield the pairs of a split, sorted by name; an image without labels and other files are reported."""
    images, labels = (f"{folder}/{name}" for name in PARTS[split])
    beside = PassedOver()
    cases: dict[str, str] = {}
    for name in sorted(files.names(labels)):
        if _is_file(name, ending):
            check_encoding(f"{labels}/{name}")
            cases[f"{labels}/{name}"] = name[: -len(ending)]
        else:
            beside.add(f"{labels}/{name}", below=labels)
    names = FileNames(files)
    numbered = names.all_of([f"{images}/{case}_{channel}{ending}" for case in cases.values()])
    # The Decathlon's names have no channel number.
    plain = names.all_of([f"{images}/{case}{ending}" for case in cases.values()])
    used: dict[str, Named] = {}
    for label, case in cases.items():
        wanted = f"{images}/{case}_{channel}{ending}"
        candidates = (numbered[wanted], plain[f"{images}/{case}{ending}"])
        # The exact name goes before one in another form.
        exact = [one for one in candidates if one.found and one.path in (wanted, f"{images}/{case}{ending}")]
        chosen = next(iter([*exact, *(one for one in candidates if one.found)]), candidates[0])
        used[wanted if chosen is candidates[0] else f"{images}/{case}{ending}"] = chosen
        yield _Pair(chosen.path, label, "" if chosen.found else chosen.detail or NO_FILE)
    report_repairs(used, integrity)
    taken = {re.sub(r"_\d{4}$", "", named.path[: -len(ending)]) for named in used.values() if named.found}
    for name in sorted(files.names(images)):
        path = f"{images}/{name}"
        if not _is_file(name, ending):
            beside.add(path, below=images)
        elif not taken & {path[: -len(ending)], re.sub(r"_\d{4}$", "", path[: -len(ending)])}:
            integrity.find("no_mask", path)
    beside.report(integrity)


def _plain_pairs(files: ReleaseFiles, folder: str, integrity: Integrity) -> Iterator[_Pair]:
    """Yield the pairs below a folder, one for each folder with an image or labels; what is missing is reported."""
    found: dict[str, dict[str, str]] = {}
    for path in files.walk(folder):
        parent, _, name = path.rpartition("/")
        if name.lower() in (IMAGE, LABEL) and not is_hidden(path.removeprefix(f"{folder}/")):
            # The exact name goes before one in another letter case.
            inside = found.setdefault(parent, {})
            if name in (IMAGE, LABEL) or name.lower() not in inside:
                inside[name.lower()] = path
    for parent, inside in found.items():
        for name, path in inside.items():
            if path != f"{parent}/{name}":
                integrity.repair("file_name", f"{path} for {name}")
        if LABEL not in inside:
            integrity.find("no_mask", inside[IMAGE])
        elif IMAGE in inside:
            yield _Pair(inside[IMAGE], inside[LABEL])
        else:
            yield _Pair(f"{parent}/{IMAGE}", inside[LABEL], NO_FILE)


def _samples(
    pair: _Pair, modality: str, folder: str, reading: "LabelReading", unopened: list[str]
) -> Iterator[tuple[str, Sample]]:
    """Yield (place, sample) of a pair; it is not opened if the selection keeps no question on it."""
    from harness.data.releases.folders.labelled_cases import Masks

    by_name = {label.name: label for label in reading.labels.labels}
    wanted = reading.questions.admits(tuple(by_name), patient="", modality=modality)
    if not wanted:
        unopened.append(pair.label)
        return
    if pair.no_image:
        reading.integrity.find("missing_image", pair.label, f"expected its image at {pair.image}: {pair.no_image}")
    yield from reading.samples(
        Masks(
            image=pair.image,
            path=pair.image.removeprefix(f"{folder}/"),
            patient="",
            modality=modality,
            files={pair.label: [by_name[name] for name in wanted]},
            has_image=not pair.no_image,
        )
    )


def _channel_fault(value: Json) -> str:
    # YAML reads 0000 without quotes as a number.
    is_channel = isinstance(value, str) and re.fullmatch(r"\d{4}", value)
    return "" if is_channel else f"expected four digits in quotes such as '0000', found {value!r}"


def _fit(request: ReleaseRequest) -> Reader:
    folder = str(READER.option(request, "folder")).rstrip("/")
    return replace(READER, folders=(folder,), splits=partial(splits, folder))


READER = Reader(
    name="nifti_seg",
    version=2,
    folders=(FOLDER,),
    strata=("modality", "class", "target_size", "presence"),
    splits=partial(splits, FOLDER),
    read=read,
    obtain=(
        "Put dataset.json with imagesTs/ and labelsTs/ there, or folders with image.nii.gz and label.nii.gz, or name "
        "another folder with release.options.folder; see docs/your-own-data.md."
    ),
    options={
        "folder": folder_option(FOLDER),
        "channel": Free(default="0000", fault=_channel_fault),
        "labels_ignored": Free(default=[], fault=values_fault),
        "ignore": Free(default=[], fault=values_fault),
        "threshold": Free(default=None, fault=threshold_fault),
        "exif": EXIF,  # of pictures, which nnU-Net takes in these folders too
        "modality": MODALITIES,
    },
    labels=labels_of,
    fit=_fit,
)
