"""Questions on a folder of images with masks: one per image and label, in any layout of the folder."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.images import ReleaseImage, why_inverted
from harness.data.releases.reader import UNKNOWN, ReleaseRequest
from harness.data.releases.selection import Selection
from harness.data.releases.volumes import Labels, inspect_labels
from harness.imaging.masks import area, decode, empty, full, merge
from harness.imaging.target_size import target_size
from harness.records import Entity, Mask, Sample, Target

STRATA = ("modality", "class", "target_size", "presence")
FIELDS = (*STRATA, "patient")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One label of an image.

    Attributes:
        label: Its name.
        mask: Its mask; None if its file cannot be used.
        defect: Why the file cannot be used; None if it can.
    """

    label: str
    mask: Mask | None = None
    defect: str | None = None


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
            "target_size": target_size(covered, mask.size, media.spacing_mm, media.affine)
            if mask and covered
            else UNKNOWN,
            "presence": UNKNOWN if mask is None else "present" if covered else "absent",
        }
        return Sample(
            id=f"{self.request.dataset}/{self.request.split}/{case.path}:{part.label}",
            media=(media,),
            target=Target(entities=(Entity(name=part.label, mask=mask),), absent=covered == 0),
            strata=strata,
            cluster=case.patient or case.path,
            defect=case.image.defect or part.defect,
        )


# A label and its values in a label image; None for the values if the file is a mask of that label alone, in any value.
Named = tuple[str, tuple[int, ...] | None]


def parts_of(
    files: ReleaseFiles,
    path: str,
    image: ReleaseImage,
    wanted: Sequence[Named],
    values: Sequence[int],
    integrity: Integrity,
) -> list[Part]:
    """Return the labels of one file, and report its faults.

    Args:
        files: The release.
        path: Path of the file below the data root.
        image: The image or volume that it belongs to.
        wanted: The labels to return.
        values: All values that a label image may hold; empty if that is not known.
        integrity: The report.
    """
    found = inspect_labels(files, path, image.media, integrity=integrity)
    if isinstance(found, str):
        return [Part(label=label, defect=found) for label, _ in wanted]
    unnamed = sorted(set(found.masks) - set(values)) if values else []
    if unnamed:
        integrity.find("unknown_label", path, ", ".join(map(str, unnamed[:10])))
    return [_part(label, means, found, path, image, integrity) for label, means in wanted]


def _part(
    label: str, values: Sequence[int] | None, found: Labels, path: str, image: ReleaseImage, integrity: Integrity
) -> Part:
    """Return one label, and report a mask of nothing or everything."""
    chosen = [mask for value, mask in found.masks.items() if values is None or value in values]
    mask = merge(chosen) if chosen else empty(found.size)
    # A label that a label image lacks is absent, which is no fault; a mask file of its own should not be empty.
    if values is None and not chosen:
        integrity.find("empty_mask", path, image=image.media.path)
    elif mask == full(mask.size):
        integrity.find("full_mask", path, "" if values is None else label, image=image.media.path)
    elif values is None and len(mask.size) == 2:
        integrity.compare(label, path, why_inverted(decode(mask)), image=image.media.path)
    return Part(label=label, mask=mask)
