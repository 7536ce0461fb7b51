"""Entries that would hang the board, fill its memory or break its pages are refused with a line, or written escaped."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import DataError
from leaderboard.entry_file import read_entries
from tests.unit.leaderboard.board_samples import block, number, results

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "faults"


def fault(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_entries(folder)
    str(caught.value).encode()
    return str(caught.value).replace(f"{folder}/", "")


def test_a_number_of_400_digits_is_refused(tmp_path: Path) -> None:
    shutil.copy(GOLDEN / "board-bigint.json", tmp_path / "big.json")
    lines = fault(tmp_path).splitlines()
    place, found = "big.json: tasks.vqa_rad.metrics[0]", "got a number beyond all measure"
    assert f"{place}.value: expected a finite number, {found}" in lines
    at_most = "expected a whole number of at least 0 and at most 1,000,000,000,000,000,000"
    assert f"{place}.n: {at_most}, {found}" in lines


@pytest.mark.parametrize("digits", [300, 4000])
@pytest.mark.parametrize("name", ["n", "clusters", "undefined", "failed", "unparsed", "protocol_version"])
def test_a_count_of_hundreds_of_digits_is_refused(tmp_path: Path, name: str, digits: int) -> None:
    row = number(**{name: 10**digits})
    (tmp_path / "big.json").write_text(json.dumps(results(tasks={"a": block(metrics=[row])})))
    assert f"{name}: expected a whole number of at least 0 and at most" in fault(tmp_path)


def test_half_a_character_in_an_argument_is_refused(tmp_path: Path) -> None:
    shutil.copy(GOLDEN / "board-surrogate.json", tmp_path / "half.json")
    assert fault(tmp_path) == (
        "half.json: model.arguments.a: holds half of a surrogate pair; expected text that can be written as UTF-8"
    )


HALF = "\ud800"


@pytest.mark.parametrize(
    "changes",
    [
        {"arguments": {HALF: 1}},
        {"arguments": {"a": [HALF]}},
        {"arguments": {"a": {"b": f"x{HALF}"}}},
        {"model": HALF},
        {"unsupported": {HALF: "reason"}},
        {"unsupported": {"task": HALF}},
        {"tasks": {HALF: block()}},
        {"tasks": {"a": block(fallbacks=[HALF])}},
    ],
)
def test_half_a_character_is_refused_wherever_it_is_shown(tmp_path: Path, changes: dict[str, Any]) -> None:
    content = results(**{key: value for key, value in changes.items() if key != "arguments"})
    content["model"]["arguments"] = changes.get("arguments", {})
    (tmp_path / "half.json").write_text(json.dumps(content))
    assert "half of a surrogate pair" in fault(tmp_path)


def test_an_argument_of_thousands_of_digits_is_no_traceback(tmp_path: Path) -> None:
    content = results()
    content["model"]["arguments"] = {"a": 10**4299}
    (tmp_path / "long.json").write_text(json.dumps(content))
    (entry,) = read_entries(tmp_path)
    assert len(entry.arguments[0]) <= 82


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("put", [a_pipe, a_device, a_folder])
@pytest.mark.parametrize("place", ["mine.json", "run/results.json"])
def test_what_is_no_file_is_refused_without_being_read(tmp_path: Path, put: Callable[[Path], None], place: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    put(path)
    assert fault(tmp_path) == f"{place}: is a folder, a pipe or a device; expected a results.json"


@pytest.mark.parametrize("name", [b"\xff", b"caf\xe9", b"a\xed\xa0\x80"])
def test_a_folder_whose_name_is_no_utf8_is_written_escaped(tmp_path: Path, name: bytes) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system refuses such names")
    (folder / "results.json").write_text(json.dumps(results()))
    (entry,) = read_entries(tmp_path)
    entry.name.encode()
    assert "\\udc" in entry.name
