"""Phantom M3D-Cap and M3D-VQA: the same for the same seed, nothing to find, no shortcut, every planted defect named."""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from harness.data.integrity import Integrity
from harness.data.phantoms.defects.m3d_cap_vqa import CAP_DEFECTS, VQA_DEFECTS, plant_m3d_cap, plant_m3d_vqa
from harness.data.phantoms.patients.volumes import draw_volumes
from harness.data.phantoms.writers.m3d_cap import series_of, write_m3d_cap_raw
from harness.data.phantoms.writers.m3d_vqa import read_table, write_m3d_family
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.m3d import cap, vqa
from harness.data.releases.reader import Reader, ReleaseRequest
from harness.errors import SpecError
from harness.imaging.media_store import MediaStore
from harness.records import Sample

# Planted defect -> the findings and repairs that name it, if they have another name.
NAMED_AS = {
    "missing_volume": "missing_file",
    "unreadable_volume": "unreadable_file",
    "missing_text": "missing_file",
    "empty_text": "missing_value",
    "latin_1_text": "text_read_as_latin_1",
    "entry_without_text": "missing_value",
    "na_option": "na_kept_as_text duplicate_option",
    "letter_of_another_option": "answer_not_among_options",
    "no_question": "missing_value",
    "no_option": "missing_value",
    "unknown_type": "missing_value",
}

# Of the texts and tables of seed 0, by path.
WORDS = "605862cae3b9e606ee40103f0ba082c976b4e26264fdf762825f5a5c4b3e2ed7"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom")
    write_m3d_family(folder, 0)
    return folder


def read(root: Path, reader: Reader, split: str = "test", **options: str) -> tuple[list[Sample], Integrity]:
    integrity = Integrity()
    asked = ReleaseRequest(dataset=reader.name, split=split, options=options)
    samples = [sample for _, sample in reader.read(ReleaseFiles(root=root, derived=root), asked, integrity)]
    for sample in samples:
        integrity.count(sample)
    return samples, integrity


def digests(root: Path) -> dict[str, str]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_readers_find_nothing_wrong(root: Path) -> None:
    for reader in (cap.READER, vqa.READER):
        for split in ("train", "validation", "test"):
            samples, integrity = read(root, reader, split)
            assert samples
            assert (integrity.findings, dict(integrity.repairs), integrity.defective) == ([], {}, 0)


def test_the_same_seed_draws_the_same_bytes_and_another_draws_others(tmp_path: Path) -> None:
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        write_m3d_family(tmp_path / name, seed, patients=8)
    first, again, other = (digests(tmp_path / name) for name in ("first", "again", "other"))
    assert first == again
    volumes = [name for name in other if name.endswith(".npy")]
    assert len(volumes) == 12
    assert all(other[name] != first.get(name) for name in volumes)


def test_the_words_are_those_of_every_machine(root: Path) -> None:
    """A change of reports, questions or their order bumps `phantoms.VERSION`, or caches would mix two versions."""
    words = {name: value for name, value in digests(root).items() if name.endswith((".txt", ".csv"))}
    assert hashlib.sha256(json.dumps(words).encode()).hexdigest() == WORDS


def test_pools_grow_and_the_smaller_are_parts_of_the_larger(root: Path) -> None:
    listing = json.loads((root / "M3D_Cap_npy/M3D_Cap.json").read_text())
    pools = [{entry["image"] for entry in listing[name]} for name in cap.POOLS]
    assert [len(pool) for pool in pools] == [6, 12, 18, 24]
    assert all(smaller < larger for smaller, larger in pairwise(pools))


@pytest.mark.parametrize(
    ("seed", "patients"), [(1, 10), (2, 10), *(pytest.param(seed, 160, marks=pytest.mark.slow) for seed in range(3, 6))]
)
def test_no_two_volumes_of_a_split_share_a_report(seed: int, patients: int) -> None:
    series = series_of(list(draw_volumes(seed=seed, patients=patients)))
    assert any(one.study.plane == "oblique" for one in series)
    for split in ("train", "validation", "test"):
        reports = [one.study.report for one in series if one.study.split == split]
        assert len(set(reports)) == len(reports) >= 2


def test_some_patients_have_a_second_series_with_a_text_of_its_own(root: Path) -> None:
    samples, _ = read(root, cap.READER)
    patients = Counter(sample.cluster for sample in samples)
    assert Counter(patients.values()) == {1: 12, 2: 6}
    assert len({sample.target.caption_id for sample in samples}) == 24
    for sample in samples:
        (report,) = sample.target.answers
        assert sample.strata["plane"] in report.lower()
        assert sample.strata["phase"] in report.lower()


def test_each_question_comes_with_the_report_of_its_volume(root: Path) -> None:
    listing = json.loads((root / "M3D_Cap_npy/M3D_Cap.json").read_text())
    reports = {one["image"]: (root / one["text"]).read_text() for one in listing["test"]}
    rows = read_table(root / vqa.FILES["test"])
    assert all(row[vqa.TEXT] == reports[row[vqa.IMAGE]] for row in rows)
    asked = {row[vqa.TYPE] for row in rows if "/Oblique" in row[vqa.IMAGE]}
    assert asked == set(vqa.TYPES)


