"""The defects that the OmniMedVQA release has or may have, planted on purpose into a phantom one."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.data.phantoms.defects.planting import Planted, check_names, tear
from harness.data.phantoms.writers.samed2d import write_json
from harness.data.releases.vqa.omnimedvqa import FOLDER, OPEN, OPTION_KEYS
from harness.errors import SpecError
from harness.records import Json


def plant_omnimedvqa(root: Path, defects: frozenset[str]) -> tuple[Planted, ...]:
    """Plant each defect once into the open-access part below `root`, on an image of its own, always in the same place.

    Args:
        root: A data root that `write_omnimedvqa` has filled.
        defects: Keys of `DEFECTS`.
    Raises:
        SpecError: There is no such defect, or no record with as many options as it needs.
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
    """A record and its place, as `file[record]`."""

    where: str
    record: dict[str, Any]


@dataclass(slots=True)
class _Planter:
    """The open-access part of a phantom release, into which defects are planted."""

    root: Path
    files: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for path in sorted((self.root / OPEN).glob("*.json")):
            self.files[f"{OPEN}/{path.name}"] = json.loads(path.read_text(encoding="utf-8"))

    def take(self, options: int) -> _PlantedRecord:
        """Return the first record with that many options whose image no other defect has taken."""
        for file, records in self.files.items():
            for number, record in enumerate(records):
                if record["image_path"] not in self.taken and sum(key in record for key in OPTION_KEYS) == options:
                    self.taken.add(record["image_path"])
                    return _PlantedRecord(f"{file}[{number}]", record)
        raise SpecError(
            f"defects: expected a record with {options} options to plant one, found none; draw more patients"
        )

    def write(self) -> None:
        for file, records in self.files.items():
            write_json(self.root / file, records)


@dataclass(frozen=True, slots=True)
class _Defect:
    """A defect of a record.

    Attributes:
        change: Changes the record, or the file that it names.
        options: Number of options that the record must have.
    """

    change: Callable[[_Planter, dict[str, Any]], object]
    options: int = 2


def _with(**values: Json) -> _Defect:
    """Return a defect that gives a record other values."""
    return _Defect(lambda _, record: record.update(values))


def _without(key: str) -> _Defect:
    """Return a defect that takes a key out of a record."""
    return _Defect(lambda _, record: record.pop(key))


def _rename_modality(_: _Planter, record: dict[str, Any]) -> None:
    record["modality"] = record.pop("modality_type")


def _wrong_options(record: Mapping[str, Any]) -> list[str]:
    return [key for key in OPTION_KEYS if key in record and record[key] != record["gt_answer"]]


def _drop_options(_: _Planter, record: dict[str, Any], wanted: int | None = None) -> None:
    """Take the first `wanted` wrong options out of a record, or all."""
    for key in _wrong_options(record)[:wanted]:
        del record[key]


def _repeat_option(_: _Planter, record: dict[str, Any]) -> None:
    record[_wrong_options(record)[-1]] = record["gt_answer"]


def _write_numbers(_: _Planter, record: dict[str, Any]) -> None:
    options = {key: number for number, key in enumerate(key for key in OPTION_KEYS if key in record)}
    right = next(key for key in options if record[key] == record["gt_answer"])
    record.update(options, gt_answer=options[right])


def _repeat_id(planter: _Planter, record: dict[str, Any]) -> None:
    first = next(iter(planter.files.values()))[0]
    record["question_id"] = first["question_id"]


# Name -> how the defect is planted. Records are taken in this order, so new defects are added at the end.
DEFECTS: Mapping[str, _Defect] = {
    "modality_key": _Defect(_rename_modality),
    "null_option": _with(option_C=None),
    "missing_option": _Defect(lambda planter, record: _drop_options(planter, record, 1), options=4),
    "duplicate_option": _Defect(_repeat_option, options=4),
    "single_option": _Defect(_drop_options),
    "answer_not_among_options": _with(gt_answer="none of these"),
    "answer_spelling": _Defect(lambda _, record: record.update(gt_answer=record["gt_answer"].swapcase()), options=4),
    "blank": _Defect(lambda _, record: record.update(gt_answer=record["gt_answer"] + " ")),
    "non_text_answer": _Defect(_write_numbers),
    "missing_answer": _without("gt_answer"),
    "missing_id": _without("question_id"),
    "missing_image_path": _without("image_path"),
    "missing_question_type": _without("question_type"),
    "unknown_modality": _with(modality_type="Thermography"),
    "missing_file": _Defect(lambda planter, record: (planter.root / FOLDER / record["image_path"]).unlink()),
    "unreadable_file": _Defect(lambda planter, record: tear(planter.root / FOLDER / record["image_path"])),
    "duplicate_id": _Defect(_repeat_id),
}
