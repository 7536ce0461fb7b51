"""The defects that a MIMOSeg folder may have, planted on purpose into the test part of a phantom one."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.data.phantoms.defects.planting import Planted, check_names, tear
from harness.data.phantoms.writers.samed2d import write_json, write_png
from harness.data.releases.mimoseg.reader import FOLDER, SUBSETS, file_of

INSTRUCTED, POINTED, EXPLAINED, _ = (file_of("test", subset) for subset in SUBSETS)


def plant_mimoseg(root: Path, defects: frozenset[str]) -> tuple[Planted, ...]:
    """Plant each defect once, always in the same place, and return where.

    Args:
        root: A data root that `write_mimoseg` has filled.
        defects: Keys of `DEFECTS`.
    Raises:
        SpecError: There is no such defect.
    """
    check_names(defects, DEFECTS)
    planter = _Planter(root)
    # Each has a number of its own, wanted or not, so that one never moves another.
    return tuple(
        Planted(name, put(planter, number)) for number, (name, put) in enumerate(DEFECTS.items()) if name in defects
    )


@dataclass(frozen=True, slots=True)
class _Planter:
    """The test part of a phantom folder."""

    root: Path

    def records(self, file: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads((self.root / file).read_text(encoding="utf-8"))
        return found

    def change(self, file: str, number: int, change: Callable[[dict[str, Any]], None]) -> str:
        """Change the number-th record with one entity; return its place."""
        records = self.records(file)
        place = [index for index, record in enumerate(records) if len(record["entities"]) == 1][number]
        change(records[place])
        write_json(self.root / file, records)
        return f"{file}[{place}]"

    def image(self, number: int) -> str:
        """Return the number-th image."""
        images = list(dict.fromkeys(record["image"] for record in self.records(INSTRUCTED)))
        return f"{FOLDER}/{images[number]}"

    def mask(self, number: int) -> str:
        """Return the mask of the first structure in the number-th image, which every image of its modality shows."""
        image = self.image(number).rpartition("/")[2].removesuffix(".png")
        return f"{FOLDER}/masks/{image}--0001.png"

    def redraw(self, number: int, change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> str:
        path = self.mask(number)
        with Image.open(self.root / path) as image:
            pixels = np.array(image)
        write_png(self.root / path, change(pixels))
        return path


Plant = Callable[[_Planter, int], str]


def _remove_file(planter: _Planter, number: int) -> str:
    (planter.root / planter.mask(number)).unlink()
    return planter.mask(number)


def _tear_file(planter: _Planter, number: int) -> str:
    path = planter.image(number)
    tear(planter.root / path)
    return path


def _redrawing(change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> Plant:
    """Return a planter that changes the pixels of a mask."""
    return lambda planter, number: planter.redraw(number, change)


def _changing(file: str, key: str, value: Callable[[Any], Any]) -> Plant:
    """Return a planter that gives one field of a record another value, made from its own."""
    return lambda planter, number: planter.change(file, number, lambda record: record.update({key: value(record[key])}))


def _dropping(file: str, key: str) -> Plant:
    """Return a planter that takes a field out of a record."""
    return lambda planter, number: planter.change(file, number, lambda record: record.pop(key))


def _leak(planter: _Planter, number: int) -> str:
    """Copy a test record into train."""
    record, train = planter.records(EXPLAINED)[number], file_of("train", SUBSETS[2])
    write_json(planter.root / train, [*planter.records(train), record | {"id": "leaked"}])
    return f"{FOLDER}/{record['image']}"


# Name -> how the defect is planted; returns the place: a file below the data root, or `file[record]`. The position in
# this table decides where a defect goes, so new ones are added at the end.
DEFECTS: Mapping[str, Plant] = {
    "missing_file": _remove_file,
    "unreadable_file": _tear_file,
    "size_mismatch": _redrawing(lambda pixels: np.ascontiguousarray(pixels[::2, ::2])),
    "empty_mask": _redrawing(np.zeros_like),
    "full_mask": _redrawing(lambda pixels: np.full_like(pixels, 255)),
    "inverted_mask": _redrawing(lambda pixels: 255 - pixels),
    "missing_suffix": _changing(EXPLAINED, "image", lambda path: path.removesuffix(".png")),
    "closing_tag": _changing(EXPLAINED, "answer", lambda text: text.replace("</p>", "<p>")),
    "token_outside": _changing(EXPLAINED, "answer", lambda text: text.replace("<SEG></p>", "</p> [SEG]")),
    "other_name": _changing(EXPLAINED, "answer", lambda text: text.replace("<p>", "<p>not the ")),
    "missing_words": _dropping(POINTED, "instruction"),
    "missing_prompt": _dropping(POINTED, "prompt"),
    "prompt_outside": _changing(POINTED, "prompt", lambda _: {"box": [-40, 0, -1, 10]}),
    "prompt_beside": _changing(POINTED, "prompt", lambda _: {"points": [[0, 0]]}),
    "missing_entities": _dropping(EXPLAINED, "entities"),
    "broken_runs": _changing(INSTRUCTED, "entities", lambda found: [found[0] | {"mask": {"size": [4], "counts": "0"}}]),
    "duplicate_id": _changing(INSTRUCTED, "id", lambda _: "00000"),
    "train_overlap": _leak,
}
