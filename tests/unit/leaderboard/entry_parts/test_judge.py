"""Judged numbers on the board: two judges are two columns, and what stands beside them."""

from pathlib import Path
from typing import Any

import pytest

from harness.errors import DataError
from leaderboard.build import build
from leaderboard.cells import entry_cells
from leaderboard.entry_file import read_entries
from tests.unit.leaderboard.board_samples import Write, block, number, results

ABOUT = {"id": "openai:a", "rubric": "correctness", "rubric_version": 2, "coverage": 0.875,
         "usage": {"prompt_tokens": 900, "completion_tokens": 100, "cost": 0.5}, "calibration": None}  # fmt: skip
KNOWN = {"n": 40, "accuracy": 0.9, "kappa": 0.8, "alpha": None, "mean_error": -2.0}


def judged(judge: str, value: float, **about: Any) -> dict[str, Any]:
    protocol = f"correctness@{judge}~abc123"
    return number(metric="judge", name="judge", protocol=protocol, value=value, ci=None, judge={**ABOUT, **about})


def test_two_judges_of_one_task_are_two_columns_that_say_how_far_they_are_to_be_trusted(
    write: Write, tmp_path: Path
) -> None:
    rows = judged("openai:a", 71.0), judged("openai:b", 64.0, id="openai:b", calibration=KNOWN)
    folder = write(results(tasks={"slake_open": block(*rows)}))
    cells = entry_cells(read_entries(folder)[0])
    assert [(cell.protocol, cell.judge) for cell in cells] == [
        ("correctness", "openai:a~abc123"),
        ("correctness", "openai:b~abc123"),
    ]
    notes = [cell.note for cell in cells]
    rubric, took = "rubric correctness version 2", "judged 87.5%; 1,000 tokens; cost 0.5"
    assert notes[0] == f"judge openai:a, {rubric}; uncalibrated; {took}"
    agrees = "agrees with people: accuracy 0.90, kappa 0.80, mean error -2.0 points, n 40"
    assert notes[1] == f"judge openai:b, {rubric}; {agrees}; {took}"
    tasks = build([folder], tmp_path / "site").index.parent / "tasks"
    page = (tasks / "slake_open.html").read_text(encoding="utf-8")
    for words in ("judge openai:a~abc123", "judge openai:b~abc123", agrees):
        assert words in page
    assert "Qwen-72B, uncalibrated" in (tasks / "m3d_report_generation.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"rubric_version": -1}, r"judge\.rubric_version: expected a whole number of at least 0"),
        ({"coverage": "all"}, r"judge\.coverage: expected a finite number, got text"),
        ({"usage": {"cost": []}}, r"judge\.cost: expected a finite number"),
        ({"id": None}, r"judge\.rubric and .*judge\.id: expected text of at most"),
        ({"calibration": {"n": 1.5}}, r"judge\.calibration\.n: expected a whole number"),
    ],
)
def test_what_an_entry_says_of_its_judge_is_read_with_suspicion(
    write: Write, about: dict[str, Any], message: str
) -> None:
    folder = write(results(tasks={"slake_open": block(judged("openai:a", 71.0, **about))}))
    with pytest.raises(DataError, match=message):
        read_entries(folder)
