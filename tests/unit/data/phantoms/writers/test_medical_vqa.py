"""Phantom SLAKE, PathVQA, PMC-VQA and MMMU: clean as written, balanced, and every planted defect named."""

import hashlib
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.data.integrity import Integrity
from harness.data.phantoms.defects import medical_vqa as defects
from harness.data.phantoms.families import family_of
from harness.data.phantoms.writers.medical_vqa import write_pathvqa, write_pmc_vqa, write_slake
from harness.data.phantoms.writers.mmmu import write_mmmu
from harness.data.releases import READERS
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.reader import ReleaseRequest
from harness.errors import SpecError
from harness.records import Sample

WRITERS: Mapping[str, Callable[[Path, int], None]] = {
    "slake": write_slake,
    "pathvqa": write_pathvqa,
    "pmc_vqa": write_pmc_vqa,
    "mmmu": write_mmmu,
}
REQUESTS: Mapping[str, dict[str, Any]] = {
    "slake": {"options": {"choices": "closed"}},
    "pathvqa": {"options": {"layout": "hub", "choices": "closed"}},
    "pmc_vqa": {"subset": "v1", "split": "test_clean"},
    "mmmu": {"subset": "health_and_medicine"},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom")
    for write in WRITERS.values():
        write(folder, 0)
    return folder


def read(root: Path, name: str, **changes: Any) -> tuple[list[Sample], Integrity]:
    integrity = Integrity()
    request = ReleaseRequest(**{"dataset": name, "split": "test"} | REQUESTS[name] | changes)
    files = ReleaseFiles(root=root, derived=root.parent / "derived")
    samples = [sample for _, sample in READERS[name].read(files, request, integrity)]
    for sample in samples:
        integrity.count(sample)
    return samples, integrity


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("name", WRITERS)
def test_each_reader_has_a_family_of_its_own(name: str) -> None:
    assert family_of(name).readers == (name,)
    assert family_of(name).write is WRITERS[name]


def test_the_same_seed_writes_the_same_bytes_and_another_others(root: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        write_pathvqa(tmp_path / str(seed), seed)
    first, other = digests(tmp_path / "0"), digests(tmp_path / "1")
    whole = digests(root)
    assert first == {path: whole[path] for path in first}
    assert not set(first.values()) & set(other.values())


@pytest.mark.parametrize("name", WRITERS)
def test_a_clean_release_gives_no_finding(root: Path, name: str) -> None:
    splits = READERS[name].splits(root)
    parts = [{"split": split} for split in splits]
    if name == "pmc_vqa":
        parts += [{"split": split, "subset": "v2"} for split in ("train", "test")]
    for part in parts:
        samples, integrity = read(root, name, **part)
        assert samples
        assert (integrity.counts, integrity.defective) == ({}, 0)


@pytest.mark.parametrize("name", WRITERS)
def test_no_letter_is_right_more_often_than_another(root: Path, name: str) -> None:
    by_options: dict[int, Counter[str]] = defaultdict(Counter)
    for sample in read(root, name)[0]:
        if sample.target.choice is not None:
            by_options[len(sample.choices)][sample.target.choice] += 1
    for options, counts in by_options.items():
        if sum(counts.values()) >= 20:
            assert max(counts.values()) <= 1.6 * sum(counts.values()) / options


@pytest.mark.parametrize(("name", "where"), [("slake", {"language": ("en",)}), ("pathvqa", {})])
def test_the_words_of_a_closed_question_do_not_tell_its_answer(root: Path, name: str, where: dict[str, Any]) -> None:
    samples, _ = read(root, name, where={"answer_type": ("closed",), **where})
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for sample in samples:
        answers[sample.question][sample.target.answers[0]] += 1
    guessed = sum(counts.most_common(1)[0][1] for counts in answers.values() if len(counts) > 1)
    shared = sum(counts.total() for counts in answers.values() if len(counts) > 1)
    assert shared == 0 or guessed / shared <= 0.75
    assert set(Counter(sample.target.answers[0] for sample in samples)) >= {"yes", "no"}


def test_the_authors_pathvqa_repeats_questions_of_the_hub_s(root: Path) -> None:
    hub, _ = read(root, "pathvqa")
    authors, _ = read(root, "pathvqa", options={"layout": "authors", "choices": "closed"})
    assert len(authors) == len(hub) + 2
    assert len({(sample.question, sample.media[0].sha256) for sample in authors}) == len(hub)


def test_slake_asks_in_both_languages_openly_and_closed(root: Path) -> None:
    samples, _ = read(root, "slake")
    kinds = {(sample.strata["language"], sample.strata["answer_type"]) for sample in samples}
    assert kinds == {("en", "open"), ("en", "closed"), ("zh", "open"), ("zh", "closed")}


def test_mmmu_asks_with_several_images_and_openly(root: Path) -> None:
    samples, _ = read(root, "mmmu")
    assert {len(sample.media) for sample in samples} == {1, 3}
    assert any(sample.choices[:1] == ("<image 1>",) for sample in samples)
    assert {sample.strata["question_type"] for sample in samples} == {"open", "multiple-choice"}
    assert len({sample.strata["subject"] for sample in samples}) == 5


# Findings and repairs of the test part once every defect is planted.
FINDINGS: Mapping[str, dict[str, int]] = {
    "slake": {
        "missing_file": 1,
        "unreadable_file": 1,
        "train_test_overlap": 1,
        "missing_value": 2,
        "answer_not_among_options": 1,
    },
    "pathvqa": {"unreadable_file": 1, "missing_value": 2, "train_test_overlap": 1},
    "pmc_vqa": {
        "missing_file": 1,
        "answer_not_among_options": 1,
        "label_mismatch": 1,
        "missing_value": 2,
        "train_test_overlap": 1,
    },
    "mmmu": {
        "unreadable_options": 2,
        "missing_value": 1,
        "unreadable_file": 1,
        "answer_not_among_options": 1,
        "no_answer": 1,
    },
}

TABLES = {
    "slake": defects.SLAKE_DEFECTS,
    "pathvqa": defects.PATHVQA_DEFECTS,
    "pmc_vqa": defects.PMC_VQA_DEFECTS,
    "mmmu": defects.MMMU_DEFECTS,
}
PLANT: Mapping[str, Callable[[Path, frozenset[str]], dict[str, str]]] = {
    "slake": defects.plant_slake,
    "pathvqa": defects.plant_pathvqa,
    "pmc_vqa": defects.plant_pmc_vqa,
    "mmmu": defects.plant_mmmu,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_planted_defect_is_named_once_where_it_was_put(root: Path, name: str, tmp_path: Path) -> None:
    shutil.copytree(root / name, tmp_path / name)
    places = PLANT[name](tmp_path, frozenset(TABLES[name]))
    assert set(places) == set(TABLES[name])
    _, integrity = read(tmp_path, name)
    assert dict(integrity.counts) == FINDINGS[name]
    repaired = {place for examples in integrity.examples.values() for place in examples}
    told = " ".join([*(f"{finding.where} {finding.detail}" for finding in integrity.findings), *repaired])
    whole = {"no_answer", "misspelt_header"} if name in ("mmmu", "pmc_vqa") else set()
    overlap = {"train_test_overlap"} if name == "pathvqa" else set()  # named by the digest of the image
    assert [defect for defect, place in places.items() if defect not in whole | overlap and place not in told] == []


def test_a_defect_that_is_not_wanted_is_not_planted(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "pathvqa", tmp_path / "pathvqa")
    assert set(defects.plant_pathvqa(tmp_path, frozenset({"no_image"}))) == {"no_image"}
    assert read(tmp_path, "pathvqa")[1].counts == {"missing_value": 1}
    assert defects.plant_pathvqa(tmp_path, frozenset()) == {}


def test_the_planted_header_and_number_are_repaired(root: Path, tmp_path: Path) -> None:
    for name in ("pmc_vqa", "slake"):
        shutil.copytree(root / name, tmp_path / name)
    defects.plant_pmc_vqa(tmp_path, frozenset({"misspelt_header"}))
    defects.plant_slake(tmp_path, frozenset({"non_text_answer"}))
    samples, integrity = read(tmp_path, "pmc_vqa", subset="v2", split="test")
    assert integrity.repairs == {"answer_spelling": 1}
    assert all(sample.target.choice for sample in samples)
    assert read(tmp_path, "slake")[1].repairs == {"answer_cast_to_text": 1}


@pytest.mark.parametrize("name", WRITERS)
def test_an_unknown_defect_is_an_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(
        SpecError, match=r"defects: expected some of .*, found 'no_answr' \(did you mean 'no_answer'\?\)"
    ):
        PLANT[name](tmp_path, frozenset({"no_answr"}))
