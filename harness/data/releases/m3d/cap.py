"""M3D-Cap: CT volumes with the report on each, for report generation and for retrieval from pools of four sizes.

Source of the layout: Bai et al., arXiv:2404.00578, the released files and the code that prepares and reads them.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.json_stream import stream_lists
from harness.data.releases.m3d.scans import PREPARED, RAW, Scans, case_of, raw_path, without_suffix
from harness.data.releases.m3d.wording import Questions, chosen, read_questions, report_of
from harness.data.releases.reader import UNKNOWN, Reader, ReleaseAbsentError, ReleaseRequest
from harness.data.releases.selection import Selection
from harness.errors import DataError
from harness.records import Sample, Target

LISTING = "M3D_Cap.json"
LISTINGS = (f"{PREPARED}/{LISTING}", f"{RAW}/{LISTING}")  # the first that exists is read

SPLITS = ("train", "validation", "test", "test1k", "test500", "test100")
# The pool size of each test list, by which the paper's tables call it, with the smallest first.
POOLS: Mapping[str, str] = {"test100": "100", "test500": "500", "test1k": "1000", "test": "2000"}
ALL_POOLS = "all"
NO_POOL = "none"

FIELDS = ("pool", "source", "plane", "phase", "case")

# The release has no fields for plane and phase: the names of the series hold them. Of several phases, the first counts.
PLANES = ("axial", "coronal", "sagittal", "oblique")
PHASES: Mapping[str, str] = {
    "non_contrast": "non contrast",
    "arterial": "arterial",
    "portal_venous": "portal venous",
    "venous": "venous",
    "delayed": "delayed",
    "excretory": "excretory",
    "c_": "contrast",
    "contrast": "contrast",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """One entry of a list: a volume and its report, as paths below the data root."""

    place: str
    split: str
    image: str
    text: str


def splits(root: Path) -> tuple[str, ...]:
    """Return all splits; a list that the listing lacks is an error when it is read, which names the list."""
    del root
    return SPLITS


def read(files: ReleaseFiles, request: ReleaseRequest, integrity: Integrity) -> Iterator[tuple[str, Sample]]:
    """Yield (place, sample) in the order of the listing; with `pools: all`, those of every test list.

    Raises:
        ReleaseAbsentError: There is no listing, or it lacks the requested list.
        DataError: The listing is malformed.
        SpecError: `where` names no field of the samples.
    """
    selection = Selection.of(request, FIELDS)
    listing = find_listing(files)
    wanted = tuple(POOLS) if READER.option(request, "pools") == ALL_POOLS else (request.split,)
    questions = read_questions(files, listing.partition("/")[0], str(READER.option(request, "wording")))
    reading = _Reading(files, request, integrity, Scans(files, request.window, integrity), questions)
    found: set[str] = set()
    for pair in _pairs(files, listing, wanted, integrity):
        found.add(pair.split)
        fields = _strata(pair)
        selection.before += 1
        if selection.admits({**fields, "case": case_of(pair.image)}):
            selection.after += 1
            yield pair.place, reading.sample(pair, fields)
    for split in wanted:
        if split not in found:
            raise ReleaseAbsentError(f"{listing}: expected samples under '{split}', found none. {READER.obtain}")
    selection.report(integrity)
    if request.split != "train":
        _find_overlap(files, listing, reading, integrity)


def find_listing(files: ReleaseFiles) -> str:
    """Return the path of the listing below the data root.

    Raises:
        ReleaseAbsentError: There is no listing.
    """
    for path in LISTINGS:
        if files.has(path):
            return path
    raise ReleaseAbsentError(f"{READER.name}: expected {' or '.join(LISTINGS)}, found neither. {READER.obtain}")


def _pairs(files: ReleaseFiles, listing: str, wanted: tuple[str, ...], integrity: Integrity) -> Iterator[_Pair]:
    """Yield the entries of the wanted lists, in the order of the listing."""
    count: dict[str, int] = {}
    for split, value in stream_lists(files, listing):
        number = count[split] = count.get(split, -1) + 1
        if split not in wanted:
            continue
        place = f"{listing}: {split}[{number}]"
        image, text = (value.get(key) if isinstance(value, dict) else None for key in ("image", "text"))
        if not isinstance(image, str) or not image.strip():
            raise DataError(f"{place}: expected an entry with image and text, found {str(value)[:60]!r}")
        if not isinstance(text, str) or not text.strip():
            integrity.find("missing_value", place, "text")
        yield _Pair(place=place, split=split, image=image.strip(), text=str(text or "").strip())


def _strata(pair: _Pair) -> dict[str, str]:
    return {"pool": POOLS.get(pair.split, NO_POOL), **series_strata(pair.image)}


def series_strata(image: str) -> dict[str, str]:
    """Return part of the release, plane and phase of a listed volume, by the names of its folders and its series."""
    name = PurePosixPath(without_suffix(image)).name.lower()
    words = name.replace("-", "_").replace(" ", "_")
    phases = (phase for mark, phase in PHASES.items() if re.search(rf"(^|_){mark}", words))
    return {
        "source": case_of(image).partition("/")[0].lower() or UNKNOWN,
        "plane": next((plane for plane in PLANES if words.startswith(plane)), UNKNOWN),
        "phase": next(phases, UNKNOWN),
    }


@dataclass(slots=True)
class _Reading:
    """Makes the samples of one reading, and remembers the volumes that train must not hold."""

    files: ReleaseFiles
    request: ReleaseRequest
    integrity: Integrity
    scans: Scans
    questions: Questions
    images: set[str] = field(default_factory=set)
    _texts: dict[str, str] = field(default_factory=dict)

    def sample(self, pair: _Pair, strata: Mapping[str, str]) -> Sample:
        if pair.split != "train":
            self.images.add(pair.image)
        volume = self.scans.image(pair.image)
        if pair.text not in self._texts:
            # Only the last text is kept: the series of a case share it and follow each other.
            self._texts = {pair.text: self._read_text(pair.text) if pair.text else ""}
        text = self._texts[pair.text]
        name = f"{self.request.dataset}/{pair.split}/{without_suffix(pair.image)}"
        return Sample(
            id=name,
            media=(volume.media,),
            question=chosen(self.questions.wordings, name, "report_generation"),
            target=Target(
                answers=(text,) if text else (),
                # By its content: volumes of one case have the same report, and each may retrieve it.
                caption_id=hashlib.sha256(text.encode()).hexdigest() if text else None,
            ),
            strata={**strata, "wording": self.questions.name},
            cluster=case_of(pair.image),
            defect=volume.defect or (None if text else f"text {pair.text or 'of the entry'} is missing"),
        )

    def _read_text(self, path: str) -> str:
        """Return the report at `path`, or an empty string if there is none, which is reported."""
        places = [place for place in (path, raw_path(path)) if place is not None and self.files.has(place)]
        content = self.files.read(places[0]) if places else None
        if content is None:
            self.integrity.find("missing_file", path)
            return ""
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            self.integrity.repair("text_read_as_latin_1", places[0])
            text = content.decode("latin-1")
        found = report_of(text)
        if not found:
            self.integrity.find("missing_value", places[0], "text")
        return found


def _find_overlap(files: ReleaseFiles, listing: str, reading: _Reading, integrity: Integrity) -> None:
    """Report the volumes that the training list holds too, and the patients of whom it holds other volumes."""
    # Reversed, so that the first image in the alphabet represents its case.
    cases = {case_of(image): image for image in sorted(reading.images, reverse=True)}
    integrity.checked["train_test_overlap"] = len(reading.images)
    integrity.checked["patient_overlap"] = len(cases)
    shared: dict[str, str] = {}
    trained = False
    for pair in _pairs(files, listing, ("train",), Integrity()):
        trained = True
        if pair.image in reading.images:
            integrity.find("train_test_overlap", pair.image, f"in train as {pair.place.rpartition(' ')[2]}")
        elif case_of(pair.image) in cases:
            shared.setdefault(case_of(pair.image), pair.image)
    for case, image in shared.items():
        integrity.find("patient_overlap", cases[case], f"in train with {image}")
    if not trained:
        integrity.find("not_checked", listing, "no train list, so its overlap was not checked")


READER = Reader(
    name="m3d_cap",
    version=1,
    folders=(f"{PREPARED}|{RAW}",),
    strata=("pool", "source", "plane", "phase", "wording"),
    splits=splits,
    read=read,
    obtain=(
        "Download M3D-Cap from https://huggingface.co/datasets/GoodBaiBai88/M3D-Cap "
        f"and unpack it, so that {' or '.join(LISTINGS)} is there."
    ),
    options={"pools": ("one", ALL_POOLS), "wording": ("authors", "ours")},
)
