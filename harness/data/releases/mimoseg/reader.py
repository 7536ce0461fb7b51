"""MIMOSeg: answers whose words are bound to masks, in four perspectives.

The dataset was never released. The layout is ours, after the samples that the paper describes; the README of the task
family `mimoseg` documents it.
Source of the perspectives: Chen et al., arXiv:2510.10011, section 4 and supplementary material E.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.json_stream import stream_list
from harness.data.releases.mimoseg.record import PERSPECTIVES, NamedMask, Record, outside, parse_record, touches
from harness.data.releases.mimoseg.wording import AUTHORS, OURS, load_wording
from harness.data.releases.reader import UNKNOWN, Reader, ReleaseAbsentError, ReleaseRequest
from harness.data.releases.samed2d import reader
from harness.data.releases.selection import Selection
from harness.errors import DataError
from harness.imaging.target_size import target_size
from harness.records import Entity, Json, Mask, Media, Sample, Size, Target

if TYPE_CHECKING:
    from harness.data.releases.images import ReleaseImage, ReleaseMask

FOLDER = "MIMOSeg"
SPLITS = ("train", "val", "test")
# The paper's four perspectives, one file each. I and II have template sentences, III and IV a language model's;
# II and IV point at something with a visual prompt.
SUBSETS = tuple(f"perspective_{number}" for number in PERSPECTIVES)
RELEASE = "release"  # the value of `wording` that keeps the records' own words
STRATA = ("modality", "source", "prompt", "entities", "target_size", "wording")
FIELDS = (*STRATA, "case")
CODES = frozenset({*reader.MODALITIES.values(), "other"})
# Codes of the modalities as the paper writes them.
SPELLINGS: Mapping[str, str] = {
    "dermoscopy": "derm",
    "endoscopy": "endo",
    "fundus photography": "fundus",
    "mri": "mr",
    "ultrasound": "us",
    "x-ray": "xray",
    "x_ray": "xray",
}


def file_of(split: str, subset: str) -> str:
    """Return the path of a perspective's records below the data root."""
    return f"{FOLDER}/{split}/{subset}.json"


def splits(root: Path) -> tuple[str, ...]:
    """Return the splits that have at least one file."""
    return tuple(split for split in SPLITS if any((root / file_of(split, subset)).is_file() for subset in SUBSETS))


def read(files: ReleaseFiles, request: ReleaseRequest, integrity: Integrity) -> Iterator[tuple[str, Sample]]:
    """Yield (place, sample) in the order of the file.

    Raises:
        ReleaseAbsentError: The split has no file of this perspective.
        DataError: The file is not a JSON list.
        SpecError: `where` names no field of the samples.
    """
    subset = str(request.subset)
    path = file_of(request.split, subset)
    selection = Selection.of(request, FIELDS)
    if not files.has(path):
        raise ReleaseAbsentError(f"{READER.name}: expected {path} below the data root, found none. {READER.obtain}")
    reading = _Reading(files, request, integrity, subset, selection, str(READER.option(request, "wording")))
    for number, value in enumerate(stream_list(files, path)):
        record = parse_record(value, f"{path}[{number}]", number, subset.removeprefix("perspective_"), integrity)
        sample = reading.sample(record)
        if sample is not None:
            yield record.place, sample
    selection.report(integrity)
    if request.split != "train":
        _find_overlap(files, reading.images.keys(), integrity)


def _find_overlap(files: ReleaseFiles, images: Set[str], integrity: Integrity) -> None:
    """Report the images, by path, that occur in train under any perspective."""
    train = [path for subset in SUBSETS if files.has(path := file_of("train", subset))]
    if not train:
        integrity.find("not_checked", f"{FOLDER}/train", "no train split, so its overlap was not checked")
        return
    integrity.checked["train_test_overlap"] = len(images)
    found: dict[str, str] = {}
    for path in train:
        for number, value in enumerate(stream_list(files, path)):
            record = parse_record(value, f"{path}[{number}]", number, PERSPECTIVES[0], Integrity())
            if record.image in images:
                found.setdefault(record.image or "", path)
    for image, path in found.items():
        integrity.find("train_test_overlap", f"{FOLDER}/{image}", f"in {path}")


