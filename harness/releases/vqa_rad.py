"""VQA-RAD in its three layouts: the authors' JSON, the MEVF re-split and the hub's parquet files.

Source of the layouts and counts: Lau et al., Scientific Data 5:180251 (2018), and the files themselves.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.errors import DataError
from harness.integrity import Integrity
from harness.records import Json, Media, Sample, Target
from harness.releases.reader import UNKNOWN, Reader, ReleaseFiles, ReleaseRequest, Selection, stream_list

if TYPE_CHECKING:
    from harness.releases.pictures import Picture

FOLDER = "vqa_rad"
OSF_FILE = f"{FOLDER}/VQA_RAD Dataset Public.json"
OSF_IMAGES = f"{FOLDER}/VQA_RAD Image Folder"
IMAGES = f"{FOLDER}/images"
MEVF_FILES = {"train": f"{FOLDER}/trainset.json", "test": f"{FOLDER}/testset.json"}
HUB_FOLDER = f"{FOLDER}/data"
HUB_FILES = {"train": "train-*.parquet", "test": "test-*.parquet"}
HUB_ROWS = 64
"""Rows with their embedded images that are in memory at a time."""
EMBEDDED = f"{FOLDER}/embedded"

SPLITS = ("train", "test")
MISSING = "NULL"
YES_NO = frozenset({"yes", "no"})
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
    selection = Selection.of(request, (*layout.fields, "organ"))
    gallery = _Gallery(files, request, integrity)
    for row in layout.rows(files, request.split):
        fields = _repaired(row, integrity)
        selection.before += 1
        if selection.admits({key: fields.get(key, "") for key in selection.where}):
            selection.after += 1
            yield row.place, _sample(row, fields, gallery.picture(row), request, integrity)
    selection.report(integrity)
    if request.split == "test":
        _find_overlap(layout, files, gallery.digests, integrity)


def _choose_layout(files: ReleaseFiles, asked: Json, integrity: Integrity) -> str:
    found = [name for name, layout in LAYOUTS.items() if layout.found(files)]
    wanted = found if asked == "auto" else [name for name in found if name == asked]
    if not wanted:
        raise DataError(f"{FOLDER}: expected the layout {asked!r}, found {', '.join(found) or 'none'}. {READER.obtain}")
    if len(wanted) > 1:
        integrity.find("several_layouts", FOLDER, f"read as {found[0]}; also there: {', '.join(found[1:])}")
    return wanted[0]


class _Gallery:
    """The images of the samples read so far, each looked at once."""

    def __init__(self, files: ReleaseFiles, request: ReleaseRequest, integrity: Integrity) -> None:
        self._files = files
        self._window = request.window
        self._integrity = integrity
        self._pictures: dict[str, Picture] = {}

    @property
    def digests(self) -> dict[str, str]:
        """Path of each image that could be read, by digest."""
        media = (picture.media for picture in self._pictures.values())
        return {item.sha256: item.path for item in media if item.sha256 is not None}

    def picture(self, row: _Row) -> "Picture":
        from harness.releases.pictures import Picture  # numpy and Pillow load when a release is read, not listed

        if row.image is None and row.content is None:
            self._integrity.find("missing_value", row.place, "image")
            return Picture(media=Media(path=row.place, sha256=None), defect="the record names no image")
        key = row.image or hashlib.sha256(row.content or b"").hexdigest()
        if key not in self._pictures:
            self._pictures[key] = self._look(row)
        return self._pictures[key]

    def _look(self, row: _Row) -> "Picture":
        from harness.releases.pictures import look_at_embedded, look_at_file

        if row.content is None:
            return look_at_file(self._files, row.image or "", window=self._window, integrity=self._integrity)
        return look_at_embedded(
            self._files, row.content, EMBEDDED, row.place, window=self._window, integrity=self._integrity
        )


def _sample(
    row: _Row, fields: Mapping[str, Json], picture: "Picture", request: ReleaseRequest, integrity: Integrity
) -> Sample:
    absent = [name for name in ("question", "answer") if name not in fields]
    for name in absent:
        integrity.find("missing_value", row.place, name)
    return Sample(
        id=f"{request.dataset}/{request.split}/{row.id}",
        media=(picture.media,),
        question=fields.get("question", ""),
        target=Target(answers=(fields["answer"],) if "answer" in fields else ()),
        strata={key: fields.get(key, UNKNOWN) for key in READER.strata},
        cluster=picture.media.path.rpartition("/")[2],
        defect=picture.defect or (f"the record has no {absent[0]}" if absent else None),
    )


def _repaired(row: _Row, integrity: Integrity) -> dict[str, Json]:
    """Return the record's fields with known defects repaired, strata values lower case, `organ` added."""
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


