"""MeCoVQA: complex, region and grounding questions on SA-Med2D-20M images, one sample per record.

Source of the layout: Huang et al., arXiv:2412.09278, the released files and the code that reads them.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.json_stream import stream_list
from harness.data.releases.reader import UNKNOWN, Reader, ReleaseAbsentError, ReleaseRequest
from harness.data.releases.samed2d import reader
from harness.data.releases.samed2d.mecovqa_record import IMAGE_MARK, REGION_MARK, MecoRecord, RecordParser
from harness.data.releases.selection import Selection
from harness.errors import SpecError
from harness.imaging.target_size import target_size
from harness.records import Entity, Json, Media, Region, Sample, Target

if TYPE_CHECKING:
    from harness.data.releases.images import ReleaseImage, ReleaseMask

FOLDER = "MeCoVQA"
SPLITS = ("train", "test", "zeroshot")
SUBSETS = ("complex", "region", "grounding")
ZERO_SHOT = ("endoscopy", "fundus", "mr", "pet", "ultrasound", "xray")
# The files of each split and subset, named as in the authors' archive.
FILES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("train", "complex"): (f"{FOLDER}/train/MeCoVQA-Complex.json",),
    ("train", "region"): (f"{FOLDER}/train/MeCoVQA-Region.json",),
    ("train", "grounding"): (f"{FOLDER}/train/MeCoVQA-Grounding.json",),
    ("test", "complex"): (f"{FOLDER}/test/MeCoVQA_Complex_VQA_test.json",),
    ("test", "region"): (f"{FOLDER}/test/MeCoVQA_Region_VQA_test.json",),
    ("test", "grounding"): (f"{FOLDER}/test/MeCoVQA_Grounding_test.json",),
    ("zeroshot", "grounding"): tuple(f"{FOLDER}/zeroshot4grounding/{name}.json" for name in ZERO_SHOT),
}

# The path is between the tags, which may span lines.
_REGION = re.compile(r"<region>(.*?)</region>", re.DOTALL)
_MASK = re.compile(r"<mask>(.*?)</mask>", re.DOTALL)
_MERGED = re.compile(r"masks_merged/(?P<key>(?P<stem>[^/]+)--(?P<class_id>\d{4}))_merged\.png")


def splits(root: Path) -> tuple[str, ...]:
    """Return all splits; a subset of a split that is missing is an error when it is read, which names its file."""
    del root
    return SPLITS


def read(files: ReleaseFiles, request: ReleaseRequest, integrity: Integrity) -> Iterator[tuple[str, Sample]]:
    """Yield (place, sample) in the order of the files.

    Raises:
        ReleaseAbsentError: No file of the subset and split exists.
        DataError: A JSON file is malformed.
        SpecError: `where` names no field of the samples, or the split never holds the subset.
    """
    subset = str(request.subset)
    selection = Selection.of(request, reader.FIELDS)
    paths = _present(files, request.split, subset, integrity)
    reading = _Reading(
        files=files,
        request=request,
        integrity=integrity,
        names=_class_names(files, integrity),
        instances=_find_instances(files, paths, subset),
        selection=selection,
    )
    # Ids are stems of images, and an image may have several records, so their number in order makes them unique.
    counts: Counter[str] = Counter()
    for record in _records(files, paths, subset, integrity):
        counts[record.id] += 1  # before the selection, so that a record has the same id in every task
        sample = reading.sample(record, f"{request.dataset}/{request.split}/{record.id}#{counts[record.id]}")
        if sample is not None:
            yield record.place, sample
    selection.report(integrity)
    if request.split != "train":
        _find_overlap(files, reading.images, integrity)


def _present(files: ReleaseFiles, split: str, subset: str, integrity: Integrity) -> list[str]:
    """Return the files of a split that exist, and report the others.

    Raises:
        SpecError: The split never holds the subset.
        ReleaseAbsentError: None of its files exists.
    """
    if (split, subset) not in FILES:
        held = " and ".join(sorted(name for where, name in FILES if where == split))
        raise SpecError(f"release.subset: split {split} of reader {READER.name} holds {held} only, found {subset!r}")
    wanted = FILES[split, subset]
    found = [path for path in wanted if files.has(path)]
    if not found:
        raise ReleaseAbsentError(
            f"{READER.name}: expected {' or '.join(wanted)} below the data root, found none. {READER.obtain}"
        )
    for path in wanted:
        if path not in found:
            integrity.find("missing_file", path, f"subset {subset} of split {split} is not whole")
    return found


def _class_names(files: ReleaseFiles, integrity: Integrity) -> Mapping[str, Mapping[str, str]]:
    """Return the class names by dataset and class id; empty if SA-Med2D's mapping is absent, as questions need none."""
    if files.has(reader.CLASSES):
        return reader.read_class_names(files)
    integrity.find("missing_file", reader.CLASSES, "no class has a name")
    return {}


