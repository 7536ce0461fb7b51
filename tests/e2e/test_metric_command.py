"""`harness metric` through the command line, against the numbers of released code."""

import json
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).parents[1] / "golden"


def cases(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((GOLDEN / name).read_text(encoding="utf-8"))["cases"]
    return found


def ask(command: Any, name: str, protocol: str, pairs: list[dict[str, Any]], *words: str) -> list[dict[str, Any]]:
    stdin = "".join(json.dumps(pair) + "\n" for pair in pairs)
    result = command("metric", name, "--protocol", protocol, *words, stdin=stdin)
    assert (result.exit_code, result.stderr) == (0, "")
    return [json.loads(line) for line in result.stdout.splitlines()]


def pairs_of(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"prediction": case["prediction"], "target": case["reference"]} for case in found]


def test_medplibs_token_scores_are_met(command: Any) -> None:
    found = cases("medplib_text.json")
    *lines, corpus = ask(command, "token_prf", "medplib", pairs_of(found), "--aggregate")
    for name in ("f1", "precision", "recall"):
        expected = [case[name] for case in found]
        assert [line["values"][name] for line in lines] == pytest.approx(expected, abs=1e-6)
        assert corpus["aggregate"]["values"][name] == pytest.approx(sum(expected) / len(expected), abs=1e-6)
    assert [line["value"] for line in lines] == [line["values"]["f1"] for line in lines]
    assert corpus["aggregate"]["n"] == len(found)


def test_medplibs_closed_questions_are_met(command: Any) -> None:
    found = cases("medplib_text.json")
    lines = ask(command, "vqa_accuracy", "medplib", pairs_of(found))
    assert [line["value"] for line in lines] == [case["closed_hit"] for case in found]
    closed = cases("vqa_closed.json")
    pairs = [{"prediction": case["response"], "target": case["gold"]} for case in closed]
    lines = ask(command, "vqa_accuracy", "medplib", pairs)
    assert [line["value"] for line in lines] == [float(case["medplib_exact_match"]) for case in closed]


@pytest.mark.parametrize(("protocol", "column"), [("medplib", "medplib"), ("sam-med2d", "sammed2d")])
@pytest.mark.parametrize("name", ["dice", "iou"])
def test_released_mask_scores_are_met(command: Any, name: str, protocol: str, column: str) -> None:
    found = cases("medplib_masks.json")
    for case, line in zip(found, ask(command, name, protocol, pairs_of(found)), strict=True):
        expected = case[f"{column}_{name}"]
        assert line["status"] == ("undefined" if expected is None else "ok"), case["note"]
        assert line["value"] == (None if expected is None else pytest.approx(expected, abs=1e-6)), case["note"]


def test_a_broken_line_ends_with_2_and_the_others_are_scored(command: Any) -> None:
    result = command("metric", "dice", stdin='{"prediction": [[1]], "target": [[1]]}\n{\n{"prediction": [[1]]}\n')
    assert result.exit_code == 2
    values = [json.loads(line) for line in result.stdout.splitlines()]
    assert [value["status"] for value in values] == ["ok", "error", "error"]
    assert "line 2: expected a JSON object" in result.stderr
    assert "line 3: expected an object with" in result.stderr


def test_an_unknown_metric_ends_with_2_and_a_hint(command: Any) -> None:
    result = command("metric", "dise", stdin="")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "(did you mean 'dice'?)" in result.stderr
