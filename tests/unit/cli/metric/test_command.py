"""`harness metric --check`: what it says on stderr, and its exit code."""

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from harness.cli import main
from harness.cli.metric import lines
from harness.metrics.metric import Metric
from harness.metrics.reports.library_check import Check

LINE = json.dumps({"prediction": "left lung", "target": "the left lung"}) + "\n"


def check(*words: str, stdin: str = LINE) -> Result:
    return CliRunner().invoke(main, ["metric", *words, "--check"], input=stdin)


@pytest.fixture
def second_line_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    def differences(_metric: Metric, pairs: list[object]) -> Iterator[str | None]:
        return (f"rougeL is {place}, by the library 0.5" if place else None for place, _ in enumerate(pairs))

    monkeypatch.setattr(lines, "find_check", lambda _metric: Check("rouge-score", differences))


def test_equal_values_are_said_and_end_with_0() -> None:
    found = check("rouge", stdin=LINE * 2)
    assert found.exit_code == 0
    assert found.stderr.startswith("harness: --check: all 2 lines equal rouge-score ")
    assert found.stdout == CliRunner().invoke(main, ["metric", "rouge"], input=LINE * 2).stdout


@pytest.mark.usefixtures("second_line_differs")
def test_a_difference_is_said_and_ends_with_1() -> None:
    found = check("rouge", stdin=LINE * 2)
    assert found.exit_code == 1
    first, last = found.stderr.splitlines()
    assert first == "harness: line 2: rougeL is 1, by the library 0.5"
    assert last.startswith("harness: --check: 1 of 2 lines differ from rouge-score ")
    assert len(found.stdout.splitlines()) == 2


def test_a_line_that_cannot_be_read_ends_with_2_and_the_others_are_compared() -> None:
    found = check("rouge", stdin="{\n" + LINE)
    assert found.exit_code == 2
    assert "harness: line 1: expected a JSON object" in found.stderr
    assert "harness: --check: all 1 lines equal rouge-score" in found.stderr


def test_without_a_line_that_can_be_read_nothing_is_called_equal() -> None:
    assert "harness: --check: no line could be compared with rouge-score" in check("rouge", stdin="").stderr


def test_a_metric_that_no_library_defines_ends_with_2_before_the_first_line() -> None:
    found = check("vqa_accuracy")
    assert (found.exit_code, found.stdout) == (2, "")
    assert "harness: vqa_accuracy (standard): --check: no library that is used here defines this row" in found.stderr