def _find_overlap(layout: _Layout, files: ReleaseFiles, test: Mapping[str, str], integrity: Integrity) -> None:
    """Report the test images, by digest, whose bytes also occur in train."""
    if "train" not in layout.found(files):
        integrity.find("not_checked", FOLDER, "no train split, so its overlap with test was not checked")
        return
    integrity.checked["train_test_overlap"] = len(test)
    train: dict[str, str] = {}
    for image, digest in _train_digests(layout, files):
        train.setdefault(digest, image)
    for digest in test.keys() & train.keys():
        integrity.find("train_test_overlap", test[digest], f"in train as {train[digest]}")


def _train_digests(layout: _Layout, files: ReleaseFiles) -> Iterator[tuple[str, str]]:
    """Yield (name, sha256) of each train image that can be read; the others are findings of the train split."""
    seen: set[str] = set()
    for row in layout.rows(files, "train"):
        name = row.image or row.place
        if name not in seen:
            seen.add(name)
            found = _file_digest(files, row.image) if row.image is not None else _digest(row.content)
            if found:
                yield name, found


def _file_digest(files: ReleaseFiles, path: str) -> str:
    """Return the sha256 of a file; nothing where it cannot be read."""
    try:
        found: str = files.once("digest", path, lambda: _digest(files.read(path)))
    except DataError:
        return ""
    return found


def _digest(content: bytes | None) -> str:
    return "" if content is None else hashlib.sha256(content).hexdigest()


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
        for record in _parquet_records(files, f"{HUB_FOLDER}/{name}"):
            image = record.pop("image") or {}
            fields = {key: value for key, value in record.items() if not _is_missing(value)}
            yield _Row(
                place=f"{HUB_FOLDER}/{name}[{row}]", id=str(row), image=None, content=image.get("bytes"), fields=fields
            )
            row += 1


def _parquet_records(files: ReleaseFiles, relative: str) -> Iterator[dict[str, Json]]:
    """Yield the rows of a parquet file, a few in memory at a time.

    Raises:
        DataError: Not a parquet file, or not with the columns image {bytes}, question and answer.
    """
    import pyarrow
    from pyarrow import parquet

    columns = ["image", "question", "answer"]
    with files.open(relative) as source:
        try:
            table = parquet.ParquetFile(source)
            _check_columns(table.schema_arrow, columns, relative)
            for batch in table.iter_batches(batch_size=HUB_ROWS, columns=columns):
                yield from batch.to_pylist()
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(f"{relative}: expected parquet, found {error}; the download may be incomplete") from error


def _check_columns(schema: Json, columns: Sequence[str], relative: str) -> None:
    found = list(schema.names)
    is_struct = "image" in found and str(schema.field("image").type).startswith("struct<bytes: binary")
    if not is_struct or not set(columns) <= set(found):
        raise DataError(
            f"{relative}: expected the columns image (a struct that begins with bytes), question and answer, "
            f"found {', '.join(f'{item.name}: {item.type}' for item in schema)}"
        )


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
    options={"layout": ("auto", *LAYOUTS)},
)
