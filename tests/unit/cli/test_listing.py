"""Lists as text: as columns, and wrapped where a terminal is narrower than they are."""

from pathlib import Path

import pytest

from harness.cli.listing import describe, table
from harness.errors import SpecError

ROWS = [
    {"metric": "dice", "protocol": "standard", "summary": "Twice the overlap over the sum of both areas of the masks."},
    {"metric": "iou", "protocol": "m3d", "summary": ""},
]


def test_a_table_that_fits_or_goes_to_a_pipe_has_one_line_per_row() -> None:
    assert table(ROWS, 200) == table(ROWS)
    assert table(ROWS).splitlines()[2] == "iou     m3d"
    assert table([]) == "nothing"


def test_a_last_column_is_wrapped_beside_the_others_where_there_is_room() -> None:
    lines = table(ROWS, 50).splitlines()
    assert lines[0] == "metric  protocol  summary"
    assert lines[1] == "dice    standard  Twice the overlap over the sum"
    assert lines[2].lstrip() == "of both areas of the masks."
    assert lines[2].startswith(" " * 18)
    assert lines[3] == "iou     m3d"


def test_columns_stand_below_the_others_in_a_narrow_terminal() -> None:
    lines = table(ROWS, 30).splitlines()
    assert lines[2] == "dice    standard"
    assert lines[3] == "    Twice the overlap over the"
    assert max(map(len, lines)) <= 30


def test_a_word_is_given_a_line_of_its_own_where_not_even_the_first_column_fits() -> None:
    assert max(map(len, table(ROWS, 12).splitlines())) <= 12


def test_one_task_is_described_by_its_file_too(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "task: mine\nversion: 1\ntitle: Mine\nrelease: {reader: samed2d, split: all}\ngives: masks\n"
        'oracle: "<SEG>"\nprompt: "Where?"\nmetrics:\n  - {metric: dice}\nheadline: {metric: dice}\n'
    )
    assert describe(str(file), ())["title"] == "Mine"
    with pytest.raises(SpecError, match="expected one task or group, got 2: vqa_rad, slake"):
        describe("vqa_rad,slake", ())


def test_a_metric_shows_its_protocols_and_how_each_is_gamed() -> None:
    found = describe("choice_accuracy", ())
    shown = {row["protocol"]: row.get("certificate") for row in found["protocols"]}
    assert shown["strict-letter"] is None
    with pytest.raises(SpecError, match=r"\nno metric either \(did you mean 'choice_accuracy'\?\)"):
        describe("choice_acuracy", ())
    assert "reaches 1.000" in shown["m3d"]


def test_a_task_shows_the_certificates_of_its_metrics() -> None:
    found = describe("m3d_closed_vqa", ())
    assert "reaches 1.000" in found["certificates"]["choice_accuracy (m3d)"]
