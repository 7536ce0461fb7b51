"""A row's parameters, its floor, and rows that look at the whole corpus before they score."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from harness.errors import SpecError
from harness.metrics import find
from harness.metrics.metric import Metric, Outcome, Pair, Parameter, bind, settle
from harness.records import Json, Prediction, Sample, Target

QUESTION = Sample(id="q", target=Target(answers=("yes",)))
ANSWER = Prediction(key="", status="ok", text="yes")


def scaled(_sample: Sample, _prediction: Prediction, *, factor: float = 1.0, mode: str = "all") -> Outcome:
    return Outcome("ok", (factor, 1.0), {"mode": mode})


ROW: Metric = replace(
    find("vqa_accuracy", "medplib"),
    score=scaled,
    parameters=(
        Parameter(name="factor", default=1.0, summary="What to give.", above=0.0),
        Parameter(name="mode", default="all", choices=("all", "loc"), summary="Which."),
    ),
)


def test_parameters_that_are_not_named_have_their_defaults() -> None:
    row = bind(ROW, {"factor": 3}, "here")
    assert row.bound == {"factor": 3.0, "mode": "all"}
    assert row.score(QUESTION, ANSWER) == Outcome("ok", (3.0, 1.0), {"mode": "all"})


def test_a_row_without_parameters_is_bound_to_itself() -> None:
    row = find("vqa_accuracy", "medplib")
    assert bind(row, {}, "here") is row


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"facto": 1}, r"here: no parameter 'facto': expected factor, mode \(did you mean 'factor'\?\)"),
        ({"factor": "x"}, r"here: factor: expected a number, got 'x'"),
        ({"factor": True}, r"here: factor: expected a number, got True"),
        ({"factor": 0.0}, r"here: factor: expected a number above 0, got 0\.0"),
        ({"mode": "micro"}, r"here: mode: expected all, loc, got 'micro'"),
        ({"mode": 3}, r"here: mode: expected text, got 3"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_is_expected(values: dict[str, Json], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        bind(ROW, values, "here")


def test_a_parameter_of_a_row_that_has_none_is_refused() -> None:
    with pytest.raises(SpecError, match=r"no parameter 'k': vqa_accuracy \(medplib\) has none"):
        bind(find("vqa_accuracy", "medplib"), {"k": 1}, "here")


def test_the_floor_is_what_the_worst_answer_is_worth() -> None:
    assert find("vqa_accuracy", "medplib").floor(QUESTION) == 0.0
    assert find("vqa_accuracy", "medplib").floor(Sample(id="nothing")) is None


def test_a_row_that_looks_at_the_corpus_reads_it_once_and_then_scores() -> None:
    reads = []

    def prepare(pairs: Iterable[Pair], **_: Json) -> object:
        reads.append([sample.id for sample, _ in pairs])
        return lambda _sample, _prediction: Outcome("ok", (float(len(reads[0])), 1.0))

    row = settle(replace(ROW, prepare=prepare), iter([(QUESTION, ANSWER), (QUESTION, ANSWER)]))
    assert [row.score(QUESTION, ANSWER).stats for _ in range(2)] == [(2.0, 1.0), (2.0, 1.0)]
    assert reads == [["q", "q"]]
    assert settle(ROW, iter([])) is ROW


def test_a_parameter_can_have_a_least_value_that_is_admissible() -> None:
    parameter = Parameter(name="reach", default=1.0, summary="How far.", least=0.0)
    assert parameter.read(0, "here") == 0.0
    with pytest.raises(SpecError, match=r"here: reach: expected a number of 0 or more, got -0\.5"):
        parameter.read(-0.5, "here")
