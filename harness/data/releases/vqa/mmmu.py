"""MMMU as the hub has it: parquet files per subject with embedded images, and options as a Python list in text.

Source of layout and counts: Yue et al., CVPR 2024, arXiv:2311.16502, its repository and the hub's dataset card.
"""

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles, read_json
from harness.data.releases.reader import UNKNOWN, Reader, ReleaseRequest
from harness.data.releases.selection import Selection
from harness.data.releases.tables import stream_parquet
from harness.data.releases.train_overlap import SplitImages
from harness.errors import DataError
from harness.records import Json, Sample, Target

if TYPE_CHECKING:
    from harness.data.releases.images import ReleaseImage

FOLDER = "mmmu"
EMBEDDED = f"{FOLDER}/embedded"
# The answers of the test split, which a user may put here: the file that the authors publish, or {id: letter or text}.
KEY_FILE = f"{FOLDER}/answer_dict_test.json"

SPLITS = ("dev", "validation", "test")
HEALTH = (
    "Basic_Medical_Science",
    "Clinical_Medicine",
    "Diagnostics_and_Laboratory_Medicine",
    "Pharmacy",
    "Public_Health",
)
SUBSETS: Mapping[str, tuple[str, ...]] = {"health_and_medicine": HEALTH}
# A question has up to seven images, to which its marks `<image 1>` and so on refer.
IMAGES = tuple(f"image_{number}" for number in range(1, 8))
COLUMNS = (
    "id",
    "question",
    "options",
    "img_type",
    "answer",
    "topic_difficulty",
    "question_type",
    "subfield",
)
UNPUBLISHED = "?"  # the answer of every test question in the hub's files
MOST_CHARACTERS = 10_000  # in a list that is parsed; the longest of the release has a few hundred
MOST_OPTIONS = len(ascii_uppercase)  # options are distinguished by letters
_MARK = re.compile(r"<image (\d+)>")


def splits(root: Path) -> tuple[str, ...]:
    """Return the splits that any of the subjects has below `root`."""
    files = ReleaseFiles(root=root, derived=root)
    return tuple(split for split in SPLITS if any(_names(files, subject, split) for subject in HEALTH))


def read(files: ReleaseFiles, request: ReleaseRequest, integrity: Integrity) -> Iterator[tuple[str, Sample]]:
    """Yield (place, sample) of one split, subject by subject.

    Raises:
        DataError: A subject lacks the split, or a file of it is malformed.
        SpecError: `where` names no field of the records.
    """
    selection = Selection.of(request, (*COLUMNS, *READER.strata))
    key = _read_key(files, request.split)
    images = SplitImages(files, request, integrity, EMBEDDED)
    unanswered = 0
    for place, record in _records(files, request):
        parser = _Parser(place, record, integrity)
        fields = {**record, **parser.strata()}
        selection.before += 1
        if selection.admits({name: fields[name] for name in selection.where}):
            selection.after += 1
            sample = parser.sample(f"{request.dataset}/{request.split}/{parser.id}", key, images.image)
            unanswered += sample.defect is None and not sample.target.answers
            yield place, sample
    if unanswered:
        integrity.find("no_answer", FOLDER, f"{unanswered:,} questions of {request.split}")
    selection.report(integrity)


def _names(files: ReleaseFiles, subject: str, split: str) -> list[str]:
    return sorted(name for name in files.names(f"{FOLDER}/{subject}") if fnmatchcase(name, f"{split}-*.parquet"))


def _records(files: ReleaseFiles, request: ReleaseRequest) -> Iterator[tuple[str, dict[str, Json]]]:
    for subject in SUBSETS[request.subset or "health_and_medicine"]:
        names = _names(files, subject, request.split)
        # A score over fewer subjects would look like one over all five, so none may be missing.
        if not names:
            raise DataError(
                f"{FOLDER}/{subject}: expected a file {request.split}-*.parquet, found none; all five subjects count. "
                f"{READER.obtain}"
            )
        for name in names:
            path = f"{FOLDER}/{subject}/{name}"
            for number, record in enumerate(stream_parquet(files, path, images=IMAGES, columns=COLUMNS)):
                yield f"{path}[{number}]", {"subject": subject, **record}


def _read_key(files: ReleaseFiles, split: str) -> Mapping[str, Json]:
    """Return the user's answers of the test split by id; empty if there is no such file.

    Raises:
        DataError: The file is not an object of answers.
    """
    if split != "test" or not files.has(KEY_FILE):
        return {}
    key = read_json(files, KEY_FILE)
    entries = key.values() if isinstance(key, dict) else [None]
    if not all(isinstance(_answer_of(entry), str | list) for entry in entries):
        raise DataError(
            f'{KEY_FILE}: expected {{"test_Pharmacy_1": "B"}}, or {{"ground_truth": "B"}} in place of the letter as '
            "MMMU has it; correct the file or take it away"
        )
    return {name: _answer_of(entry) for name, entry in key.items()}


def _answer_of(entry: Json) -> Json:
    return entry.get("ground_truth") if isinstance(entry, dict) else entry


def parse_list(text: str) -> tuple[str, ...] | None:
    """Return the items of a Python list of strings and numbers as text, or None if the text is no such list."""
    # Deeply nested text makes the parser run out of memory or stack, hence the limit and the errors below.
    if len(text) > MOST_CHARACTERS:
        return None
    try:
        found = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None
    plain = isinstance(found, list | tuple) and all(isinstance(item, str | int | float) for item in found)
    return tuple(str(item).strip() for item in found) if plain else None


