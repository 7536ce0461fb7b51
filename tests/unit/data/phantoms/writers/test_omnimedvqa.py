"""Phantom OmniMedVQA: choices that nothing but the image decides, and every defect found where it was planted."""

import json
import shutil
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from harness.data.integrity import Integrity
from harness.data.manifest import read_manifest, read_report
from harness.data.phantoms.defects.omnimedvqa import DEFECTS, plant_omnimedvqa
from harness.data.phantoms.writers.omnimedvqa import RESTRICTED_MODALITIES, write_omnimedvqa
from harness.data.releases.vqa.omnimedvqa import FOLDER, OPEN, OPTION_KEYS, RESTRICTED
from harness.errors import DataError, SpecError
from harness.records import Sample
from harness.tasks.prepare import prepare_release
from harness.tasks.spec import Release

PATIENTS = 30
FOUND = {
    "duplicate_option": "duplicate_option",
    "single_option": "missing_value",
    "answer_not_among_options": "answer_not_among_options",
    "missing_answer": "missing_value",
    "missing_image_path": "missing_value",
    "missing_question_type": "missing_value",
    "unknown_modality": "unknown_value",
    "missing_file": "missing_file",
    "unreadable_file": "unreadable_file",
}
REPAIRED = {
    "modality_key": "modality_key",
    "null_option": "empty_option_dropped",
    "missing_option": "options_lettered_anew",
    "answer_spelling": "answer_spelling",
    "blank": "blanks_trimmed",
    "non_text_answer": "value_cast_to_text",
    "missing_id": "id_from_row",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom")
    write_omnimedvqa(folder, 0, patients=PATIENTS)
    return folder


def records(root: Path, part: str = OPEN) -> list[dict[str, Any]]:
    return [record for path in sorted((root / part).glob("*.json")) for record in json.loads(path.read_text())]


def at(root: Path, place: str) -> dict[str, Any]:
    """Return the record at `file[number]`."""
    file, _, number = place.removesuffix("]").partition("[")
    found: dict[str, Any] = json.loads((root / file).read_text())[int(number)]
    return found


def options(record: dict[str, Any]) -> list[str]:
    return [record[key] for key in OPTION_KEYS if key in record]


def prepared(root: Path, cache: Path) -> tuple[list[Sample], Integrity]:
    found = prepare_release(
        Release(reader="omnimedvqa", split="all"), dataset="omnimedvqa", window=None, roots=[root], cache=cache
    )
    return list(read_manifest(found.manifest)), read_report(found.integrity)


@pytest.fixture(scope="module")
def clean(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Sample], Integrity]:
    return prepared(root, tmp_path_factory.mktemp("cache"))


def test_the_same_seed_writes_the_same_bytes_and_another_other_ones(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_omnimedvqa(tmp_path / name, seed, patients=6)
    contents = [
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in "abc"
    ]
    assert contents[0] == contents[1]
    assert contents[0].keys() == contents[2].keys()
    assert contents[0] != contents[2]


def test_the_reader_finds_nothing_wrong(clean: tuple[list[Sample], Integrity]) -> None:
    samples, integrity = clean
    assert (integrity.counts, integrity.defective) == ({"not_asked": 1}, 0)
    assert integrity.repairs.keys() == {"modality_spelling"}
    assert all(sample.target.choice and sample.target.answers[0] in sample.choices for sample in samples)


def test_every_value_of_every_stratum_is_asked_about(clean: tuple[list[Sample], Integrity]) -> None:
    found = defaultdict(set)
    for sample in clean[0]:
        for key, value in sample.strata.items():
            found[key].add(value)
    assert found["modality"] == {"ct", "mr", "oct", "xray", "us", "derm", "fundus", "micro"}
    assert found["options"] == {"2", "3", "4"}
    assert (len(found["question_type"]), len(found["source"])) == (5, 8)


def test_neither_a_letter_nor_an_option_gives_the_answer_away(root: Path) -> None:
    letters: dict[int, Counter[int]] = defaultdict(Counter)
    right: Counter[tuple[int, str]] = Counter()
    shown: Counter[tuple[int, str]] = Counter()
    for record in records(root):
        found = options(record)
        letters[len(found)][found.index(record["gt_answer"])] += 1
        right[len(found), record["gt_answer"]] += 1
        shown.update((len(found), option) for option in found)
    for count, places in letters.items():
        chance = places.total() / count
        assert all(abs(places[place] - chance) <= max(3, 0.1 * chance) for place in range(count)), (count, places)
    for count, option in shown:
        share = right[count, option] / shown[count, option]
        assert share == pytest.approx(1 / count, abs=0.0 if count < 4 else 0.06), option


def test_every_wording_has_every_answer_of_its_options_equally_often(root: Path) -> None:
    answers: dict[tuple[str, tuple[str, ...]], Counter[str]] = defaultdict(Counter)
    for record in records(root):
        if len(options(record)) < 4:
            answers[record["question"], tuple(sorted(options(record)))][record["gt_answer"]] += 1
    assert len(answers) > 30
    for (question, offered), counts in answers.items():
        assert len(set(counts.values())) == 1, question
        assert counts.keys() == set(offered), question


def test_the_restricted_part_has_questions_and_no_images(root: Path) -> None:
    assert {record["modality_type"] for record in records(root, RESTRICTED)} == set(RESTRICTED_MODALITIES.values())
    assert not any((root / FOLDER / record["image_path"]).exists() for record in records(root, RESTRICTED))


def test_no_patients_are_an_empty_release(tmp_path: Path) -> None:
    write_omnimedvqa(tmp_path, 0, patients=0)
    assert list(tmp_path.rglob("*.json")) == []


@pytest.fixture(scope="module")
def spoilt(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], list[Sample], Integrity]:
    """Where each defect but the one that ends everything was planted, and what the reader says of it."""
    folder = tmp_path_factory.mktemp("spoilt")
    shutil.copytree(root, folder, dirs_exist_ok=True)
    planted = plant_omnimedvqa(folder, frozenset(DEFECTS) - {"duplicate_id"})
    return {one.defect: one.where for one in planted}, *prepared(folder, tmp_path_factory.mktemp("cache"))


