"""Defects planted into the image releases: each is found or repaired where it was planted."""

import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.data.integrity import Integrity
from harness.data.phantoms.defects.planting import DEFECTS, plant
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.reader import Reader, ReleaseRequest
from harness.data.releases.samed2d import mecovqa
from harness.data.releases.samed2d import reader as samed2d
from harness.data.releases.vqa import vqa_rad
from harness.errors import DataError
from harness.records import Sample


def read(root: Path, reader: Reader, **request: Any) -> tuple[list[Sample], Integrity]:
    integrity = Integrity()
    asked = ReleaseRequest(**{"dataset": "demo", "split": "test"} | request)
    return [sample for _, sample in reader.read(ReleaseFiles(root=root, derived=root), asked, integrity)], integrity


def planted(root: Path, folder: Path, *names: str) -> dict[str, list[str]]:
    """Copy a clean release and plant defects in the copy; return where they are."""
    shutil.copytree(root, folder)
    found = defaultdict(list)
    for one in plant(folder, frozenset(names)):
        found[one.defect].append(one.where)
    return found


@pytest.fixture(scope="module")
def spoilt(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[str]]]:
    """Every defect but the duplicate id, which ends the preparation."""
    folder = tmp_path_factory.mktemp("spoilt") / "data"
    return folder, planted(root, folder, *(name for name in DEFECTS if name != "duplicate_id"))


def test_defects_of_files_are_found_where_they_were_planted(spoilt: tuple[Path, dict[str, list[str]]]) -> None:
    root, places = spoilt
    _, masks = read(root, samed2d.READER, split="all")
    _, questions = read(root, vqa_rad.READER)
    found = {(finding.kind, finding.where) for finding in (*masks.findings, *questions.findings)}
    for kind in ("missing_file", "unreadable_file", "size_mismatch", "empty_mask", "full_mask"):
        assert len(places[kind]) == (2 if kind.endswith("file") else 1)
        for where in places[kind]:
            assert (kind, where) in found


def test_defects_of_records_are_repaired_where_they_were_planted(spoilt: tuple[Path, dict[str, list[str]]]) -> None:
    root, places = spoilt
    _, questions = read(root, vqa_rad.READER)
    assert questions.repairs == {"answer_type_blank": 1, "answer_cast_to_text": 1}
    for subset in mecovqa.SUBSETS:
        _, integrity = read(root, mecovqa.READER, subset=subset)
        assert integrity.repairs["image_suffix_added"] == 1
        assert integrity.repairs["conversations_spelling"] == 1
        assert integrity.repairs.get("value_cast_to_text", 0) == (subset == "complex")
    assert len(places["missing_suffix"]) == len(places["misspelt_conversations"]) == 3


def test_an_inverted_mask_is_the_complement_of_the_clean_one(
    root: Path, spoilt: tuple[Path, dict[str, list[str]]]
) -> None:
    folder, places = spoilt
    [mask] = places["inverted_mask"]
    assert np.array_equal(np.asarray(Image.open(folder / mask)), 255 - np.asarray(Image.open(root / mask)))


def test_a_duplicate_id_ends_the_preparation(root: Path, tmp_path: Path) -> None:
    from harness.tasks.prepare import prepare_release
    from harness.tasks.spec import Release

    [where] = planted(root, tmp_path / "data", "duplicate_id")["duplicate_id"]
    assert where.startswith("vqa_rad/testset.json[")
    with pytest.raises(DataError, match=r"expected every sample id once, found it at vqa_rad/testset\.json"):
        prepare_release(
            Release(reader="vqa_rad"), dataset="demo", window=None, roots=[tmp_path / "data"], cache=tmp_path / "c"
        )


def test_one_defect_stays_in_place_whatever_else_is_planted(
    root: Path, spoilt: tuple[Path, dict[str, list[str]]], tmp_path: Path
) -> None:
    assert planted(root, tmp_path / "data", "full_mask")["full_mask"] == spoilt[1]["full_mask"]
