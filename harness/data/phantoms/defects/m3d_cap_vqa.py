"""The defects that M3D-Cap and M3D-VQA have, planted on purpose into phantom ones."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from harness.data.phantoms.defects.planting import Planted, check_names
from harness.data.phantoms.writers.m3d_vqa import read_table, write_table
from harness.data.phantoms.writers.samed2d import write_json
from harness.data.releases.m3d import vqa
from harness.data.releases.m3d.cap import LISTINGS

Row = dict[str, str]
Content = dict[str, list[Row]]
PlantCap = Callable[[Path, Content, int], str]
ChangeRow = Callable[[Row, list[Row]], None]


def plant_m3d_cap(root: Path, defects: frozenset[str]) -> tuple[Planted, ...]:
    """Plant each defect once into the test part of a phantom M3D-Cap, always in the same places.

    Args:
        root: A data root that `write_m3d_family` has filled.
        defects: Keys of `CAP_DEFECTS`.
    Raises:
        SpecError: There is no such defect.
    """
    check_names(defects, CAP_DEFECTS)
    listing = root / LISTINGS[0]
    content = json.loads(listing.read_text(encoding="utf-8"))
    # Every defect has a number of its own, wanted or not, so that one never moves another.
    planted = tuple(
        Planted(name, put(root, content, number))
        for number, (name, put) in enumerate(CAP_DEFECTS.items())
        if name in defects
    )
    write_json(listing, content)
    return planted


def _patient(content: Content, number: int) -> dict[str, str]:
    """Return the first series of the number-th patient of test."""
    firsts = {entry["image"].rpartition("/")[0]: entry for entry in reversed(content["test"])}
    return list(reversed(firsts.values()))[number % len(firsts)]


def _spoiling(key: str, change: Callable[[Path], object]) -> PlantCap:
    """Return a planter that spoils a file of a patient: its `image` or its `text`."""

    def put(root: Path, content: Content, number: int) -> str:
        path = _patient(content, number)[key]
        change(root / path)
        return path

    return put


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


# Name -> how the defect is planted; returns the place.
CAP_DEFECTS: Mapping[str, PlantCap] = {
    "missing_volume": _spoiling("image", Path.unlink),
    "unreadable_volume": _spoiling("image", lambda path: path.write_bytes(path.read_bytes()[:1000])),
    "missing_text": _spoiling("text", Path.unlink),
    "empty_text": _spoiling("text", lambda path: path.write_text(" \n", encoding="utf-8")),
    "latin_1_text": _spoiling(
        "text",
        lambda path: path.write_bytes("Nodule of 5 mm, Fleischner criteria: suivi à un an.".encode("latin-1")),
    ),
    "train_test_overlap": _list_in_train,
    "patient_overlap": _train_on_patient,
    "entry_without_text": _drop_text,
}


def plant_m3d_vqa(root: Path, defects: frozenset[str]) -> tuple[Planted, ...]:
    """Plant each defect once into the test questions of a phantom M3D-VQA, always in the same places.

    Args:
        root: A data root that `write_m3d_family` has filled.
        defects: Keys of `VQA_DEFECTS`.
    Raises:
        SpecError: There is no such defect.
    """
    check_names(defects, VQA_DEFECTS)
    test, train = (root / vqa.FILES[split] for split in ("test", "train"))
    asked, trained = read_table(test), read_table(train)
    planted = []
    # The number of a defect is the number of its row, wanted or not, so that one never moves another.
    for number, (name, change) in enumerate(VQA_DEFECTS.items()):
        if name in defects:
            change(asked[number], trained)
            planted.append(Planted(name, f"{vqa.FILES['test']}[{number}]"))
    write_table(test, asked)
    write_table(train, trained)
    return tuple(planted)


def _lose_choices(row: Row, _: list[Row]) -> None:
    """Write `NA` for two options that are wrong."""
    wrong = [letter for letter in vqa.CHOICES if letter != row[vqa.LETTER]]
    for letter in wrong[-2:]:
        row[vqa.CHOICES[letter]] = "NA"


def _shift_letter(row: Row, _: list[Row]) -> None:
    letters = list(vqa.CHOICES)
    row[vqa.LETTER] = letters[(letters.index(row[vqa.LETTER]) + 1) % len(letters)]


def _setting(column: str, value: str) -> ChangeRow:
    return lambda row, _: row.update({column: value})


# Name -> how the defect is planted: takes a row of test and all rows of train.
VQA_DEFECTS: Mapping[str, ChangeRow] = {
    "na_option": _lose_choices,
    "letter_of_another_option": _shift_letter,
    "answer_not_among_options": _setting(vqa.ANSWER, "something else"),
    "no_question": _setting(vqa.QUESTION, ""),
    "no_option": _setting(vqa.CHOICES["B"], ""),
    "unknown_type": _setting(vqa.TYPE, "6"),
    "missing_volume": lambda row, _: row.update({vqa.IMAGE: row[vqa.IMAGE].replace(".npy", "_lost.npy")}),
    "train_test_overlap": lambda row, trained: trained.append(dict(row)),
}
