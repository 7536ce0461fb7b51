"""Files of a release: only those below the data root, each noted, and never half written."""

import os
from pathlib import Path

import pytest

from harness.data.releases.files import ReleaseFiles, read_json, replace_file
from harness.errors import DataError


def files_of(root: Path) -> ReleaseFiles:
    return ReleaseFiles(root=root, derived=root / "derived")


def test_a_walk_gives_all_files_in_a_fixed_order_and_follows_no_link(tmp_path: Path) -> None:
    for name in ("x/b.txt", "x/a.txt", "x/d/e.txt", "x/c/f/g.txt", "y/h.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "x" / "link").symlink_to(tmp_path / "y")
    notes: list[str] = []
    files = ReleaseFiles(root=tmp_path, derived=tmp_path / "d", noted=lambda _, path, *__: notes.append(path))
    assert list(files.walk("x")) == ["x/a.txt", "x/b.txt", "x/c/f/g.txt", "x/d/e.txt"]
    assert set(notes) == {"x", "x/c", "x/c/f", "x/d"}
    assert list(files.walk("none")) == []


def test_a_missing_file_is_none_and_a_broken_one_an_error(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    files = files_of(tmp_path)
    assert files.read("none.png") is None
    with pytest.raises(DataError, match="folder: cannot be read: Is a directory; check the file and its rights"):
        files.read("folder")
    with pytest.raises(DataError, match=r"none.png: cannot be read: No such file"):
        files.open("none.png")


@pytest.mark.parametrize("path", ["../secret", "a/../../secret", "/etc/hostname", "a\0b"])
def test_paths_out_of_the_data_root_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(DataError, match="expected a path below the data root; the release may have been tampered with"):
        files_of(tmp_path).read(path)


def test_every_file_consulted_is_noted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("four")
    notes: list[tuple[str, str, int, int]] = []
    files = ReleaseFiles(root=tmp_path, derived=tmp_path / "derived", noted=lambda *note: notes.append(note))
    files.read("a.txt")
    files.read("b.txt")
    files.has("a.txt")
    assert list(files.names("folder")) == []
    files.derive("x/c.txt", b"12345")
    state = (tmp_path / "a.txt").stat()
    assert notes[:4] == [
        ("root", "a.txt", 4, state.st_mtime_ns),
        ("root", "b.txt", -1, -1),
        ("root", "a.txt", 4, state.st_mtime_ns),
        ("root", "folder", -1, -1),
    ]
    assert notes[4][:3] == ("derived", "x/c.txt", 5)


def test_names_are_those_of_files(tmp_path: Path) -> None:
    (tmp_path / "images" / "inner").mkdir(parents=True)
    (tmp_path / "images" / "a.png").touch()
    assert list(files_of(tmp_path).names("images")) == ["a.png"]


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "images").mkdir()
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"^images: cannot be listed: Permission denied; check the folder"):
        list(files_of(tmp_path).names("images"))


def test_derived_files_are_written_once(tmp_path: Path) -> None:
    files = files_of(tmp_path)
    files.derive("x/a.png", b"first")
    written = (tmp_path / "derived/x/a.png").stat().st_mtime_ns
    files.derive("x/a.png", b"first")
    assert (tmp_path / "derived/x/a.png").stat().st_mtime_ns == written
    files.derive("x/a.png", b"longer than the first")
    assert (tmp_path / "derived/x/a.png").read_bytes() == b"longer than the first"


def test_an_interrupted_write_leaves_the_old_file_and_no_scrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"old")

    def refuse(*_: Path) -> None:
        raise OSError("disk is gone")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="disk is gone"):
        replace_file(path, b"new")
    assert [item.name for item in tmp_path.iterdir()] == ["a.json"]
    assert path.read_bytes() == b"old"


def test_json_that_is_not_there_or_not_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"qid": 1},')
    with pytest.raises(DataError, match=r"b.json: expected a JSON file, found none; the download may be incomplete"):
        read_json(files_of(tmp_path), "b.json")
    with pytest.raises(DataError, match=r"a.json: expected JSON, found .*column 13"):
        read_json(files_of(tmp_path), "a.json")


def test_a_name_is_located_in_the_nearest_folder_down_to_a_depth(tmp_path: Path) -> None:
    for place in ("release/a/deep/x.txt", "release/b/x.txt", "release/a/deep/deeper/y.txt"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    files = ReleaseFiles(root=tmp_path, derived=tmp_path)
    assert files.locate("release", "x.txt", depth=2) == "release/b/x.txt"
    assert files.locate("release", "deep/x.txt", depth=1) == "release/a/deep/x.txt"
    assert files.locate("release", "deep", depth=1) == "release/a/deep"
    assert files.locate("release", "y.txt", depth=2) is None
    assert files.locate("release", "y.txt", depth=3) == "release/a/deep/deeper/y.txt"
    assert files.locate("absent", "x.txt", depth=3) is None
