"""Real public data, prepared as their authors ship them; skipped where they are absent."""

import json
from collections import Counter
from pathlib import Path

import pytest

from harness.data.manifest import Prepared, read_manifest
from harness.records import Sample
from harness.tasks.prepare import prepare_release
from harness.tasks.spec import Release


def prepared(root: Path, cache: Path, reader: str, split: str) -> Prepared:
    if not root.is_dir():
        pytest.skip(f"no real data at {root}")
    return prepare_release(Release(reader=reader, split=split), dataset=reader, window=None, roots=[root], cache=cache)


def samples_of(made: Prepared) -> list[Sample]:
    return list(read_manifest(made.manifest))


def tree(folder: Path) -> set[tuple[str, int, int]]:
    states = ((path, path.stat()) for path in folder.rglob("*"))
    return {(str(path), state.st_size, state.st_mtime_ns) for path, state in states}


def test_vqa_rad_test(test_data: Path, tmp_path: Path) -> None:
    made = prepared(test_data, tmp_path, "vqa_rad", "test")
    samples = samples_of(made)
    assert made.samples == len(samples) == 451
    assert Counter(sample.strata["answer_type"] for sample in samples) == {"closed": 272, "open": 179}
    assert len({sample.cluster for sample in samples}) == 203
    report = json.loads(made.integrity.read_text())
    assert (report["counts"], report["checked"]) == ({"train_test_overlap": 203}, {"train_test_overlap": 203})
    assert (report["cannot_be_asked"], report["repairs"]) == (0, {})


def test_vqa_rad_train_and_its_repairs(test_data: Path, tmp_path: Path) -> None:
    made = prepared(test_data, tmp_path, "vqa_rad", "train")
    samples = samples_of(made)
    assert made.samples == len(samples) == 3064
    assert Counter(sample.strata["answer_type"] for sample in samples) == {"closed": 1823, "open": 1241}
    assert len({sample.media[0].sha256 for sample in samples}) == 314
    report = json.loads(made.integrity.read_text())
    assert report["counts"] == {}
    counts = {name: repair["count"] for name, repair in report["repairs"].items()}
    assert counts == {"answer_cast_to_text": 10, "answer_type_blank": 2, "question_type_spelling": 4}


def test_samed2d(test_data: Path, tmp_path: Path) -> None:
    made = prepared(test_data / "samed2d_mini", tmp_path, "samed2d", "all")
    samples = samples_of(made)
    assert made.samples == len(samples) == 241
    assert len({sample.media[0].path for sample in samples}) == 224
    assert Counter(sample.strata["modality"] for sample in samples) == {"mr": 199, "fundus": 20, "ct": 19, "endo": 3}
    assert len({sample.cluster for sample in samples if sample.strata["modality"] == "mr"}) == 28
    report = json.loads(made.integrity.read_text())
    assert (report["cannot_be_asked"], report["counts"], report["repairs"]) == (0, {}, {})


def test_digests_are_stable_and_the_data_untouched(test_data: Path, tmp_path: Path) -> None:
    before = tree(test_data / "samed2d_mini")
    first = prepared(test_data / "samed2d_mini", tmp_path / "a", "samed2d", "all")
    second = prepared(test_data / "samed2d_mini", tmp_path / "b", "samed2d", "all")
    assert first.digest == second.digest
    assert first.manifest.read_bytes() == second.manifest.read_bytes()
    assert tree(test_data / "samed2d_mini") == before
