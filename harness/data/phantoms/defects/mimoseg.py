"""The defects that a MIMOSeg folder may have, planted on purpose into the test part of a drawn one."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.data.phantoms.defects.planting import Planted, check_names
from harness.data.phantoms.writers.samed2d import write_json, write_png
from harness.data.releases.mimoseg.reader import FOLDER, SUBSETS, file_of

INSTRUCTED, POINTED, EXPLAINED, _ = (file_of("test", subset) for subset in SUBSETS)


def plant_mimoseg(root: Path, defects: frozenset[str]) -> tuple[Planted, ...]:
    """Plant each defect once, always in the same place, and return where.

    Args:
        root: The data root of a folder as `write_mimoseg` draws it.
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
    """The test part of a drawn folder."""

    root: Path

    def records(self, file: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads((self.root / file).read_text(encoding="utf-8"))
        return found

    def change(self, file: str, number: int, change: Callable[[dict[str, Any]], None]) -> str:
        """Change the number-th record with one entity; return where it stands."""
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
        """Return the mask of the first structure in the number-th image, which every picture of its look shows."""
        image = self.image(number).rpartition("/")[2].removesuffix(".png")
        return f"{FOLDER}/masks/{image}--0001.png"

    def redraw(self, number: int, change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> str:
        path = self.mask(number)
        with Image.open(self.root / path) as image:
            pixels = np.array(image)
        write_png(self.root / path, change(pixels))
        return path


def _remove_file(planter: _Planter, number: int) -> str:
    (planter.root / planter.mask(number)).unlink()
    return planter.mask(number)


def _tear_file(planter: _Planter, number: int) -> str:
    path = planter.image(number)
    content = (planter.root / path).read_bytes()
    (planter.root / path).write_bytes(content[: len(content) // 3])
    return path


def _shrink(planter: _Planter, number: int) -> str:
    return planter.redraw(number, lambda pixels: np.ascontiguousarray(pixels[::2, ::2]))


def _clear(planter: _Planter, number: int) -> str:
    return planter.redraw(number, np.zeros_like)


def _fill(planter: _Planter, number: int) -> str:
    return planter.redraw(number, lambda pixels: np.full_like(pixels, 255))


def _invert(planter: _Planter, number: int) -> str:
    return planter.redraw(number, lambda pixels: 255 - pixels)


def _setting(file: str, key: str, value: Callable[[Any], Any]) -> "Plant":
    """Return what gives one field of a record another value."""

    def put(planter: _Planter, number: int) -> str:
        def change(record: dict[str, Any]) -> None:
            record[key] = value(record[key])

        return planter.change(file, number, change)

    return put


def _dropping(file: str, key: str) -> "Plant":
    """Return what takes a field out of a record."""
    return lambda planter, number: planter.change(file, number, lambda record: record.pop(key))


def _repeat_id(planter: _Planter, number: int) -> str:
    return planter.change(INSTRUCTED, number, lambda record: record.update(id="00000"))


def _shift_box(record: dict[str, Any]) -> None:
    record["prompt"] = {"box": [-40, 0, -1, 10]}


def _point_beside(record: dict[str, Any]) -> None:
    record["prompt"] = {"points": [[0, 0]]}


def _leak(planter: _Planter, number: int) -> str:
    """Put a test record into train as well."""
    record, train = planter.records(EXPLAINED)[number], file_of("train", SUBSETS[2])
    write_json(planter.root / train, [*planter.records(train), record | {"id": "leaked"}])
    return f"{FOLDER}/{record['image']}"


Plant = Callable[[_Planter, int], str]

DEFECTS: Mapping[str, Plant] = {
    "missing_file": _remove_file,
    "unreadable_file": _tear_file,
    "size_mismatch": _shrink,
    "empty_mask": _clear,
    "full_mask": _fill,
    "inverted_mask": _invert,
    "missing_suffix": _setting(EXPLAINED, "image", lambda path: path.removesuffix(".png")),
    "closing_tag": _setting(EXPLAINED, "answer", lambda text: text.replace("</p>", "<p>")),
    "token_outside": _setting(EXPLAINED, "answer", lambda text: text.replace("<SEG></p>", "</p> [SEG]")),
    "other_name": _setting(EXPLAINED, "answer", lambda text: text.replace("<p>", "<p>not the ")),
    "missing_words": _dropping(POINTED, "instruction"),
    "missing_prompt": _dropping(POINTED, "prompt"),
    "prompt_outside": lambda planter, number: planter.change(POINTED, number, _shift_box),
    "prompt_beside": lambda planter, number: planter.change(POINTED, number, _point_beside),
    "missing_entities": _dropping(EXPLAINED, "entities"),
    "broken_runs": _setting(INSTRUCTED, "entities", lambda found: [found[0] | {"mask": {"size": [4], "counts": "0"}}]),
    "duplicate_id": _repeat_id,
    "train_overlap": _leak,
}
"""Name -> how it is planted; returns the place: a file below the data root, or `file[record]`."""