@dataclass(frozen=True, slots=True)
class _Reading:
    """One reading of a file, with the fields that all records share.

    Attributes:
        wording: `release`, `ours` or `authors`.
        images: The images inspected so far, by path below the release's folder.
    """

    files: ReleaseFiles
    request: ReleaseRequest
    integrity: Integrity
    subset: str
    selection: Selection
    wording: str
    images: "dict[str, ReleaseImage]" = field(default_factory=dict)

    def sample(self, record: Record) -> Sample | None:
        """Return the sample of a record, or None if the selection does not keep it."""
        self.selection.before += 1
        sample_id = f"{self.request.dataset}/{self.request.split}/{self.subset}/{record.id}"
        record = self._worded(record, sample_id)
        fields = _fields(record)
        if not self.selection.admits(fields):
            return None
        sample = self._sample(record, sample_id, fields)
        if not self.selection.admits(sample.strata):
            return None
        self.selection.after += 1
        return sample

    def _worded(self, record: Record, sample_id: str) -> Record:
        """Return the record in the requested words; an absent instruction or answer is made from our templates."""
        asked = None if self.wording == RELEASE else self.wording
        wording = load_wording(asked or OURS)
        kind = self.subset if self.subset == SUBSETS[0] else f"{self.subset}_{record.prompt_kind}"
        instruction = wording.instruction(kind, record.names, sample_id)
        # Words are a repair only if the record lacks them, not if the task asks for others.
        if instruction is not None and (asked or not record.instruction):
            if asked is None:
                self.integrity.repair("instruction_worded", record.place)
            record = replace(record, instruction=instruction, wording=wording.name)
        answer = wording.answer(kind, record.names, sample_id)
        if answer is not None and (asked or not record.answer):
            if asked is None:
                self.integrity.repair("answer_worded", record.place)
            record = replace(record, answer=answer)
        return record

    def _sample(self, record: Record, sample_id: str, fields: Mapping[str, str]) -> Sample:
        image = self._image(record)
        media = image.media
        release_masks = [self._release_mask(entity, record, media) for entity in record.entities]
        target_masks = [one.mask for one in release_masks if one.mask is not None]
        strata = {**fields, "target_size": _size(target_masks)}
        misplaced = self._misplaced(record, media.size, target_masks)
        named = zip(record.names, release_masks, strict=True)
        # The image is its own cluster if its case is not known.
        stem = media.path.rpartition("/")[2].rpartition(".")[0]
        known = fields["case"] != UNKNOWN
        cluster = f"{fields['source']}--{fields['case']}" if known else stem or media.path
        return Sample(
            id=sample_id,
            media=(media,),
            question=record.instruction,
            visual_prompts=() if record.prompt is None else (record.prompt,),
            target=Target(
                answers=(record.answer,) if record.answer else (),
                entities=tuple(Entity(name=name, mask=release_mask.mask) for name, release_mask in named),
                absent=not any(one.area or one.mask is None for one in release_masks),
            ),
            strata={key: strata[key] for key in STRATA},
            cluster=cluster,
            defect=image.defect or record.defect or _first_defect(release_masks) or misplaced,
        )

    def _image(self, record: Record) -> "ReleaseImage":
        # Imported here, because numpy and Pillow should load when a release is read, not when readers are listed.
        from harness.data.releases.images import ReleaseImage, inspect_file

        if record.image is None:
            return ReleaseImage(media=Media(path=record.place, sha256=None), defect="the record has no image")
        if record.image not in self.images:
            self.images[record.image] = inspect_file(
                self.files, f"{FOLDER}/{record.image}", window=self.request.window, integrity=self.integrity
            )
        return self.images[record.image]

    def _release_mask(self, entity: NamedMask, record: Record, image: Media) -> "ReleaseMask":
        from harness.data.releases.images import inspect_masks

        if entity.runs is not None:
            return self._inline(entity.runs, record, image.size)
        return inspect_masks(
            self.files,
            [f"{FOLDER}/{path}" for path in entity.paths],
            image.size,
            integrity=self.integrity,
            image=image.path,
            class_name=entity.name.lower(),
        )

    def _inline(self, runs: Mapping[str, Json], record: Record, size: Size) -> "ReleaseMask":
        """Return a mask that the record itself holds."""
        from harness.data.releases.images import ReleaseMask
        from harness.imaging import mask_files, masks

        try:
            mask = mask_files.from_json(runs, where=record.place)
        except DataError as error:
            self.integrity.find("unreadable_file", record.place, str(error).removeprefix(f"{record.place}: "))
            return ReleaseMask(defect="a mask of the record cannot be read")
        if size and mask.size != size:
            self.integrity.find("size_mismatch", record.place, f"mask is {mask.size}, image is {size} as (H, W)")
            return ReleaseMask(defect=f"a mask of the record is {mask.size}, its image {size} as (H, W)")
        area = masks.area(mask)
        if not area:
            self.integrity.find("empty_mask", record.place)
        return ReleaseMask(mask=mask, area=area)

    def _misplaced(self, record: Record, size: Size, target_masks: Sequence[Mask]) -> str | None:
        """Return why a visual prompt cannot be used; a prompt that touches no mask is only reported."""
        if record.prompt is None or not size:
            return None
        fault = outside(record.prompt, size)
        if fault is not None:
            self.integrity.find("misplaced_prompt", record.place, fault)
            return f"the record points outside of its image: {fault}"
        if target_masks and not touches(record.prompt, target_masks):
            self.integrity.find("misplaced_prompt", record.place, f"the {record.prompt_kind} touches no mask")
        return None


