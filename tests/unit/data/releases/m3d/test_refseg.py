"""M3D-RefSeg: tables and label volumes in both layouts, and what is found wrong with them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data.integrity import Finding, Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.m3d.refseg import COLUMNS, READER
from harness.data.releases.reader import ReleaseAbsentError, ReleaseRequest
from harness.imaging.masks import decode
from harness.records import Sample

SHAPE = (4, 6, 8)
LABELS = np.zeros(SHAPE, dtype=np.float64)
LABELS[1, 2:4, 3:6] = 2
ROW = {
    "Image": "s0123/ct.nii.gz",
    "Mask": "s0123/mask.nii.gz",
    "Mask_ID": "2",
    "Question_Type": "0",
    "Question": "Please mark it.",
    "Answer": "It is [SEG].",
}
TEST = "M3D_RefSeg_npy/M3D_RefSeg_test.csv"
MASK = "M3D_RefSeg_npy/s0123/mask.npy"


class Release:
    """A data root with one prepared case."""

    def __init__(self, root: Path) -> None:
        self.root = root
        folder = root / "M3D_RefSeg_npy/s0123"
        folder.mkdir(parents=True)
        np.save(folder / "ct.npy", np.linspace(0, 1, 192, dtype=np.float32).reshape(1, *SHAPE))
        np.save(folder / "mask.npy", LABELS[None])
        (folder / "text.json").write_text(json.dumps({"2": "Something."}))
        self.table("train")

    def table(self, split: str, *changes: Mapping[str, str]) -> "Release":
        """Write a table with one row per set of changes."""
        lines = [",".join(COLUMNS), *(",".join((ROW | change)[name] for name in COLUMNS) for change in changes)]
        (self.root / f"M3D_RefSeg_npy/M3D_RefSeg_{split}.csv").write_text("\n".join(lines) + "\n")
        return self

    def read(self, **changes: Any) -> tuple[list[Sample], Integrity]:
        integrity = Integrity()
        files = ReleaseFiles(root=self.root, derived=self.root.parent / "derived")
        request = ReleaseRequest(**{"dataset": "ref", "split": "test", **changes})
        return [sample for _, sample in READER.read(files, request, integrity)], integrity


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return Release(tmp_path / "data")


def test_a_row_is_a_question_about_one_region(release: Release) -> None:
    (first, second), integrity = release.table("test", {}, {"Question_Type": "1"}).read()
    assert (first.id, second.id) == ("ref/test/s0123/2#0", "ref/test/s0123/2#1")
    assert (first.question, first.target.answers) == ("Please mark it.", ("It is [SEG].",))
    assert first.strata == {"modality": "ct", "question_type": "description", "target_size": "large"}
    assert second.strata["question_type"] == "reasoning"
    assert first.cluster == "s0123"
    assert (first.media[0].path, first.media[0].size) == ("M3D_RefSeg_npy/s0123/ct.npy", SHAPE)
    mask = first.target.entities[0].mask
    assert mask is not None
    np.testing.assert_array_equal(decode(mask), LABELS == 2)
    assert integrity.repairs == {"nifti_suffix_replaced": 4}
    assert integrity.findings == []


def test_nifti_volumes_are_brought_to_ras_with_their_masks(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    folder = tmp_path / "M3D_RefSeg/s0123"
    folder.mkdir(parents=True)
    affine = np.diag([-2.0, -2.0, 5.0, 1.0])
    for name, array in (("ct", np.zeros(SHAPE, np.int16)), ("mask", LABELS.astype(np.uint8))):
        nibabel.save(nibabel.Nifti1Image(array.T, affine), folder / f"{name}.nii.gz")
    lines = (",".join(COLUMNS), ",".join(ROW.values()))
    (tmp_path / "M3D_RefSeg_test.csv").write_text("\n".join(lines) + "\n")
    files = ReleaseFiles(root=tmp_path, derived=tmp_path / "derived")
    integrity = Integrity()
    ((_, sample),) = READER.read(files, ReleaseRequest(dataset="ref", split="test"), integrity)
    assert sample.media[0].spacing_mm == (5.0, 2.0, 2.0)
    assert sample.strata["target_size"] == "small"
    mask = sample.target.entities[0].mask
    assert mask is not None
    np.testing.assert_array_equal(decode(mask), LABELS[:, ::-1, ::-1] == 2)
    assert integrity.repairs == {}
    assert [finding.kind for finding in integrity.findings] == ["not_checked"]


def test_a_region_that_was_erased_is_reported_and_kept(release: Release) -> None:
    (sample,), integrity = release.table("test", {"Mask_ID": "5"}).read()
    assert sample.target.absent
    assert sample.defect is None
    assert integrity.findings == [Finding("empty_mask", f"{MASK}: 5", "the region has no voxel")]


def test_regions_that_train_asks_about_too_are_reported(release: Release) -> None:
    _, integrity = release.table("train", {"Question": "Another."}).table("test", {}, {}).read()
    detail = "the same region in M3D_RefSeg_npy/M3D_RefSeg_train.csv"
    assert integrity.findings == [Finding("train_test_overlap", f"{MASK}: 2", detail)]
    assert integrity.checked["train_test_overlap"] == 1


@pytest.mark.parametrize(
    ("change", "finding", "defect"),
    [
        ({"Mask_ID": ""}, Finding("missing_value", f"{TEST}[0]", "Mask_ID"), "the row has no Mask_ID"),
        ({"Mask_ID": "two"}, Finding("missing_value", f"{TEST}[0]", "Mask_ID"), "the row has no Mask_ID"),
        ({"Image": ""}, Finding("missing_value", f"{TEST}[0]", "Image"), "the row has no Image"),
        ({"Question": ""}, Finding("missing_value", f"{TEST}[0]", "Question"), "the row has no Question"),
        ({"Answer": ""}, Finding("missing_value", f"{TEST}[0]", "Answer"), None),
        (
            {"Question_Type": "7"},
            Finding("unknown_value", f"{TEST}[0]", "Question_Type '7', expected 0 or 1"),
            None,
        ),
        (
            {"Mask": "s0123/other.nii.gz"},
            Finding("missing_file", "M3D_RefSeg_npy/s0123/other.npy"),
            "mask M3D_RefSeg_npy/s0123/other.npy is missing",
        ),
    ],
)
def test_a_row_that_lacks_something_stays(
    release: Release, change: Mapping[str, str], finding: Finding, defect: str | None
) -> None:
    (sample,), integrity = release.table("test", change).read()
    assert sample.defect == defect
    assert finding in integrity.findings


def test_whole_numbers_that_pandas_wrote_as_fractions_are_read(release: Release) -> None:
    (sample,), _ = release.table("test", {"Mask_ID": "2.0", "Question_Type": "1.0"}).read()
    assert sample.id == "ref/test/s0123/2#0"
    assert sample.strata["question_type"] == "reasoning"


def test_a_selection_keeps_rows_by_their_type(release: Release) -> None:
    samples, integrity = release.table("test", {}, {"Question_Type": "1"}).read(where={"question_type": ("reasoning",)})
    assert [sample.id for sample in samples] == ["ref/test/s0123/2#1"]
    assert integrity.selected == (2, 1)


def test_a_split_without_its_table_is_absent(release: Release) -> None:
    with pytest.raises(
        ReleaseAbsentError, match=r"^m3d_refseg: expected M3D_RefSeg_npy/M3D_RefSeg_test\.csv below the"
    ):
        release.read()
