"""M3D-VQA: questions of five types on M3D-Cap's volumes, each with four options and asked closed or open.

Source of the layout: Bai et al., arXiv:2404.00578, the released tables and the code that reads them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.m3d.scans import Scans, case_of
from harness.data.releases.reader import UNKNOWN, Reader, ReleaseAbsentError, ReleaseRequest
from harness.data.releases.selection import Selection
from harness.data.releases.tables import stream_csv
from harness.records import Sample, Target

FOLDER = "M3D_VQA"
# `test5k` asks 5,000 questions on 1,000 volumes. The release's yes/no table is left out: it is for training only.
FILES: Mapping[str, str] = {
    "train": f"{FOLDER}/M3D_VQA_train.csv",
    "validation": f"{FOLDER}/M3D_VQA_val.csv",
    "test": f"{FOLDER}/M3D_VQA_test.csv",
    "test5k": f"{FOLDER}/M3D_VQA_test5k.csv",
}
IMAGE, TEXT, TYPE, QUESTION, ANSWER, LETTER = (
    "Image Path",
    "Text",
    "Question Type",
    "Question",
    "Answer",
    "Answer Choice",
)
CHOICES: Mapping[str, str] = {letter: f"Choice {letter}" for letter in "ABCD"}
COLUMNS = (IMAGE, TEXT, TYPE, QUESTION, *CHOICES.values(), ANSWER, LETTER)
# The released generator's question types.
TYPES: Mapping[str, str] = {"1": "plane", "2": "phase", "3": "organ", "4": "abnormality", "5": "location"}

# Words that pandas takes for a missing value, so that the released code asks with `nan` in their place.
READ_AS_MISSING = frozenset({"NA", "N/A", "NaN", "nan", "None", "null", "NULL", "n/a"})

FIELDS = ("question_type", "source", "case")


def splits(root: Path) -> tuple[str, ...]:
    """Return the splits whose tables are below `root`."""
    return tuple(split for split, path in FILES.items() if (root / path).is_file())


def read(files: ReleaseFiles, request: ReleaseRequest, integrity: Integrity) -> Iterator[tuple[str, Sample]]:
    """Yield (place, sample) in the order of the table.

    Raises:
        ReleaseAbsentError: The split's table is not there.
        DataError: It is not CSV with the columns of the release.
        SpecError: `where` names no field of the samples.
    """
    path = FILES[request.split]
    if not files.has(path):
        raise ReleaseAbsentError(f"{READER.name}: expected {path} below the data root, found none. {READER.obtain}")
    selection = Selection.of(request, FIELDS)
    reading = _Reading(request, integrity, Scans(files, request.window, integrity))
    for number, row in _rows(files, path):
        place = f"{path}[{number}]"
        strata = reading.strata(row, place)
        selection.before += 1
        if selection.admits({**strata, "case": case_of(row[IMAGE])}):
            selection.after += 1
            yield place, reading.sample(row, strata, number, place)
    selection.report(integrity)
    if request.split != "train":
        _find_overlap(files, reading.images, integrity)


def _rows(files: ReleaseFiles, path: str) -> Iterator[tuple[int, dict[str, str]]]:
    for number, row in enumerate(stream_csv(files, path, COLUMNS)):
        yield number, {name: value.strip() for name, value in row.items()}


@dataclass(slots=True)
class _Reading:
    """Makes the samples of one reading, and remembers the volumes that train must not hold."""

    request: ReleaseRequest
    integrity: Integrity
    scans: Scans
    images: set[str] = field(default_factory=set)

    def strata(self, row: Mapping[str, str], place: str) -> dict[str, str]:
        kind = TYPES.get(row[TYPE], UNKNOWN)
        if kind == UNKNOWN:
            self.integrity.find("missing_value", place, f"{TYPE}: expected 1 to 5, found {row[TYPE]!r}")
        return {"question_type": kind, "source": case_of(row[IMAGE]).partition("/")[0].lower() or UNKNOWN}

    def sample(self, row: Mapping[str, str], strata: Mapping[str, str], number: int, place: str) -> Sample:
        image = row[IMAGE]
        if self.request.split != "train":
            self.images.add(image)
        defect = self._defect(row, place)
        volume = self.scans.image(image)
        choices = tuple(row[column] for column in CHOICES.values())
        return Sample(
            # A volume has many questions and rows have no id, so the number of the row makes it unique.
            id=f"{self.request.dataset}/{self.request.split}/{image}#{number}",
            media=(volume.media,),
            question=row[QUESTION],
            choices=choices,
            target=Target(answers=(row[ANSWER],) if row[ANSWER] else (), choice=row[LETTER] or None),
            strata=strata,
            cluster=case_of(image),
            defect=defect or volume.defect,
        )

    def _defect(self, row: Mapping[str, str], place: str) -> str | None:
        """Report what is wrong with a row's values; return why it cannot be asked, or None if it can."""
        if any(row[column] in READ_AS_MISSING for column in (*CHOICES.values(), ANSWER)):
            self.integrity.repair("na_kept_as_text", place)
        lacking = [name for name in (IMAGE, QUESTION, *CHOICES.values(), ANSWER, LETTER) if not row[name]]
        for name in lacking:
            self.integrity.find("missing_value", place, name)
        letter, answer = row[LETTER], row[ANSWER]
        # An answer that no option has is reported for every release, when the samples are counted.
        chosen = row[CHOICES[letter]] if letter in CHOICES else answer
        if chosen != answer and answer in (row[column] for column in CHOICES.values()):
            detail = f"the answer is {answer!r}, its letter {letter} is {chosen!r}"
            self.integrity.find("answer_not_among_options", place, detail)
        return f"the row has no {lacking[0]}" if lacking else None


def _find_overlap(files: ReleaseFiles, images: set[str], integrity: Integrity) -> None:
    """Report the volumes that training questions are about too."""
    if not files.has(FILES["train"]):
        integrity.find("not_checked", FILES["train"], "no train split, so its overlap was not checked")
        return
    integrity.checked["train_test_overlap"] = len(images)
    seen: set[str] = set()
    for number, row in _rows(files, FILES["train"]):
        if row[IMAGE] in images and row[IMAGE] not in seen:
            seen.add(row[IMAGE])
            integrity.find("train_test_overlap", row[IMAGE], f"in train as row {number}")


READER = Reader(
    name="m3d_vqa",
    version=1,
    folders=(FOLDER,),
    strata=("question_type", "source"),
    splits=splits,
    read=read,
    obtain=(
        "Download M3D-VQA from https://huggingface.co/datasets/GoodBaiBai88/M3D-VQA "
        f"so that {FILES['test']} is there, and M3D-Cap beside it for the volumes."
    ),
)
