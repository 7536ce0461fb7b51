"""Phantom LLaVA-Med and VQA-Med: clean as written in every split, and closed questions are right as often as wrong."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from harness.data.integrity import Integrity
from harness.data.phantoms.families import family_of
from harness.data.phantoms.writers.llava_med import write_llava_med
from harness.data.phantoms.writers.vqa_med import write_vqa_med_2019, write_vqa_med_2021
from harness.data.releases import READERS
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.reader import ReleaseRequest
from harness.records import Sample

pytestmark = pytest.mark.slow  # every set draws its own patients

WRITERS: Mapping[str, Callable[[Path, int], None]] = {
    "llava_med": write_llava_med,
    "vqa_med_2019": write_vqa_med_2019,
    "vqa_med_2021": write_vqa_med_2021,
}
REPAIRED = {"llava_med": {"conversations_spelling"}, "vqa_med_2019": set(), "vqa_med_2021": set()}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom")
    for write in WRITERS.values():
        write(folder, 0)
    return folder


def read(root: Path, name: str, split: str) -> tuple[list[Sample], Integrity]:
    integrity = Integrity()
    files = ReleaseFiles(root=root, derived=root.parent / "derived")
    request = ReleaseRequest(dataset=name, split=split)
    samples = [sample for _, sample in READERS[name].read(files, request, integrity)]
    for sample in samples:
        integrity.count(sample)
    return samples, integrity


@pytest.mark.parametrize("name", WRITERS)
def test_a_clean_release_gives_no_finding(root: Path, name: str) -> None:
    assert family_of(name).readers == (name,)
    assert family_of(name).write is WRITERS[name]
    assert READERS[name].splits(root) == (("train",) if name == "llava_med" else ("train", "validation", "test"))
    seen: dict[str, str] = {}
    for split in READERS[name].splits(root):
        samples, integrity = read(root, name, split)
        assert len(samples) >= 4
        assert (integrity.counts, integrity.defective) == ({}, 0)
        assert set(integrity.to_json()["repairs"]) == REPAIRED[name]
        assert all(seen.setdefault(str(sample.media[0].sha256), split) == split for sample in samples)


def test_the_same_seed_writes_the_same_bytes_and_another_others(root: Path, tmp_path: Path) -> None:
    digests = []
    for folder, seed in ((root, None), (tmp_path / "0", 0), (tmp_path / "1", 1)):
        if seed is not None:
            write_llava_med(folder, seed)
        files = sorted((folder / "llava_med").rglob("*.*"))
        digests.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in files])
    assert digests[0] == digests[1]
    assert not set(digests[1]) & set(digests[2])


@pytest.mark.parametrize("name", ["vqa_med_2019", "vqa_med_2021"])
def test_no_answer_to_a_closed_question_is_right_much_more_often(root: Path, name: str) -> None:
    samples, _ = read(root, name, "test")
    counts = Counter(sample.target.answers[0] for sample in samples if sample.strata["answer_type"] == "closed")
    assert set(counts) == {"yes", "no"}
    assert max(counts.values()) <= 0.7 * counts.total()
    if name == "vqa_med_2019":
        assert {sample.strata["question_type"] for sample in samples} == {"modality", "organ", "abnormality"}
    else:
        assert len({sample.media[0].path for sample in samples}) == len(samples)
