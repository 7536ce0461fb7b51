"""Submitted masks as a folder, such as nnU-Net's output: each file is matched with samples and becomes their lines."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.data.releases.folders.labels import LabelSet, labels_in_json, shown
from harness.errors import DataError
from harness.imaging import masks
from harness.imaging.mask_files import read_file, to_json
from harness.imaging.mask_files.files import PICTURES, read_dicom_seg, read_label_file
from harness.imaging.mask_files.values import FULL_VALUES
from harness.imaging.volumes import SUFFIXES
from harness.models.submitted.folder_names import Names, Target, label_of, mask_files_below, question_of
from harness.models.submitted.prediction_lines import MOST_MESSAGE, printable
from harness.models.submitted.predictions_file import UNFORESEEN, Problem, reason_of
from harness.records import Grid, Json, Mask, Sample
from harness.records.codec import canonical

DICOM = ".dcm"
# Files in which programs say what the values of their masks mean: nnU-Net's, and the harness's own.
NAMED_IN = ("dataset.json", "labels.json")
VALUES_OR_FILES = 'put a labels.json such as {"liver": 1} into the folder, or save a file for each label'
MOST_HINTS = 10
MOST_NAMED = 3  # ambiguous files, and samples without a file, that a message names

# What was found for one sample: its mask, or why there is none.
Found = Mask | DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A sample that a folder may answer, with the labels of its task; None if the task does not say their values."""

    sample: Sample
    labels: LabelSet | None


@dataclass(slots=True)
class FolderReport:
    """How the files of a folder were used.

    Attributes:
        problems: Files that no sample is named after, and what was changed in reading the others.
        files, used: Number of mask files, and of those that answer a sample.
        samples, answered: Number of samples, and of those with a file of their own.
        without: Ids of the first samples without a file.
    """

    problems: list[Problem] = field(default_factory=list)
    files: int = 0
    used: int = 0
    samples: int = 0
    answered: int = 0
    without: list[str] = field(default_factory=list)

    @property
    def note(self) -> str | None:
        """Counts in one line; None if every file answers a sample and every sample has one."""
        if self.files == self.used and self.samples == self.answered:
            return None
        words = f"{self.used:,} of {self.files:,} files answer {self.answered:,} of {self.samples:,} samples"
        more = self.samples - self.answered - len(self.without)
        missing = ", ".join(self.without) + (f" and {more:,} more" if more else "")
        return words + (f"; none is named after {missing}" if missing else "")


def lines_of_folder(folder: Path, given: str, asked: Sequence[Asked], report: FolderReport) -> Iterator[str]:
    """Yield the lines of the predictions file that a folder of masks stands for, one for each sample.

    Args:
        folder: The folder. Its masks are pictures, NIfTI, npy or DICOM SEG; how they are named is said in
            `harness.models.submitted.folder_names`. Labels that share a file have the values of `dataset.json` or
            `labels.json` in the folder, else those of the task.
        given: The folder as the user wrote it, for messages.
        asked: The samples, all of which have an image or volume.
        report: Filled while the lines are read.
    Raises:
        DataError: The folder holds no mask, none is named after a sample, a name is ambiguous, or two files answer one
            sample.
    """
    own = _labels_in(folder)
    names, by_question = Names(), dict[str, list[Asked]]()
    for one in asked:
        texts = [
            label.text for label in (one.labels.labels if one.labels else ()) if label.name == label_of(one.sample)
        ]
        names.add(one.sample, texts)
        by_question.setdefault(question_of(one.sample), []).append(one)
    chosen = _match(folder, given, names, by_question, report)
    for question, group in by_question.items():
        usable = [one for one in group if one.sample.defect is None]
        # If the folder says what its values mean, it does so for all labels of an image.
        named = {label.name.casefold() for label in (() if own is None else own.labels)}
        by_folder = any((label_of(one.sample) or "").casefold() in named for one in usable)
        # By file, so that one that holds many labels is read once.
        by_file: dict[tuple[str, LabelSet | None], list[Asked]] = {}
        for one in usable:
            if one.sample.id in chosen:
                by_file.setdefault((chosen[one.sample.id], own if by_folder else one.labels), []).append(one)
        found: dict[str, Found] = {}
        for (path, labels), members in by_file.items():
            alone = any(target.label is not None for target in names.of(path))
            found |= _read(folder, path, [one.sample for one in members], labels, alone=alone, report=report)
        for one in usable:
            yield canonical(_line(one.sample, found.get(one.sample.id))) + "\n"
            report.samples += 1
            report.answered += one.sample.id in chosen
            if one.sample.id not in chosen and len(report.without) < MOST_NAMED:
                report.without.append(one.sample.id)
        by_question[question] = []


