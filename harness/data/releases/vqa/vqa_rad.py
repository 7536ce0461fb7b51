"""VQA-RAD in its three layouts: the authors' JSON, the MEVF re-split and the hub's parquet files.

Source of the layouts and counts: Lau et al., Scientific Data 5:180251 (2018), and the files themselves.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.json_stream import stream_list
from harness.data.releases.reader import UNKNOWN, Reader, ReleaseRequest
from harness.data.releases.selection import Selection
from harness.data.releases.tables import stream_parquet
from harness.data.releases.train_overlap import SplitImages, digests_of, find_overlap
from harness.data.releases.vqa.closed_options import YES_NO, with_options
from harness.errors import DataError
from harness.records import Json, Sample, Target

if TYPE_CHECKING:
    from harness.data.releases.images import ReleaseImage

FOLDER = "vqa_rad"
OSF_FILE = f"{FOLDER}/VQA_RAD Dataset Public.json"
OSF_IMAGES = f"{FOLDER}/VQA_RAD Image Folder"
IMAGES = f"{FOLDER}/images"
MEVF_FILES = {"train": f"{FOLDER}/trainset.json", "test": f"{FOLDER}/testset.json"}
HUB_FOLDER = f"{FOLDER}/data"
HUB_FILES = {"train": "train-*.parquet", "test": "test-*.parquet"}
EMBEDDED = f"{FOLDER}/embedded"

SPLITS = ("train", "test")
MISSING = "NULL"
QUESTION_TYPE_SPELLINGS: Mapping[str, str] = {"atrib": "attrib", "prse": "pres"}

RECORD_FIELDS = (
    "qid",
    "phrase_type",
    "qid_linked_id",
    "image_case_url",
    "image_name",
    "image_organ",
    "evaluation",
    "question",
    "question_rephrase",
    "question_relation",
    "question_frame",
    "question_type",
    "answer",
    "answer_type",
)
HUB_FIELDS = ("question", "answer", "answer_type")

Split = Literal["train", "test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One record of any layout, before repairs.

    Attributes:
        place: File and record, for messages.
        id: Source id within the split.
        image: Path below the data root; None where the image is embedded or not named.
        content: Bytes of an embedded image.
        fields: The record as released, without missing values.
    """

    place: str
    id: str
    image: str | None
    content: bytes | None = None
    fields: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Where a layout's records are.

    Attributes:
        found: Of the two splits, those whose files are there.
        rows: The records of a split, in the order of the files.
        fields: What a record may hold.
    """

    found: Callable[[ReleaseFiles], tuple[str, ...]]
    rows: Callable[[ReleaseFiles, str], Iterator[_Row]]
    fields: tuple[str, ...]


def splits(root: Path) -> tuple[str, ...]:
    """Return the splits whose files are below `root`."""
    files = ReleaseFiles(root=root, derived=root)
    found = {split for layout in LAYOUTS.values() for split in layout.found(files)}
    return tuple(split for split in SPLITS if split in found)


def read(files: ReleaseFiles, request: ReleaseRequest, integrity: Integrity) -> Iterator[tuple[str, Sample]]:
    """Yield (place, sample) of one split.

    Raises:
        DataError: The asked layout is not there, or a file of it is not what it should be.
        SpecError: `where` names no field of the records.
    """
    name = _choose_layout(files, READER.option(request, "layout"), integrity)
    layout = LAYOUTS[name]
    selection = Selection.of(request, (*layout.fields, "organ", "answer_form"))
    images = SplitImages(files, request, integrity, EMBEDDED)
    for row in layout.rows(files, request.split):
        fields = _repaired(row, integrity)
        selection.before += 1
        if selection.admits({key: fields.get(key, "") for key in selection.where}):
            selection.after += 1
            image = images.image(row.place, row.image, row.content)
            yield row.place, _sample(row, fields, image, request, integrity)
    selection.report(integrity)
    if request.split == "test":
        find_overlap(images, _train_images(layout, files), FOLDER)


def _choose_layout(files: ReleaseFiles, asked: Json, integrity: Integrity) -> str:
    found = [name for name, layout in LAYOUTS.items() if layout.found(files)]
    wanted = found if asked == "auto" else [name for name in found if name == asked]
    if not wanted:
        raise DataError(f"{FOLDER}: expected the layout {asked!r}, found {', '.join(found) or 'none'}. {READER.obtain}")
    if len(wanted) > 1:
        integrity.find("several_layouts", FOLDER, f"read as {found[0]}; also there: {', '.join(found[1:])}")
    return wanted[0]


def _sample(
    row: _Row, fields: Mapping[str, Json], image: "ReleaseImage", request: ReleaseRequest, integrity: Integrity
) -> Sample:
    absent = [name for name in ("question", "answer") if name not in fields]
    for name in absent:
        integrity.find("missing_value", row.place, name)
    sample = Sample(
        id=f"{request.dataset}/{request.split}/{row.id}",
        media=(image.media,),
        question=fields.get("question", ""),
        target=Target(answers=(fields["answer"],) if "answer" in fields else ()),
        strata={key: fields.get(key, UNKNOWN) for key in READER.strata},
        cluster=image.media.path.rpartition("/")[2],
        defect=image.defect or (f"the record has no {absent[0]}" if absent else None),
    )
    lettered = READER.option(request, "choices") == "closed" and fields.get("answer_type") == "closed" and not absent
    return with_options(sample, row.place, integrity) if lettered else sample


def _repaired(row: _Row, integrity: Integrity) -> dict[str, Json]:
    """Return the record's fields with known defects repaired, strata values lower case.

    `organ` and `answer_form`, yes/no or phrase, are added.
    """
    fields = dict(row.fields)
    for name in ("question", "answer"):
        if name in fields and not isinstance(fields[name], str):
            integrity.repair(f"{name}_cast_to_text", row.place)
            fields[name] = str(fields[name])
    if "answer_type" in fields:
        fields["answer_type"] = _answer_type(str(fields["answer_type"]), row.place, integrity)
    elif "answer" in fields:
        fields["answer_type"] = "closed" if fields["answer"].strip().casefold() in YES_NO else "open"
        integrity.repair("answer_type_from_answer", row.place)
    if "answer" in fields:
        fields["answer_form"] = "yes/no" if fields["answer"].strip().casefold() in YES_NO else "phrase"
    if "question_type" in fields:
        fields["question_type"] = _question_type(str(fields["question_type"]), row.place, integrity)
    if "image_organ" in fields:
        fields["organ"] = str(fields["image_organ"]).strip().lower()
    return fields


def _answer_type(value: str, place: str, integrity: Integrity) -> str:
    if value != value.strip():
        integrity.repair("answer_type_blank", place)
    return value.strip().lower()


def _question_type(value: str, place: str, integrity: Integrity) -> str:
    words = [word.strip().lower() for word in value.split(",")]
    if any(word in QUESTION_TYPE_SPELLINGS for word in words):
        integrity.repair("question_type_spelling", place)
    return ", ".join(sorted(QUESTION_TYPE_SPELLINGS.get(word, word) for word in words))


def _train_images(layout: _Layout, files: ReleaseFiles) -> Iterator[tuple[str, str]] | None:
    """Return (name, sha256) of the train images; None where there is no train split."""
    if "train" not in layout.found(files):
        return None
    return digests_of(files, ((row.place, row.image, row.content) for row in layout.rows(files, "train")))


def _osf_found(files: ReleaseFiles) -> tuple[str, ...]:
    return SPLITS if files.has(OSF_FILE) else ()


def _osf_rows(files: ReleaseFiles, split: str) -> Iterator[_Row]:
    folder = OSF_IMAGES if files.has(OSF_IMAGES) else IMAGES
    for place, record in _records(files, OSF_FILE):
        is_test = str(record.get("phrase_type", "")).startswith("test")
        if is_test == (split == "test"):
            yield _json_row(place, record, folder)


def _mevf_found(files: ReleaseFiles) -> tuple[str, ...]:
    return tuple(split for split in SPLITS if files.has(MEVF_FILES[split]))


def _mevf_rows(files: ReleaseFiles, split: str) -> Iterator[_Row]:
    for place, record in _records(files, MEVF_FILES[split]):
        yield _json_row(place, record, IMAGES)


def _records(files: ReleaseFiles, relative: str) -> Iterator[tuple[str, Mapping[str, Json]]]:
    """Yield (place, record) of a JSON list, without the fields that hold the word for a missing value."""
    for number, record in enumerate(stream_list(files, relative)):
        place = f"{relative}[{number}]"
        if not isinstance(record, dict) or _is_missing(record.get("qid")):
            raise DataError(f"{place}: expected a record with a qid, found {str(record)[:60]!r}; is it another file?")
        yield place, {key: value for key, value in record.items() if not _is_missing(value)}


def _is_missing(value: Json) -> bool:
    return value is None or str(value).strip() in ("", MISSING)


def _json_row(place: str, record: Mapping[str, Json], folder: str) -> _Row:
    name = record.get("image_name")
    return _Row(
        place=place,
        id=str(record["qid"]),
        image=f"{folder}/{name}" if name is not None else None,
        fields=record,
    )


def _hub_names(files: ReleaseFiles, split: str) -> list[str]:
    return sorted(name for name in files.names(HUB_FOLDER) if fnmatchcase(name, HUB_FILES[split]))


def _hub_found(files: ReleaseFiles) -> tuple[str, ...]:
    return tuple(split for split in SPLITS if _hub_names(files, split))


def _hub_rows(files: ReleaseFiles, split: str) -> Iterator[_Row]:
    row = 0
    for name in _hub_names(files, split):
        records = stream_parquet(files, f"{HUB_FOLDER}/{name}", images=("image",), columns=("question", "answer"))
        for record in records:
            content = record.pop("image")
            fields = {key: value for key, value in record.items() if not _is_missing(value)}
            yield _Row(place=f"{HUB_FOLDER}/{name}[{row}]", id=str(row), image=None, content=content, fields=fields)
            row += 1


LAYOUTS: Mapping[str, _Layout] = {
    "osf": _Layout(found=_osf_found, rows=_osf_rows, fields=RECORD_FIELDS),
    "mevf": _Layout(found=_mevf_found, rows=_mevf_rows, fields=RECORD_FIELDS),
    "hub": _Layout(found=_hub_found, rows=_hub_rows, fields=HUB_FIELDS),
}
"""In the order of preference where a folder holds several."""

READER = Reader(
    name="vqa_rad",
    version=1,
    folders=(FOLDER,),
    strata=("answer_type", "question_type", "organ"),
    splits=splits,
    read=read,
    obtain=(
        "Download VQA-RAD from https://osf.io/89kps (or the parquet files of flaviagiammarino/vqa-rad) "
        f"into a folder named {FOLDER}."
    ),
    options={"layout": ("auto", *LAYOUTS), "choices": ("none", "closed")},
)
