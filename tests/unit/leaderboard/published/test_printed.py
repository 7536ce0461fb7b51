"""Reading published.json."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import DataError
from leaderboard.published.printed import decimals, load_published, row_of

CELL = {
    "paper": "P",
    "table": "1",
    "model": "M",
    "params": None,
    "benchmark": "B",
    "subset": "test",
    "metric": "accuracy",
    "value": 50.25,
    "supported": True,
    "recomputed": None,
    "note": None,
}


def load(tmp_path: Path, *cells: Any) -> Any:
    path = tmp_path / "published.json"
    path.write_text(json.dumps(list(cells)))
    return load_published(path)


def test_the_released_file_holds_1016_cells_of_which_42_are_not_supported() -> None:
    cells = load_published()
    assert len(cells) == 1016
    assert sum(cell.value is None for cell in cells) == 42


def test_a_value_keeps_its_printed_digits(tmp_path: Path) -> None:
    (cell,) = load(tmp_path, CELL)
    assert str(cell.value) == "50.25"


def test_a_table_prints_as_many_decimals_as_its_longest_value(tmp_path: Path) -> None:
    cells = load(tmp_path, CELL, {**CELL, "value": 50.5}, {**CELL, "table": "2", "value": 7})
    assert decimals(cells) == {("P", "1"): 2, ("P", "2"): 0}


def test_cells_of_one_row_share_paper_table_and_model(tmp_path: Path) -> None:
    first, second = load(tmp_path, CELL, {**CELL, "metric": "recall"})
    assert row_of(first) == row_of(second)
    assert row_of(first, ("metric",)) != row_of(second, ("metric",))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"paper": 3}, "cell 0: paper: expected text"),
        ({"note": 3}, "cell 0: note: expected text or null"),
        ({"value": "x"}, "cell 0: value: expected a number, or null where the paper prints none"),
        ({"value": None}, "cell 0: supported: expected true with a value and false without one"),
    ],
)
def test_a_wrong_field_is_named_with_its_cell(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=r"published\.json") as caught:
        load(tmp_path, {**CELL, **change})
    assert str(caught.value).endswith(message)


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cell 0: params: missing"):
        load(tmp_path, {name: value for name, value in CELL.items() if name != "params"})


def test_every_wrong_cell_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load(tmp_path, "no cell", {**CELL, "model": None})
    lines = str(caught.value).splitlines()
    assert [line.rpartition("published.json: ")[2] for line in lines] == [
        "cell 0: expected an object",
        "cell 1: model: expected text",
    ]


@pytest.mark.parametrize("text", ["{", '{"cells": []}'])
def test_a_file_that_is_no_list_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "published.json"
    path.write_text(text)
    with pytest.raises(DataError, match="expected a JSON list of published cells"):
        load_published(path)
