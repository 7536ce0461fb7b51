"""SLAKE: questions in English and Chinese on CT, MR and X-ray images, as its authors and the hub ship it.

Source of layout and counts: Liu et al., ISBI 2021, arXiv:2102.09542, and the files themselves.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.json_stream import stream_list
from harness.data.releases.reader import UNKNOWN, Reader, ReleaseRequest
from harness.data.releases.selection import Selection
from harness.data.releases.train_overlap import SplitImages, find_named_overlap
from harness.data.releases.vqa.closed_options import with_options
from harness.errors import DataError
from harness.records import Json, Sample, Target

if TYPE_CHECKING:
    from harness.data.releases.images import ReleaseImage

FOLDER = "slake"
IMAGES = f"{FOLDER}/imgs"
# Of two names, the authors' comes first and the hub's second.
FILES: Mapping[str, tuple[str, ...]] = {
    "train": (f"{FOLDER}/train.json",),
    "validation": (f"{FOLDER}/validate.json", f"{FOLDER}/validation.json"),
    "test": (f"{FOLDER}/test.json",),
}

SPLITS = ("train", "validation", "test")
MODALITIES: Mapping[str, str] = {"ct": "ct", "mri": "mr", "x-ray": "xray"}
RECORD_FIELDS = (
    "img_id",
    "img_name",
    "question",
    "answer",
    "q_lang",
    "location",
    "modality",
    "answer_type",
    "base_type",
    "content_type",
    "qid",
)


def splits(root: Path) -> tuple[str, ...]:
    """Return the splits whose files are below `root`."""
    files = ReleaseFiles(root=root, derived=root)
    return tuple(split for split in SPLITS if _file(files, split) is not None)


def read(files: ReleaseFiles, request: ReleaseRequest, integrity: Integrity) -> Iterator[tuple[str, Sample]]:
    """Yield (place, sample) of one split in the order of its file.

    Raises:
        DataError: The split's file is malformed.
        SpecError: `where` names no field of the records.
    """
    selection = Selection.of(request, (*RECORD_FIELDS, "language"))
    images = SplitImages(files, request, integrity)
    for place, record in _records(files, request.split):
        fields = _repaired(record, place, integrity)
        selection.before += 1
        if selection.admits({key: fields.get(key, "") for key in selection.where}):
            selection.after += 1
            image = images.image(place, fields.get("image"))
            yield place, _sample(place, fields, image, request, integrity)
    selection.report(integrity)
    if request.split == "test":
        train: Iterator[str] | None = None
        if _file(files, "train") is not None:
            train = (f"{IMAGES}/{record['img_name']}" for _, record in _records(files, "train") if "img_name" in record)
        # Every image has a folder of its own, so names are enough.
        find_named_overlap(images, train, FOLDER)


def _file(files: ReleaseFiles, split: str) -> str | None:
    return next((path for path in FILES[split] if files.has(path)), None)


def _records(files: ReleaseFiles, split: str) -> Iterator[tuple[str, Mapping[str, Json]]]:
    """Yield (place, record) of a split, without empty fields."""
    path = _file(files, split) or FILES[split][0]
    for number, record in enumerate(stream_list(files, path)):
        place = f"{path}[{number}]"
        if not isinstance(record, dict) or not str(record.get("qid", "")).strip():
            raise DataError(f"{place}: expected a record with a qid, found {str(record)[:60]!r}; is it another file?")
        yield place, {key: value for key, value in record.items() if value is not None and str(value).strip()}


def _repaired(record: Mapping[str, Json], place: str, integrity: Integrity) -> dict[str, Json]:
    """Return the record's fields with strata in lower case, and with `language` and the path `image` added."""
    fields = dict(record)
    for name in ("question", "answer"):
        if name in fields and not isinstance(fields[name], str):
            integrity.repair(f"{name}_cast_to_text", place)
            fields[name] = str(fields[name])
    for name in ("answer_type", "base_type", "content_type", "location", "modality", "q_lang"):
        if name in fields:
            fields[name] = str(fields[name]).strip().lower()
    if "modality" in fields:
        fields["modality"] = MODALITIES.get(fields["modality"], "other")
    if "q_lang" in fields:
        fields["language"] = fields["q_lang"]
    if "img_name" in fields:
        fields["image"] = f"{IMAGES}/{fields['img_name']}"
    return fields


def _sample(
    place: str, fields: Mapping[str, Json], image: "ReleaseImage", request: ReleaseRequest, integrity: Integrity
) -> Sample:
    absent = [name for name in ("question", "answer") if name not in fields]
    for name in absent:
        integrity.find("missing_value", place, name)
    sample = Sample(
        id=f"{request.dataset}/{request.split}/{fields['qid']}",
        media=(image.media,),
        question=fields.get("question", ""),
        target=Target(answers=(fields["answer"],) if "answer" in fields else ()),
        strata={key: fields.get(key, UNKNOWN) for key in READER.strata},
        # The folder of an image is its name: `imgs/xmlab102/source.jpg`.
        cluster=image.media.path.removeprefix(f"{IMAGES}/").partition("/")[0],
        defect=image.defect or (f"the record has no {absent[0]}" if absent else None),
    )
    # The rule that finds options reads English. Of the 416 closed test questions, 355 are answered by yes or no.
    closed = (fields.get("language"), fields.get("answer_type")) == ("en", "closed")
    lettered = READER.option(request, "choices") == "closed" and closed and not absent
    return with_options(sample, place, integrity) if lettered else sample


READER = Reader(
    name="slake",
    version=1,
    folders=(FOLDER,),
    strata=("answer_type", "language", "modality", "content_type", "location", "base_type"),
    splits=splits,
    read=read,
    obtain=(
        "Download SLAKE from https://www.med-vqa.com/slake (or BoKelvin/SLAKE on the hub) so that "
        f"{FOLDER}/test.json and {IMAGES}/ lie below a data root."
    ),
    options={"choices": ("none", "closed")},
)
