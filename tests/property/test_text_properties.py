"""What holds for text metrics whatever the text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.answers.short_answer import METRICS
from harness.metrics.metric import Metric, sample_values
from harness.records import Prediction, Sample, Target
from harness.text.normalisers import standard_normalise, words
from harness.text.yes_no import yes_no

TEXT = st.text(st.sampled_from("aA b.,;'\"“”!?-3 \n\t肺是否不éß。") | st.characters(codec="utf-8"), max_size=30)
ROWS = {(metric.name, metric.protocol): metric for metric in METRICS}


def values(metric: Metric, reply: str, reference: str) -> tuple[float | None, ...]:
    sample = Sample(id="d/1", target=Target(answers=(reference,)))
    outcome = metric.score(sample, Prediction(key="k", status="ok", text=reply))
    return sample_values(metric, outcome.stats) if outcome.status != "undefined" else (None,) * len(metric.values)


@given(TEXT)
def test_standard_normalise_is_idempotent(text: str) -> None:
    once = standard_normalise(text)
    assert standard_normalise(once) == once


@given(TEXT)
def test_words_are_non_empty_and_in_their_final_form(text: str) -> None:
    for word in words(text):
        assert word
        assert standard_normalise(word) == word


@given(TEXT)
def test_adding_the_other_polarity_makes_a_reply_unreadable(text: str) -> None:
    if yes_no(text) is not None:
        assert yes_no(f"{text} yes no") is None


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: f"{metric.name}-{metric.protocol}")
@given(reply=TEXT, reference=TEXT)
def test_values_are_undefined_or_shares(metric: Metric, reply: str, reference: str) -> None:
    for value in values(metric, reply, reference):
        assert value is None or 0 <= value <= 1


@given(TEXT, TEXT)
def test_swapping_sides_swaps_precision_and_recall(left: str, right: str) -> None:
    metric = ROWS["token_prf", "standard"]
    f1, precision, recall = values(metric, left, right)
    assert values(metric, right, left) == (f1, recall, precision)
