"""Tasks over folders of images and masks: patterns of the paths, and labels from the values of the masks."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.folders.images import MODALITIES, layout_of
from harness.data.releases.reader import ALL, ReleaseRequest
from harness.errors import SpecError, listed
from harness.records import Json
from harness.tasks.new_task.draft import Choices, Draft, MaskTask, counted
from harness.tasks.new_task.listing import Entry, usual_split
from harness.tasks.new_task.pairing import WAYS_SHOWN, Pairing, find_pairings

# Masks that are read for their values, evenly spread over the folder; each takes some milliseconds.
OPENED = 24
WHITE = 255
# Masks of more values are photographs, or number the objects of one class.
VALUES_MOST = 32
VALUES_SHOWN = 8  # in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskValues:
    """The values of some masks.

    Attributes:
        counts: Value above 0 -> number of masks that hold it, most frequent first.
        opened, masks: Number of masks that were read, and of all.
        faults: Why masks cannot be read.
        soft: Number of masks of black and white with values between, which are cut at half.
        several: Number of masks that hold more than one value above 0.
    """

    counts: Mapping[int, int]
    opened: int
    masks: int
    faults: Sequence[str]
    soft: int
    several: int

    @property
    def text(self) -> str:
        """The values in words."""
        if len(self.faults) == self.opened:
            return f"none of {counted(self.opened, 'mask')} can be read"
        if not self.counts:
            return f"nothing but background in {counted(self.opened, 'mask')}"
        held = [f"{value} (in {count} of {self.opened} masks)" for value, count in self.counts.items()]
        soft = f", {self.soft} of them with soft edges, cut at half" if self.soft else ""
        return f"{listed(held, VALUES_SHOWN)}{soft}"


def values_of(root: Path, paths: Sequence[str]) -> MaskValues:
    """Return the values of masks below a folder, as the reader of the task reads them.

    Masks of black and white with soft edges, or saved as JPEG, count as holding 255 alone.
    """
    # Imported here: numpy should load when a folder is looked at, not when commands are listed.
    from harness.data.releases.volumes import inspect_label_file

    files = ReleaseFiles(root=root, derived=root)
    step = max(1, len(paths) // OPENED)
    chosen = list(paths)[::step][:OPENED]
    counts: Counter[int] = Counter()
    faults = []
    soft = several = 0
    for path in chosen:
        found = inspect_label_file(files, path, integrity=Integrity())
        # A file of many values may still be a black-and-white mask, and JPEG is never read as labels.
        if isinstance(found, str) or (not found.one_bit and len(found.masks) > 1):
            cut = inspect_label_file(files, path, integrity=Integrity(), named=(WHITE,))
            # Of a soft mask only white is left when it is cut at half; labels are refused or stay as they are.
            if not isinstance(cut, str) and set(cut.masks) == {WHITE}:
                found, soft = cut, soft + 1
        if isinstance(found, str):
            faults.append(found)
        else:
            counts.update([WHITE] if found.one_bit and found.masks else found.masks.keys())
            several += len(found.masks) > 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    opened = len(chosen)
    return MaskValues(counts=dict(ordered), opened=opened, masks=len(paths), faults=faults, soft=soft, several=several)


def labels_from(values: MaskValues, named: Mapping[str, Sequence[int]]) -> tuple[Json, list[str], list[str]]:
    """Return (labels option, comments above it, what the user must decide) for masks of these values.

    Args:
        values: Of the masks.
        named: The user's names, each with its values.
    Raises:
        SpecError: The user names a value that is in no mask, or the masks hold too many values.
    """
    if named:
        unseen = [value for held in named.values() for value in held if value not in values.counts]
        # A rare value may be in a mask that was not opened.
        if unseen and values.counts and values.opened == values.masks:
            raise SpecError(f"--label: no mask holds the value {unseen[0]}; the masks hold {values.text}")
        labels = {name: held[0] if len(held) == 1 else list(held) for name, held in named.items()}
        over = sorted(set(values.counts) - {value for held in named.values() for value in held})
        shown = ", ".join(map(str, over))
        remark = [f"The masks also hold {shown}: name it here, or in labels_ignored: [{shown}]"] if over else []
        return labels, remark, remark
    numbers = sorted(values.counts)
    if not numbers:
        remark = [f"{values.text[0].upper()}{values.text[1:]}: write the name and the value of the structure."]
        return {"target": WHITE}, remark, remark
    if len(numbers) > VALUES_MOST:
        raise SpecError(
            f"the masks hold {len(numbers)} values from {numbers[0]} to {numbers[-1]}: expected labels, so they may be "
            "pictures or numbers of cells; name those that count with --label NAME=VALUE"
        )
    if len(numbers) == 1:
        remark = [f"The masks hold {values.text}. 'target' is used in the question: write what it is, such as polyp."]
        return {"target": numbers[0]}, remark, remark
    if numbers == [1, WHITE] and not values.several:
        # As where folders of two sources are merged; as two labels each image would lack one of them.
        remark = [
            f"The masks hold {values.text}, none of them both, so both are taken for the same structure.",
            "'target' is used in the question: write what it is, such as polyp.",
        ]
        return {"target": numbers}, remark, [" ".join(remark)]
    remark = [f"The masks hold {values.text}.", "The names are used in the questions: write what each value is."]
    return {f"label_{number}": number for number in numbers}, remark, [" ".join(remark)]


def image_mask_draft(folder: Path, entries: Sequence[Entry], choices: Choices) -> Draft | None:
    """Return a task over a folder of images and masks, or None if no mask pairs with an image.

    Raises:
        SpecError: Several patterns fit, or the chosen ones fit no file.
    """
    pairing = _chosen(folder, entries, choices)
    if pairing is None:
        return None
    split = _split(pairing, choices)
    # If the split is part of file names rather than of folders, all pairs stay.
    pairs = [pair for pair in pairing.pairs if split in (ALL, *pair[0].folder)] or pairing.pairs
    data_root, inside = choices.root_of(folder)
    options: dict[str, Json] = {"folder": inside, "images": pairing.images, "masks": pairing.masks}
    remarks: dict[str, Sequence[str]] = {}
    decide: list[str] = []
    values = values_of(folder, [mask.path for _, mask in pairs])
    if pairing.labels:
        options["labels"] = list(pairing.labels)
    else:
        options["labels"], remarks["labels"], opened = labels_from(values, choices.labels)
        decide += opened
    _add_modality(options, remarks, decide, choices)
    seen = [f"{counted(len(pairing.pairs), 'image')} with a mask", f"values in the masks: {values.text}"]
    for kind, other, lonely in (
        ("image", "a mask", pairing.lonely_images),
        ("mask", "an image", pairing.lonely_masks),
    ):
        if lonely:
            seen.append(f"{counted(len(lonely), kind)} without {other}, such as {lonely[0].path}")
    seen += [f"unreadable: {fault}" for fault in values.faults[:3]]
    by_patient = "{patient}" in pairing.images
    taken = [f"images {pairing.images}", f"masks {pairing.masks}", f"split {split}"]
    taken.append("patients by their folder" if by_patient else "every image as a patient of its own")
    if not by_patient:
        words = "f names hold the patient, write {patient} for that part in images and masks, and cluster: patient"
        decide.append(f"i{words}")
        remarks["images"] = (f"I{words}.",)
    return MaskTask(
        subject=folder.name,
        data_root=data_root,
        reader="segmentation",
        split=split,
        options=options,
        volumes=pairs[0][0].is_volume,
        labels=len(options["labels"]),
        by_patient=by_patient,
        seen=seen,
        taken=taken,
        open=decide,
        remarks=remarks,
    ).draft(folder, choices)


def _add_modality(
    options: dict[str, Json], remarks: dict[str, Sequence[str]], decide: list[str], choices: Choices
) -> None:
    """Set the modality that the user names, or leave a comment in its place."""
    if choices.modality is not None:
        if choices.modality not in MODALITIES:
            raise SpecError(f"--modality {choices.modality}: expected one of {', '.join(MODALITIES[1:])}")
        options["modality"] = choices.modality
        return
    known = ", ".join(MODALITIES[1:])
    remarks["modality"] = (f"modality: unknown # not known from the files; one of {known}",)
    decide.append(f"modality: not known from the files; one of {known}")


def _split(pairing: Pairing, choices: Choices) -> str:
    """Return the split to evaluate: the chosen one, else the usual one."""
    if not pairing.splits:
        if choices.split not in (None, ALL):
            raise SpecError(f"--split {choices.split}: no folder is named after a split")
        return ALL
    if choices.split is not None:
        if choices.split not in pairing.splits:
            raise SpecError(f"--split {choices.split}: expected one of {', '.join(pairing.splits)}")
        return choices.split
    return usual_split(pairing.splits)


def _chosen(folder: Path, entries: Sequence[Entry], choices: Choices) -> Pairing | None:
    """Return the pairing of the user's patterns, else the only one that fits; None if none fits.

    Raises:
        SpecError: Several fit, or the user's patterns fit no file.
    """
    if choices.images and choices.masks:
        return _by_patterns(folder, entries, choices.images, choices.masks, list(choices.labels))
    found = [
        pairing
        for pairing in find_pairings(entries)
        if choices.images in (None, pairing.images) and choices.masks in (None, pairing.masks)
    ]
    if not found and (choices.images or choices.masks):
        ways = "; ".join(one.flags for one in find_pairings(entries)) or "none"
        raise SpecError(f"{folder}: the pattern fits none of what was found ({ways}); give both --images and --masks")
    if len(found) > 1:
        lines = "\n".join(f"  {one.flags} ({len(one.pairs)} pairs)" for one in found[:WAYS_SHOWN])
        raise SpecError(f"{folder}: images and masks pair in {len(found)} ways; choose one by adding:\n{lines}")
    return found[0] if found else None


def _by_patterns(folder: Path, entries: Sequence[Entry], images: str, masks: str, labels: Sequence[str]) -> Pairing:
    """Return the pairing of two patterns.

    Raises:
        SpecError: The patterns are wrong, or fit no file.
    """
    options: dict[str, Json] = {"folder": folder.name, "images": images, "masks": masks, "labels": list(labels)}
    if "{label}" not in masks:
        options.pop("labels")
    layout = layout_of(ReleaseRequest(dataset="", split=ALL, options=options))
    by_path = {entry.path: entry for entry in entries}
    pairs, lonely, splits = [], [], set()
    for path, entry in by_path.items():
        parts = layout.parts(f"{folder.name}/{path}")
        if parts is None:
            continue
        splits |= {parts.get("split") or ALL}
        mask = layout.mask(parts, labels[0] if labels else "").removeprefix(f"{folder.name}/")
        if mask in by_path:
            pairs.append((entry, by_path[mask]))
        else:
            lonely.append(entry)
    if not pairs:
        example = lonely[0].path if lonely else "no image"
        raise SpecError(f"--images {images!r} --masks {masks!r}: no image has a mask by these; found {example}")
    held = () if "{label}" not in masks else labels
    return Pairing(
        images=images,
        masks=masks,
        pairs=pairs,
        lonely_images=lonely,
        splits=sorted(splits - {ALL}),
        labels=held,
    )