def _records(files: ReleaseFiles, paths: Sequence[str], subset: str, integrity: Integrity) -> Iterator[MecoRecord]:
    """Yield the records of several files, in the order of the files."""
    for path in paths:
        for number, value in enumerate(stream_list(files, path)):
            yield _parse(value, f"{path}[{number}]", subset, integrity)


def _parse(value: Json, place: str, subset: str, integrity: Integrity) -> MecoRecord:
    """Return a record with known defects repaired, and report what it lacks."""
    parser = RecordParser(place, subset, integrity)
    record = value if isinstance(value, dict) else {}
    image = parser.image(record)
    question, answer = parser.first_turn(record)
    regions, masks = parser.paths(_REGION, question, "region"), parser.paths(_MASK, answer, "mask")
    # As the authors' loader does: the region's path is taken out of its tags, the mask's tag out of the answer.
    words = _REGION.sub(REGION_MARK, question)
    if not words.replace(IMAGE_MARK, "").strip():
        parser.lack("question")
    reply = _MASK.sub("", answer).strip()
    parser.check_answer(reply, regions, masks)
    return MecoRecord(
        place=place,
        id=parser.id(record, image),
        image=image,
        question=words,
        answer=reply,
        regions=regions,
        masks=masks,
        defect=parser.defect,
    )


def _find_instances(files: ReleaseFiles, paths: Sequence[str], subset: str) -> dict[str, list[str]]:
    """Return the instance masks of each merged mask that is needed and not on disk, by `<stem>--<class>`.

    The masks are those of SA-Med2D's listing, or of its folder for classes that the listing does not have. SA-Med2D
    itself holds no merged masks: MeCoVQA is by class, and the script that made them was not released.
    """
    silent = Integrity()  # the records are parsed again, then with a report
    merged = (_MERGED.fullmatch(path) for record in _records(files, paths, subset, silent) for path in _used(record))
    wanted = {match["key"] for match in merged if match and not files.has(f"{reader.FOLDER}/{match[0]}")}
    found: dict[str, list[str]] = {key: [] for key in wanted}
    if found and files.has(reader.LISTING):
        for _, masks in reader.read_listing(files):
            _add_instances(found, masks, wanted)
    unlisted = {key for key, masks in found.items() if not masks}
    if unlisted:
        _add_instances(found, (f"masks/{name}" for name in files.names(f"{reader.FOLDER}/masks")), unlisted)
    return {key: sorted(masks) for key, masks in found.items()}


def _add_instances(found: Mapping[str, list[str]], masks: Iterable[str], wanted: Set[str]) -> None:
    for mask in masks:
        name = reader.parse_mask_name(mask)
        if name is not None and (key := f"{name.stem}--{name.class_id}") in wanted:
            found[key].append(mask)


def _used(record: MecoRecord) -> tuple[str, ...]:
    """Return the region and the mask of a record; a second one of either is a defect."""
    return (*record.regions[:1], *record.masks[:1])


