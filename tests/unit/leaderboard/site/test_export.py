"""data.csv and data.json."""

import csv
import io
import json

import pytest

from harness.exports.csv_cells import harmless
from leaderboard.published.mapping import Published
from leaderboard.site.export import COLUMNS, chosen, csv_parts, json_parts, record, task_json_parts
from tests.unit.leaderboard.board_samples import printed


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_text_that_begins_like_a_formula_is_quoted(start: str) -> None:
    (row,) = csv.DictReader(io.StringIO("".join(csv_parts([printed(f"{start}cmd|'/c calc'!A0")])), newline=""))
    assert row["model"].startswith(f"'{start}")


def test_numbers_and_plain_text_stay_as_they_are() -> None:
    assert [harmless(value) for value in (-0.5, 0, None, "a-b")] == [-0.5, 0, None, "a-b"]


def test_a_cell_becomes_one_line_under_the_same_columns_as_in_json() -> None:
    cell = printed("m", 0.25, n=4, interval=(0.1, 0.5), method="wilson", stratum=("modality", "ct"))
    assert tuple(record(cell)) == COLUMNS
    (row,) = csv.DictReader(io.StringIO("".join(csv_parts([cell])), newline=""))
    assert (row["value"], row["low"], row["high"], row["stratum"], row["printed_in"]) == (
        "0.25",
        "0.1",
        "0.5",
        "ct",
        "P, Table 1",
    )


def test_json_holds_natural_values_and_what_was_left_out() -> None:
    document = json.loads(
        "".join(json_parts([printed("m", 0.25)], Published((), (), ()), [], [("run", "limited")], "everything"))
    )
    assert (document["schema"], document["holds"]) == (1, "everything")
    assert document["cells"][0]["value"] == 0.25
    assert document["left_out"] == [{"entry": "run", "reason": "limited"}]


def test_a_board_without_numbers_is_valid_too() -> None:
    assert json.loads("".join(json_parts([], Published((), (), ()), [], [], "")))["cells"] == []
    assert "".join(csv_parts([])).split("\r\n") == [",".join(COLUMNS), ""]


def test_the_file_of_a_task_holds_every_number_in_rows() -> None:
    cells = [printed(f"m{index}", index / 1000) for index in range(501)]
    document = json.loads("".join(task_json_parts("samed2d_seg", cells)))
    assert document["columns"] == list(COLUMNS)
    assert [row[COLUMNS.index("value")] for row in document["rows"]] == [index / 1000 for index in range(501)]
    assert len("".join(csv_parts(cells)).splitlines()) == 502


def test_the_files_of_a_large_board_hold_the_whole_tasks_and_then_the_headlines() -> None:
    stratum = printed("m", stratum=("modality", "ct"))
    second = printed("m", metric="iou", name="iou", order=(1, 1, 0))
    cells = [printed("m"), second, stratum]
    found = [chosen(cells, most) for most in (3, 2, 1)]
    assert [len(kept) for kept, _ in found] == [3, 2, 1]
    assert [words.split(";")[0] for _, words in found] == [
        "every number of the board, strata included.",
        "every number of whole tasks",
        "published numbers and headlines of whole tasks",
    ]
