"""SA-Med2D-20M: one segmentation question per image and class, or per instance.

Source of the layout: Ye et al., arXiv:2311.11969, and the released files.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles, read_json
from harness.data.releases.json_stream import stream_object
from harness.data.releases.reader import ALL, UNKNOWN, Reader, ReleaseRequest
from harness.data.releases.selection import Selection
from harness.errors import DataError
from harness.imaging.target_size import target_size
from harness.records import Entity, Json, Sample, Target

if TYPE_CHECKING:
    from harness.data.releases.images import ReleaseImage

FOLDER = "SAMed2Dv1"
LISTING = f"{FOLDER}/SAMed2D_v1.json"
CLASSES = f"{FOLDER}/SAMed2D_v1_class_mapping_id.json"

# Modality code by the text before the first `_` of a file name, as MedPLIB's scorer reads it; all others are `other`.
MODALITIES: Mapping[str, str] = {
    "ct": "ct",
    "mr": "mr",
    "x": "xray",
    "ultrasound": "us",
    "dermoscopy": "derm",
    "fundus": "fundus",
    "endoscopy": "endo",
    "oct": "oct",
    "microscopy": "micro",
    "pet": "pet",
}

FIELDS = ("modality", "submodality", "source", "case", "class", "target_size")

_VIEW = re.compile(r"[xyz]_\d+|2d_none")
_MASK = re.compile(r"(?P<stem>.+)--(?P<class_id>\d{4})_(?P<instance>\d{3})\.png")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageName:
    """The parts of an image file's name.

    Attributes:
        stem: The name without folder and suffix.
        modality: Modality code.
        submodality: `t1`, `flair`, `00` and so on, as released.
        source: The dataset that the image comes from, as released.
        case: Patient or study.
    """

    stem: str
    modality: str
    submodality: str
    source: str
    case: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskName:
    """The parts of a mask file's name.

    Attributes:
        stem: The stem of its image.
        class_id: Four digits.
        instance: Three digits.
    """

    stem: str
    class_id: str
    instance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One question on an image: the masks of a class, or one of them.

    Attributes:
        key: `<stem>--<class>` or `<stem>--<class>_<instance>`.
        class_id: Four digits; None if the mask's name does not give them.
        masks: Paths below the release's folder.
    """

    key: str
    class_id: str | None
    masks: tuple[str, ...]


def parse_image_name(path: str) -> ImageName | None:
    """Return the parts of `<modality>_<submodality>--<dataset>--<case>--<axis>_<slice>.png`; None for other names.

    A case may itself hold `--`; the axis is x, y or z, or the view is `2d_none`.
    """
    stem = _stem(path)
    parts = stem.split("--")
    if not path.endswith(".png") or len(parts) < 4 or not all(parts) or not _VIEW.fullmatch(parts[-1]):
        return None
    prefix, _, submodality = parts[0].partition("_")
    return ImageName(
        stem=stem,
        modality=MODALITIES.get(prefix, "other"),
        submodality=submodality,
        source=parts[1],
        case="--".join(parts[2:-1]),
    )


def parse_mask_name(path: str) -> MaskName | None:
    """Return the parts of `<stem of the image>--<class id>_<instance>.png`; None for other names."""
    match = _MASK.fullmatch(path.rpartition("/")[2])
    if match is None:
        return None
    return MaskName(stem=match["stem"], class_id=match["class_id"], instance=match["instance"])


def splits(root: Path) -> tuple[str, ...]:
    """Return the only split; the release is not divided, so `root` does not matter."""
    del root
    return (ALL,)


def read(files: ReleaseFiles, request: ReleaseRequest, integrity: Integrity) -> Iterator[tuple[str, Sample]]:
    """Yield (place, sample) in the order of the listing.

    Raises:
        DataError: A JSON file is missing or malformed.
        SpecError: `where` names no field of the samples.
    """
    reading = _Reading(
        files=files,
        request=request,
        integrity=integrity,
        names=read_class_names(files),
        selection=Selection.of(request, FIELDS),
    )
    by_instance = READER.option(request, "level") == "instance"
    listed: set[str] = set()
    for image, masks in read_listing(files):
        listed.update((image, *masks))
        yield from reading.samples(image, _parts(image, masks, by_instance=by_instance))
    _find_unlisted(files, listed, integrity)
    reading.selection.report(integrity)


def read_listing(files: ReleaseFiles) -> Iterator[tuple[str, list[str]]]:
    """Yield (image, its masks) of the release's listing, as paths below its folder.

    Raises:
        DataError: The listing is missing or malformed.
    """
    for image, masks in stream_object(files, LISTING):
        if not isinstance(masks, list) or not all(isinstance(mask, str) for mask in masks):
            raise DataError(f"{LISTING}: {image}: expected a list of mask paths, found {str(masks)[:60]!r}")
        yield image, masks


def read_class_names(files: ReleaseFiles) -> dict[str, dict[str, str]]:
    """Return the name of each class by dataset and class id in four digits; of several names, the first.

    Raises:
        DataError: The mapping is missing or malformed.
    """
    mapping = read_json(files, CLASSES)
    if not isinstance(mapping, dict) or not all(isinstance(classes, dict) for classes in mapping.values()):
        raise DataError(f"{CLASSES}: expected dataset -> class name -> id, found {str(mapping)[:60]!r}")
    names: dict[str, dict[str, str]] = {}
    for source, classes in mapping.items():
        known = names.setdefault(source, {})
        for name, class_id in classes.items():
            known.setdefault(str(class_id).zfill(4), name)
    return names


