"""Tasks over volumes in a standard layout: nnU-Net's, BIDS with derivatives, and DICOM series with DICOM SEG."""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness.data.releases.folders.nifti import DATASET, PARTS, read_dataset
from harness.data.releases.reader import ALL
from harness.errors import DataError, SpecError
from harness.imaging.volumes import SUFFIXES
from harness.records import Json
from harness.tasks.new_task.draft import Choices, Draft, MaskTask, counted
from harness.tasks.new_task.listing import Entry, is_split_name, usual_split
from harness.tasks.new_task.masks import labels_from, values_of
from harness.tasks.new_task.pairing import WAYS_SHOWN, FileGroup, Pairing, joined, paired, without_repeats

# Suffixes of raw BIDS images with their modality. If a subject has several, the first of this order is chosen.
_SUFFIXES: Mapping[str, str] = {
    **dict.fromkeys(("T1w", "T2w", "FLAIR", "PDw", "T2starw", "dwi", "bold"), "mr"),
    "ct": "ct",
    "pet": "pet",
}
# DICOM headers to read: more would take minutes, and the first files of a folder identify its series.
MOST_HEADERS = 3000
HEADERS_A_FOLDER = 3


def is_nnunet(folder: Path) -> bool:
    """Return whether a folder has nnU-Net's layout."""
    return (folder / DATASET).is_file() and any((folder / labels).is_dir() for _, labels in PARTS.values())


def nnunet_draft(folder: Path, entries: Sequence[Entry], choices: Choices) -> Draft:
    """Return a task over a folder in nnU-Net's layout, whose `dataset.json` names the labels.

    Raises:
        DataError: `dataset.json` cannot be read or names no labels.
        SpecError: The split has no labels.
    """
    try:
        value: Json = json.loads((folder / DATASET).read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / DATASET}: cannot be read as JSON: {error}") from error
    dataset = read_dataset(value, str(folder / DATASET), "0000")
    asked = [label.name for label in dataset.labels.labels]
    counts = Counter(entry.folder[0] for entry in entries if len(entry.folder) == 1 and entry.is_image)
    splits = {"test": counts["labelsTs"], "train": counts["labelsTr"]}
    held_splits = [split for split, count in splits.items() if count]
    if not held_splits or choices.split not in (None, *held_splits):
        raise SpecError(
            f"{folder}: expected labels of the split {choices.split or 'test or train'}, found "
            f"{counted(splits['test'], 'file')} in labelsTs and {counted(splits['train'], 'file')} in labelsTr"
        )
    split = choices.split or held_splits[0]
    data_root, inside = choices.root_of(folder)
    options: dict[str, Json] = {"folder": inside}
    if choices.modality is not None:
        options["modality"] = choices.modality
    channels = value.get("channel_names") or value.get("modality") or {}
    return MaskTask(
        subject=str(value.get("name") or folder.name),
        data_root=data_root,
        reader="nifti_seg",
        split=split,
        options=options,
        volumes=dataset.ending.lower() in SUFFIXES,
        labels=len(asked),
        by_patient=False,
        seen=[
            f"nnU-Net's layout: {counted(splits['train'], 'label file')} in labelsTr, {splits['test']} in labelsTs",
            f"labels {', '.join(asked)}; channels {', '.join(map(str, channels.values())) or 'without names'}",
        ],
        taken=[f"split {split} ({splits[split]} cases)", "channel 0000", "every case as a patient of its own"],
    ).draft(folder, choices)


# --- BIDS


def is_bids(entries: Sequence[Entry]) -> bool:
    """Return whether a folder holds subjects of BIDS with derivatives."""
    return any(_is_derivative(entry) for entry in entries) and any(
        entry.folder[:1] != ("derivatives",) and any(part.startswith("sub-") for part in entry.folder)
        for entry in entries
    )


def _is_derivative(entry: Entry) -> bool:
    return entry.folder[:1] == ("derivatives",) and any(part.startswith("sub-") for part in entry.folder)