@dataclass(slots=True)
class _Parser:
    """Parses one record, and remembers the first reason why it cannot be asked."""

    place: str
    record: Mapping[str, Json]
    integrity: Integrity
    defect: str | None = None

    @property
    def id(self) -> str:
        """The record's id.

        Raises:
            DataError: It has none.
        """
        found = self._text("id")
        if not found:
            raise DataError(f"{self.place}: expected a record with an id, found none; is it another file?")
        return found

    def _text(self, name: str) -> str:
        value = self.record.get(name)
        return "" if value is None else str(value).strip()

    def strata(self) -> dict[str, str]:
        """Return the strata of a question in lower case; several kinds of image are joined to one value."""
        kinds = parse_list(self._text("img_type")) or ()
        values = {
            "subject": str(self.record["subject"]),
            "question_type": self._text("question_type"),
            "difficulty": self._text("topic_difficulty"),
            "subfield": self._text("subfield"),
            "image_type": ", ".join(sorted(kinds)),
        }
        return {name: value.lower() or UNKNOWN for name, value in values.items()}

    def lack(self, name: str) -> None:
        self.integrity.find("missing_value", self.place, name)
        self.defect = self.defect or f"the record has no {name}"

    def sample(self, sample_id: str, key: Mapping[str, Json], open_image: "Callable[..., ReleaseImage]") -> Sample:
        """Return the record as a sample.

        Args:
            sample_id: Its id.
            key: The user's answers by source id.
            open_image: Returns the image of (place, path, content).
        """
        question = str(self.record.get("question") or "").strip()
        if not question:
            self.lack("question")
        options = self._options() if self._text("question_type") == "multiple-choice" else ()
        images, numbers = self._images(open_image)
        words = self._renumbered([question, *options], numbers)
        faulty = [image.defect for image in images if image.defect is not None]
        return Sample(
            id=sample_id,
            media=tuple(image.media for image in images),
            question=words[0],
            choices=words[1:],
            target=self._target(words[1:], key.get(self.id, self.record.get("answer"))),
            strata=self.strata(),
            cluster=images[0].media.path.rpartition("/")[2],
            defect=next(iter(faulty), None) or self.defect,
        )

    def _options(self) -> tuple[str, ...]:
        text = self._text("options")
        found = parse_list(text)
        if found is None or not 2 <= len(found) <= MOST_OPTIONS:
            self.integrity.find("unreadable_options", self.place, f"{len(text):,} characters: {text[:40]!r}")
            self.defect = self.defect or "the options cannot be read"
            return ()
        return found

    def _images(self, open_image: "Callable[..., ReleaseImage]") -> "tuple[list[ReleaseImage], dict[int, int]]":
        """Return the images of the record, and the place of each among them from 1, by its number in the record."""
        held = [number for number, name in enumerate(IMAGES, start=1) if self.record.get(name) is not None]
        if not held:
            return [open_image(self.place, None)], {}
        images = [open_image(f"{self.place}.image_{number}", None, self.record[f"image_{number}"]) for number in held]
        return images, {number: place for place, number in enumerate(held, start=1)}

    def _renumbered(self, texts: Sequence[str], numbers: Mapping[int, int]) -> tuple[str, ...]:
        """Return the texts with marks renumbered to the images that exist; a mark without its image is a defect."""
        marked = {int(number) for text in texts for number in _MARK.findall(text)}
        for number in sorted(marked - set(numbers)):
            if numbers:
                self.lack(f"image_{number}")
        return tuple(
            _MARK.sub(lambda mark: f"<image {numbers.get(int(mark[1]), int(mark[1]))}>", text) for text in texts
        )

    def _target(self, options: Sequence[str], answer: Json) -> Target:
        """Return the right answer, or an empty target if neither the release nor the user gives it."""
        if answer is None or answer == UNPUBLISHED or answer in ("", []):
            return Target()
        if self._text("question_type") == "multiple-choice":
            return self._choice(options, str(answer).strip())
        if isinstance(answer, list):
            return Target(answers=tuple(str(one) for one in answer))
        # An open question may accept several answers, written as a Python list in text.
        text = str(answer)
        several = parse_list(text) if text.strip().startswith("[") else None
        return Target(answers=several or (text.strip(),))

    def _choice(self, options: Sequence[str], letter: str) -> Target:
        """Return the right option; a letter that no option has makes the sample defective."""
        place = ascii_uppercase.find(letter) if len(letter) == 1 else -1
        if 0 <= place < len(options):
            return Target(answers=(options[place],), choice=letter)
        if options:
            self.integrity.find("answer_not_among_options", self.place, f"the answer is {letter!r}")
            self.defect = self.defect or "the right answer is not one of the options"
        return Target()


READER = Reader(
    name="mmmu",
    version=1,
    folders=(FOLDER,),
    strata=("subject", "question_type", "difficulty", "subfield", "image_type"),
    splits=splits,
    read=read,
    obtain=(
        "Download the five Health and Medicine folders of MMMU/MMMU on the hub, such as Pharmacy/, "
        f"into a folder named {FOLDER}."
    ),
    subsets=tuple(SUBSETS),
)