def _match(
    folder: Path, given: str, names: Names, by_question: Mapping[str, Sequence[Asked]], report: FolderReport
) -> dict[str, str]:
    """Return the file that answers each sample, by the sample's id."""
    ids: dict[Target, list[str]] = {}
    for question, group in by_question.items():
        for one in group:
            label = label_of(one.sample)
            for target in {Target(question=question), Target(question=question, label=label)}:
                ids.setdefault(target, []).append(one.sample.id)
    chosen: dict[str, str] = {}
    ambiguous: list[str] = []
    example = next(iter(by_question), "")
    for path in mask_files_below(folder, (*PICTURES, *SUFFIXES, DICOM)):
        report.files += 1
        targets = names.of(path)
        if not targets:
            # Searching for a similar name takes long, and people read only the first.
            hint = names.nearest(path) if len(report.problems) < MOST_HINTS else ""
            message = f"{printable(path)}: no sample of this run has this name{hint}; the file is ignored"
            report.problems.append(Problem(line=0, sample_id=None, message=message))
            continue
        report.used += 1
        if len(targets) > 1:
            meant = [f"{target.question}{f' ({target.label})' if target.label else ''}" for target in targets]
            ambiguous.append(f"{path}: may be meant for {' or '.join(meant[:MOST_NAMED])}")
            continue
        for sample_id in ids[targets[0]]:
            if sample_id in chosen:
                ambiguous.append(f"{path}: answers {sample_id}, which {chosen[sample_id]} answers too")
            chosen[sample_id] = path
    if ambiguous:
        shown_first = (
            ambiguous[:MOST_NAMED] + [f"and {len(ambiguous) - MOST_NAMED:,} more"][: len(ambiguous) > MOST_NAMED]
        )
        head = f"--predictions {given}: the names of these files are ambiguous"
        raise DataError("\n  ".join([head, *map(printable, shown_first)]))
    if not report.files:
        known = ", ".join((*PICTURES, *SUFFIXES, DICOM))
        raise DataError(f"--predictions {given}: expected a folder with masks ({known}), found none")
    if not report.used:
        first = report.problems[0].message.removesuffix("; the file is ignored")
        raise DataError(
            f"--predictions {given}: 0 of {report.files:,} files are named after a sample, so nothing is scored. "
            f"{first}. The images are called such as {example}; see docs/hand-in-predictions.md"
        )
    return chosen


def _read(
    folder: Path, path: str, members: Sequence[Sample], labels: LabelSet | None, *, alone: bool, report: FolderReport
) -> dict[str, Found]:
    """Return the mask of each sample that a file answers, or why it has none.

    Args:
        folder: The folder.
        path: Path of the file below it.
        members: The samples, all on one image or volume.
        labels: What its values mean, if that is known.
        alone: Whether the file is the mask of one label.
        report: Its problems are extended.
    """
    media = members[0].media[0]
    owner = Grid(size=media.size, affine=media.affine)
    where = path.rpartition("/")[0] or "mask"  # not the folder's name: the same masks elsewhere are the same run

    def remark(words: str) -> None:
        report.problems.append(Problem(line=0, sample_id=None, message=printable(words, MOST_MESSAGE)))

    file = folder / path
    try:
        if path.lower().endswith(DICOM):
            found = _segments(file, where, members, labels, owner, remark)
        elif alone or all(_is_whole(one, labels) for one in members):
            mask = read_file(file, None, where, owner=owner, remark=remark)
            found = {one.id: mask for one in members}
        else:
            found = _labels(file, where, members, labels, owner, remark)
    except DataError as error:
        return dict.fromkeys((one.id for one in members), error)
    except UNFORESEEN as error:
        words = f"{where}: {file.name}: cannot be read ({reason_of(error)})"
        return dict.fromkeys((one.id for one in members), DataError(words))
    checked: dict[str, Found] = {}
    for sample_id, answer in found.items():
        checked[sample_id] = answer
        if isinstance(answer, Mask):
            try:
                masks.check_size(answer, media.size, f"{where}: {file.name}")
            except DataError as error:
                checked[sample_id] = error
    return checked


