"""The defects that the OmniMedVQA release has or may have, planted on purpose into a drawn one."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.data.phantoms.defects.planting import Planted, check_names
from harness.data.phantoms.writers.samed2d import write_json
from harness.data.releases.vqa.omnimedvqa import FOLDER, OPEN, OPTION_KEYS
from harness.errors import SpecError
from harness.records import Json


def plant_omnimedvqa(root: Path, defects: frozenset[str]) -> tuple[Planted, ...]:
    """Plant each defect once into the open-access part below `root`, on an image of its own, always in the same place.

    Raises:
        SpecError: There is no such defect.
    """
    check_names(defects, DEFECTS)
    planter = _Planter(root)
    # Every defect takes its place whether it is wanted or not, so that one never moves another.
    places = {name: planter.take(defect.options) for name, defect in DEFECTS.items()}
    for name in sorted(defects):
        DEFECTS[name].change(planter, places[name].record)
    planter.write()
    return tuple(Planted(name, places[name].where) for name in DEFECTS if name in defects)


@dataclass(frozen=True, slots=True)
class _PlantedRecord:
    """A record, and where it stands."""

    where: str
    record: dict[str, Any]


@dataclass(slots=True)
class _Planter:
    """The open-access part of a drawn release: where defects are put."""

    root: Path
    files: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for path in sorted((self.root / OPEN).glob("*.json")):
            self.files[f"{OPEN}/{path.name}"] = json.loads(path.read_text(encoding="utf-8"))

    def take(self, options: int) -> _PlantedRecord:
        """Return the first record with so many options on an image that nobody has taken."""
        for file, records in self.files.items():
            for number, record in enumerate(records):
                if record["image_path"] not in self.taken and sum(key in record for key in OPTION_KEYS) == options:
                    self.taken.add(record["image_path"])
                    return _PlantedRecord(f"{file}[{number}]", record)
        raise SpecError(
            f"defects: expected a record with {options} options to plant one, found none; draw more patients"
        )

    @property
    def first(self) -> dict[str, Any]:
        """The first record of all."""
        return next(iter(self.files.values()))[0]

    def write(self) -> None:
        for file, records in self.files.items():
            write_json(self.root / file, records)


@dataclass(frozen=True, slots=True)
class _Defect:
    """How a defect is put into a record.

    Attributes:
        change: Changes the record, or the file that it names.
        options: How many options the record must have.
    """

    change: Callable[[_Planter, dict[str, Any]], None]
    options: int = 2


def _with(**values: Json) -> _Defect:
    return _Defect(lambda _, record: record.update(values))


def _without(key: str) -> _Defect:
    return _Defect(lambda _, record: record.pop(key))


def _rename_modality(_: _Planter, record: dict[str, Any]) -> None:
    record["modality"] = record.pop("modality_type")


def _wrong_options(record: Mapping[str, Any]) -> list[str]:
    return [key for key in OPTION_KEYS if key in record and record[key] != record["gt_answer"]]


def _drop_option(_: _Planter, record: dict[str, Any]) -> None:
    del record[min(_wrong_options(record))]


def _repeat_option(_: _Planter, record: dict[str, Any]) -> None:
    record[_wrong_options(record)[-1]] = record["gt_answer"]


def _leave_one(_: _Planter, record: dict[str, Any]) -> None:
    for key in _wrong_options(record):
        del record[key]


def _write_loosely(_: _Planter, record: dict[str, Any]) -> None:
    record["gt_answer"] = record["gt_answer"].swapcase()


def _add_blanks(_: _Planter, record: dict[str, Any]) -> None:
    record["gt_answer"] += " "


def _write_numbers(_: _Planter, record: dict[str, Any]) -> None:
    options = {key: number for number, key in enumerate(key for key in OPTION_KEYS if key in record)}
    right = next(key for key in options if record[key] == record["gt_answer"])
    record.update(options, gt_answer=options[right])


def _repeat_id(planter: _Planter, record: dict[str, Any]) -> None:
    record["question_id"] = planter.first["question_id"]


def _remove_image(planter: _Planter, record: dict[str, Any]) -> None:
    (planter.root / FOLDER / record["image_path"]).unlink()


def _tear_image(planter: _Planter, record: dict[str, Any]) -> None:
    path = planter.root / FOLDER / record["image_path"]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 3])


DEFECTS: Mapping[str, _Defect] = {
    "modality_key": _Defect(_rename_modality),
    "null_option": _with(option_C=None),
    "missing_option": _Defect(_drop_option, options=4),
    "duplicate_option": _Defect(_repeat_option, options=4),
    "single_option": _Defect(_leave_one),
    "answer_not_among_options": _with(gt_answer="none of these"),
    "answer_spelling": _Defect(_write_loosely, options=4),
    "blank": _Defect(_add_blanks),
    "non_text_answer": _Defect(_write_numbers),
    "missing_answer": _without("gt_answer"),
    "missing_id": _without("question_id"),
    "missing_image_path": _without("image_path"),
    "missing_question_type": _without("question_type"),
    "unknown_modality": _with(modality_type="Thermography"),
    "missing_file": _Defect(_remove_image),
    "unreadable_file": _Defect(_tear_image),
    "duplicate_id": _Defect(_repeat_id),
}
"""Name -> how it is planted."""
