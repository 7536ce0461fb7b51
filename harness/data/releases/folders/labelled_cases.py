"""Questions on images with masks: one per image and label, whatever the layout of the folder."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.folders.labels import Label, LabelSet, ValuesFound, shown
from harness.data.releases.folders.rotation import Frame, Votes, brought, fits, is_turned
from harness.data.releases.images import ReleaseImage, why_inverted
from harness.data.releases.reader import UNKNOWN, ReleaseRequest
from harness.data.releases.selection import Selection
from harness.data.releases.volumes import Labels, inspect_label_file, inspect_scan, is_volume, misfit
from harness.imaging.masks import area, decode, empty, full, merge
from harness.imaging.target_size import target_size
from harness.records import Entity, Mask, Media, Sample, Target

STRATA = ("modality", "class", "target_size", "presence")
FIELDS = (*STRATA, "patient")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One label of an image.

    Attributes:
        label: Its name.
        mask: Its mask; None if its file cannot be used.
        defect: Why the file cannot be used; None if it can.
        ignore: Pixels that count in no metric; None if all count.
    """

    label: str
    mask: Mask | None = None
    defect: str | None = None
    ignore: Mask | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An image or volume and its labels.

    Attributes:
        path: Path of the image below the release's folder; part of the ids.
        patient: The unit that intervals resample; empty if the layout does not name it.
        modality: Modality code, or `unknown`.
        image: The image or volume.
        parts: Its labels.
    """

    path: str
    patient: str
    modality: str
    image: ReleaseImage
    parts: Sequence[Part]


@dataclass(slots=True)
class Questions:
    """Makes the samples of one reading, and keeps those that `release.where` selects."""

    request: ReleaseRequest
    integrity: Integrity
    selection: Selection = field(init=False)

    def __post_init__(self) -> None:
        self.selection = Selection.of(self.request, FIELDS)

    def admits(self, labels: Sequence[str], *, patient: str, modality: str) -> list[str]:
        """Return the labels that the selection may keep, judged by names alone; the others are counted as left out."""
        wanted = [
            label
            for label in labels
            if self.selection.admits({"class": label.lower(), "patient": patient, "modality": modality})
        ]
        self.selection.before += len(labels) - len(wanted)
        return wanted

    def samples(self, case: Case) -> Iterator[tuple[str, Sample]]:
        """Yield (place, sample) of each label of an image."""
        for part in case.parts:
            self.selection.before += 1
            sample = self._sample(case, part)
            # Size and presence are known only now that the mask has been read.
            if self.selection.admits({**sample.strata, "patient": case.patient}):
                self.selection.after += 1
                yield case.path, sample

    def _sample(self, case: Case, part: Part) -> Sample:
        mask, media = part.mask, case.image.media
        covered = None if mask is None else area(mask)
        strata: dict[str, str] = {
            "modality": case.modality,
            "class": part.label.lower(),
            "target_size": target_size(covered, mask.size, media.spacing_mm, media.affine, media.flat)
            if mask and covered
            else UNKNOWN,
            "presence": UNKNOWN if mask is None else "present" if covered else "absent",
        }
        return Sample(
            id=f"{self.request.dataset}/{self.request.split}/{case.path}:{part.label}",
            media=(media,),
            target=Target(entities=(Entity(name=part.label, mask=mask),), absent=covered == 0, ignore=part.ignore),
            strata=strata,
            cluster=case.patient or case.path,
            defect=case.image.defect or part.defect,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Masks:
    """An image and the places of its masks, before any file is opened.

    Attributes:
        image: Path of the image below the data root.
        path, patient, modality: As in `Case`.
        files: The labels to read from each mask file, by its path below the data root.
        missing: Why there is no file, by its path in `files`.
        has_image: Whether `image` exists; if not, the caller reports it.
    """

    image: str
    path: str
    patient: str
    modality: str
    files: Mapping[str, Sequence[Label]]
    missing: Mapping[str, str] = field(default_factory=dict)
    has_image: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """An image whose masks have been read: for each mask file its labels, or why it cannot be used."""

    masks: Masks
    image: ReleaseImage
    found: Mapping[str, Labels | str]

    @property
    def read(self) -> dict[str, Labels]:
        """The masks that could be read, by path."""
        return {path: labels for path, labels in self.found.items() if not isinstance(labels, str)}


@dataclass(slots=True)
class LabelReading:
    """Reads images with mask files whose values are labels, and makes the questions on them.

    Attributes:
        files, request, integrity: The reading.
        labels: What the values of the masks mean.
        exif: Whether EXIF rotation is applied: `apply`, `ignore`, or `auto` by the rule of `rotation`.
        threshold: Numbers of a mask from this one on are its label; None if masks hold labels.
    """

    files: ReleaseFiles
    request: ReleaseRequest
    integrity: Integrity
    labels: LabelSet
    exif: str = "auto"
    threshold: float | None = None
    questions: Questions = field(init=False)
    _values: ValuesFound = field(init=False)
    _votes: Votes = field(default_factory=Votes)
    # Images whose EXIF rotation fits both ways; the others decide, so they come last.
    _undecided: list[_Opened] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.questions = Questions(self.request, self.integrity)
        self._values = ValuesFound(self.labels)

    def samples(self, masks: Masks) -> Iterator[tuple[str, Sample]]:
        """Yield (place, sample) of each label of an image; `finish` yields those that depend on other images."""
        if masks.has_image:
            image = inspect_scan(
                self.files, masks.image, window=self.request.window, integrity=self.integrity, report_rotation=False
            )
        else:
            kind: Literal["image", "volume"] = "volume" if is_volume(masks.image) else "image"
            media = Media(path=masks.image, sha256=None, kind=kind)
            image = ReleaseImage(media=media, defect=f"{kind} {masks.image} is missing")
        opened = _Opened(
            masks=masks, image=image, found={path: self._labels(path, masks.missing) for path in masks.files}
        )
        read = list(opened.read.values())
        if image.defect is not None or not is_turned(image, read):
            yield from self._cases(opened, image, opened.read)
            return
        if self.exif != "auto":
            frame: Frame = "upright" if self.exif == "apply" else "stored"
            yield from self._in_frame(opened, frame, f"the task says `exif: {self.exif}`")
            return
        frames = fits(image, read)
        self._votes.count(frames)
        if len(frames) > 1:
            self._undecided.append(opened)
            return
        yield from self._in_frame(opened, *self._votes.choose(frames))

    def finish(self, unopened: Iterable[str]) -> Iterator[tuple[str, Sample]]:
        """Yield the samples that had to wait, and check that labels and masks fit.

        Args:
            unopened: Mask files of the release that were not read. They are opened only if a named value was not found.
        Raises:
            DataError: The labels do not fit the masks.
        """
        for opened in self._undecided:
            yield from self._in_frame(opened, *self._votes.choose(fits(opened.image, list(opened.read.values()))))
        self.questions.selection.report(self.integrity)
        # Without any named value in the split, other splits would not help, and a large release takes long to read.
        elsewhere = self._values.missing() and (self.request.where or self._values.any_named)
        for path in unopened if elsewhere else ():
            # With a report of its own, because these files are not asked about.
            found = self._labels(path, {}, Integrity())
            if not isinstance(found, str):
                self._values.add_elsewhere(found.masks)
            if not self._values.missing():
                return
        self._values.check(self.request.dataset)

    def _labels(self, path: str, missing: Mapping[str, str], integrity: Integrity | None = None) -> Labels | str:
        """Return the labels of a mask file, or why it cannot be used, and report its faults and unnamed values."""
        report = integrity or self.integrity
        if path in missing:
            report.find("missing_file", path, missing[path])
            return f"mask {path} is missing"
        # Values that are asked about come first: above a `threshold` a mask gets the first one.
        known = dict.fromkeys((*self.labels.named, *sorted(self.labels.ignored - {0}), *sorted(self.labels.void)))
        named = tuple(known) if self.labels.by_value else ()
        # Void pixels need distinct values; otherwise every value above 0 is foreground.
        distinct = None if self.labels.void and not self.labels.by_value else named
        found = inspect_label_file(self.files, path, integrity=report, named=distinct, threshold=self.threshold)
        if isinstance(found, str):
            return found
        if found.one_bit and self.labels.by_value:
            found = replace(found, masks={self.labels.one_bit_value(): mask for mask in found.masks.values()})
        if integrity is None and self.labels.by_value:
            self._values.add(path, found.masks)
            unnamed = self.labels.unnamed(found.masks)
            if unnamed:
                report.find("unknown_label", path, shown(unnamed))
            other = self.labels.other_encoding(found.masks)
            if other:
                return f"mask {path} {other}"
        return found

    def _in_frame(self, opened: _Opened, frame: Frame, why: str) -> Iterator[tuple[str, Sample]]:
        image, read = brought(self.files, opened.image, opened.read, frame, why, self.integrity)
        yield from self._cases(opened, image, read)

    def _cases(self, opened: _Opened, image: ReleaseImage, read: Mapping[str, Labels]) -> Iterator[tuple[str, Sample]]:
        """Yield the samples of an image whose masks lie in its frame."""
        masks, parts = opened.masks, []
        for path, labels in masks.files.items():
            found = opened.found[path]
            if not isinstance(found, str):
                found = misfit(read[path], path, image.media, self.integrity) or read[path]
            for label in labels:
                parts.append(
                    Part(label=label.name, defect=found)
                    if isinstance(found, str)
                    else self._part(label, found, path, image)
                )
        case = Case(path=masks.path, patient=masks.patient, modality=masks.modality, image=image, parts=parts)
        yield from self.questions.samples(case)

    def _part(self, label: Label, found: Labels, path: str, image: ReleaseImage) -> Part:
        """Return one label, and report a mask of nothing or everything."""
        void = self.labels.void
        wanted = found.masks.keys() - void if label.values is None else set(label.values)
        chosen = [mask for value, mask in found.masks.items() if value in wanted]
        left_out = [mask for value, mask in found.masks.items() if value in void]
        mask = merge(chosen) if chosen else empty(found.size)
        # A label may be absent from a shared file; a mask file of its own should not be empty.
        if label.values is None and not chosen:
            self.integrity.find("empty_mask", path, image=image.media.path)
        elif mask == full(mask.size):
            detail = "" if label.values is None else label.name
            self.integrity.find("full_mask", path, detail, image=image.media.path)
        elif chosen and len(mask.size) == 2:
            self.integrity.compare(label.name, path, why_inverted(decode(mask)), image=image.media.path)
        return Part(label=label.name, mask=mask, ignore=merge(left_out) if left_out else None)