def test_the_smaller_test_sets_are_parts_of_the_larger(root: Path) -> None:
    for reader, split, count in ((cap.READER, "test1k", 18), (vqa.READER, "test5k", 0)):
        small, large = read(root, reader, split)[0], read(root, reader)[0]
        assert len(small) == (count or (len(large) + 1) // 2)
        shown = [(sample.media[0].path, sample.choices, sample.target) for sample in large]
        assert all((sample.media[0].path, sample.choices, sample.target) in shown for sample in small)


def test_every_stratum_has_samples(root: Path) -> None:
    samples, _ = read(root, cap.READER, pools="all")
    assert {sample.strata["pool"] for sample in samples} == {"100", "500", "1000", "2000"}
    assert {sample.strata["plane"] for sample in samples} == {"axial", "coronal", "sagittal", "oblique"}
    assert {sample.strata["phase"] for sample in samples} == {"non contrast", "arterial", "portal venous", "delayed"}
    assert {sample.strata["wording"] for sample in samples} == {"ours"}
    asked, _ = read(root, vqa.READER)
    assert {sample.strata["question_type"] for sample in asked} == set(vqa.TYPES.values())


def test_neither_letters_nor_answers_nor_wordings_tell_the_answer(root: Path) -> None:
    samples, _ = read(root, vqa.READER)
    letters = Counter(sample.target.choice for sample in samples)
    assert max(letters.values()) - min(letters.values()) <= 2
    by_options: dict[frozenset[str], list[Sample]] = {}
    for sample in samples:
        by_options.setdefault(frozenset(sample.choices), []).append(sample)
    for options, group in by_options.items():
        answers = Counter(sample.target.answers[0] for sample in group)
        assert set(answers) == options
        assert len(set(answers.values())) == 1
        for wording in {sample.question for sample in group if sample.strata["question_type"] in ("plane", "phase")}:
            worded = Counter(sample.target.answers[0] for sample in group if sample.question == wording)
            assert len(set(worded.values())) == 1


def test_absent_organs_are_asked_about(root: Path) -> None:
    samples, _ = read(root, vqa.READER)
    assert any(sample.target.answers == ("not seen at all",) for sample in samples)
    assert any("absent" in sample.question or "cannot be found" in sample.question for sample in samples)


def test_the_raw_layout_shows_the_same_patients(root: Path, tmp_path: Path) -> None:
    series = [one for one in series_of(list(draw_volumes(seed=0, patients=8))) if one.study.split == "test"]
    write_m3d_cap_raw(tmp_path, series, seed=0)
    raw, integrity = read(tmp_path, cap.READER)
    prepared = {sample.id: sample for sample in read(root, cap.READER)[0]}
    assert len(raw) == len(series) == integrity.repairs["volume_from_raw_slices"] == 4
    assert [finding.kind for finding in integrity.findings] == ["not_checked"]
    for sample in raw:
        same = prepared[sample.id]
        assert sample.target == same.target
        voxels = MediaStore(roots=[tmp_path]).volume(sample.media[0])
        assert np.abs(voxels / 255 - MediaStore(roots=[root]).volume(same.media[0])).max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize("defect", CAP_DEFECTS)
def test_each_planted_defect_of_the_volumes_is_named(root: Path, tmp_path: Path, defect: str) -> None:
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    (place,) = plant_m3d_cap(tmp_path, frozenset({defect}))
    samples, integrity = read(tmp_path, cap.READER)
    assert {*integrity.counts, *integrity.repairs} == {NAMED_AS.get(defect, defect)}
    assert (place.defect, len(samples)) == (defect, 24)


@pytest.mark.parametrize("defect", VQA_DEFECTS)
def test_each_planted_defect_of_the_questions_is_named(root: Path, tmp_path: Path, defect: str) -> None:
    (tmp_path / "M3D_Cap_npy").symlink_to(root / "M3D_Cap_npy")
    shutil.copytree(root / "M3D_VQA", tmp_path / "M3D_VQA")
    before = len(read(root, vqa.READER)[0])
    (place,) = plant_m3d_vqa(tmp_path, frozenset({defect}))
    samples, integrity = read(tmp_path, vqa.READER)
    assert {*integrity.counts, *integrity.repairs} == {*NAMED_AS.get(defect, defect).split()}
    assert (place.defect, len(samples)) == (defect, before)
    assert place.where.startswith("M3D_VQA/M3D_VQA_test.csv[")


def test_nothing_planted_changes_nothing(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "M3D_VQA", tmp_path / "M3D_VQA")
    assert plant_m3d_vqa(tmp_path, frozenset()) == ()
    assert digests(tmp_path) == {name: value for name, value in digests(root).items() if name.startswith("M3D_VQA/")}


@pytest.mark.parametrize("plant", [plant_m3d_cap, plant_m3d_vqa])
def test_an_unknown_defect_is_refused(root: Path, plant: Callable[[Path, frozenset[str]], object]) -> None:
    with pytest.raises(SpecError, match="found 'missing_volum' \\(did you mean 'missing_volume'\\?\\)"):
        plant(root, frozenset({"missing_volum"}))
