"""data.csv and data.json."""

import csv
import io
import json

import pytest

from leaderboard.published.mapping import Published
from leaderboard.site.export import COLUMNS, as_csv, as_json, harmless, record
from tests.unit.leaderboard.board_samples import printed


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_text_that_begins_like_a_formula_is_quoted(start: str) -> None:
    (row,) = csv.DictReader(io.StringIO(as_csv([printed(f"{start}cmd|'/c calc'!A0")]), newline=""))
    assert row["model"].startswith(f"'{start}")


def test_numbers_and_plain_text_stay_as_they_are() -> None:
    assert [harmless(value) for value in (-0.5, 0, None, "a-b")] == [-0.5, 0, None, "a-b"]


def test_a_cell_becomes_one_line_under_the_same_columns_as_in_json() -> None:
    cell = printed("m", 0.25, n=4, interval=(0.1, 0.5), method="wilson", stratum=("modality", "ct"))
    assert tuple(record(cell)) == COLUMNS
    (row,) = csv.DictReader(io.StringIO(as_csv([cell])))
    assert (row["value"], row["low"], row["high"], row["stratum"], row["printed_in"]) == (
        "0.25",
        "0.1",
        "0.5",
        "ct",
        "P, Table 1",
    )


def test_json_holds_natural_values_and_what_was_left_out() -> None:
    document = json.loads(as_json([printed("m", 0.25)], Published((), (), ()), [], [("run", "limited")]))
    assert document["schema"] == 1
    assert document["cells"][0]["value"] == 0.25
    assert document["left_out"] == [{"entry": "run", "reason": "limited"}]
