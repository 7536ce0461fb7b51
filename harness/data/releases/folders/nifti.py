"""Volumes with label volumes: the layout of nnU-Net and of the Medical Segmentation Decathlon, or folders of pairs.

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
# Names of the files of a pair, each pair in a folder of its own.
IMAGE, LABEL = "image.nii.gz", "label.nii.gz"

# Folders of images and labels of each split.
PARTS: Mapping[str, tuple[str, str]] = {"train": ("imagesTr", "labelsTr"), "test": ("imagesTs", "labelsTs")}

# nnU-Net's names for voxels that belong to no structure: the rest of the volume, and voxels left open.
_NOT_ASKED = frozenset({"background", "ignore"})
# Channel names that are MR, most of them sequences: `dataset.json` names channels freely.
_MR = frozenset({"mr", "mri", "t1", "t1w", "t1c", "t1ce", "t1gd", "t2", "t2w", "flair", "adc", "dwi", "pd"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """The content of `dataset.json`.

    Attributes:
        labels: The values of each label, without background.
        modality: Modality code of the channel that is shown.
        ending: Suffix of the files' names.
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
    """Return the splits whose labels exist, or `all` for folders of pairs."""
    if not (root / folder / DATASET).is_file():
        return (ALL,)
    return tuple(split for split, (_, labels) in PARTS.items() if (root / folder / labels).is_dir())


def read(files: ReleaseFiles, request: ReleaseRequest, integrity: Integrity) -> Iterator[tuple[str, Sample]]:
    """Yield (place, sample) of every label of every volume, in the order of the names.

    Raises:
        DataError: A JSON file is malformed.
        SpecError: `where` names no field of the samples.
    """
    # Imported here, because numpy and Pillow should load when a release is read, not when readers are listed.
    from harness.data.releases.folders.labelled_cases import Questions

    folder, channel = str(READER.option(request, "folder")).rstrip("/"), str(READER.option(request, "channel"))
    if request.split == ALL:
        dataset, pairs = Dataset(labels={TARGET: None}), _plain_pairs(files, folder, integrity)
        if files.has(f"{folder}/{NAMES}"):
            labels = {"labels": read_json(files, f"{folder}/{NAMES}")}
            dataset = read_dataset(labels, f"{folder}/{NAMES}", "0000")
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
        # A list of values is a region of version 2, several labels asked about as one.
        labels = {
            str(name): tuple(map(int, number)) if isinstance(number, list) else (int(number),)
            for name, number in by_name.items()
        }
    except (TypeError, ValueError):
        raise DataError(f"{where}: labels: expected names and whole numbers, found {str(given)[:60]!r}") from None
    return Dataset(
        labels={name: values for name, values in labels.items() if name.lower() not in _NOT_ASKED and values != (0,)},
        modality=_modality(value.get("channel_names") or value.get("modality") or {}, channel),
        ending=str(value.get("file_ending") or ".nii.gz"),
        named=tuple(number for values in labels.values() for number in values),
    )


def _modality(channels: Mapping[str, Json], channel: str) -> str:
    """Return the modality code of a channel, `0000` being the key "0"."""
    name = str(channels.get(str(int(channel)), "")).strip().lower() if isinstance(channels, dict) else ""
    if name in _MR:
        return "mr"
    return {"": UNKNOWN, "ct": "ct", "pet": "pet"}.get(name, "other")


def _pairs(
    files: ReleaseFiles, folder: str, split: str, channel: str, ending: str, integrity: Integrity
) -> Iterator[_Pair]:
    """Yield the pairs of a split, sorted by name; an image without labels is reported."""
    images, labels = (f"{folder}/{name}" for name in PARTS[split])
    paired: set[str] = set()
    for name in sorted(files.names(labels)):
        # Names that begin with a dot are macOS's copies of attributes, which the Decathlon's archives hold.
        if name.endswith(ending) and not name.startswith("."):
            case = name.removesuffix(ending)
            image = f"{images}/{case}_{channel}{ending}"
            plain = f"{images}/{case}{ending}"
            # The Decathlon's names have no channel number.
            image = plain if not files.has(image) and files.has(plain) else image
            paired.add(case)
            yield _Pair(image, f"{labels}/{name}")
    for name in sorted(files.names(images)):
        case = re.sub(r"_\d{4}$", "", name.removesuffix(ending))
        if name.endswith(ending) and not name.startswith(".") and not paired & {case, name.removesuffix(ending)}:
            integrity.find("no_mask", f"{images}/{name}")


def _plain_pairs(files: ReleaseFiles, folder: str, integrity: Integrity) -> Iterator[_Pair]:
    """Yield the pairs below a folder, one for each folder that holds an image; one without labels is reported."""
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
    """Yield (place, sample) of a pair; it is not opened if the selection keeps no question on it."""
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
    # YAML reads 0000 without quotes as a number.
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
