"""M3D-Seg's masks: frames, absent classes, and files that cannot be trusted."""

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.m3d import seg_masks
from harness.data.releases.m3d.seg_masks import inspect_class, inspect_sparse
from harness.imaging.masks import decode

SIZE = (4, 6, 8)  # (D, H, W)


@pytest.fixture
def files(tmp_path: Path) -> ReleaseFiles:
    return ReleaseFiles(root=tmp_path, derived=tmp_path / "derived")


def save_sparse(files: ReleaseFiles, dense: np.ndarray) -> tuple[int, int, int, int]:
    """Write (classes, X, Y, Z) as the release does, and return the shape."""
    sparse.save_npz(files.root / "m.npz", sparse.csr_matrix(dense.reshape(len(dense), -1)))
    classes, x, y, z = dense.shape
    return classes, x, y, z


def test_a_prepared_mask_is_in_the_frame_of_its_volume(files: ReleaseFiles) -> None:
    stored = np.zeros((1, *SIZE), dtype=np.bool_)
    stored[0, 1, 2, 3] = True
    np.save(files.root / "m.npy", stored)
    found = inspect_class(files, "m.npy", SIZE, Integrity())
    assert found.mask is not None
    assert np.argwhere(decode(found.mask)).tolist() == [[1, 2, 3]]
    assert found.area == 1


def test_values_of_masks_are_read_by_the_rules_of_all_masks(files: ReleaseFiles) -> None:
    stored = np.zeros((1, *SIZE), dtype=np.float32)
    stored[0, 1, 2, 3], stored[0, 0, 0, 0] = 0.9999, np.nan
    np.save(files.root / "m.npy", stored)
    integrity = Integrity()
    assert inspect_class(files, "m.npy", SIZE, integrity).area == 1
    assert [(one.kind, one.detail) for one in integrity.findings] == [
        ("nan_background", "NaN in 1 of 192 pixels, read as background")
    ]
    np.save(files.root / "m.npy", stored * np.float32(0.6))
    assert inspect_class(files, "m.npy", SIZE, integrity).defect == "mask m.npy cannot be read"
    assert integrity.findings[-1].detail.startswith(
        "expected labels, whole numbers of at least 0, found 0.59994 between"
    )
    dense = np.zeros((2, 8, 6, 4), dtype=np.float32)
    dense[0, 1, 1, 1], dense[1, 3, 2, 1] = 0.9999, 0.4
    shape = save_sparse(files, dense)
    assert inspect_sparse(files, "m.npz", shape, SIZE, integrity) == "mask m.npz cannot be read"
    dense[1, 3, 2, 1] = 2
    found = inspect_sparse(files, "m.npz", save_sparse(files, dense), SIZE, integrity)
    assert [one.area for one in found if not isinstance(one, str)] == [1, 1]


def test_one_voxel_of_nothing_stands_for_an_absent_class(files: ReleaseFiles) -> None:
    np.save(files.root / "m.npy", np.zeros((1, 1, 1, 1), dtype=np.bool_))
    found = inspect_class(files, "m.npy", SIZE, Integrity())
    assert found.mask is not None
    assert (found.mask.size, found.area, found.defect) == (SIZE, 0, None)
    assert inspect_class(files, "m.npy", (), Integrity()).defect == "mask m.npy has no volume to lie on"


@pytest.mark.parametrize(
    ("array", "kind", "defect"),
    [
        (None, "missing_file", "mask m.npy is missing"),
        (np.array([[1]]), "unreadable_file", "mask m.npy cannot be read"),
        (np.zeros((2, *SIZE)), "unreadable_file", "mask m.npy cannot be read"),
        (np.array([{}], dtype=object), "unreadable_file", "mask m.npy cannot be read"),
        (np.ones((1, 2, 2, 2)), "size_mismatch", "mask m.npy is (2, 2, 2), its volume (4, 6, 8) as (D, H, W)"),
    ],
)
def test_other_arrays_are_reported(files: ReleaseFiles, array: np.ndarray | None, kind: str, defect: str) -> None:
    if array is not None:
        np.save(files.root / "m.npy", array, allow_pickle=True)
    integrity = Integrity()
    assert inspect_class(files, "m.npy", SIZE, integrity).defect == defect
    assert list(integrity.counts) == [kind]


def test_rows_of_a_raw_mask_are_turned_into_the_frame_of_the_volume(files: ReleaseFiles) -> None:
    dense = np.zeros((2, 8, 6, 4), dtype=np.uint8)
    dense[1, 3, 2, 1] = 1
    found = inspect_sparse(files, "m.npz", save_sparse(files, dense), SIZE, Integrity())
    assert not isinstance(found, str)
    assert [one.area for one in found] == [0, 1]
    assert found[1].mask is not None
    assert np.argwhere(decode(found[1].mask)).tolist() == [[1, 2, 3]]


def test_stored_zeros_are_background(files: ReleaseFiles) -> None:
    matrix = sparse.csr_matrix((np.array([0, 1]), (np.array([0, 0]), np.array([5, 6]))), shape=(1, 192))
    sparse.save_npz(files.root / "m.npz", matrix)
    found = inspect_sparse(files, "m.npz", (1, 8, 6, 4), SIZE, Integrity())
    assert not isinstance(found, str)
    assert found[0].area == 1


def test_a_matrix_of_another_shape_than_its_name_is_unreadable(files: ReleaseFiles) -> None:
    save_sparse(files, np.zeros((2, 8, 6, 4), dtype=np.uint8))
    integrity = Integrity()
    assert inspect_sparse(files, "m.npz", (2, 8, 6, 5), SIZE, integrity) == "mask m.npz cannot be read"
    assert integrity.findings[0].detail == "expected compressed rows of shape (2, 240), found csr of (2, 192)"


def test_an_archive_that_unpacks_to_too_much_is_not_unpacked(
    files: ReleaseFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = save_sparse(files, np.ones((2, 8, 6, 4), dtype=np.uint8))
    monkeypatch.setattr(seg_masks, "MOST_SPARSE_BYTES", 100)
    integrity = Integrity()
    assert inspect_sparse(files, "m.npz", shape, SIZE, integrity) == "mask m.npz cannot be read"
    assert "expected at most 100 bytes, found" in integrity.findings[0].detail


@pytest.mark.parametrize("change", ["indices", "indptr"])
def test_indices_outside_of_the_shape_are_refused(files: ReleaseFiles, change: str) -> None:
    shape = save_sparse(files, np.ones((1, 8, 6, 4), dtype=np.uint8))
    with np.load(files.root / "m.npz") as parts:
        arrays = dict(parts)
    arrays[change] = arrays[change] + 1
    np.savez(files.root / "m.npz", **arrays)
    integrity = Integrity()
    assert inspect_sparse(files, "m.npz", shape, SIZE, integrity) == "mask m.npz cannot be read"
    assert integrity.findings[0].detail.endswith("found others; the file is damaged")
