"""PathVQA in its two layouts: the hub's parquet files and the authors' pickles, which hold different questions.

Source of the layouts: He et al., arXiv:2003.10286, flaviagiammarino/path-vqa on the hub, and public loaders of both.
"""

import io
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.reader import UNKNOWN, Reader, ReleaseRequest
from harness.data.releases.selection import Selection
from harness.data.releases.tables import stream_parquet
from harness.data.releases.train_overlap import SplitImages, digests_of, find_overlap
from harness.data.releases.vqa.closed_options import YES_NO, with_options
from harness.errors import DataError
from harness.records import Json, Sample, Target

if TYPE_CHECKING:
    from harness.data.releases.images import ReleaseImage

FOLDER = "pathvqa"
EMBEDDED = f"{FOLDER}/embedded"
HUB_FOLDER = f"{FOLDER}/data"
SPLITS = ("train", "validation", "test")
AUTHORS_SPLITS: Mapping[str, str] = {"train": "train", "validation": "val", "test": "test"}  # the authors' names
MOST_BYTES = 100_000_000  # in a pickle; the largest of the release has about 3 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One record of either layout.

    Attributes:
        place: File and record, for messages.
        number: Number of the record in its split.
        image: Path below the data root; None if the image is embedded or not named.
        content: Bytes of an embedded image.
        fields: `question` and `answer` as text, as far as the record has them.
    """

    place: str
    number: int
    image: str | None
    content: bytes | None
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """The files of one of the layouts.

    Attributes:
        has: Returns whether the files of a split exist.
        rows: Yields the records of a split.
    """

    has: Callable[[ReleaseFiles, str], bool]
    rows: Callable[[ReleaseFiles, str, Integrity], Iterator[_Row]]


def splits(root: Path) -> tuple[str, ...]:
    """Return the splits of either layout whose files are below `root`."""
    files = ReleaseFiles(root=root, derived=root)
    return tuple(split for split in SPLITS if any(layout.has(files, split) for layout in LAYOUTS.values()))


def read(files: ReleaseFiles, request: ReleaseRequest, integrity: Integrity) -> Iterator[tuple[str, Sample]]:
    """Yield (place, sample) of one split in the order of its files.

    Raises:
        DataError: The requested layout does not hold the split, or a file of it is malformed.
        SpecError: `where` names no field of the records.
    """
    layout = _choose_layout(files, request, integrity)
    selection = Selection.of(request, ("question", "answer", "answer_type"))
    images = SplitImages(files, request, integrity, EMBEDDED)
    for row in layout.rows(files, request.split, integrity):
        fields = dict(row.fields)
        if "answer" in fields:
            # Neither layout has answer types; papers call the questions answered by yes or no closed.
            fields["answer_type"] = "closed" if fields["answer"].strip().casefold() in YES_NO else "open"
        selection.before += 1
        if selection.admits({key: fields.get(key, "") for key in selection.where}):
            selection.after += 1
            image = images.image(row.place, row.image, row.content)
            yield row.place, _sample(row, fields, image, request, integrity)
    selection.report(integrity)
    if request.split == "test":
        train: Iterator[tuple[str, str]] | None = None
        if layout.has(files, "train"):
            rows = layout.rows(files, "train", Integrity())  # its repairs do not belong to this report
            train = digests_of(files, ((row.place, row.image, row.content) for row in rows))
        find_overlap(images, train, FOLDER)


def _choose_layout(files: ReleaseFiles, request: ReleaseRequest, integrity: Integrity) -> _Layout:
    asked = READER.option(request, "layout")
    held = [name for name, layout in LAYOUTS.items() if layout.has(files, request.split)]
    wanted = held if asked == "auto" else [name for name in held if name == asked]
    if not wanted:
        raise DataError(
            f"{FOLDER}: expected split {request.split!r} in the layout {asked!r}, found it in: "
            f"{', '.join(held) or 'none'}. {READER.obtain}"
        )
    if len(wanted) > 1:
        integrity.find("several_layouts", FOLDER, f"read as {wanted[0]}; also there: {', '.join(wanted[1:])}")
    return LAYOUTS[wanted[0]]


def _sample(
    row: _Row, fields: Mapping[str, str], image: "ReleaseImage", request: ReleaseRequest, integrity: Integrity
) -> Sample:
    absent = [name for name in ("question", "answer") if name not in fields]
    for name in absent:
        integrity.find("missing_value", row.place, name)
    sample = Sample(
        id=f"{request.dataset}/{request.split}/{row.number}",
        media=(image.media,),
        question=fields.get("question", ""),
        target=Target(answers=(fields["answer"],) if "answer" in fields else ()),
        strata={"answer_type": fields.get("answer_type", UNKNOWN)},
        cluster=image.media.path.rpartition("/")[2],
        defect=image.defect or (f"the record has no {absent[0]}" if absent else None),
    )
    lettered = READER.option(request, "choices") == "closed" and fields.get("answer_type") == "closed" and not absent
    return with_options(sample, row.place, integrity) if lettered else sample


def _fields(record: Mapping[str, Json], place: str, integrity: Integrity) -> dict[str, str]:
    """Return question and answer as text, without those that are empty."""
    fields = {}
    for name in ("question", "answer"):
        value = record.get(name)
        if value is None or not str(value).strip():
            continue
        if not isinstance(value, str):
            integrity.repair(f"{name}_cast_to_text", place)
        fields[name] = str(value)
    return fields


def _hub_names(files: ReleaseFiles, split: str) -> list[str]:
    return sorted(name for name in files.names(HUB_FOLDER) if fnmatchcase(name, f"{split}-*.parquet"))


def _hub_rows(files: ReleaseFiles, split: str, integrity: Integrity) -> Iterator[_Row]:
    number = 0
    for name in _hub_names(files, split):
        path = f"{HUB_FOLDER}/{name}"
        for record in stream_parquet(files, path, images=("image",), columns=("question", "answer")):
            place = f"{path}[{number}]"
            fields = _fields(record, place, integrity)
            yield _Row(place=place, number=number, image=None, content=record["image"], fields=fields)
            number += 1


def _authors_file(split: str) -> str:
    name = AUTHORS_SPLITS[split]
    return f"{FOLDER}/qas/{name}/{name}_qa.pkl"


def _authors_rows(files: ReleaseFiles, split: str, integrity: Integrity) -> Iterator[_Row]:
    path = _authors_file(split)
    for number, record in enumerate(_unpickled(files, path)):
        place = f"{path}[{number}]"
        if not isinstance(record, dict):
            raise DataError(f"{place}: expected a record, found {str(record)[:60]!r}; is it another file?")
        name = str(record.get("image") or "").strip()
        image = f"{FOLDER}/images/{AUTHORS_SPLITS[split]}/{name}.jpg" if name else None
        yield _Row(place=place, number=number, image=image, content=None, fields=_fields(record, place, integrity))


class _Plain(pickle.Unpickler):
    """Reads lists, mappings, text and numbers; a pickle that names anything to call is refused before it is called."""

    def find_class(self, module: str, name: str) -> Json:
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def _unpickled(files: ReleaseFiles, path: str) -> list[Json]:
    """Return the records of one of the authors' files.

    Raises:
        DataError: It is missing or too large, is not a pickle, or holds more than lists, mappings, text and numbers.
    """
    with files.open(path) as source:
        content = source.read(MOST_BYTES + 1)
    expected = f"{path}: expected a pickled list of at most {MOST_BYTES:,} bytes that holds only plain values"
    if len(content) > MOST_BYTES:
        raise DataError(f"{expected}, found a larger file")
    try:
        found = _Plain(io.BytesIO(content)).load()
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, AttributeError, TypeError) as error:
        raise DataError(f"{expected}: {error}; do not trust the file") from error
    if not isinstance(found, list):
        raise DataError(f"{expected}, found {type(found).__name__}")
    return found


# In the order of preference if a folder holds both. The hub's test split is de-duplicated, with 6,719 questions for the
# authors' 6,761; published scores use either.
LAYOUTS: Mapping[str, _Layout] = {
    "hub": _Layout(has=lambda files, split: bool(_hub_names(files, split)), rows=_hub_rows),
    "authors": _Layout(has=lambda files, split: files.has(_authors_file(split)), rows=_authors_rows),
}

READER = Reader(
    name="pathvqa",
    version=1,
    folders=(FOLDER,),
    strata=("answer_type",),
    splits=splits,
    read=read,
    obtain=(
        f"Download the parquet files of flaviagiammarino/path-vqa into {HUB_FOLDER}/, or the authors' release "
        f"(github.com/UCSD-AI4H/PathVQA) so that {FOLDER}/qas/ and {FOLDER}/images/ lie below a data root."
    ),
    options={"layout": ("auto", *LAYOUTS), "choices": ("none", "closed")},
)
