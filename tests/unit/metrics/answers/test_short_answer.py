"""Accuracy and token overlap of short answers, per protocol."""

import numpy as np
import pytest

from harness.metrics.answers.short_answer import METRICS
from harness.metrics.metric import Metric, Outcome, sample_values
from harness.records import Prediction, Sample, Target

ROWS = {(metric.name, metric.protocol): metric for metric in METRICS}


def sample(*answers: str) -> Sample:
    return Sample(id="d/test/1", target=Target(answers=answers))


def outcome(metric: Metric, text: str | None, *answers: str) -> Outcome:
    return metric.score(sample(*answers), Prediction(key="k", status="ok", text=text))


def values(metric: Metric, text: str | None, *answers: str) -> tuple[float | None, ...]:
    return sample_values(metric, outcome(metric, text, *answers).stats)


def test_the_rows_are_those_of_the_spec() -> None:
    assert list(ROWS) == [
        ("vqa_accuracy", "standard"),
        ("vqa_accuracy", "vqa-v2"),
        ("vqa_accuracy", "medplib"),
        ("token_prf", "standard"),
        ("token_prf", "medplib"),
    ]


@pytest.mark.parametrize(
    ("text", "answers", "hit"),
    [
        ("Yes, there is.", ("yes",), 1.0),
        ("no", ("Yes.",), 0.0),
        ("是的", ("是",), 1.0),
        ("是的", ("yes",), 1.0),
        ("Left lung.", ("left lung",), 1.0),
        ("the left lung", ("left lung",), 0.0),
        ("CT", ("computed tomography", "ct"), 1.0),
        (None, ("left",), 0.0),
    ],
)
def test_standard_accuracy(text: str | None, answers: tuple[str, ...], hit: float) -> None:
    metric = ROWS["vqa_accuracy", "standard"]
    assert outcome(metric, text, *answers).status == "ok"
    assert values(metric, text, *answers) == (hit,)


@pytest.mark.parametrize("text", ["maybe", "yes and no", "", None])
def test_a_reply_without_one_yes_or_no_is_unparsed_and_scores_worst(text: str | None) -> None:
    found = outcome(ROWS["vqa_accuracy", "standard"], text, "yes")
    assert found.status == "unparsed"
    assert found.stats == (0.0, 1.0)
    assert found.detail == {"rule": "yes_no"}


@pytest.mark.parametrize("protocol", ["vqa-v2", "medplib"])
def test_released_accuracies_compare_with_the_first_answer_only(protocol: str) -> None:
    metric = ROWS["vqa_accuracy", protocol]
    assert values(metric, "The x-ray", "X ray", "MRI") == (1.0,)
    assert values(metric, "MRI", "X ray", "MRI") == (0.0,)
    assert values(metric, "Yes, it is", "yes") == (0.0,)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: f"{metric.name}-{metric.protocol}")
def test_a_sample_without_an_answer_is_undefined(metric: Metric) -> None:
    assert outcome(metric, "left").status == "undefined"
    assert metric.ceiling(sample()) is None


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: f"{metric.name}-{metric.protocol}")
def test_the_reference_reaches_the_ceiling_and_worst_the_floor(metric: Metric) -> None:
    assert values(metric, "left lung lung", "left lung lung")[0] == metric.ceiling(sample("left lung lung")) == 1.0
    assert sample_values(metric, metric.worst(sample("left lung")))[0] == metric.floor(sample("left lung")) == 0.0


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: f"{metric.name}-{metric.protocol}")
def test_combine_takes_any_number_of_leading_axes(metric: Metric) -> None:
    one = np.asarray(outcome(metric, "left lung", "left").stats)
    assert metric.combine(np.tile(one, (3, 2, 1))).shape == (3, 2, len(metric.values))
    assert len(one) == len(metric.stats)


def test_standard_tokens_clip_to_the_rarer_side() -> None:
    metric = ROWS["token_prf", "standard"]
    assert outcome(metric, "Lung, lung lung", "lung lung liver").stats == (2.0, 3.0, 3.0)
    assert values(metric, "Lung, lung lung", "lung lung liver") == pytest.approx((2 / 3, 2 / 3, 2 / 3))


def test_standard_tokens_of_one_empty_side_are_zero_and_of_two_undefined() -> None:
    metric = ROWS["token_prf", "standard"]
    assert values(metric, "", "lung") == (0.0, 0.0, 0.0)
    assert values(metric, "lung", "...") == (0.0, 0.0, 0.0)
    assert outcome(metric, None, "").status == "undefined"
    assert metric.ceiling(sample("...")) is None
    assert sample_values(metric, (0.0, 0.0, 0.0)) == (None, None, None)


def test_medplib_tokens_do_not_clip() -> None:
    metric = ROWS["token_prf", "medplib"]
    assert outcome(metric, "lung lung lung", "lung heart").stats == (3.0, 0.0, 1.0)
    assert values(metric, "lung lung lung", "lung heart") == pytest.approx((6 / 7, 1.0, 0.75))


def test_medplib_scores_a_reference_of_articles_zero_whatever_the_reply() -> None:
    metric = ROWS["token_prf", "medplib"]
    assert values(metric, "A", "A") == (0.0, 0.0, 0.0)
    assert metric.ceiling(sample("A")) == 0.0
    assert values(ROWS["vqa_accuracy", "medplib"], "the", "A") == (1.0,)
