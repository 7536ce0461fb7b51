"""Conditions on published cells, and words that the cells get."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from harness.tasks.yaml.mapping import Table
from harness.tasks.yaml.nodes import Faults, read_mapping
from leaderboard.published.printed import PublishedCell
from leaderboard.published.selectors import read_conditions, read_counts, read_words


def cell(**fields: Any) -> PublishedCell:
    common = {"paper": "P", "table": "1", "model": "M", "benchmark": "B", "subset": "ct", "metric": "dice"}
    return PublishedCell(index=0, **{**common, "params": None, "note": None, "value": Decimal("50.5"), **fields})


@pytest.fixture
def faults() -> Faults:
    return Faults()


def table(tmp_path: Path, text: str, faults: Faults) -> Table:
    path = tmp_path / "mapping.yaml"
    path.write_text(text)
    document = read_mapping(path, faults)
    assert document is not None
    return Table(document, "", None, faults)


def test_all_fields_have_to_hold_but_one_value_of_each_is_enough(tmp_path: Path, faults: Faults) -> None:
    conditions = read_conditions(table(tmp_path, "where: {paper: P, subset: [ct, mr]}", faults), "where")
    assert conditions.all_hold(cell(subset="mr"))
    assert not conditions.all_hold(cell(subset="us"))
    assert conditions.any_holds(cell(subset="us"))
    assert not conditions.any_holds(cell(paper="Q", subset="us"))


def test_without_conditions_every_cell_holds_and_none_is_excepted(tmp_path: Path, faults: Faults) -> None:
    conditions = read_conditions(table(tmp_path, "metric: dice", faults), "where")
    assert conditions.all_hold(cell())
    assert not conditions.any_holds(cell())


def test_a_value_that_no_cell_has_is_a_fault_with_the_nearest_one(tmp_path: Path, faults: Faults) -> None:
    read_conditions(table(tmp_path, "where: {subset: [ct, fundis]}", faults), "where").check(
        [cell(), cell(subset="fundus")]
    )
    (line,) = faults.lines()
    assert line.endswith("no cell meant here has 'fundis' (did you mean 'fundus'?)")


def test_a_word_is_one_for_all_or_looked_up_by_a_field(tmp_path: Path, faults: Faults) -> None:
    entry = table(tmp_path, "place: t\nstratum: {by: subset, is: {ct: CT}}\nn: {by: subset, is: {ct: 7}}", faults)
    assert read_words(entry, "place").of(cell()) == "t"
    assert read_words(entry, "stratum").of(cell()) == "CT"
    assert read_words(entry, "stratum").of(cell(subset="mr")) is None
    assert read_counts(entry, "n").of(cell()) == 7
    assert read_words(entry, "note").of(cell()) is None
    assert faults.found == []


def test_lookups_name_values_too_many_and_values_too_few(tmp_path: Path, faults: Faults) -> None:
    words = read_words(table(tmp_path, "place: {by: subset, is: {ct: a, us: b}}", faults), "place")
    words.check([cell(), cell(subset="mr")])
    text = "\n".join(faults.lines())
    assert "no cell of this selector has this subset" in text
    assert "cells of this selector have the subset 'mr', for which no word stands here" in text
