"""What holds for BLEU, ROUGE and the tokenizers whatever the text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.metric import Metric, sample_values
from harness.metrics.reports import bleu, rouge
from harness.metrics.reports.rouge import common_length
from harness.records import Prediction, Sample, Target
from harness.text.ptb_tokenizer import caption_line
from harness.text.tokenizers import unicode_words, without_grounding_tags

METRICS = (*bleu.METRICS, *rouge.METRICS)
ROWS = {(metric.name, metric.protocol): metric for metric in METRICS}
EACH = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: f"{metric.name}-{metric.protocol}")
TEXT = st.text(st.sampled_from("ab T2-.,'(<p>/ \n\t肺3") | st.characters(codec="utf-8"), max_size=25)
WORDS = st.lists(st.sampled_from("abc"), max_size=9)


def stats(metric: Metric, reply: str, *references: str) -> tuple[float, ...]:
    sample = Sample(id="d/1", target=Target(answers=references))
    return metric.score(sample, Prediction(key="k", status="ok", text=reply)).stats


def values(metric: Metric, reply: str, *references: str) -> tuple[float | None, ...]:
    return sample_values(metric, stats(metric, reply, *references))


@EACH
@given(reply=TEXT, reference=TEXT)
def test_values_are_shares_and_never_above_the_ceiling(metric: Metric, reply: str, reference: str) -> None:
    found = values(metric, reply, reference)
    assert all(value is not None and 0 <= value <= 1 + 1e-12 for value in found)
    ceiling = metric.ceiling(Sample(id="d/1", target=Target(answers=(reference,))))
    assert ceiling == values(metric, reference, reference)[0]


@EACH
@given(replies=st.lists(WORDS.map(" ".join), min_size=1, max_size=6), data=st.data())
def test_pooled_values_do_not_depend_on_order_or_cuts(metric: Metric, replies: list[str], data: st.DataObject) -> None:
    rows = np.asarray([stats(metric, reply, "a b c a b c") for reply in replies])
    mixed = rows[data.draw(st.permutations(range(len(replies))))]
    cut = data.draw(st.integers(0, len(replies)))
    parts = mixed[:cut].sum(axis=0) + mixed[cut:].sum(axis=0)
    np.testing.assert_allclose(metric.combine(rows.sum(axis=0)), metric.combine(parts), atol=1e-12)


@EACH
@given(reply=WORDS.map(" ".join), references=st.lists(WORDS.map(" ".join), min_size=1, max_size=3))
def test_combine_works_on_many_draws_at_once(metric: Metric, reply: str, references: list[str]) -> None:
    one = np.asarray(stats(metric, reply, *references))
    many = metric.combine(np.stack([[one, 2 * one], [one, one]]))
    assert many.shape == (2, 2, len(metric.values))
    np.testing.assert_allclose(many[1, 1], metric.combine(one))


@given(TEXT, TEXT)
def test_rouge_f1_does_not_depend_on_which_side_is_the_reference(left: str, right: str) -> None:
    metric = ROWS["rouge", "standard"]
    assert values(metric, left, right)[:3] == pytest.approx(values(metric, right, left)[:3])


@given(WORDS, WORDS)
def test_the_common_subsequence_is_the_longest_by_the_plain_table(left: list[str], right: list[str]) -> None:
    table = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i, first in enumerate(left):
        for j, second in enumerate(right):
            table[i + 1][j + 1] = table[i][j] + 1 if first == second else max(table[i][j + 1], table[i + 1][j])
    assert common_length(left, right) == table[-1][-1]


@given(TEXT)
def test_tokenizers_give_words_without_blanks_and_settle_at_once(text: str) -> None:
    assert all(word and word.split() == [word] for word in unicode_words(text))
    assert caption_line(text) == caption_line(text).strip(" ")
    once = without_grounding_tags(text)
    assert once == " ".join(once.split())
