"""JSON files read value by value: whatever the chunks, and whatever is wrong with the file."""

import json
import tracemalloc
from pathlib import Path

import pytest

from harness.data.releases import json_stream
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.json_stream import stream_list, stream_lists, stream_object
from harness.errors import DataError


def files_of(root: Path) -> ReleaseFiles:
    return ReleaseFiles(root=root, derived=root / "derived")


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


def test_lists_are_streamed_by_key_and_other_keys_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"name": "x", "train": [1, 2], "count": 3, "test": [{"a": []}]}))
    assert list(stream_lists(files_of(tmp_path), "a.json", ("train", "test"))) == [
        ("train", 1),
        ("train", 2),
        ("test", {"a": []}),
    ]
    with pytest.raises(DataError, match=r"a\.json: expected one JSON object of lists: expected '\[', found "):
        list(stream_lists(files_of(tmp_path), "a.json"))


@pytest.mark.parametrize(
    "text",
    [
        "[999999999999999999999999999999, -9223372036854775809, 18446744073709551616]",
        "[0.30000000000000004, 1.7976931348623157e308, 5e-324, -0.0, 1E5, 1e400, NaN, -Infinity]",
        '[{"a": 1, "a": 2}, {"a": {"b": 1, "b": [[[[]]]]}}]',
        '["\\ud83d\\ude00", "\\ud83d", "\\u0000"]',
    ],
)
@pytest.mark.parametrize("chunk", [1, 1 << 20])
def test_values_are_those_of_the_json_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, chunk: int
) -> None:
    """Also where JSON parsers differ: large integers, overflow, NaN, doubled keys and lone surrogates."""
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    (tmp_path / "a.json").write_text(text)
    streamed = list(stream_list(files_of(tmp_path), "a.json"))
    assert repr(streamed) == repr(json.loads(text))


def test_values_before_a_fault_are_yielded_first(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"id": 1}, {"id": 2}')
    stream = stream_list(files_of(tmp_path), "a.json")
    assert [next(stream), next(stream)] == [{"id": 1}, {"id": 2}]
    with pytest.raises(DataError, match=r"expected '\]', found ''"):
        next(stream)


def test_a_long_file_is_never_in_memory_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", 1 << 14)
    with (tmp_path / "a.json").open("w") as file:
        file.write("[" + ", ".join(json.dumps({"id": number, "text": "x" * 100}) for number in range(40_000)) + "]")
    stream = stream_list(files_of(tmp_path), "a.json")
    next(stream)
    tracemalloc.start()
    try:
        assert sum(1 for _ in stream) == 39_999
        assert tracemalloc.get_traced_memory()[1] < 500_000  # of a file of 5 MB
    finally:
        tracemalloc.stop()