def _fields(record: Record) -> dict[str, str]:
    """Return the fields of a sample that are known before its files are opened."""
    # A file name in SA-Med2D's grammar gives the facts that the record lacks.
    name = None if record.image is None else reader.parse_image_name(record.image)
    modality = record.facts.get("modality", "").lower()
    known = modality if modality in CODES else SPELLINGS.get(modality, "other" if modality else UNKNOWN)
    return {
        "modality": known if modality or name is None else name.modality,
        "source": (record.facts.get("source") or (UNKNOWN if name is None else name.source)).lower(),
        "case": record.facts.get("case") or (UNKNOWN if name is None else name.case),
        "prompt": record.prompt_kind,
        "entities": record.amount,
        "wording": record.wording,
    }


def _size(target_masks: Sequence[Mask]) -> str:
    """Return the size class of all targets of a sample together."""
    from harness.imaging import masks

    if not target_masks or len({mask.size for mask in target_masks}) > 1:
        return UNKNOWN
    return target_size(masks.area(masks.merge(target_masks)), target_masks[0].size)


def _first_defect(release_masks: "Sequence[ReleaseMask]") -> str | None:
    """Return why the masks of a record cannot be used: a file is at fault, or one of several masks is empty."""
    found = next((one.defect for one in release_masks if one.defect is not None), None)
    empty = [number for number, one in enumerate(release_masks, 1) if not one.area]
    if found is None and 0 < len(empty) < len(release_masks):
        return f"the mask of entity {empty[0]} of {len(release_masks)} is empty, so no answer is right"
    return found


READER = Reader(
    name="mimoseg",
    version=2,
    folders=(FOLDER,),
    strata=STRATA,
    splits=splits,
    read=read,
    obtain=(
        "MIMOSeg was never released; `--data-root phantom` has synthetic patients in this layout, and the README of "
        f"the task family mimoseg says how to lay out data of your own below {FOLDER}/."
    ),
    subsets=SUBSETS,
    options={"wording": (RELEASE, OURS, AUTHORS)},
)