def _find_overlap(files: ReleaseFiles, images: Set[str], integrity: Integrity) -> None:
    """Report the images, by path, that occur in any train file; SA-Med2D names are unique."""
    train = [(name, path) for name in SUBSETS for path in FILES["train", name] if files.has(path)]
    if not train:
        integrity.find("not_checked", f"{FOLDER}/train", "no train split, so its overlap was not checked")
        return
    integrity.checked["train_test_overlap"] = len(images)
    found: dict[str, str] = {}
    for subset, path in train:
        for record in _records(files, [path], subset, Integrity()):
            if record.image is not None and record.image in images:
                found.setdefault(record.image, path)
    for image, path in found.items():
        integrity.find("train_test_overlap", f"{reader.FOLDER}/{image}", f"in {path}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """One reading of the release, with the fields that all records share.

    Attributes:
        names: Class names by dataset and class id.
        instances: The instance masks of merged masks that are not on disk, by `<stem>--<class>`.
        images: Images of the samples so far, as paths below SA-Med2D's folder.
        opened: The images inspected so far, by path.
    """

    files: ReleaseFiles
    request: ReleaseRequest
    integrity: Integrity
    names: Mapping[str, Mapping[str, str]]
    instances: Mapping[str, Sequence[str]]
    selection: Selection
    images: set[str] = field(default_factory=set)
    opened: "dict[str, ReleaseImage]" = field(default_factory=dict)

    def sample(self, record: MecoRecord, sample_id: str) -> Sample | None:
        """Return the sample of a record, or None if the selection does not keep it."""
        self.selection.before += 1
        name = None if record.image is None else reader.parse_image_name(record.image)
        fields = self._fields(name, record)
        if not self.selection.admits(fields):
            return None
        sample = self._sample(record, sample_id, name, fields)
        if not self.selection.admits(sample.strata):
            return None
        self.selection.after += 1
        if record.image is not None:
            self.images.add(record.image)
        return sample

    def _fields(self, name: reader.ImageName | None, record: MecoRecord) -> dict[str, Json]:
        class_name = self._class_name(name, record).lower()
        if name is None:
            return dict.fromkeys(("modality", "submodality", "source", "case"), UNKNOWN) | {"class": class_name}
        return {
            "modality": name.modality,
            "submodality": name.submodality,
            "source": name.source.lower(),
            "case": name.case,
            "class": class_name,
        }

    def _class_name(self, name: reader.ImageName | None, record: MecoRecord) -> str:
        used = _used(record)
        parsed = _parse_mask(used[0]) if used else None
        if name is None or parsed is None:
            return UNKNOWN
        return self.names.get(name.source, {}).get(parsed[1], UNKNOWN)

    def _sample(
        self, record: MecoRecord, sample_id: str, name: reader.ImageName | None, fields: Mapping[str, Json]
    ) -> Sample:
        image = self._image(record)
        self._check_names(record, name)
        class_name = str(fields["class"])
        regions = [self._release_mask(path, image.media, class_name) for path in record.regions[:1]]
        masks = [self._release_mask(path, image.media, class_name) for path in record.masks[:1]]
        release_masks = [*regions, *masks]
        sized = (target_size(one.area, one.mask.size) for one in release_masks if one.mask is not None)
        strata = {**fields, "target_size": next(sized, UNKNOWN)}
        stem = image.media.path.rpartition("/")[2].removesuffix(".png")
        # An empty target is an answer, but nothing can be asked about an empty region.
        if any(one.mask is not None and not one.area for one in regions):
            mask_defect: str | None = f"region {reader.FOLDER}/{record.regions[0]} has no pixel"
        else:
            mask_defect = next((one.defect for one in release_masks if one.defect is not None), None)
        return Sample(
            id=sample_id,
            media=(image.media,),
            question=record.question,
            visual_prompts=tuple(Region(mask=one.mask) for one in regions if one.mask is not None),
            target=Target(
                answers=(record.answer,) if record.answer else (),
                entities=tuple(Entity(name=self._class_name(name, record), mask=one.mask) for one in masks),
                absent=any(one.mask is not None and not one.area for one in masks),
            ),
            strata={key: strata[key] for key in READER.strata},
            cluster=stem if name is None else f"{name.source}--{name.case}",
            defect=image.defect or record.defect or mask_defect,
        )

    def _image(self, record: MecoRecord) -> "ReleaseImage":
        # Imported here, because numpy and Pillow should load when a release is read, not when readers are listed.
        from harness.data.releases.images import ReleaseImage, inspect_file

        if record.image is None:
            return ReleaseImage(media=Media(path=record.place, sha256=None), defect="the record has no image")
        path = f"{reader.FOLDER}/{record.image}"
        if path not in self.opened:
            if reader.parse_image_name(path) is None:
                self.integrity.find("unparsable_name", path)
            self.opened[path] = inspect_file(self.files, path, window=self.request.window, integrity=self.integrity)
        return self.opened[path]

    def _check_names(self, record: MecoRecord, name: reader.ImageName | None) -> None:
        """Report masks whose file name gives no known class, or belongs to another image."""
        for path in _used(record):
            where = f"{reader.FOLDER}/{path}"
            parsed = _parse_mask(path)
            if parsed is None:
                self.integrity.find("unparsable_name", where)
            elif name is not None:
                stem, class_id = parsed
                if stem != name.stem:
                    self.integrity.find("foreign_mask", where, f"asked on {record.image}")
                if self.names and class_id not in self.names.get(name.source, {}):
                    self.integrity.find("unknown_class", where, f"{class_id} of {name.source}")

    def _release_mask(self, path: str, image: Media, class_name: str) -> "ReleaseMask":
        """Return a mask; a merged mask that is not on disk is built from its instances."""
        from harness.data.releases.images import inspect_masks

        match = _MERGED.fullmatch(path)
        parts = self.instances.get(match["key"], ()) if match else ()
        release_mask = inspect_masks(
            self.files,
            [f"{reader.FOLDER}/{part}" for part in parts or (path,)],
            image.size,
            integrity=self.integrity,
            image=image.path,
            class_name=class_name,
        )
        if parts and release_mask.mask is not None:
            self.integrity.repair("masks_merged_built", f"{reader.FOLDER}/{path}")
        return release_mask


def _parse_mask(path: str) -> tuple[str, str] | None:
    """Return (stem of the image, class id) of an instance mask or a merged mask; None for other names."""
    if match := _MERGED.fullmatch(path):
        return match["stem"], match["class_id"]
    name = reader.parse_mask_name(path)
    return None if name is None else (name.stem, name.class_id)


READER = Reader(
    name="mecovqa",
    version=2,
    folders=(FOLDER, reader.FOLDER),
    strata=("modality", "source", "class", "target_size"),
    splits=splits,
    read=read,
    obtain=(
        "Download MeCoVQA from the link at https://github.com/ShawnHuang497/MedPLIB, and its images from SA-Med2D-20M, "
        f"so that {FOLDER}/test/ and {reader.FOLDER}/images/ lie below one data root."
    ),
    subsets=SUBSETS,
)
