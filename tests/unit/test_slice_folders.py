"""Volumes stored as folders of numbered pictures: their order, what is left out, and how they travel."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.errors import DataError
from harness.slice_folders import packed, read_slices, slice_names, unpack


def draw(folder: Path, name: str, grey: int, size: tuple[int, int] = (4, 5), mode: str = "L") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, grey, dtype=np.uint8)).convert(mode).save(folder / name)


def test_slices_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name, grey in (("10.png", 100), ("2.png", 20), ("1.png", 10)):
        draw(tmp_path, name, grey, mode="RGB" if grey == 20 else "L")
    (tmp_path / "text.txt").write_text("no picture")
    found = read_slices(tmp_path, where="case/series")
    assert slice_names(tmp_path) == ["1.png", "2.png", "10.png"]
    assert [int(pixels[0, 0]) for pixels in found.slices] == [10, 20, 100]
    assert (found.slices[0].shape, found.slices[0].dtype, found.left_out) == ((4, 5), np.uint8, ())


def test_pictures_that_do_not_fit_are_left_out_by_name(tmp_path: Path) -> None:
    draw(tmp_path, "1.png", 1)
    draw(tmp_path, "2.png", 2, size=(9, 9))
    draw(tmp_path, "3.png", 3)
    draw(tmp_path, "scout.png", 4)
    (tmp_path / "4.jpeg").write_bytes(b"torn")
    found = read_slices(tmp_path, where="case/series")
    assert len(found.slices) == 2
    assert found.left_out == (
        ("4.jpeg", "cannot be read"),
        ("scout.png", "its name is no number"),
        ("2.png", "is (9, 9), most are (4, 5)"),
    )


def test_a_folder_without_slices_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"torn")
    with pytest.raises(DataError) as caught:
        read_slices(tmp_path, where="case/series")
    assert str(caught.value) == "case/series: expected numbered pictures of slices, found none that can be read"


def test_a_folder_travels_as_one_archive(tmp_path: Path) -> None:
    draw(tmp_path / "sent", "1.png", 7)
    (tmp_path / "sent" / "below").mkdir()
    assert unpack(packed(tmp_path / "sent"), tmp_path / "got")
    assert [path.name for path in (tmp_path / "got").iterdir()] == ["1.png"]
    assert (tmp_path / "got/1.png").read_bytes() == (tmp_path / "sent/1.png").read_bytes()


def test_an_archive_cannot_write_elsewhere(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("../outside.png", b"x")
    assert not unpack(content.getvalue(), tmp_path / "got")
    assert not unpack(b"no archive", tmp_path / "got")
    assert list(tmp_path.iterdir()) == []
