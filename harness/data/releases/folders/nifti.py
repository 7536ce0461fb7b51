"""Volumes with label volumes beside them: the layout of nnU-Net and of the Medical Segmentation Decathlon, or pairs.

Source of the layout: nnU-Net's documentation of its dataset format, versions 1 and 2.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles, read_json
from harness.data.releases.folders.images import MODALITIES, NAMES, TARGET, folder_option
from harness.data.releases.reader import ALL, UNKNOWN, Free, Reader, ReleaseRequest
from harness.errors import DataError
from harness.records import Json, Sample

if TYPE_CHECKING:
    from harness.data.releases.folders.labelled_cases import Questions

FOLDER = "nifti_seg"
DATASET = "dataset.json"
IMAGE, LABEL = "image.nii.gz", "label.nii.gz"
"""Names of the files of a pair, each pair in a folder of its own."""

PARTS: Mapping[str, tuple[str, str]] = {"train": ("imagesTr", "labelsTr"), "test": ("imagesTs", "labelsTs")}
"""Split -> folders of images and labels."""

_NOT_ASKED = frozenset({"background", "ignore"})
_MR = frozenset({"mr", "mri", "t1", "t1w", "t1c", "t1ce", "t1gd", "t2", "t2w", "flair", "adc", "dwi", "pd"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """What `dataset.json` says.

    Attributes:
        labels: Name -> values; without background.
        modality: Of the channel that is shown, as a code.
        ending: How the names of the files end.
        named: All values that a label volume may hold.
    """

    labels: Mapping[str, tuple[int, ...] | None]
    modality: str = UNKNOWN
    ending: str = ".nii.gz"
    named: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Pair:
    """A volume and its labels, as paths below the data root."""

    image: str
    label: str


def splits(folder: str, root: Path) -> tuple[str, ...]:
    """Return the splits whose labels are there; `all` of pairs."""
    if not (root / folder / DATASET).is_file():
        return (ALL,)
    return tuple(split for split, (_, labels) in PARTS.items() if (root / folder / labels).is_dir())


def read(files: ReleaseFiles, request: ReleaseRequest, integrity: Integrity) -> Iterator[tuple[str, Sample]]:
    """Yield (place, sample) of every label of every volume, in the order of the names.

    Raises:
        DataError: A JSON file is not what it should be.
        SpecError: `where` names no field of the samples.
    """
    from harness.data.releases.folders.labelled_cases import (
        Questions,  # numpy and Pillow load when a release is read, not listed
    )

    folder, channel = str(READER.option(request, "folder")).rstrip("/"), str(READER.option(request, "channel"))
    if request.split == ALL:
        dataset, pairs = _plain_dataset(files, folder), _plain_pairs(files, folder, integrity)
    else:
        dataset = read_dataset(read_json(files, f"{folder}/{DATASET}"), f"{folder}/{DATASET}", channel)
        pairs = _pairs(files, folder, request.split, channel, dataset.ending, integrity)
    modality = str(READER.option(request, "modality"))
    if modality != UNKNOWN:
        dataset = replace(dataset, modality=modality)
    questions = Questions(request, integrity)
    for pair in pairs:
        yield from _samples(files, pair, dataset, folder, questions)
    questions.selection.report(integrity)


def read_dataset(value: Json, where: str, channel: str) -> Dataset:
    """Return what `dataset.json` says; in version 1 values name labels, in version 2 labels name values.

    Raises:
        DataError: It names no labels.
    """
    given = value.get("labels") if isinstance(value, dict) else None
    if not isinstance(given, dict):
        raise DataError(f"{where}: expected an object with 'labels', found {str(value)[:60]!r}")
    turned = {name: number for number, name in given.items()} if _is_version_1(given) else given
    try:
        labels = {str(name): _values(number) for name, number in turned.items()}
    except (TypeError, ValueError):
        raise DataError(f"{where}: labels: expected names and whole numbers, found {str(given)[:60]!r}") from None
    return Dataset(
        labels={name: values for name, values in labels.items() if name.lower() not in _NOT_ASKED and values != (0,)},
        modality=_modality(value.get("channel_names") or value.get("modality") or {}, channel),
        ending=str(value.get("file_ending") or ".nii.gz"),
        named=tuple(number for values in labels.values() for number in values),
    )


def _is_version_1(labels: Mapping[str, Json]) -> bool:
    return all(key.isdigit() and isinstance(name, str) for key, name in labels.items())


def _values(number: Json) -> tuple[int, ...]:
    return tuple(int(one) for one in number) if isinstance(number, list) else (int(number),)


def _modality(channels: Mapping[str, Json], channel: str) -> str:
    name = str(channels.get(str(int(channel)), "")).strip().lower() if isinstance(channels, dict) else ""
    if name in _MR:
        return "mr"
    return {"": UNKNOWN, "ct": "ct", "pet": "pet"}.get(name, "other")


def _pairs(
    files: ReleaseFiles, folder: str, split: str, channel: str, ending: str, integrity: Integrity
) -> Iterator[_Pair]:
    images, labels = (f"{folder}/{name}" for name in PARTS[split])
    paired: set[str] = set()
    for name in sorted(files.names(labels)):
        if name.endswith(ending) and not name.startswith("."):
            case = name.removesuffix(ending)
            image = f"{images}/{case}_{channel}{ending}"
            plain = f"{images}/{case}{ending}"
            image = plain if not files.has(image) and files.has(plain) else image
            paired.add(case)
            yield _Pair(image, f"{labels}/{name}")
    for name in sorted(files.names(images)):
        case = re.sub(r"_\d{4}$", "", name.removesuffix(ending))
        if name.endswith(ending) and not name.startswith(".") and not paired & {case, name.removesuffix(ending)}:
            integrity.find("no_mask", f"{images}/{name}")


def _plain_dataset(files: ReleaseFiles, folder: str) -> Dataset:
    if not files.has(f"{folder}/{NAMES}"):
        return Dataset(labels={TARGET: None})
    return read_dataset({"labels": read_json(files, f"{folder}/{NAMES}")}, f"{folder}/{NAMES}", "0000")


def _plain_pairs(files: ReleaseFiles, folder: str, integrity: Integrity) -> Iterator[_Pair]:
    """Yield the pairs below a folder: every folder that holds an image; one without labels is reported."""
    for path in files.walk(folder):
        if path.endswith(f"/{IMAGE}"):
            label = f"{path.removesuffix(IMAGE)}{LABEL}"
            if files.has(label):
                yield _Pair(path, label)
            else:
                integrity.find("no_mask", path)


def _samples(
    files: ReleaseFiles, pair: _Pair, dataset: Dataset, folder: str, questions: "Questions"
) -> Iterator[tuple[str, Sample]]:
    from harness.data.releases.folders.labelled_cases import Case, parts_of
    from harness.data.releases.volumes import inspect_scan

    wanted = questions.admits(tuple(dataset.labels), patient="", modality=dataset.modality)
    if not wanted:
        return
    integrity = questions.integrity
    image = inspect_scan(files, pair.image, window=questions.request.window, integrity=integrity)
    labels: Sequence[tuple[str, tuple[int, ...] | None]] = [(name, dataset.labels[name]) for name in wanted]
    parts = parts_of(files, pair.label, image, labels, dataset.named, integrity)
    path = pair.image.removeprefix(f"{folder}/")
    yield from questions.samples(Case(path=path, patient="", modality=dataset.modality, image=image, parts=parts))


def _channel_fault(value: Json) -> str:
    is_channel = isinstance(value, str) and re.fullmatch(r"\d{4}", value)
    return "" if is_channel else f"expected four digits in quotes such as '0000', found {value!r}"


def _fit(request: ReleaseRequest) -> Reader:
    folder = str(READER.option(request, "folder")).rstrip("/")
    return replace(READER, folders=(folder,), splits=partial(splits, folder))


READER = Reader(
    name="nifti_seg",
    version=1,
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
        "modality": MODALITIES,
    },
    fit=_fit,
)