def _parts(image: str, masks: Sequence[str], *, by_instance: bool) -> list[_Part]:
    """Return the questions of an image in the order of its masks; an unparsable mask is a question of its own."""
    stem = _stem(image)
    parts: dict[tuple[str, str | None], list[str]] = {}
    for mask in masks:
        name = parse_mask_name(mask)
        if name is None or name.stem != stem:
            key: tuple[str, str | None] = (_stem(mask), None)
        else:
            instance = f"_{name.instance}" if by_instance else ""
            key = (f"{stem}--{name.class_id}{instance}", name.class_id)
        parts.setdefault(key, []).append(mask)
    return [_Part(key=key, class_id=class_id, masks=tuple(found)) for (key, class_id), found in parts.items()]


def _find_unlisted(files: ReleaseFiles, listed: set[str], integrity: Integrity) -> None:
    for folder in ("images", "masks"):
        for name in files.names(f"{FOLDER}/{folder}"):
            if f"{folder}/{name}" not in listed:
                integrity.find("unlisted_file", f"{FOLDER}/{folder}/{name}")


def _stem(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".png")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """One reading of the release, with the fields that all images share."""

    files: ReleaseFiles
    request: ReleaseRequest
    integrity: Integrity
    names: Mapping[str, Mapping[str, str]]
    selection: Selection

    def samples(self, image: str, parts: Sequence[_Part]) -> Iterator[tuple[str, Sample]]:
        """Yield (place, sample) of an image; it is not opened if the selection keeps no question on it."""
        # Imported here, because numpy and Pillow should load when a release is read, not when readers are listed.
        from harness.data.releases.images import inspect_file

        path = f"{FOLDER}/{image}"
        name = parse_image_name(image)
        if not parts:
            self.integrity.find("no_mask", path)
        self.selection.before += len(parts)
        wanted = [(part, fields) for part in parts if self.selection.admits(fields := self._fields(name, part))]
        if not wanted:
            return
        if name is None:
            self.integrity.find("unparsable_name", path)
        opened = inspect_file(self.files, path, window=self.request.window, integrity=self.integrity)
        for part, fields in wanted:
            sample = self._sample(name, part, fields, opened)
            if self.selection.admits(sample.strata):
                self.selection.after += 1
                yield f"{LISTING}: {part.masks[0]}", sample

    def _fields(self, name: ImageName | None, part: _Part) -> dict[str, Json]:
        class_name = self._class_name(name, part)
        if name is None:
            return dict.fromkeys(("modality", "submodality", "source", "case", "class"), UNKNOWN)
        return {
            "modality": name.modality,
            "submodality": name.submodality,
            "source": name.source.lower(),
            "case": name.case,
            "class": UNKNOWN if class_name is None else class_name.lower(),
        }

    def _class_name(self, name: ImageName | None, part: _Part) -> str | None:
        if name is None or part.class_id is None:
            return None
        return self.names.get(name.source, {}).get(part.class_id)

    def _sample(
        self, name: ImageName | None, part: _Part, fields: Mapping[str, Json], opened: "ReleaseImage"
    ) -> Sample:
        from harness.data.releases.images import inspect_masks

        name_defect = self._name_defect(name, part, opened.media.path)
        class_name = self._class_name(name, part)
        release_mask = inspect_masks(
            self.files,
            [f"{FOLDER}/{mask}" for mask in part.masks],
            opened.media.size,
            integrity=self.integrity,
            image=opened.media.path,
            class_name=(class_name or "").lower(),
        )
        mask = release_mask.mask
        sized = UNKNOWN if mask is None else target_size(release_mask.area, mask.size)
        absent = mask is not None and release_mask.area == 0
        strata = {key: sized if key == "target_size" else fields[key] for key in READER.strata}
        return Sample(
            id=f"{self.request.dataset}/{ALL}/{part.key}",
            media=(opened.media,),
            target=Target(entities=(Entity(name=class_name or UNKNOWN, mask=mask),), absent=absent),
            strata=strata,
            cluster=_stem(opened.media.path) if name is None else f"{name.source}--{name.case}",
            defect=opened.defect or name_defect or release_mask.defect,
        )

    def _name_defect(self, name: ImageName | None, part: _Part, image: str) -> str | None:
        """Return why no class can be named in the question, and report it; None if one can."""
        if name is None:
            return "the image's file name does not tell its dataset"
        if part.class_id is None:
            self.integrity.find("unparsable_name", f"{FOLDER}/{part.masks[0]}", image=image)
            return f"the name of mask {FOLDER}/{part.masks[0]} does not tell its class"
        if self._class_name(name, part) is None:
            detail = f"{part.class_id} of {name.source}"
            self.integrity.find("unknown_class", f"{FOLDER}/{part.masks[0]}", detail, image=image)
            return f"class {part.class_id} of {name.source} has no name"
        return None


READER = Reader(
    name="samed2d",
    version=2,
    folders=(FOLDER,),
    strata=("modality", "source", "class", "target_size"),
    splits=splits,
    read=read,
    obtain=(
        "Download SA-Med2D-20M from https://huggingface.co/datasets/OpenGVLab/SA-Med2D-20M "
        f"and unpack it, so that {LISTING} is there."
    ),
    options={"level": ("category", "instance")},
)
