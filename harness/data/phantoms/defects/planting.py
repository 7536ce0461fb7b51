"""The defects that real releases have, planted on purpose into a drawn one."""

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

PATIENTS_NEEDED = 20
"""With fewer there is no test picture of every look to plant a defect into."""


@dataclass(frozen=True, slots=True, order=True)
class Planted:
    """A defect and where it was put: a file below the data root, or `file[record]`."""

    defect: str
    where: str


def plant(root: Path, defects: frozenset[str]) -> tuple[Planted, ...]:
    """Plant each defect once into every release below `root` where it can occur; always in the same places.

    Raises:
        SpecError: There is no such defect.
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
    """Refuse a defect that nobody knows.

    Args:
        defects: Names of defects.
        known: Those that a release can have; `DEFECTS` where none are given.
    Raises:
        SpecError: There is one.
    """
    names = list(DEFECTS if known is None else known)
    for defect in sorted(defects):
        if defect not in names:
            raise SpecError(f"defects: expected some of {', '.join(names)}, found '{defect}'{nearest(defect, names)}")


class _Planter:
    """The test part of a drawn release: where defects are put, each on pictures of its own."""

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
        """Change one record of a JSON list; return where it stands."""
        records = self.records(file)
        number %= len(records)
        change(records[number])
        write_json(self.root / file, records)
        return f"{file}[{number}]"

    def redraw(self, mask: str, change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> str:
        """Change the pixels of a mask; return where it stands."""
        with Image.open(self.root / mask) as image:
            pixels = np.array(image)
        write_png(self.root / mask, change(pixels))
        return mask


def _drop_suffix(planter: _Planter, number: int) -> Iterator[str]:
    def change(record: dict[str, Any]) -> None:
        record["image"] = record["image"].removesuffix(".png")

    yield from (planter.change(file, number, change) for file in (COMPLEX, REGION, GROUNDING))


def _add_blank(planter: _Planter, number: int) -> Iterator[str]:
    closed = [place for place, record in enumerate(planter.records(QUESTIONS)) if record["answer_type"] == "CLOSED"]

    def change(record: dict[str, Any]) -> None:
        record["answer_type"] = "CLOSED "

    yield planter.change(QUESTIONS, closed[number], change)


def _misspell(planter: _Planter, number: int) -> Iterator[str]:
    def change(record: dict[str, Any]) -> None:
        record[mecovqa_record.TURNS_MISSPELT] = record.pop(mecovqa_record.TURNS)

    yield from (planter.change(file, number, change) for file in (COMPLEX, REGION, GROUNDING))


def _remove_file(planter: _Planter, number: int) -> Iterator[str]:
    for path in (planter.mask(number), _question_image(planter, number)):
        (planter.root / path).unlink()
        yield path


def _tear_file(planter: _Planter, number: int) -> Iterator[str]:
    for path in (planter.image(number), _question_image(planter, number)):
        content = (planter.root / path).read_bytes()
        (planter.root / path).write_bytes(content[: len(content) // 3])
        yield path


def _question_image(planter: _Planter, number: int) -> str:
    """Return the number-th image that VQA-RAD's test questions ask about."""
    names = list(dict.fromkeys(record["image_name"] for record in planter.records(QUESTIONS)))
    return f"{vqa_rad.IMAGES}/{names[number % len(names)]}"


def _shrink(planter: _Planter, number: int) -> Iterator[str]:
    yield planter.redraw(planter.mask(number), lambda pixels: np.ascontiguousarray(pixels[::2, ::2]))


def _clear(planter: _Planter, number: int) -> Iterator[str]:
    yield planter.redraw(planter.mask(number), lambda pixels: np.zeros_like(pixels))


def _fill(planter: _Planter, number: int) -> Iterator[str]:
    yield planter.redraw(planter.mask(number), lambda pixels: np.full_like(pixels, 255))


def _invert(planter: _Planter, number: int) -> Iterator[str]:
    yield planter.redraw(planter.mask(number), lambda pixels: 255 - pixels)


def _repeat_id(planter: _Planter, number: int) -> Iterator[str]:
    first = planter.records(QUESTIONS)[number]["qid"]

    def change(record: dict[str, Any]) -> None:
        record["qid"] = first

    yield planter.change(QUESTIONS, number + 1, change)


def _write_number(planter: _Planter, number: int) -> Iterator[str]:
    del number
    counted = _first_number(QUESTIONS, [record["answer"] for record in planter.records(QUESTIONS)])

    def change(record: dict[str, Any]) -> None:
        record["answer"] = int(record["answer"])

    yield planter.change(QUESTIONS, counted, change)
    replies = [record[_turns(record)][1]["value"] for record in planter.records(COMPLEX)]
    counted = _first_number(COMPLEX, replies)

    def change_turn(record: dict[str, Any]) -> None:
        reply = record[_turns(record)][1]
        reply["value"] = int(reply["value"])

    yield planter.change(COMPLEX, counted, change_turn)


def _turns(record: Mapping[str, Any]) -> str:
    return mecovqa_record.TURNS if mecovqa_record.TURNS in record else mecovqa_record.TURNS_MISSPELT


def _first_number(file: str, answers: Sequence[str]) -> int:
    found = next((place for place, answer in enumerate(answers) if answer.isdigit()), None)
    if found is None:
        raise SpecError(f"{file}: expected an answer that is a number, found none; draw more patients")
    return found


Plant = Callable[[_Planter, int], Iterator[str]]

DEFECTS: Mapping[str, Plant] = {
    "missing_file": _remove_file,
    "unreadable_file": _tear_file,
    "size_mismatch": _shrink,
    "empty_mask": _clear,
    "full_mask": _fill,
    "inverted_mask": _invert,
    "missing_suffix": _drop_suffix,
    "closed_blank": _add_blank,
    "misspelt_conversations": _misspell,
    "duplicate_id": _repeat_id,
    "non_text_answer": _write_number,
}
"""Name -> how it is planted; returns the places."""