def test_every_defect_is_named_by_a_test() -> None:
    assert {*FOUND, *REPAIRED, "duplicate_id"} == set(DEFECTS)


@pytest.mark.parametrize("defect", FOUND)
def test_a_defect_is_found_where_it_was_planted(
    defect: str, root: Path, spoilt: tuple[dict[str, str], list[Sample], Integrity]
) -> None:
    place = spoilt[0][defect]
    record = at(root, place)
    image, sample = f"{FOLDER}/{record['image_path']}", f"omnimedvqa/all/{record['question_id']}"
    found = {finding.where for finding in spoilt[2].findings if finding.kind == FOUND[defect]}
    assert found & {place, image, sample}


@pytest.mark.parametrize("defect", REPAIRED)
def test_a_defect_is_repaired_where_it_was_planted(
    defect: str, spoilt: tuple[dict[str, str], list[Sample], Integrity]
) -> None:
    assert spoilt[0][defect] in spoilt[2].examples[REPAIRED[defect]]


def test_defects_cost_only_the_samples_that_cannot_be_asked(
    root: Path, clean: tuple[list[Sample], Integrity], spoilt: tuple[dict[str, str], list[Sample], Integrity]
) -> None:
    places, samples, _ = spoilt
    assert len(samples) == len(clean[0])
    gone = {at(root, places[name])["image_path"] for name in ("missing_file", "unreadable_file")}
    lost = {record["question_id"] for record in records(root) if record["image_path"] in gone}
    lost |= {
        at(root, places[name])["question_id"] for name in ("single_option", "missing_answer", "missing_image_path")
    }
    assert {sample.id.rpartition("/")[2] for sample in samples if sample.defect is not None} == lost
    without_letter = [sample.target.answers for sample in samples if sample.target.choice is None]
    assert sorted(without_letter) == [(), ("none of these",)]


def test_a_duplicate_id_ends_the_preparation(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "data")
    plant_omnimedvqa(tmp_path / "data", frozenset({"duplicate_id"}))
    with pytest.raises(DataError, match=r"omnimedvqa/all/\w+_0001: expected every sample id once, found it at"):
        prepared(tmp_path / "data", tmp_path / "cache")


def test_one_defect_stays_in_place_whatever_else_is_planted(
    root: Path, tmp_path: Path, spoilt: tuple[dict[str, str], list[Sample], Integrity]
) -> None:
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    (planted,) = plant_omnimedvqa(tmp_path, frozenset({"missing_option"}))
    assert planted.where == spoilt[0]["missing_option"]
    changed = [new for old, new in zip(records(root), records(tmp_path), strict=True) if old != new]
    assert len(changed) == 1


def test_an_unknown_defect_names_the_nearest(root: Path) -> None:
    with pytest.raises(SpecError, match=r"found 'null_opton' \(did you mean 'null_option'\?\)"):
        plant_omnimedvqa(root, frozenset({"null_opton"}))


def test_too_few_patients_for_the_defects_is_an_error(tmp_path: Path) -> None:
    write_omnimedvqa(tmp_path, 0, patients=3)
    with pytest.raises(SpecError, match="expected a record with 4 options to plant one, found none; draw more"):
        plant_omnimedvqa(tmp_path, frozenset({"missing_option"}))
