"""What the table of metrics says of its rows, docs/metrics.md with it, is what they do."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest

from harness.cli.metric.input import read_pair
from harness.cli.metric.lines import run
from harness.metrics import METRICS, Metric, bind, sample_values
from harness.metrics.metric import EmptyCase, LineKind
from harness.records import Prediction, Sample, Target
from tests.support.metric_cases import outcomes, pairs

ROWS = [bind(metric, {}, "defaults") for metric in METRICS]
NONE, SOME = [[0, 0]], [[1, 0]]
BOX = [0, 0, 2, 2]
NAMED = [{"name": "liver", "mask": SOME}]


def _pair(prediction: Any, target: Any) -> dict[str, Any]:
    return {"prediction": prediction, "target": target}


LINES: Mapping[LineKind, Sequence[dict[str, Any]]] = {
    "text": [_pair("", "liver"), _pair("liver", ""), _pair("", "")],
    "masks": [_pair(NONE, SOME), _pair(SOME, NONE), _pair(NONE, NONE)],
    "soft_masks": [_pair(NONE, SOME), _pair(SOME, NONE), _pair(NONE, NONE)],
    "grounding": [
        _pair({"entities": predicted}, {"entities": target})
        for predicted, target in (([], NAMED), (NAMED, []), ([], []))
    ],
    "instances": [
        {"predictions": predicted, "targets": target} for predicted, target in (([], [SOME]), ([SOME], []), ([], []))
    ],
    "boxes": [_pair("", BOX), _pair(BOX, ""), _pair("", "")],
    "label_maps": [_pair(NONE, SOME), _pair(SOME, NONE), _pair(NONE, NONE)],
    "detections": [_pair([], [SOME]), _pair([{"mask": SOME, "score": 1.0}], []), _pair([], [])],
    "sized_boxes": [
        {**_pair(text, box), "image_size": [4, 4]} for text, box in (("", BOX), ("[0, 0, 2, 2]", None), ("", None))
    ],
    "judge": [{"reply": ""}],
}
"""Empty prediction, empty target, both, where a line can say so."""

NO_LETTER = Sample(id="no right option", choices=("Liver", "Spleen"))


def _name(metric: Metric) -> str:
    return f"{metric.name}/{metric.protocol}"


def _each(rows: Iterable[Metric]) -> list[Any]:
    """Return the rows as parameters of a test; those that start Java are slow."""
    return [pytest.param(row, id=_name(row), marks=[pytest.mark.slow] if _starts_java(row) else []) for row in rows]


def _starts_java(metric: Metric) -> bool:
    return metric.resource is not None and metric.resource.name == "java"


def _present(metric: Metric) -> Metric:
    if metric.resource is not None and (missing := metric.resource.missing(metric.bound)) is not None:
        pytest.skip(f"{missing.reason}; {missing.remedy}")
    return metric


def _run(metric: Metric, lines: Sequence[dict[str, Any]]) -> list[tuple[float | None, str]]:
    raw = [json.dumps(line).encode() for line in lines]
    found = [line.value for line in run(raw, metric.name, metric.protocol, (), aggregate=False)]
    return [(line["value"], line["status"]) for line in found]


def _score(metric: Metric, sample: Sample, prediction: Prediction) -> tuple[float | None, str]:
    outcome = metric.score(sample, prediction)
    return (sample_values(metric, outcome.stats)[0] if outcome.stats else None), outcome.status


def _is(case: EmptyCase, value: float | None, status: str, worst: float | None) -> bool:
    """Return whether a value and its status are what the row says of this case."""
    if case in ("undefined", "unjudged"):
        return value is None and status in (case, "ok")  # a corpus metric has stats, and no number of one sample
    if case in ("unparsed", "worst"):
        return (value, status) == (worst, "unparsed" if case == "unparsed" else "ok")
    return status == "ok" and value == pytest.approx(case, abs=1e-6)


@pytest.mark.parametrize("metric", _each(row for row in ROWS if row.line in LINES))
def test_empty_sides_are_worth_what_the_row_says(metric: Metric) -> None:
    said = [case for case in (metric.empty.prediction, metric.empty.target, metric.empty.both) if case is not None]
    lines = LINES[metric.line]
    worst = [metric.floor(read_pair(line, "line", metric.line)[0]) for line in lines]
    found = _run(_present(metric), lines)
    assert len(said) == len(lines)
    assert [pair for case, pair, floor in zip(said, found, worst, strict=True) if not _is(case, *pair, floor)] == []


@pytest.mark.parametrize("metric", [row for row in ROWS if row.line == "choice"], ids=_name)
def test_an_empty_reply_to_options_is_worth_what_the_row_says(metric: Metric) -> None:
    lines = [{"prediction": "", "options": ["Liver", "Spleen"], "target": letter} for letter in "AB"]
    found = [_run(metric, [line])[0] for line in lines]
    if metric.empty.prediction == "varies":
        assert {value for value, _ in found} == {0.0, 1.0}
    else:
        assert {(value, status) for value, status in found} == {
            (0.0, "unparsed" if metric.empty.prediction == "unparsed" else "ok")
        }
    assert (metric.empty.target, metric.empty.both) == ("undefined", "undefined")
    for text in ("B", ""):
        prediction = Prediction(key="", status="ok", text=text, nll=(1.0, 2.0))
        assert _score(metric, NO_LETTER, prediction) == (None, "undefined")


@pytest.mark.parametrize("metric", [row for row in ROWS if row.line == "text"], ids=_name)
def test_a_sample_without_an_answer_has_no_value(metric: Metric) -> None:
    sample = Sample(id="no answer", target=Target())
    assert _score(_present(metric), sample, Prediction(key="", status="ok", text="liver")) == (None, "undefined")
    assert metric.ceiling(sample) is None


@pytest.mark.parametrize("metric", [row for row in ROWS if row.line == "retrieval"], ids=_name)
def test_a_query_without_an_embedding_is_unparsed(metric: Metric) -> None:
    assert metric.empty.prediction == "unparsed"
    assert _score(metric, Sample(id="one"), Prediction(key="", status="ok")) == (0.0, "unparsed")


@pytest.mark.parametrize("metric", _each(ROWS))
def test_values_the_worst_and_the_ceiling_lie_in_the_range(metric: Metric) -> None:
    cases = [] if metric.line == "retrieval" else [sample for sample, _ in pairs(metric.line)]
    found = [sample_values(metric, outcome.stats)[0] for outcome in outcomes(_present(metric)) if outcome.stats]
    found += [value for sample in cases for value in (metric.floor(sample), metric.ceiling(sample))]
    numbers = [value for value in found if value is not None]
    least, most = metric.range
    assert numbers
    assert [value for value in numbers if value < least or (most is not None and value > most + 1e-9)] == []


@pytest.mark.parametrize("metric", METRICS, ids=_name)
def test_every_row_says_what_it_does_how_and_whose_rule_it_is(metric: Metric) -> None:
    assert metric.summary.endswith(".")
    assert metric.formula
    assert metric.source
    assert "\n" not in metric.summary + metric.formula + metric.source + metric.empty.note
    if metric.empty.prediction == "varies":
        assert metric.empty.note
