"""PMC-VQA: figures of articles with four options each, in the CSV files of both its versions.

Source of layout and sizes: Zhang et al., arXiv:2305.10415, its repository and public loaders of the hub's files.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.reader import Reader, ReleaseRequest
from harness.data.releases.selection import Selection
from harness.data.releases.tables import stream_csv
from harness.data.releases.train_overlap import SplitImages, find_named_overlap
from harness.records import Sample, Target

if TYPE_CHECKING:
    from harness.data.releases.images import ReleaseImage

FOLDER = "pmc_vqa"
FILES: Mapping[tuple[str, str], str] = {
    ("v1", "train"): f"{FOLDER}/train.csv",
    ("v1", "test"): f"{FOLDER}/test.csv",
    ("v1", "test_clean"): f"{FOLDER}/test_clean.csv",
    ("v2", "train"): f"{FOLDER}/train_2.csv",
    ("v2", "test"): f"{FOLDER}/test_2.csv",
}
# The folder that a version's archive unpacks to comes first.
IMAGES: Mapping[str, tuple[str, ...]] = {
    "v1": (f"{FOLDER}/images", f"{FOLDER}/figures"),
    "v2": (f"{FOLDER}/figures", f"{FOLDER}/images"),
}

SUBSETS = ("v1", "v2")
SPLITS = ("train", "test", "test_clean")
OPTIONS = ("Choice A", "Choice B", "Choice C", "Choice D")
ANSWER = "Answer"
ANSWER_MISSPELT = "Anwser"  # the authors' own loader reads this header of version 2
LABEL = "Answer_label"
WANTED = ("Figure_path", "Question", *OPTIONS)
# Options often carry a letter of their own, as in "A: spleen".
_PREFIX = re.compile(r"\s*([A-D])\s*[:.)]\s*")


def splits(root: Path) -> tuple[str, ...]:
    """Return the splits of either version whose files are below `root`."""
    files = ReleaseFiles(root=root, derived=root)
    return tuple(split for split in SPLITS if any(files.has(FILES.get((one, split), "-")) for one in SUBSETS))


def read(files: ReleaseFiles, request: ReleaseRequest, integrity: Integrity) -> Iterator[tuple[str, Sample]]:
    """Yield (place, sample) of one split of one version, in the order of its file.

    Raises:
        DataError: The version has no such split, or its file is malformed.
        SpecError: `where` names no field of the records.
    """
    version = request.subset or SUBSETS[0]
    path = FILES.get((version, request.split), f"{FOLDER}/{request.split} of {version}")
    folder = next((folder for folder in IMAGES[version] if files.has(folder)), IMAGES[version][0])
    selection = Selection.of(request, (*WANTED, ANSWER, LABEL))
    images = SplitImages(files, request, integrity)
    for number, record in enumerate(_records(files, path, integrity)):
        selection.before += 1
        if selection.admits({key: record.get(key, "") for key in selection.where}):
            selection.after += 1
            parser = _Parser(f"{path}[{number}]", record, integrity)
            name = record["Figure_path"].strip()
            image = images.image(parser.place, f"{folder}/{name}" if name else None)
            yield parser.place, parser.sample(f"{request.dataset}/{request.split}/{number}", image)
    selection.report(integrity)
    if request.split != "train":
        find_named_overlap(images, _train_images(files, version, folder), FOLDER)


def _records(files: ReleaseFiles, path: str, integrity: Integrity) -> Iterator[dict[str, str]]:
    """Yield the rows of a file with a misspelt header repaired, which is counted once."""
    for number, record in enumerate(stream_csv(files, path, WANTED)):
        if ANSWER_MISSPELT in record and ANSWER not in record:
            record[ANSWER] = record.pop(ANSWER_MISSPELT)
            if not number:
                integrity.repair("answer_spelling", path)
        yield record


def _train_images(files: ReleaseFiles, version: str, folder: str) -> Iterator[str] | None:
    path = FILES[version, "train"]
    if not files.has(path):
        return None
    return (f"{folder}/{record['Figure_path'].strip()}" for record in stream_csv(files, path, WANTED))


@dataclass(slots=True)
class _Parser:
    """Parses one record, and remembers the first reason why it cannot be asked."""

    place: str
    record: Mapping[str, str]
    integrity: Integrity
    defect: str | None = None

    def lack(self, name: str) -> None:
        self.integrity.find("missing_value", self.place, name)
        self.defect = self.defect or f"the record has no {name}"

    def sample(self, sample_id: str, image: "ReleaseImage") -> Sample:
        """Return the record as a sample."""
        question = self.record["Question"].strip()
        if not question:
            self.lack("question")
        options = self._options()
        letter = self._letter(options)
        right = options[ascii_uppercase.index(letter)] if letter else ""
        return Sample(
            id=sample_id,
            media=(image.media,),
            question=question,
            choices=options,
            target=Target(answers=(right,) if right else (), choice=letter or None),
            cluster=image.media.path.rpartition("/")[2],
            defect=image.defect or self.defect,
        )

    def _options(self) -> tuple[str, ...]:
        """Return the options without the letters they carry, and without empty ones at the end."""
        options: list[str] = []
        for name, letter in zip(OPTIONS, "ABCD", strict=True):
            text = self.record[name]
            match = _PREFIX.match(text)
            # Another option's letter would be part of the text.
            if match is not None and match[1] == letter:
                self.integrity.repair("option_letter_removed", self.place)
                text = text[match.end() :]
            options.append(text.strip())
            if not options[-1]:
                self.integrity.find("missing_value", self.place, name)
        while options and not options[-1]:
            options.pop()
        if len(options) < 2 or not all(options):
            self.defect = self.defect or "the record lacks an option before its last"
        return tuple(options)

    def _letter(self, options: Sequence[str]) -> str:
        """Return the letter of the right option, or an empty string if the record names none of the options.

        The label counts; version 2 writes it into the answer. If a record has both, they should mean the same option.
        """
        answer = self.record.get(ANSWER, "").strip()
        label = self.record.get(LABEL, "").strip() or (answer if answer in tuple("ABCD") else "")
        if label not in tuple(ascii_uppercase[: len(options)]):
            if label or answer:
                self.integrity.find("answer_not_among_options", self.place, f"the answer is {label or answer!r}")
                self.defect = self.defect or "the right answer is not one of the options"
            else:
                self.lack("answer")
            return ""
        # An answer text that names another option than the label is reported, and the label counts.
        match = _PREFIX.match(answer)
        words = answer[match.end() :].strip() if match and answer not in options else answer
        right = options[ascii_uppercase.index(label)]
        if right and words and words != label and words.casefold() != right.casefold():
            self.integrity.find("label_mismatch", self.place, f"the answer is {words!r}, option {label} is {right!r}")
        return label


READER = Reader(
    name="pmc_vqa",
    version=1,
    folders=(FOLDER,),
    strata=(),
    splits=splits,
    read=read,
    obtain=(
        "Download the CSV files, images.zip and images_2.zip of xmcmic/PMC-VQA on the hub and unpack them, so that "
        f"{FOLDER}/test_clean.csv, {FOLDER}/images/ and {FOLDER}/figures/ lie below a data root."
    ),
    subsets=SUBSETS,
)
