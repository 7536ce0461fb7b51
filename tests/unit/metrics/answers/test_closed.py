"""Short answers by released rules: undefined samples, ceilings, and what a person sees of the decision."""

import numpy as np
import pytest

from harness.metrics.answers.closed import METRICS
from harness.metrics.metric import Metric, Outcome, sample_values
from harness.records import Prediction, Sample, Target

CLOSED, OPEN = METRICS
ALL_ROWS = pytest.mark.parametrize("row", METRICS, ids=lambda row: row.name)


def sample(*answers: str) -> Sample:
    return Sample(id="d/test/1", target=Target(answers=answers))


def outcome(row: Metric, text: str | None, *answers: str) -> Outcome:
    return row.score(sample(*answers), Prediction(key="k", status="ok", text=text))


def test_the_rows_are_those_of_the_spec() -> None:
    assert [(row.name, row.protocol) for row in METRICS] == [
        ("vqa_accuracy", "medevalkit-closed"),
        ("mmmu_open", "mmmu"),
    ]


@ALL_ROWS
def test_a_sample_without_an_answer_is_undefined(row: Metric) -> None:
    assert outcome(row, "left") == Outcome("undefined")
    assert row.ceiling(sample()) is None
    assert sample_values(row, row.worst(sample())) == (None,)


@ALL_ROWS
def test_the_reference_reaches_the_ceiling_and_an_empty_reply_the_floor(row: Metric) -> None:
    assert sample_values(row, outcome(row, "Left lung", "left lung").stats) == (row.ceiling(sample("left lung")),)
    assert sample_values(row, outcome(row, None, "left lung").stats) == (row.floor(sample("left lung")),) == (0.0,)


@ALL_ROWS
def test_combine_takes_any_number_of_leading_axes(row: Metric) -> None:
    np.testing.assert_array_equal(row.combine(np.array([[[1.0, 2.0]], [[0.0, 0.0]]])), [[[0.5]], [[np.nan]]])


def test_only_the_first_answer_of_a_closed_question_counts() -> None:
    assert outcome(CLOSED, "right", "left", "right").stats == (0.0, 1.0)


def test_any_answer_of_an_open_question_counts() -> None:
    assert outcome(OPEN, "it is right", "left", "right").stats == (1.0, 1.0)


def test_a_closed_answer_with_a_full_stop_cannot_be_met() -> None:
    assert CLOSED.ceiling(sample("1.5 cm")) == 0.0
    assert outcome(CLOSED, "1.5 cm", "1.5 cm").stats == (0.0, 1.0)


@pytest.mark.parametrize(
    ("answer", "reply", "ceiling"),
    [("stenosis left", "stenosis left", 0.0), ("x=5", "thus x=5\nas shown", 1.0), ("5 mm.", "5 mm. or so", 1.0)],
)
def test_the_ceiling_of_open_answers_is_what_some_reply_reaches(answer: str, reply: str, ceiling: float) -> None:
    assert OPEN.ceiling(sample(answer)) == ceiling
    assert outcome(OPEN, reply, answer).stats == (ceiling, 1.0)


@pytest.mark.parametrize(
    ("reply", "rule", "candidates"),
    [
        ("it is a low dose", "holds_text", ["a low dose"]),
        ("the dose is 12.001", "equal_number", ["12.0"]),
        ("unclear", "none", ["unclear"]),
    ],
)
def test_the_detail_says_how_an_open_reply_was_read(reply: str, rule: str, candidates: list[str]) -> None:
    assert outcome(OPEN, reply, "low dose", "12").detail == {"rule": rule, "candidates": candidates}