def bids_draft(folder: Path, entries: Sequence[Entry], choices: Choices) -> Draft:
    """Return a task over the segmentations among the derivatives of a BIDS dataset.

    Raises:
        SpecError: No segmentation pairs with an image, or several ways fit alike.
    """
    images: dict[str, FileGroup] = {}
    masks: dict[str, FileGroup] = {}
    for entry in (entry for entry in entries if entry.is_volume):
        subject = next((part for part in entry.folder if part.startswith("sub-")), None)
        if subject is None:
            continue
        session = next((part for part in entry.folder if part.startswith("ses-")), "")
        named = {subject: "{patient}", session: "{session}"}
        pattern = "".join(f"{named.get(part, part)}/" for part in entry.folder)
        kind = entry.stem.rpartition("_")[2]
        is_mask = kind in ("dseg", "mask") and _is_derivative(entry)
        if is_mask or kind in _SUFFIXES:
            group = masks if is_mask else images
            group.setdefault(f"{pattern}{kind}", FileGroup(pattern)).add((subject, session, ""), entry)
    found = [way for mask in masks.values() for image in images.values() for way in paired(image, mask)]
    found = without_repeats(_joined(_kept(found, choices)))
    if not found:
        raise SpecError(
            f"{folder}: expected *_dseg or *_mask below derivatives/ that pair with images of the same subject "
            f"(*_{', *_'.join(_SUFFIXES)}); found none"
        )
    if len(found) > 1:
        lines = "\n".join(f"  {one.flags} ({len(one.pairs)} pairs)" for one in found[:WAYS_SHOWN])
        raise SpecError(f"{folder}: several segmentations fit; choose one by adding:\n{lines}")
    return _bids_draft(folder, entries, found[0], choices)


def _kept(found: Sequence[Pairing], choices: Choices) -> list[Pairing]:
    """Return the pairings that the user's patterns admit; without such, those of the first kind of image that has any.

    A segmentation in the space of the raw image goes before one in a standard space (`space-`).
    """
    kept = [one for one in found if choices.images in (None, one.images) and choices.masks in (None, one.masks)]
    in_space = [one for one in kept if "space-" not in one.masks]
    kept = in_space or kept
    if choices.images is None:
        for kind in _SUFFIXES:
            of_kind = [one for one in kept if one.images.partition(".nii")[0].endswith(kind)]
            if of_kind:
                most = max(len(one.pairs) for one in of_kind)
                return [one for one in of_kind if len(one.pairs) == most]
    return kept


def _joined(found: Sequence[Pairing]) -> list[Pairing]:
    """Return the pairings with masks that differ in their entity `label-` alone joined to one with labels."""
    groups: dict[tuple[str, str], list[tuple[str, Pairing]]] = {}
    result = []
    for one in found:
        before, entity, rest = one.masks.rpartition("label-")
        label, _, after = rest.partition("_")
        if entity and after.partition(".")[0].endswith("mask"):
            groups.setdefault((one.images, f"{before}label-{{label}}_{after}"), []).append((label, one))
        else:
            result.append(one)
    return result + [joined(members, masks) for (_, masks), members in groups.items()]


def _bids_draft(folder: Path, entries: Sequence[Entry], pairing: Pairing, choices: Choices) -> Draft:
    data_root, inside = choices.root_of(folder)
    options: dict[str, Json] = {"folder": inside, "images": pairing.images, "masks": pairing.masks}
    remarks: dict[str, Sequence[str]] = {}
    decide: list[str] = []
    values = values_of(folder, [mask.path for _, mask in pairing.pairs])
    names = dict(choices.labels) or {
        name: [value] for name, value in _lookup(folder, entries, pairing).items() if value in values.counts
    }
    if pairing.labels:
        options["labels"] = list(pairing.labels)
    else:
        options["labels"], remarks["labels"], decide = labels_from(values, names)
    kind = pairing.images.partition(".nii")[0].rpartition("_")[2]
    options["modality"] = choices.modality or _SUFFIXES.get(kind, "unknown")
    subjects = {entry.folder[:1] for entry, _ in pairing.pairs}
    return MaskTask(
        subject=folder.name,
        data_root=data_root,
        reader="segmentation",
        split=ALL,
        options=options,
        volumes=True,
        labels=len(options["labels"]),
        by_patient=True,
        seen=[
            f"BIDS: {counted(len(pairing.pairs), 'mask')} of {counted(len(subjects), 'subject')} in derivatives",
            f"values in the masks: {values.text}",
            *(f"unreadable: {fault}" for fault in values.faults[:3]),
        ],
        taken=[f"images {pairing.images}", f"masks {pairing.masks}", "every subject as a patient"],
        open=decide,
        remarks=remarks,
    ).draft(folder, choices)


def _lookup(folder: Path, entries: Sequence[Entry], pairing: Pairing) -> dict[str, int]:
    """Return name -> value of the first `*dseg.tsv` that belongs to the masks; empty without such a file."""
    kind = pairing.masks.partition(".nii")[0].rpartition("_")[2]
    start = pairing.masks.partition("{")[0]
    for entry in entries:
        if entry.suffix == ".tsv" and entry.stem.endswith(kind) and entry.path.startswith((start, f"{kind}.")):
            with (folder / entry.path).open(encoding="utf-8-sig", newline="") as file:
                rows = list(csv.DictReader(file, delimiter="\t"))
            if all(row.get("name") and str(row.get("index")).isdigit() for row in rows):
                return {str(row["name"]): int(str(row["index"])) for row in rows if int(str(row["index"])) > 0}
    return {}


