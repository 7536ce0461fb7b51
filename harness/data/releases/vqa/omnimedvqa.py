"""OmniMedVQA: multiple choice on images of many public datasets, one JSON list per source; its open-access part.

Source of the layout: Hu et al., arXiv:2402.09181, the release's own page, and public loaders of its files.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.integrity import Integrity, folded
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.json_stream import stream_list
from harness.data.releases.reader import ALL, UNKNOWN, Reader, ReleaseRequest
from harness.data.releases.selection import Selection
from harness.records import Json, Media, Sample, Target

if TYPE_CHECKING:
    from harness.data.releases.images import ReleaseImage

FOLDER = "OmniMedVQA"
IMAGES = "Images"
OPEN = f"{FOLDER}/QA_information/Open-access"
RESTRICTED = f"{FOLDER}/QA_information/Restricted-access"

OPTION_KEYS = ("option_A", "option_B", "option_C", "option_D")
LETTERS = "ABCD"
MODALITY, MODALITY_ELSEWHERE = "modality_type", "modality"  # some records use the second name

# Modalities as released, with their typing errors, and without.
SPELLINGS: Mapping[str, str] = {
    "MR (Mag-netic Resonance Imaging)": "MR (Magnetic Resonance Imaging)",
    "OCT (Optical Coherence Tomography": "OCT (Optical Coherence Tomography)",
}

# How a modality begins, in small letters without blanks and marks, and its code. Prefixes, because files write the same
# modality in several ways: `CT(Computed Tomography)`, `X-Ray`, `Fundus Photography`. The last four are restricted.
MODALITIES: Mapping[str, str] = {
    "ct": "ct",
    "mr": "mr",
    "oct": "oct",
    "xray": "xray",
    "ultrasound": "us",
    "dermoscopy": "derm",
    "fundus": "fundus",
    "microscopy": "micro",
    "endoscopy": "endo",
    "colposcopy": "other",
    "digital": "other",
    "infrared": "other",
}

QUESTION_TYPES = frozenset(
    {
        "anatomy identification",
        "disease diagnosis",
        "lesion grading",
        "modality recognition",
        "other biological attributes",
    }
)

_NO_LETTERS = re.compile(r"[^a-z]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """One question with known defects repaired.

    Attributes:
        place: File and number, for messages.
        id: As released.
        image: Path below the release's folder; None if the record names none.
        question: As released; empty if the record has none.
        options: Texts in letter order.
        answer: Text of the right option, or the release's answer if no option equals it; None if the record has none.
        choice: Letter of the right option; None if no option is the answer.
        strata: The value of every key of `READER.strata`.
        defect: Why it cannot be asked; None if it can.
    """

    place: str
    id: str
    image: str | None
    question: str
    options: tuple[str, ...]
    answer: str | None
    choice: str | None
    strata: Mapping[str, str]
    defect: str | None


def splits(root: Path) -> tuple[str, ...]:
    """Return the one split if there are questions below `root`."""
    return (ALL,) if _listings(ReleaseFiles(root=root, derived=root), OPEN) else ()


def _listings(files: ReleaseFiles, folder: str) -> list[str]:
    return sorted(f"{folder}/{name}" for name in files.names(folder) if name.endswith(".json"))


def read(files: ReleaseFiles, request: ReleaseRequest, integrity: Integrity) -> Iterator[tuple[str, Sample]]:
    """Yield (place, sample) of every open-access question; restricted ones are counted and not asked.

    Raises:
        DataError: A file is not a JSON list.
        SpecError: `where` names no field of the records.
    """
    selection = Selection.of(request, READER.strata)
    for path in _listings(files, OPEN):
        images = _SourceImages(files, request, integrity)  # sources share no image, so each begins with an empty one
        for number, value in enumerate(stream_list(files, path)):
            record = _parse(value, path, number, integrity)
            selection.before += 1
            if selection.admits(record.strata):
                selection.after += 1
                yield record.place, _sample(record, images.image(record.image, record.place), request)
    selection.report(integrity)
    # Only the questions of restricted sources are shipped; their images stay with the datasets they come from.
    for path in _listings(files, RESTRICTED):
        count = sum(1 for _ in stream_list(files, path))
        integrity.find("not_asked", path, f"{count:,} questions on images that the release may not hand on")


@dataclass(slots=True)
class _SourceImages:
    """The images of one source, each inspected once."""

    files: ReleaseFiles
    request: ReleaseRequest
    integrity: Integrity
    images: "dict[str, ReleaseImage]" = field(default_factory=dict)

    def image(self, image: str | None, place: str) -> "ReleaseImage":
        # Imported here, because numpy and Pillow should load when a release is read, not when readers are listed.
        from harness.data.releases.images import ReleaseImage, inspect_file

        if image is None:
            return ReleaseImage(media=Media(path=place, sha256=None), defect="the record has no image_path")
        if image not in self.images:
            path = f"{FOLDER}/{image}"
            self.images[image] = inspect_file(self.files, path, window=self.request.window, integrity=self.integrity)
        return self.images[image]


def _sample(record: _Record, image: "ReleaseImage", request: ReleaseRequest) -> Sample:
    return Sample(
        id=f"{request.dataset}/{request.split}/{record.id}",
        media=(image.media,),
        question=record.question,
        choices=record.options,
        target=Target(answers=() if record.answer is None else (record.answer,), choice=record.choice),
        strata=record.strata,
        cluster=record.place if record.image is None else record.image.removeprefix(f"{IMAGES}/"),
        defect=image.defect or record.defect,
    )


def _parse(value: Json, path: str, number: int, integrity: Integrity) -> _Record:
    """Return a record with known defects repaired, and report what it lacks."""
    stem = path.rpartition("/")[2].removesuffix(".json")
    parser = _Parser(value if isinstance(value, dict) else {}, f"{path}[{number}]", integrity)
    question, image = parser.needed("question"), parser.needed("image_path")
    options = parser.options()
    answer, choice = parser.answer(options)
    strata = {
        "modality": parser.modality(),
        "question_type": parser.question_type(),
        "source": (parser.text("dataset") or stem).lower(),
        "options": str(len(options)),
    }
    return _Record(
        place=parser.place,
        id=parser.id(stem, number),
        image=image,
        question=question or "",
        options=options,
        answer=answer,
        choice=choice,
        strata={key: strata[key] for key in READER.strata},
        defect=parser.defect,
    )


@dataclass(slots=True)
class _Parser:
    """Parses one record, and remembers the first reason why it cannot be asked."""

    record: Mapping[str, Json]
    place: str
    integrity: Integrity
    defect: str | None = None

    def text(self, key: str) -> str:
        """Return a value as text without outer blanks; empty if it is absent or null."""
        value = self.record.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            self.integrity.repair("value_cast_to_text", self.place)
        elif value != value.strip():
            self.integrity.repair("blanks_trimmed", self.place)
        return str(value).strip()

    def needed(self, key: str) -> str | None:
        """Return a value that the question needs; its absence is a defect."""
        found = self.text(key)
        if found:
            return found
        self._lack(key, f"the record has no {key}")
        return None

    def _lack(self, what: str, defect: str) -> None:
        self.integrity.find("missing_value", self.place, what)
        self.defect = self.defect or defect

    def id(self, stem: str, number: int) -> str:
        found = self.text("question_id")
        if not found:
            self.integrity.repair("id_from_row", self.place)
        return found or f"{stem}_row{number}"

    def options(self) -> tuple[str, ...]:
        """Return the options that exist; letters follow their order, as in the authors' own code."""
        # C and D may be absent or null in questions with two or three options.
        found = {key: text for key in OPTION_KEYS if (text := self.text(key))}
        if any(key in self.record for key in OPTION_KEYS if key not in found):
            self.integrity.repair("empty_option_dropped", self.place)
        if tuple(found) != OPTION_KEYS[: len(found)]:
            self.integrity.repair("options_lettered_anew", self.place)
        if len(found) < 2:
            self._lack("options", f"the record has {len(found)} options, expected at least 2")
        return tuple(found.values())

    def answer(self, options: tuple[str, ...]) -> tuple[str | None, str | None]:
        """Return the answer's text, and the letter of the first option equal to it, exactly or but for case and blanks.

        If no option does, the text stays as released and has no letter; `Integrity.count` reports it.
        """
        given = self.needed("gt_answer")
        if given is None or given in options:
            return given, None if given is None else LETTERS[options.index(given)]
        alike = [index for index, option in enumerate(options) if folded(option) == folded(given)]
        if not alike:
            return given, None
        self.integrity.repair("answer_spelling", self.place)
        return options[alike[0]], LETTERS[alike[0]]

    def modality(self) -> str:
        """Return the modality's code."""
        key = MODALITY
        if MODALITY not in self.record and MODALITY_ELSEWHERE in self.record:
            self.integrity.repair("modality_key", self.place)
            key = MODALITY_ELSEWHERE
        written = self.text(key)
        if written in SPELLINGS:
            self.integrity.repair("modality_spelling", self.place)
        letters = _NO_LETTERS.sub("", SPELLINGS.get(written, written).lower())
        code = next((code for start, code in MODALITIES.items() if letters.startswith(start)), None)
        return self._known(key, written, code)

    def question_type(self) -> str:
        written = self.text("question_type")
        found = " ".join(written.lower().split())
        return self._known("question_type", written, found if found in QUESTION_TYPES else None)

    def _known(self, key: str, written: str, found: str | None) -> str:
        """Return the value of a stratum, and report a value that is absent or not in the release's own lists."""
        if not written:
            self.integrity.find("missing_value", self.place, key)
        elif found is None:
            self.integrity.find("unknown_value", self.place, f"{key}: {written!r}")
        return found or UNKNOWN


READER = Reader(
    name="omnimedvqa",
    version=1,
    folders=(FOLDER,),
    strata=("modality", "question_type", "source", "options"),
    splits=splits,
    read=read,
    obtain=(
        "Download OmniMedVQA.zip from https://huggingface.co/datasets/foreverbeliever/OmniMedVQA and unpack it, "
        f"so that {OPEN}/ and {FOLDER}/{IMAGES}/ lie below one data root."
    ),
)
