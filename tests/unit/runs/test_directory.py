"""Reading a run directory: past the lock and past damage, with an error that says how to go on."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import DataError, SpecError
from harness.records import Sample
from harness.records.checked_lines import checked_line
from harness.runs import plan_file
from harness.runs.directory import RunDirectory
from harness.runs.plan_file import PlannedRequest
from harness.runs.store import RunStore


def key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def line(name: str, words: str) -> str:
    return json.dumps({"key": key(name), "status": "ok", "text": words}, separators=(",", ":"))


def stored(**fields: object) -> bytes:
    """Return a line as `RunStore` writes it, newline included."""
    body = json.dumps({"key": key("a"), "status": "ok", **fields}, separators=(",", ":"))
    return checked_line(body.encode()) + b"\n"


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[RunDirectory]:
    """A run directory that this process holds, with two predictions."""
    held = RunStore(tmp_path / "run")
    held.open({"schema": 1})
    held.record(key("a"), line("a", "first"))
    held.record(key("b"), line("b", "second"))
    yield RunDirectory(tmp_path / "run")
    held.close()


def test_a_prediction_is_read_while_the_run_is_locked(directory: RunDirectory) -> None:
    found = directory.find_prediction(key("b"))
    assert found is not None
    assert found.text == "second"
    assert directory.find_prediction(key("c")) is None
    assert directory.find_prediction("") is None


def test_several_predictions_are_found_in_one_pass(directory: RunDirectory) -> None:
    found = directory.find_predictions([key("b"), key("a"), key("c"), ""])
    assert {name: prediction.text for name, prediction in found.items()} == {key("a"): "first", key("b"): "second"}
    assert directory.find_predictions([""]) == {}
    directory.predictions_path.unlink()
    assert directory.find_predictions([key("a")]) == {}


def test_a_damaged_line_is_passed_over_for_a_whole_one(directory: RunDirectory) -> None:
    path = directory.predictions_path
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"first", b"worst"))
    assert directory.find_prediction(key("a")) is None
    path.write_bytes(path.read_bytes() + whole)
    found = directory.find_prediction(key("a"))
    assert found is not None
    assert found.text == "first"


def test_a_torn_last_line_is_not_there_yet(directory: RunDirectory) -> None:
    path = directory.predictions_path
    path.write_bytes(path.read_bytes()[:-3])
    assert directory.find_prediction(key("b")) is None


def test_a_run_without_predictions_has_none(tmp_path: Path) -> None:
    assert RunDirectory(tmp_path).find_prediction(key("a")) is None


def test_lines_say_where_they_begin_and_which_are_damaged(directory: RunDirectory) -> None:
    path = directory.predictions_path
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + b"{}\n" + second)
    assert list(directory.read_lines()) == [
        (0, bytes.fromhex(key("a")), "ok"),
        (len(first), None, ""),
        (len(first) + 3, bytes.fromhex(key("b")), "ok"),
    ]


@pytest.mark.parametrize(("size", "found"), [(4, True), (5, False)])
def test_a_line_counts_while_its_blob_has_the_size_that_was_stored(tmp_path: Path, size: int, found: bool) -> None:
    directory = RunDirectory(tmp_path)
    directory.predictions_path.parent.mkdir()
    directory.predictions_path.write_bytes(stored(masks_blob=key("x"), masks_blob_bytes=4))
    blob = directory.blob_path(key("x"))
    blob.parent.mkdir()
    blob.write_bytes(b"?" * size)
    (read,) = directory.read_lines()
    assert (read.key is not None) == found


def test_a_blob_with_other_bytes_than_its_name_says_is_damaged(tmp_path: Path) -> None:
    import zstandard

    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / f"{key('x')}.json.zst").write_bytes(zstandard.compress(b"[]"))
    with pytest.raises(DataError, match="ValueError: its bytes are not those that were stored"):
        RunDirectory(tmp_path).read_prediction(stored(masks_blob=key("x")))


def test_a_blob_that_cannot_be_unpacked_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / f"{key('x')}.json.zst").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"json\.zst: a stored prediction is damaged \(ZstdError: .*; delete that file"):
        RunDirectory(tmp_path).read_prediction(stored(masks_blob=key("x")))


def test_a_stored_line_damaged_after_opening_is_an_error_that_says_how_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"predictions\.jsonl: a stored prediction is damaged .*run the same"):
        RunDirectory(tmp_path).read_prediction(b'{"key": ')


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"is no run directory \(no run.json\); expected what `harness run --out` wrote"),
        ('{"mod', r"run\.json: cannot be read \(.*restore it, or name another folder by --out"),
        ("[]", r"run\.json: expected a JSON object, found list; restore it"),
    ],
)
def test_a_record_that_cannot_be_read_says_what_to_do(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(SpecError, match=message):
        RunDirectory(tmp_path).read_run()


def test_a_file_is_no_run_directory(tmp_path: Path) -> None:
    (tmp_path / "a.zip").touch()
    with pytest.raises(SpecError, match=r"a\.zip: is no run directory"):
        RunDirectory(tmp_path / "a.zip").read_run()


def test_a_plan_that_is_not_whole_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="has no complete plan; run `harness run` on it first"):
        RunDirectory(tmp_path).read_cells()


def test_planned_requests_are_found_by_sample(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    rows = [PlannedRequest(sample=Sample(id=name), repeat=repeat, key=name) for name in "abc" for repeat in range(2)]
    plan_file.write(directory.plan_path("task"), rows)
    assert directory.read_planned("task", ["c", "a"]) == [rows[0], rows[1], rows[4], rows[5]]
    assert directory.read_planned("task", ["d"]) == []
    assert directory.read_sample_ids("task") == {"a", "b", "c"}


def test_a_damaged_value_is_passed_over(directory: RunDirectory) -> None:
    path = directory.predictions_path
    path.write_bytes(b'{"tor\n' + path.read_bytes())
    assert [value["text"] for value in directory.read_values()] == ["first", "second"]


def test_a_run_without_events_has_none(tmp_path: Path) -> None:
    assert list(RunDirectory(tmp_path).read_events()) == []


def test_a_run_without_problems_has_none(tmp_path: Path) -> None:
    assert RunDirectory(tmp_path).read_problems() == []


def test_results_of_a_run_that_is_not_finished_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"has no results\.json; expected a finished run directory"):
        RunDirectory(tmp_path).read_results()
    written = {"schema": 1, "model": {}, "tasks": {}}
    (tmp_path / "results.json").write_text(json.dumps(written))
    assert RunDirectory(tmp_path).read_results() == written


@pytest.mark.parametrize("content", ['{"sch', "[]", '{"schema": 1}', '{"tasks": {"a": {}}}'])
def test_results_that_cannot_be_read_say_what_to_do(tmp_path: Path, content: str) -> None:
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(
        SpecError, match=r"results\.json: does not hold the results of a run; run the same `harness run`"
    ):
        RunDirectory(tmp_path).read_results()
