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
# The authors' release: 2,248 records, of which 451 are test (272 closed, 179 open).
OSF_FILE = f"{FOLDER}/VQA_RAD Dataset Public.json"
OSF_IMAGES = f"{FOLDER}/VQA_RAD Image Folder"
IMAGES = f"{FOLDER}/images"
MEVF_FILES = {"train": f"{FOLDER}/trainset.json", "test": f"{FOLDER}/testset.json"}
HUB_FOLDER = f"{FOLDER}/data"
HUB_FILES = {"train": "train-*.parquet", "test": "test-*.parquet"}
EMBEDDED = f"{FOLDER}/embedded"

SPLITS = ("train", "test")
MISSING = "NULL"  # how the authors' JSON writes a missing value
# Question types as misspelt in the authors' JSON.
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
HUB_FIELDS = ("question", "answer", "answer_type")  # the files have no answer_type, which is made from the answer

Split = Literal["train", "test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One record of any layout, before repairs.

    Attributes:
        place: File and record, for messages.
        id: Source id within the split.
        image: Path below the data root; None if the image is embedded or not named.
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
    """The files of one of the layouts.

    Attributes:
        found: Returns the splits whose files exist.
        rows: Yields the records of a split, in the order of the files.
        fields: Fields that a record may have.
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
    """Yield (place, sample) of one split in the order of its files.

    Raises:
        DataError: The requested layout is absent, or a file of it is malformed.
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
        train: Iterator[tuple[str, str]] | None = None
        if "train" in layout.found(files):
            rows = layout.rows(files, "train")
            train = digests_of(files, ((row.place, row.image, row.content) for row in rows))
        # By digest: the hub's images have no names, and 202 of the 203 test images are train images too.
        find_overlap(images, train, FOLDER)


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
    """Return the record's fields with known defects repaired and strata in lower case.

    `organ` and `answer_form`, which is `yes/no` or `phrase`, are added. Papers differ in which of the two they score:
    of the 272 closed test questions, 251 are answered by yes or no.
    """
    fields = dict(row.fields)
    for name in ("question", "answer"):
        if name in fields and not isinstance(fields[name], str):
            integrity.repair(f"{name}_cast_to_text", row.place)
            fields[name] = str(fields[name])
    if "answer_type" in fields:
        answer_type = str(fields["answer_type"])
        if answer_type != answer_type.strip():
            integrity.repair("answer_type_blank", row.place)  # two records of train have "CLOSED "
        fields["answer_type"] = answer_type.strip().lower()
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


def _question_type(value: str, place: str, integrity: Integrity) -> str:
    # A question may have several types, in any order.
    words = [word.strip().lower() for word in value.split(",")]
    if any(word in QUESTION_TYPE_SPELLINGS for word in words):
        integrity.repair("question_type_spelling", place)
    return ", ".join(sorted(QUESTION_TYPE_SPELLINGS.get(word, word) for word in words))


def _osf_rows(files: ReleaseFiles, split: str) -> Iterator[_Row]:
    folder = OSF_IMAGES if files.has(OSF_IMAGES) else IMAGES
    for row in _json_rows(files, OSF_FILE, folder):
        # One file holds both splits: `test_freeform` and `test_para` are test.
        is_test = str(row.fields.get("phrase_type", "")).startswith("test")
        if is_test == (split == "test"):
            yield row


def _json_rows(files: ReleaseFiles, relative: str, folder: str) -> Iterator[_Row]:
    """Yield the records of a JSON list, without the fields whose value is missing."""
    for number, record in enumerate(stream_list(files, relative)):
        place = f"{relative}[{number}]"
        if not isinstance(record, dict) or _is_missing(record.get("qid")):
            raise DataError(f"{place}: expected a record with a qid, found {str(record)[:60]!r}; is it another file?")
        fields = {key: value for key, value in record.items() if not _is_missing(value)}
        name = fields.get("image_name")
        image = f"{folder}/{name}" if name is not None else None
        yield _Row(place=place, id=str(fields["qid"]), image=image, fields=fields)


def _is_missing(value: Json) -> bool:
    return value is None or str(value).strip() in ("", MISSING)


def _hub_names(files: ReleaseFiles, split: str) -> list[str]:
    return sorted(name for name in files.names(HUB_FOLDER) if fnmatchcase(name, HUB_FILES[split]))


def _hub_rows(files: ReleaseFiles, split: str) -> Iterator[_Row]:
    row = 0
    for name in _hub_names(files, split):
        records = stream_parquet(files, f"{HUB_FOLDER}/{name}", images=("image",), columns=("question", "answer"))
        for record in records:
            content = record.pop("image")
            fields = {key: value for key, value in record.items() if not _is_missing(value)}
            yield _Row(place=f"{HUB_FOLDER}/{name}[{row}]", id=str(row), image=None, content=content, fields=fields)
            row += 1


# In the order of preference if a folder holds several: the authors' files have strata that the hub's lack.
LAYOUTS: Mapping[str, _Layout] = {
    "osf": _Layout(
        found=lambda files: SPLITS if files.has(OSF_FILE) else (),
        rows=_osf_rows,
        fields=RECORD_FIELDS,
    ),
    "mevf": _Layout(
        found=lambda files: tuple(split for split in SPLITS if files.has(MEVF_FILES[split])),
        rows=lambda files, split: _json_rows(files, MEVF_FILES[split], IMAGES),
        fields=RECORD_FIELDS,
    ),
    "hub": _Layout(
        found=lambda files: tuple(split for split in SPLITS if _hub_names(files, split)),
        rows=_hub_rows,
        fields=HUB_FIELDS,
    ),
}

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
