"""What readers share: finding a data root, checking a request, reading files safely, selecting samples."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.data.integrity import Integrity
from harness.data.releases import READERS, json_stream
from harness.data.releases.files import ReleaseFiles, read_json, replace_file
from harness.data.releases.json_stream import stream_list, stream_lists, stream_object
from harness.data.releases.reader import Free, Reader, ReleaseAbsentError, ReleaseRequest
from harness.data.releases.selection import Selection
from harness.errors import DataError, SpecError


def a_reader(**changes: Any) -> Reader:
    values: dict[str, Any] = {
        "name": "toy",
        "version": 1,
        "folders": ("Toy", "Images"),
        "strata": (),
        "splits": lambda _: ("train", "test"),
        "read": lambda *_: iter(()),
        "obtain": "Ask the authors.",
        "options": {"level": ("category", "instance")},
    }
    return Reader(**values | changes)


def asked(**changes: Any) -> ReleaseRequest:
    return ReleaseRequest(**{"dataset": "d", "split": "test"} | changes)


def files_of(root: Path) -> ReleaseFiles:
    return ReleaseFiles(root=root, derived=root / "derived")


def test_the_first_root_with_all_folders_is_taken(tmp_path: Path) -> None:
    for folder in ("a/Toy", "b/Toy", "b/Images", "c/Toy", "c/Images"):
        (tmp_path / folder).mkdir(parents=True)
    assert a_reader().find_root([tmp_path / name for name in "abc"]) == tmp_path / "b"


def test_an_absent_release_names_folders_roots_and_a_way_to_get_it(tmp_path: Path) -> None:
    roots = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(ReleaseAbsentError) as caught:
        a_reader().find_root(roots)
    expected = f"toy: expected Toy/ and Images/ below a data root, looked in: {roots[0]}, {roots[1]}. Ask the authors."
    assert str(caught.value) == expected


def test_of_two_folders_either_may_be_there(tmp_path: Path) -> None:
    reader = a_reader(folders=("Toy_npy|Toy", "Images"))
    (tmp_path / "Images").mkdir()
    with pytest.raises(ReleaseAbsentError, match="toy: expected Toy_npy/ or Toy/ and Images/ below a data root"):
        reader.find_root([tmp_path])
    (tmp_path / "Toy").mkdir()
    assert reader.find_root([tmp_path]) == tmp_path


def test_no_root_at_all_is_said() -> None:
    with pytest.raises(ReleaseAbsentError, match="looked in: no data root was given"):
        a_reader().find_root([])


def test_an_unknown_split_lists_the_splits(tmp_path: Path) -> None:
    a_reader().check_split(tmp_path, "test")
    with pytest.raises(ReleaseAbsentError, match=r"found the splits train, test, not 'dev'\. Ask the authors"):
        a_reader().check_split(tmp_path, "dev")
    with pytest.raises(ReleaseAbsentError, match="found the splits none, not 'dev'"):
        a_reader(splits=lambda _: ()).check_split(tmp_path, "dev")


def test_subsets_are_checked() -> None:
    a_reader().check(asked())
    a_reader(subsets=("region", "grounding")).check(asked(subset="region"))
    with pytest.raises(SpecError, match=r"release.subset: reader toy expects none, found 'region'"):
        a_reader().check(asked(subset="region"))
    with pytest.raises(SpecError, match="expects 'region' or 'grounding', found None"):
        a_reader(subsets=("region", "grounding")).check(asked())


def test_options_are_checked_and_have_defaults() -> None:
    toy = a_reader()
    toy.check(asked(options={"level": "instance"}))
    assert toy.option(asked(options={"level": "instance"}), "level") == "instance"
    assert toy.option(asked(), "level") == "category"
    with pytest.raises(SpecError, match=r"release.options.levle: reader toy has the options level \(did you mean"):
        toy.check(asked(options={"levle": "instance"}))
    with pytest.raises(SpecError, match=r"release.options.level: expected 'category' or 'instance', found 'pixel'"):
        toy.check(asked(options={"level": "pixel"}))


def test_free_options_are_checked_by_the_reader() -> None:
    name = Free(default="x", fault=lambda value: "" if isinstance(value, str) else f"expected text, found {value!r}")
    toy = a_reader(options={"name": name, "level": ("category", "instance")})
    toy.check(asked(options={"name": "anything"}))
    assert toy.option(asked(), "name") == "x"
    assert toy.defaults == {"name": "x", "level": "category"}
    with pytest.raises(SpecError, match=r"release.options.name: expected text, found \[1\]"):
        toy.check(asked(options={"name": [1]}))


def test_options_may_name_the_folders(tmp_path: Path) -> None:
    toy = a_reader(options={"folder": ("a", "b")})
    assert toy.fitted(asked()) is toy
    fitted = a_reader(fit=lambda request: a_reader(folders=(request.options["folder"],)))
    (tmp_path / "b").mkdir()
    assert fitted.fitted(asked(options={"folder": "b"})).find_root([tmp_path]) == tmp_path


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


def test_selection_ignores_case_and_blanks_and_counts() -> None:
    selection = Selection.of(asked(where={"organ": ("Head", "abd")}), ("organ", "plane"))
    assert selection.admits({"organ": " HEAD "})
    assert not selection.admits({"organ": "chest"})
    assert selection.admits({"plane": "axial"})
    selection.before, selection.after = 4, 2
    integrity = Integrity()
    selection.report(integrity)
    assert integrity.selected == (4, 2)


def test_no_selection_is_not_reported() -> None:
    selection = Selection.of(asked(), ("organ",))
    integrity = Integrity()
    selection.report(integrity)
    assert selection.admits({"organ": "chest"})
    assert integrity.selected is None


def test_an_unknown_field_of_where_lists_the_fields() -> None:
    message = (
        r"release.where.orgna: expected a field of the records \(organ, plane\), found 'orgna' \(did you mean 'organ'"
    )
    with pytest.raises(SpecError, match=message):
        Selection.of(asked(where={"orgna": ("head",)}), ("plane", "organ"))


def test_json_that_is_not_there_or_not_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"qid": 1},')
    with pytest.raises(DataError, match=r"b.json: expected a JSON file, found none; the download may be incomplete"):
        read_json(files_of(tmp_path), "b.json")
    with pytest.raises(DataError, match=r"a.json: expected JSON, found .*column 13"):
        read_json(files_of(tmp_path), "a.json")


@pytest.mark.parametrize("chunk", [1, 2, 7, 1 << 20])
def test_a_large_object_is_streamed_whatever_the_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    value = {
        "bild/ä→😀.png": ["a", 'b\\"c'],
        "n": 12345,
        "tiny": -1e-7,
        "e": {},
        "deep": {"x": [1, {"y": None}]},
        "last": 6.25e3,
    }
    for text in (json.dumps(value), json.dumps(value, indent=1, ensure_ascii=False), "\ufeff" + json.dumps(value)):
        (tmp_path / "a.json").write_text(text, encoding="utf-8")
        assert dict(stream_object(files_of(tmp_path), "a.json")) == value


def test_an_empty_object_streams_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(" { } ")
    assert list(stream_object(files_of(tmp_path), "a.json")) == []


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"[1]", r"expected '\{', found '\[1\]'"),
        (b"", r"expected '\{', found ''"),
        (b'{"a": [1, 2]', r"expected '\}', found ''"),
        (b'{"a": [1, ', "Expecting value"),
        (b'{"a" 1}', "expected ':', found '1}'"),
        (b"{1: 2}", "expected a key in quotes, found 1"),
        (b'{"a": 1 "b": 2}', "expected '}', found '\"b\": 2}'"),
        (b'{"a": 1} {}', r"expected nothing more, found '\{\}'"),
        (b"{} 1", "expected nothing more, found '1'"),
        (b'{"a": "\xff"}', "not UTF-8 text: invalid start byte"),
    ],
)
def test_a_broken_object_is_named(tmp_path: Path, content: bytes, found: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=f"a.json: expected one JSON object: .*{found}.*; the download may be"):
        list(stream_object(files_of(tmp_path), "a.json"))


@pytest.mark.parametrize("chunk", [1, 2, 7, 1 << 20])
def test_a_long_list_is_streamed_whatever_the_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    value = [{"id": "ä→😀", "turns": [{"x": 'b\\"c]'}]}, "text, ]", [], None, True, 6.25e3, -1e-7, 12345]
    for text in (json.dumps(value), json.dumps(value, indent=1, ensure_ascii=False), " \n" + json.dumps(value) + "\n"):
        (tmp_path / "a.json").write_text(text, encoding="utf-8")
        assert list(stream_list(files_of(tmp_path), "a.json")) == value


@pytest.mark.parametrize("chunk", [1, 5, 1 << 20])
def test_lists_of_an_object_are_streamed_one_value_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    (tmp_path / "a.json").write_text(' {"train": [1, {"b": [2]}], "none": [], "test": ["x"]} ')
    assert list(stream_lists(files_of(tmp_path), "a.json")) == [("train", 1), ("train", {"b": [2]}), ("test", "x")]
    (tmp_path / "a.json").write_text("{}")
    assert list(stream_lists(files_of(tmp_path), "a.json")) == []


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("[1]", r"expected '\{', found '\[1\]'"),
        ('{"a": 1}', r"expected '\[', found '1\}'"),
        ('{"a": [1]', r"expected '\}', found ''"),
        ('{"a": [1]} x', "expected nothing more, found 'x'"),
    ],
)
def test_a_broken_object_of_lists_is_named(tmp_path: Path, content: str, found: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=f"a.json: expected one JSON object of lists: .*{found}"):
        list(stream_lists(files_of(tmp_path), "a.json"))


def test_an_empty_list_streams_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(" [ ] ")
    assert list(stream_list(files_of(tmp_path), "a.json")) == []


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("{}", r"expected '\[', found '\{\}'"),
        ("", r"expected '\[', found ''"),
        ("[1, 2", r"expected '\]', found ''"),
        ("[1, ", "Expecting value"),
        ("[1, ]", "Expecting value"),
        ("[1 2]", r"expected '\]', found '2\]'"),
        ("[1] []", r"expected nothing more, found '\[\]'"),
    ],
)
def test_a_broken_list_is_named(tmp_path: Path, content: str, found: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=f"a.json: expected one JSON list: .*{found}.*; the download may be"):
        list(stream_list(files_of(tmp_path), "a.json"))


def test_every_reader_stands_under_its_own_name() -> None:
    assert {name: reader.name for name, reader in READERS.items()} == {name: name for name in READERS}
    assert set(READERS) >= {"vqa_rad", "samed2d", "mecovqa"}


def test_the_table_of_readers_loads_no_heavy_library() -> None:
    probe = "import sys, harness.data.releases; print(sorted({'numpy', 'PIL', 'pandas', 'pyarrow'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_lists_are_streamed_by_key_and_other_keys_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"name": "x", "train": [1, 2], "count": 3, "test": [{"a": []}]}))
    assert list(stream_lists(files_of(tmp_path), "a.json", ("train", "test"))) == [
        ("train", 1),
        ("train", 2),
        ("test", {"a": []}),
    ]
    with pytest.raises(DataError, match=r"a\.json: expected one JSON object of lists: expected '\[', found "):
        list(stream_lists(files_of(tmp_path), "a.json"))