# --- DICOM


def may_be_dicom(entries: Sequence[Entry]) -> bool:
    """Return whether names of files may be those of DICOM."""
    return any(entry.suffix.lower() in (".dcm", ".dicom", ".ima", "") for entry in entries)


def dicom_draft(folder: Path, entries: Sequence[Entry], choices: Choices) -> Draft | None:
    """Return a task over DICOM series with DICOM SEG, or None if the folder holds no SEG.

    Raises:
        SpecError: The series and the SEG of a patient do not lie below a folder of their own.
    """
    series: dict[tuple[str, ...], set[str]] = {}
    segmentations: list[tuple[str, ...]] = []
    modalities: Counter[str] = Counter()
    for entry, header_is_seg, uid, modality in _headers(folder, entries):
        if header_is_seg:
            segmentations.append(entry.folder)
        else:
            series.setdefault(entry.folder, set()).add(uid)
            modalities[modality] += 1
    if not segmentations:
        return None
    depth = _case_depth(segmentations, list(series))
    if depth is None:
        raise SpecError(
            f"{folder}: expected a folder per patient with a DICOM series and its SEG, beside the SEG of "
            f"{'/'.join(segmentations[0]) or '.'} there is no series. Put them into one folder"
        )
    cases = {place[:depth] for place in segmentations}
    split = ALL
    if not depth:
        pattern = folder.name
    elif depth == 1:
        pattern = "{patient}"
    elif all(is_split_name(case[0]) for case in cases):
        pattern, splits = "/".join(("{split}", "{patient}", "{case}")[:depth]), sorted({case[0] for case in cases})
        split = choices.split or usual_split(splits)
    else:
        pattern = "/".join(("{patient}", "{case}"))
    # Files directly in the folder are one case, so that the folder's parent is the release's folder.
    data_root, inside = choices.root_of(folder if depth else folder.parent)
    options: dict[str, Json] = {"folder": inside}
    if pattern != "{patient}":
        options["cases"] = pattern
    return MaskTask(
        subject=folder.name,
        data_root=data_root,
        reader="dicom_seg",
        split=split,
        options=options,
        volumes=True,
        labels=None,  # the segments of a SEG are read with its pixels
        by_patient=True,
        seen=[
            f"DICOM: {counted(len(segmentations), 'SEG object')} in {counted(len(cases), 'folder')} of patients",
            f"modalities {', '.join(f'{name} ({count} headers read)' for name, count in modalities.items()) or 'none'}",
        ],
        taken=[f"cases {pattern}", f"split {split}", "labels: the segments of each SEG"],
    ).draft(folder, choices)


def _headers(folder: Path, entries: Sequence[Entry]) -> Iterator[tuple[Entry, bool, str, str]]:
    """Yield (file, whether it is a SEG, series, modality) of DICOM files; if too many, of some per folder."""
    from harness.imaging.dicom.headers import read_header

    likely = [entry for entry in entries if entry.suffix.lower() in (".dcm", ".dicom", ".ima", "")]
    by_folder: dict[tuple[str, ...], list[Entry]] = {}
    for entry in likely:
        by_folder.setdefault(entry.folder, []).append(entry)
    if len(likely) > MOST_HEADERS:
        likely = [entry for group in by_folder.values() for entry in (*group[:HEADERS_A_FOLDER], group[-1])]
    for entry in likely:
        try:
            header = read_header((folder / entry.path).open("rb"), entry.path)
        except (DataError, OSError) as error:
            if "pip install" in str(error):
                raise
            continue  # the reader of the task reports each
        if header is not None:
            yield entry, header.is_seg, header.series, header.modality


def _case_depth(segmentations: Sequence[tuple[str, ...]], series: Sequence[tuple[str, ...]]) -> int | None:
    """Return the number of folders down to a case: the deepest at which every SEG still has a series beside it."""
    for depth in (3, 2, 1, 0):
        # A folder of a SEG alone is no case, however deep it lies.
        with_series = {place[:depth] for place in series if len(place) >= depth}
        if all(len(place) >= depth and place[:depth] in with_series for place in segmentations):
            return min(depth, 2) if depth < 3 or all(is_split_name(place[0]) for place in segmentations) else 2
    return None
