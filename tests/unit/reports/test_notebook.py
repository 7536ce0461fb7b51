"""An evaluation in a notebook: its headlines, with every name escaped."""

from pathlib import Path
from typing import Any

from harness.evaluation.outputs import Evaluation
from harness.reports.notebook import as_html

ROW = {
    "metric": "dice",
    "name": "dice",
    "protocol": "standard",
    "mean": "micro",
    "stratum": None,
    "value": 0.25,
    "ci": [0.125, 0.5],
    "n": 8,
    "clusters": 8,
    "failed": 1,
}
HEADLINE = {"metric": "dice", "protocol": "standard", "mean": "micro", "over": None}


def results(**changed: Any) -> dict[str, Any]:
    block = {"headline": HEADLINE, "metrics": [ROW], "wanted": 8, "counts": {"ok": 7}, "answered": 7, "coverage": 1.0}
    whole = {"model": {"id": "<mine>"}, "data": "phantom", "limited": True, "tasks": {"organs": block}}
    return whole | {"unsupported": {"vqa_rad": "gives no text"}, "unavailable": []} | changed


def test_the_headline_of_each_task_is_a_row() -> None:
    page = as_html(results(), Path("runs/a"))
    assert "<td>dice standard, micro</td><td>0.2500</td><td>[0.1250, 0.5000]</td><td>8</td><td>1</td>" in page
    assert "<td>7 of 8</td>" in page
    assert "phantom data, limited: not all samples" in page
    assert "unsupported: vqa_rad: gives no text" in page
    assert "&lt;mine&gt;" in page
    assert "<mine>" not in page


def test_a_task_without_its_headline_has_dashes() -> None:
    block = results()["tasks"]["organs"] | {"metrics": []}
    assert "<td></td><td>-</td><td>-</td><td>-</td><td>-</td>" in as_html(results(tasks={"organs": block}), Path("a"))


def test_an_evaluation_prints_its_headlines_and_not_every_number() -> None:
    found = Evaluation(out=Path("runs/a"), results=results())
    assert repr(found).startswith("<Evaluation of <mine> in runs/a>\n")
    assert "0.2500" in repr(found)
    assert len(repr(found)) < 500
    assert found._repr_html_() == as_html(results(), Path("runs/a"))
