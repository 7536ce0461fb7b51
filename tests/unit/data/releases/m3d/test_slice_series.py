"""A folder of numbered slices is a volume; other images in it are named and left out."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.m3d.slice_series import inspect_slices
from harness.imaging.windowing import Percentiles


def save(path: Path, grey: int, shape: tuple[int, int] = (4, 5)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(shape, grey, dtype=np.uint8)).save(path)


@pytest.fixture
def files(tmp_path: Path) -> ReleaseFiles:
    for number in range(3):
        save(tmp_path / f"series/{number}.png", 10 * number)
    return ReleaseFiles(root=tmp_path, derived=tmp_path / "derived")


def test_slices_are_stacked_along_the_first_axis(files: ReleaseFiles) -> None:
    found = inspect_slices(files, "series", window=None, integrity=Integrity())
    assert (found.media.path, found.media.kind, found.media.size) == ("series", "volume", (3, 4, 5))
    assert (found.defect, found.media.window) == (None, None)


def test_a_window_is_taken_of_all_slices(files: ReleaseFiles) -> None:
    found = inspect_slices(files, "series", window=Percentiles((0.0, 100.0)), integrity=Integrity())
    assert found.media.window == (0.0, 20.0)


def test_a_slice_of_another_size_is_left_out_and_named(files: ReleaseFiles) -> None:
    save(files.root / "series/3.png", 9, (2, 2))
    integrity = Integrity()
    assert inspect_slices(files, "series", window=None, integrity=integrity).media.size == (3, 4, 5)
    assert [(one.kind, one.where) for one in integrity.findings] == [("slice_left_out", "series/3.png")]


def test_a_changed_slice_changes_the_digest(files: ReleaseFiles) -> None:
    before = inspect_slices(files, "series", window=None, integrity=Integrity()).media.sha256
    save(files.root / "series/1.png", 11)
    assert inspect_slices(files, "series", window=None, integrity=Integrity()).media.sha256 != before


def test_a_folder_without_slices_cannot_be_read(files: ReleaseFiles) -> None:
    (files.root / "empty").mkdir()
    integrity = Integrity()
    assert inspect_slices(files, "empty", window=None, integrity=integrity).defect == "volume empty cannot be read"
    assert [one.kind for one in integrity.findings] == ["unreadable_file"]
