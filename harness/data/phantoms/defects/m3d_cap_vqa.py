"""The defects that M3D-Cap and M3D-VQA have, planted on purpose into drawn ones."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from harness.data.phantoms.defects.planting import Planted, check_names
from harness.data.phantoms.writers.m3d_vqa import read_table, write_table
from harness.data.phantoms.writers.samed2d import write_json
from harness.data.releases.m3d import vqa
from harness.data.releases.m3d.cap import LISTINGS

Content = dict[str, list[dict[str, str]]]
PlantCap = Callable[[Path, Content, int], str]
Rows = list[dict[str, str]]
PlantVqa = Callable[[Rows, Rows, int], int]


def plant_m3d_cap(root: Path, defects: frozenset[str]) -> tuple[Planted, ...]:
    """Plant each defect once into the test part of a drawn M3D-Cap, always in the same places.

    Raises:
        SpecError: There is no such defect.
    """
    check_names(defects, CAP_DEFECTS)
    listing = root / LISTINGS[0]
    content = json.loads(listing.read_text(encoding="utf-8"))
    planted = []
    for number, (name, put) in enumerate(CAP_DEFECTS.items()):
        if name in defects:
            planted.append(Planted(name, put(root, content, number)))
    write_json(listing, content)
    return tuple(planted)


def _patient(content: Content, number: int) -> dict[str, str]:
    """Return the first series of the number-th patient of test."""
    firsts = {entry["image"].rpartition("/")[0]: entry for entry in reversed(content["test"])}
    return list(reversed(firsts.values()))[number % len(firsts)]


def _remove_volume(root: Path, content: Content, number: int) -> str:
    path = _patient(content, number)["image"]
    (root / path).unlink()
    return path


def _tear_volume(root: Path, content: Content, number: int) -> str:
    path = _patient(content, number)["image"]
    (root / path).write_bytes((root / path).read_bytes()[:1000])
    return path


def _remove_text(root: Path, content: Content, number: int) -> str:
    path = _patient(content, number)["text"]
    (root / path).unlink()
    return path


def _clear_text(root: Path, content: Content, number: int) -> str:
    path = _patient(content, number)["text"]
    (root / path).write_text(" \n", encoding="utf-8")
    return path


def _write_latin_1(root: Path, content: Content, number: int) -> str:
    path = _patient(content, number)["text"]
    (root / path).write_bytes("Nodule of 5 mm, Fleischner criteria: suivi à un an.".encode("latin-1"))
    return path


def _list_in_train(root: Path, content: Content, number: int) -> str:
    del root
    entry = _patient(content, number)
    content["train"].append(dict(entry))
    return entry["image"]


def _train_on_patient(root: Path, content: Content, number: int) -> str:
    """Give a test patient another series, and list it under train."""
    entry = _patient(content, number)
    other = f"{entry['image'].removesuffix('.npy')}_repeated.npy"
    (root / other).write_bytes((root / entry["image"]).read_bytes())
    content["train"].append({"image": other, "text": entry["text"]})
    return entry["image"]


def _drop_text(root: Path, content: Content, number: int) -> str:
    del root
    entry = _patient(content, number)
    entry.pop("text")
    return entry["image"]


CAP_DEFECTS: Mapping[str, PlantCap] = {
    "missing_volume": _remove_volume,
    "unreadable_volume": _tear_volume,
    "missing_text": _remove_text,
    "empty_text": _clear_text,
    "latin_1_text": _write_latin_1,
    "train_test_overlap": _list_in_train,
    "patient_overlap": _train_on_patient,
    "entry_without_text": _drop_text,
}
"""Name -> how it is planted; returns the place."""


def plant_m3d_vqa(root: Path, defects: frozenset[str]) -> tuple[Planted, ...]:
    """Plant each defect once into the test questions of a drawn M3D-VQA, always in the same places.

    Raises:
        SpecError: There is no such defect.
    """
    check_names(defects, VQA_DEFECTS)
    test, train = (root / vqa.FILES[split] for split in ("test", "train"))
    asked, trained = read_table(test), read_table(train)
    planted = []
    for number, (name, put) in enumerate(VQA_DEFECTS.items()):
        if name in defects:
            planted.append(Planted(name, f"{vqa.FILES['test']}[{put(asked, trained, number)}]"))
    write_table(test, asked)
    write_table(train, trained)
    return tuple(planted)


def _lose_choices(asked: Rows, _: Rows, number: int) -> int:
    """Write `NA` for two options that are wrong."""
    row = asked[number]
    wrong = [letter for letter in vqa.CHOICES if letter != row[vqa.LETTER]]
    for letter in wrong[-2:]:
        row[vqa.CHOICES[letter]] = "NA"
    return number


def _shift_letter(asked: Rows, _: Rows, number: int) -> int:
    letters = list(vqa.CHOICES)
    place = letters.index(asked[number][vqa.LETTER])
    asked[number][vqa.LETTER] = letters[(place + 1) % len(letters)]
    return number


def _answer_elsewhere(asked: Rows, _: Rows, number: int) -> int:
    asked[number][vqa.ANSWER] = "something else"
    return number


def _without(column: str) -> PlantVqa:
    def remove(asked: Rows, _: Rows, number: int) -> int:
        asked[number][column] = ""
        return number

    return remove


def _unknown_type(asked: Rows, _: Rows, number: int) -> int:
    asked[number][vqa.TYPE] = "6"
    return number


def _name_another_volume(asked: Rows, _: Rows, number: int) -> int:
    asked[number][vqa.IMAGE] = asked[number][vqa.IMAGE].replace(".npy", "_lost.npy")
    return number


def _train_on_volume(asked: Rows, trained: Rows, number: int) -> int:
    trained.append(dict(asked[number]))
    return number


VQA_DEFECTS: Mapping[str, PlantVqa] = {
    "na_option": _lose_choices,
    "letter_of_another_option": _shift_letter,
    "answer_not_among_options": _answer_elsewhere,
    "no_question": _without(vqa.QUESTION),
    "no_option": _without(vqa.CHOICES["B"]),
    "unknown_type": _unknown_type,
    "missing_volume": _name_another_volume,
    "train_test_overlap": _train_on_volume,
}
"""Name -> how it is planted; returns the row."""