def _is_whole(sample: Sample, labels: LabelSet | None) -> bool:
    """Return whether every value above 0 is foreground of a sample's mask."""
    label = label_of(sample)
    if label is None or labels is None:
        return label is None
    # Several labels without values cannot share a file.
    return len(labels.labels) == 1 and labels.labels[0].values is None and labels.labels[0].name == label


def _labels(
    file: Path,
    where: str,
    members: Sequence[Sample],
    labels: LabelSet | None,
    owner: Grid,
    remark: Callable[[str], None],
) -> dict[str, Found]:
    """Return the masks of a file that holds labels by their values."""
    here = f"{where}: {file.name}"
    if labels is None:
        raise DataError(f"{here}: expected the values of its labels, which the task does not say; {VALUES_OR_FILES}")
    named = labels.named
    values, one_bit = read_label_file(file, where, named=tuple(named), owner=owner, remark=remark)
    shown_values = [int(value) for value in np.unique(values) if value]
    if one_bit and shown_values:
        shown_values, values = [labels.one_bit_value()], np.where(values, labels.one_bit_value(), 0)
    unnamed = labels.unnamed(shown_values)
    # For a single label, 1 and 255 are both usual in binary masks.
    if len(named) == 1 and len(shown_values) == 1 and {*named, *shown_values} <= {1, FULL_VALUES[0]}:
        values, unnamed = np.where(values, next(iter(named)), 0), []
    if unnamed:
        says = ", ".join(f"{name}: {value}" for value, name in sorted(named.items()))
        if len(unnamed) == len(shown_values):
            raise DataError(
                f"{here}: no label has a value that it holds, {shown(unnamed)}; {labels.source} says {says}"
            )
        remark(
            f"{here}: no label has the values {shown(unnamed)}, which count as background; {labels.source} says {says}"
        )
    found: dict[str, Found] = {}
    for one in members:
        wanted = (label_of(one) or "").casefold()
        means = [known.values for known in labels.labels if known.name.casefold() == wanted]
        if not means or means[0] is None:
            found[one.id] = DataError(f"{here}: {labels.source} names no value of '{label_of(one)}'; {VALUES_OR_FILES}")
        else:
            found[one.id] = masks.encode(np.isin(values, means[0]), where=here)
    return found


def _segments(
    file: Path,
    where: str,
    members: Sequence[Sample],
    labels: LabelSet | None,
    owner: Grid,
    remark: Callable[[str], None],
) -> dict[str, Found]:
    """Return the masks of a DICOM SEG, whose segments have the names of the labels."""
    segments = read_dicom_seg(file, where, owner=owner, remark=remark)
    by_name = {segment.label.casefold(): segment for segment in segments}
    wanted = {one.id: (label_of(one) or "").casefold() for one in members}
    known = {label.name.casefold() for label in (labels.labels if labels else ())} | {*wanted.values()}
    single = len(members) == 1 and len(segments) == 1 and len(known) == 1
    if segments and not single and not known & by_name.keys():
        names = ", ".join(f"{segment.number} ({segment.label})" for segment in segments)
        raise DataError(f"{where}: {file.name}: expected segments called {', '.join(sorted(known))}, found {names}")
    found: dict[str, Found] = {}
    for sample_id, name in wanted.items():
        segment = segments[0] if single else by_name.get(name)
        voxels = np.zeros(owner.size, dtype=bool) if segment is None else segment.voxels
        found[sample_id] = masks.encode(voxels, where=f"{where}: {file.name}")
    return found


def _line(sample: Sample, found: Found | None) -> dict[str, Json]:
    if isinstance(found, Mask):
        return {"sample_id": sample.id, "masks": [to_json(found)]}
    words = "no file of the folder is named after this sample" if found is None else str(found)
    words = printable(words, MOST_MESSAGE)
    return {"sample_id": sample.id, "status": "model_error", "error": words}


def _labels_in(folder: Path) -> LabelSet | None:
    """Return the labels that a file of the folder names; None if there is no such file.

    Raises:
        DataError: It cannot be read.
    """
    # Imported here, because the reader of NIfTI folders is of no use to any other model.
    from harness.data.releases.folders.nifti import read_dataset

    for name in NAMED_IN:
        file = folder / name
        if not file.is_file():
            continue
        try:
            value = json.loads(file.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{file}: cannot be read as JSON: {error}") from error
        if name == NAMED_IN[0]:
            return read_dataset(value, str(file), "0000").labels
        return labels_in_json(value, str(file))
    return None
