"""VQA-Med, the tasks of ImageCLEF 2019 and 2021 on radiology images, in the text files of their releases.

Sources of the layouts: github.com/abachaa/VQA-Med-2019 and VQA-Med-2021, their readme files, reference answers and
evaluation code, and public loaders of the files.
"""

import codecs
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.reader import UNKNOWN, Reader, ReleaseRequest
from harness.data.releases.selection import Selection
from harness.data.releases.train_overlap import SplitImages, digests_of, find_overlap
from harness.data.releases.vqa.closed_options import YES_NO
from harness.errors import DataError
from harness.records import Sample, Target

if TYPE_CHECKING:
    from harness.data.releases.images import ReleaseImage

SPLITS = ("train", "validation", "test")
SEPARATOR = "|"
COLUMNS = ("image", "question", "answer")
SUFFIXES = (".jpg", ".jpeg", ".png")  # the release's names lack the first, which all its images have
# Levels of folders below that of the release: the archives unpack to folders of their own, some within others.
DEPTH = 3

# An optional part of a reference answer of 2019, as its readme says.
_OPTIONAL = re.compile(r"\s*\([^()]*\)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A file of questions, and what belongs to it.

    Attributes:
        questions: Name of the file.
        images: Name of the folder of its images, beside the file or elsewhere in the release.
        columns: The parts of its lines.
        answers: Name of the file with the reference answers, by image; empty if they are in the lines.
        categories: The same lines by category: names of the files, and what they are about.
        between: What separates the right answers of a question; empty if there is only one.
    """

    questions: str
    images: str
    columns: tuple[str, ...] = COLUMNS
    answers: str = ""
    categories: Mapping[str, str] = field(default_factory=dict)
    between: str = ""


def _categories(split: str) -> dict[str, str]:
    named = {"C1_Modality": "modality", "C2_Plane": "plane", "C3_Organ": "organ", "C4_Abnormality": "abnormality"}
    return {f"QAPairsByCategory/{file}_{split}.txt": name for file, name in named.items()}


PARTS_2019: Mapping[str, tuple[Part, ...]] = {
    "train": (Part(questions="All_QA_Pairs_train.txt", images="Train_images", categories=_categories("train")),),
    "validation": (Part(questions="All_QA_Pairs_val.txt", images="Val_images", categories=_categories("val")),),
    "test": (
        Part(
            questions="VQAMed2019_Test_Questions_w_Ref_Answers.txt",
            images="VQAMed2019_Test_Images",
            columns=("image", "category", "question", "answer"),
            between="#",
        ),
    ),
}
# The training set of 2021 is both sets of 2020.
PARTS_2021: Mapping[str, tuple[Part, ...]] = {
    "train": (
        Part(questions="VQAnswering_2020_Train_QA_pairs.txt", images="VQAnswering_2020_Train_images"),
        Part(questions="VQAnswering_2020_Val_QA_Pairs.txt", images="VQAnswering_2020_Val_images"),
    ),
    "validation": (
        Part(
            questions="VQA-Med-2021-VQAnswering-Task1-New-ValidationSet.txt",
            images="ImageCLEF-2021-VQA-Med-New-Validation-Images",
        ),
    ),
    "test": (
        Part(
            questions="Task1-VQA-2021-TestSet-Questions.txt",
            images="VQA-500-Images",
            columns=("image", "question"),
            answers="Task1-VQA-2021-TestSet-ReferenceAnswers.txt",
            between=SEPARATOR,
        ),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Release:
    """The release of one year.

    Attributes:
        folders: Names of its folder below a data root.
        parts: The files of each split.
        obtain: How to get it.
    """

    folders: tuple[str, ...]
    parts: Mapping[str, tuple[Part, ...]]
    obtain: str

    def folder(self, files: ReleaseFiles) -> str:
        """Return the folder of the release that is there."""
        return next((folder for folder in self.folders if files.has(folder)), self.folders[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One line.

    Attributes:
        place: File and line, for messages.
        image: Path of its image below the data root; None if it names none.
        category: What it asks about; `unknown` if the release does not say.
        question: Empty if the line has none.
        answers: The right answers.
        defect: Why it cannot be asked; None if it can.
    """

    place: str
    image: str | None
    category: str
    question: str
    answers: tuple[str, ...]
    defect: str | None


def splits(release: _Release, root: Path) -> tuple[str, ...]:
    """Return the splits of which a file is below `root`."""
    files = ReleaseFiles(root=root, derived=root)
    return tuple(split for split in SPLITS if any(_located(release, files, part) for part in release.parts[split]))


def read(
    release: _Release, files: ReleaseFiles, request: ReleaseRequest, integrity: Integrity
) -> Iterator[tuple[str, Sample]]:
    """Yield (place, sample) of one split in the order of its files.

    Raises:
        DataError: The split's files are absent or cannot be read.
        SpecError: `where` names no field of the records.
    """
    selection = Selection.of(request, ("image", "question", "answer", "question_type", "answer_type"))
    images = SplitImages(files, request, integrity)
    earlier: set[tuple[str | None, str, tuple[str, ...]]] = set()
    for number, row in enumerate(_rows(release, files, request.split, integrity)):
        strata = {"question_type": row.category, "answer_type": _answer_type(row.answers)}
        fields = {"image": row.image or "", "question": row.question, "answer": row.answers[0] if row.answers else ""}
        selection.before += 1
        if not selection.admits(fields | strata):
            continue
        selection.after += 1
        said = (row.image, row.question, row.answers)
        if said in earlier and row.defect is None:
            integrity.find("repeated_record", row.place)
        earlier.add(said)
        image = images.image(row.place, row.image)
        yield row.place, _sample(row, f"{request.dataset}/{request.split}/{number}", image, strata)
    selection.report(integrity)
    if request.split != "train":
        train: Iterator[tuple[str, str]] | None = None
        if any(_located(release, files, part) for part in release.parts["train"]):
            rows = _rows(release, files, "train", Integrity())  # its findings do not belong to this report
            train = digests_of(files, ((row.place, row.image, None) for row in rows if row.image))
        find_overlap(images, train, release.folder(files))


def _answer_type(answers: Sequence[str]) -> str:
    # The release does not say; papers call the questions answered by yes or no closed.
    return UNKNOWN if not answers else "closed" if answers[0].casefold() in YES_NO else "open"


def _sample(row: _Row, sample_id: str, image: "ReleaseImage", strata: Mapping[str, str]) -> Sample:
    return Sample(
        id=sample_id,
        media=(image.media,),
        question=row.question,
        target=Target(answers=row.answers),
        strata=dict(strata),
        cluster=image.media.path.rpartition("/")[2],
        defect=row.defect or image.defect,
    )


def _located(release: _Release, files: ReleaseFiles, part: Part) -> str | None:
    return files.locate(release.folder(files), part.questions, depth=DEPTH)


def _rows(release: _Release, files: ReleaseFiles, split: str, integrity: Integrity) -> Iterator[_Row]:
    """Yield the lines of all files of a split.

    Raises:
        DataError: None of its files is there, or one cannot be read.
    """
    found = [(part, _located(release, files, part)) for part in release.parts[split]]
    if not any(path for _, path in found):
        names = " or ".join(part.questions for part, _ in found)
        raise DataError(f"{release.folders[0]}: expected {names}, found none. {release.obtain}")
    for part, path in found:
        if path is None:
            integrity.find("missing_file", f"{release.folder(files)}/{part.questions}", f"{split} is not whole")
            continue
        yield from _PartReader(files, part, path, release.folder(files), integrity).rows()


class _PartReader:
    """Reads one file of questions, with the files beside it."""

    def __init__(self, files: ReleaseFiles, part: Part, path: str, release: str, integrity: Integrity) -> None:
        self._files = files
        self._part = part
        self._path = path
        self._integrity = integrity
        self._folder = path.rpartition("/")[0]
        beside = files.locate(self._folder, part.images, depth=1)
        elsewhere = beside or files.locate(release, part.images, depth=DEPTH)
        self._images = elsewhere or f"{self._folder}/{part.images}"

    def rows(self) -> Iterator[_Row]:
        """Yield the lines in the order of the file."""
        categories, answers = self._categories(), self._answers()
        asked: set[str] = set()
        for place, line in lines(self._files, self._path, self._integrity):
            cells = [cell.strip() for cell in line.split(SEPARATOR, len(self._part.columns) - 1)]
            named = dict(zip(self._part.columns, cells, strict=False))
            asked.add(named["image"])
            if len(cells) < len(self._part.columns):
                expected = SEPARATOR.join(f"<{name}>" for name in self._part.columns)
                self._integrity.find("malformed_line", place, f"expected {expected}, found {line[:60]!r}")
                yield self._row(place, named, (), UNKNOWN, f"the line has {len(cells)} parts")
                continue
            right = answers.get(named["image"], ()) if self._part.answers else self._right(place, named["answer"])
            category = named.get("category", "").lower() or categories.get(line, UNKNOWN)
            lacking = next((name for name in ("image", "question") if not named[name]), "" if right else "answer")
            if lacking and lacking != "image":  # a missing image is reported when its file is located
                self._integrity.find("missing_value", place, lacking)
            yield self._row(place, named, right, category, f"the record has no {lacking}" if lacking else None)
        for image in answers:
            if image not in asked:
                self._integrity.find("not_asked", f"{self._part.answers}: {image}", "an answer without a question")

    def _row(
        self, place: str, named: Mapping[str, str], right: tuple[str, ...], category: str, defect: str | None
    ) -> _Row:
        name = named["image"]
        suffix = "" if name.lower().endswith(SUFFIXES) else SUFFIXES[0]
        return _Row(
            place=place,
            image=f"{self._images}/{name}{suffix}" if name else None,
            category=category,
            question=named.get("question", ""),
            answers=right,
            defect=defect,
        )

    def _right(self, place: str, text: str) -> tuple[str, ...]:
        """Return the right answers that a line names: as written, then without their optional parts."""
        if SEPARATOR in text:
            self._integrity.find("extra_separator", place, text)
        if not self._part.between:
            return (text,) if text else ()
        written = [answer.strip() for answer in text.split(self._part.between)]
        shorter = [_OPTIONAL.sub(" ", answer).strip() for answer in written]
        return tuple(dict.fromkeys(answer for answer in (*written, *shorter) if answer))

    def _answers(self) -> dict[str, tuple[str, ...]]:
        """Return the reference answers of every image, if they are in a file of their own."""
        found: dict[str, tuple[str, ...]] = {}
        if not self._part.answers:
            return found
        for place, line in lines(self._files, f"{self._folder}/{self._part.answers}", self._integrity):
            image, *right = (cell.strip() for cell in line.split(self._part.between))
            if not right:
                self._integrity.find("malformed_line", place, f"expected <image>|<answer>, found {line[:60]!r}")
            elif image in found:
                self._integrity.find("repeated_record", place, "the first answers of an image count")
            else:
                found[image] = tuple(answer for answer in right if answer)
        return found

    def _categories(self) -> dict[str, str]:
        """Return the category of every line, as far as the files by category are there."""
        silent = Integrity()  # the same lines are reported by the file of all of them
        paths = {f"{self._folder}/{name}": category for name, category in self._part.categories.items()}
        return {
            line: category
            for path, category in paths.items()
            if self._files.has(path)
            for _, line in lines(self._files, path, silent)
        }


def lines(files: ReleaseFiles, path: str, integrity: Integrity) -> Iterator[tuple[str, str]]:
    """Yield (place, text) of every line that is not blank; lines are numbered from 1.

    A file in UTF-16 is decoded as such; elsewhere a line that is not UTF-8 is read as Windows-1252, so that all others
    are kept. Both count as repairs, and so do blank lines.

    Raises:
        DataError: The file is missing or cannot be read.
    """
    content = files.read(path)
    if content is None:
        raise DataError(f"{path}: expected a text file, found none; the download may be incomplete")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        integrity.repair("utf_16_decoded", path)
        content = content.decode("utf-16", errors="replace").encode()
    # Not `splitlines`, which also splits at characters that occur within answers.
    found = re.split(rb"\r\n|\r|\n", content.removeprefix(codecs.BOM_UTF8))
    for number, raw in enumerate(found, start=1):
        place = f"{path}:{number}"
        try:
            text = raw.decode().strip()
        except UnicodeDecodeError:
            integrity.repair("line_decoded_as_windows_1252", place)
            text = raw.decode("cp1252", errors="replace").strip()
        if text:
            yield place, text
        elif number < len(found):  # the last line ends the file
            integrity.repair("blank_line_passed_over", place)


_2019 = _Release(
    folders=("vqa_med_2019", "VQA-Med-2019"),
    parts=PARTS_2019,
    obtain=(
        "Download the archives of https://zenodo.org/records/10499039 and unpack them below vqa_med_2019/, so that "
        "All_QA_Pairs_train.txt has Train_images/ beside it, and so on."
    ),
)
_2021 = _Release(
    folders=("vqa_med_2021", "VQA-Med-2021"),
    parts=PARTS_2021,
    obtain=(
        "Download the archives of https://github.com/abachaa/VQA-Med-2021 and, for training, of VQA-Med-2020, and "
        "unpack them below vqa_med_2021/, so that every file of questions has its folder of images beside it."
    ),
)


def _reader(name: str, release: _Release) -> Reader:
    return Reader(
        name=name,
        version=1,
        folders=("|".join(release.folders),),
        strata=("question_type", "answer_type"),
        splits=partial(splits, release),
        read=partial(read, release),
        obtain=release.obtain,
    )


READER_2019 = _reader("vqa_med_2019", _2019)
READER_2021 = _reader("vqa_med_2021", _2021)
