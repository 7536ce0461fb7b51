"""The defects of SA-Med2D-20M, VQA-RAD and MeCoVQA, planted on purpose into phantom releases."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.data.phantoms.writers.samed2d import write_json, write_png
from harness.data.releases.samed2d import mecovqa, mecovqa_record, reader
from harness.data.releases.vqa import vqa_rad
from harness.errors import SpecError, nearest

COMPLEX = mecovqa.FILES["test", "complex"][0]
REGION = mecovqa.FILES["test", "region"][0]
GROUNDING = mecovqa.FILES["test", "grounding"][0]
QUESTIONS = vqa_rad.MEVF_FILES["test"]

# With fewer patients not every modality has a test image to plant a defect into.
PATIENTS_NEEDED = 20


@dataclass(frozen=True, slots=True, order=True)
class Planted:
    """A planted defect.

    Attributes:
        defect: Its name.
        where: Its place: a file below the data root, or `file[record]`.
    """

    defect: str
    where: str


def plant(root: Path, defects: frozenset[str]) -> tuple[Planted, ...]:
    """Plant each defect once into every release below `root` in which it can occur, always in the same places.

    Args:
        root: The data root of `families.write_phantoms`.
        defects: Keys of `DEFECTS`.
    Returns:
        Each planted defect with its place, once per release; empty without `defects`.
    Raises:
        SpecError: There is no such defect, or no answer is a number to plant one.
    """
    check_names(defects)
    planter = _Planter(root)
    # Every defect takes its place whether it is wanted or not, so that one never moves another.
    return tuple(
        Planted(name, where)
        for number, (name, put) in enumerate(DEFECTS.items())
        for where in (put(planter, number) if name in defects else ())
    )


def check_names(defects: frozenset[str], known: Iterable[str] | None = None) -> None:
    """Refuse unknown defects.

    Args:
        defects: Names of defects.
        known: Names of the defects that a release can have; those of `DEFECTS` if None.
    Raises:
        SpecError: A name is not among the known ones.
    """
    names = list(DEFECTS if known is None else known)
    for defect in sorted(defects):
        if defect not in names:
            raise SpecError(f"defects: expected some of {', '.join(names)}, found '{defect}'{nearest(defect, names)}")


def tear(path: Path) -> None:
    """Cut an image file off after a third of its bytes."""
    content = path.read_bytes()
    # A third is enough for a valid header, so that the damage shows only when pixels are decoded.
    path.write_bytes(content[: len(content) // 3])


class _Planter:
    """The test part of phantom releases, into which defects are planted, each into images of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        masks: dict[str, str] = {}
        for record in self.records(GROUNDING):
            merged = record["conversations"][1]["value"].removeprefix("<SEG><mask>").removesuffix("</mask>")
            key = Path(merged).name.removesuffix("_merged.png")
            masks.setdefault(record["image"], f"{reader.FOLDER}/masks/{key}_000.png")
        self._images = [f"{reader.FOLDER}/{image}" for image in masks]
        self._masks = list(masks.values())

    def image(self, number: int) -> str:
        """Return the number-th test image that grounding asks about."""
        return self._images[number % len(self._images)]

    def mask(self, number: int) -> str:
        """Return the mask of its first structure."""
        return self._masks[number % len(self._masks)]

    def records(self, file: str) -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = json.loads((self.root / file).read_text(encoding="utf-8"))
        return records

    def change(self, file: str, number: int, change: Callable[[dict[str, Any]], None]) -> str:
        """Change one record of a JSON list; return its place."""
        records = self.records(file)
        number %= len(records)
        change(records[number])
        write_json(self.root / file, records)
        return f"{file}[{number}]"

    def redraw(self, mask: str, change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> str:
        """Change the pixels of a mask; return its place."""
        with Image.open(self.root / mask) as image:
            pixels = np.array(image)
        write_png(self.root / mask, change(pixels))
        return mask


Plant = Callable[[_Planter, int], Iterator[str]]
MECOVQA_FILES = (COMPLEX, REGION, GROUNDING)


def _redrawing(change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> Plant:
    """Return a planter that changes the pixels of a mask."""

    def put(planter: _Planter, number: int) -> Iterator[str]:
        yield planter.redraw(planter.mask(number), change)

    return put


def _drop_suffix(planter: _Planter, number: int) -> Iterator[str]:
    def change(record: dict[str, Any]) -> None:
        record["image"] = record["image"].removesuffix(".png")

    yield from (planter.change(file, number, change) for file in MECOVQA_FILES)


def _add_blank(planter: _Planter, number: int) -> Iterator[str]:
    closed = [place for place, record in enumerate(planter.records(QUESTIONS)) if record["answer_type"] == "CLOSED"]
    yield planter.change(QUESTIONS, closed[number], lambda record: record.update(answer_type="CLOSED "))


def _misspell(planter: _Planter, number: int) -> Iterator[str]:
    def change(record: dict[str, Any]) -> None:
        record[mecovqa_record.TURNS_MISSPELT] = record.pop(mecovqa_record.TURNS)

    yield from (planter.change(file, number, change) for file in MECOVQA_FILES)


def _remove_file(planter: _Planter, number: int) -> Iterator[str]:
    for path in (planter.mask(number), _question_image(planter, number)):
        (planter.root / path).unlink()
        yield path


def _tear_file(planter: _Planter, number: int) -> Iterator[str]:
    for path in (planter.image(number), _question_image(planter, number)):
        tear(planter.root / path)
        yield path


def _question_image(planter: _Planter, number: int) -> str:
    """Return the number-th image that VQA-RAD's test questions ask about."""
    names = list(dict.fromkeys(record["image_name"] for record in planter.records(QUESTIONS)))
    return f"{vqa_rad.IMAGES}/{names[number % len(names)]}"


def _repeat_id(planter: _Planter, number: int) -> Iterator[str]:
    first = planter.records(QUESTIONS)[number]["qid"]
    yield planter.change(QUESTIONS, number + 1, lambda record: record.update(qid=first))


def _write_number(planter: _Planter, number: int) -> Iterator[str]:
    del number
    answers = [record["answer"] for record in planter.records(QUESTIONS)]
    place = _first_number(QUESTIONS, answers)
    yield planter.change(QUESTIONS, place, lambda record: record.update(answer=int(answers[place])))

    def reply(record: Mapping[str, Any]) -> dict[str, Any]:
        # Another defect may have misspelt the key.
        misspelt = mecovqa_record.TURNS not in record
        turn: dict[str, Any] = record[mecovqa_record.TURNS_MISSPELT if misspelt else mecovqa_record.TURNS][1]
        return turn

    values = [reply(record)["value"] for record in planter.records(COMPLEX)]
    at = _first_number(COMPLEX, values)
    yield planter.change(COMPLEX, at, lambda record: reply(record).update(value=int(values[at])))


def _first_number(file: str, answers: Sequence[str]) -> int:
    found = next((place for place, answer in enumerate(answers) if answer.isdigit()), None)
    if found is None:
        raise SpecError(f"{file}: expected an answer that is a number, found none; draw more patients")
    return found


# Name -> how the defect is planted; yields the places. The position in this table decides where a defect goes, so new
# ones are added at the end.
DEFECTS: Mapping[str, Plant] = {
    "missing_file": _remove_file,
    "unreadable_file": _tear_file,
    "size_mismatch": _redrawing(lambda pixels: np.ascontiguousarray(pixels[::2, ::2])),
    "empty_mask": _redrawing(np.zeros_like),
    "full_mask": _redrawing(lambda pixels: np.full_like(pixels, 255)),
    "inverted_mask": _redrawing(lambda pixels: 255 - pixels),
    "missing_suffix": _drop_suffix,
    "closed_blank": _add_blank,
    "misspelt_conversations": _misspell,
    "duplicate_id": _repeat_id,
    "non_text_answer": _write_number,
}
