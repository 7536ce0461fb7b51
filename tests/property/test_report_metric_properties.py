"""What holds for the metrics of reports whatever the text."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics import find
from harness.metrics.metric import sample_values
from harness.metrics.reports.clinical_entities import METRICS as CLINICAL
from harness.metrics.reports.library_check import find_check
from harness.metrics.reports.meteor import METRICS, aligned, meteor
from harness.records import Prediction, Sample, Target
from harness.text.nltk_tokenizer import nltk_words
from harness.text.sentence_splitter import sentences

TEXT = st.text(st.sampled_from("abA .,;'\"()?!-3\n\té肺") | st.characters(codec="utf-8"), max_size=40)
WORDS = st.lists(st.sampled_from(["tumour", "neoplasm", "nodule", "nodules", "the", "a", "big", "large"]), max_size=12)
NAMES = st.lists(st.sampled_from(["liver", "spleen", "left kidney", "kidneys", "seen", "no"]), max_size=8).map(" ".join)


@given(TEXT)
def test_words_are_those_of_nltk(text: str) -> None:
    from nltk import word_tokenize

    assert nltk_words(text) == word_tokenize(text, preserve_line=True)


@given(TEXT)
def test_sentences_hold_the_text_and_are_never_blank(text: str) -> None:
    found = sentences(text)
    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(sentence and sentence == sentence.strip() for sentence in found)


@given(WORDS, WORDS)
def test_meteor_is_a_share_and_identity_its_most(reference: list[str], hypothesis: list[str]) -> None:
    assert 0 <= meteor(reference, hypothesis, None) <= 1
    if reference:
        assert meteor(reference, reference, None) == 1 - 0.5 / len(reference) ** 3


@settings(deadline=None)
@given(WORDS, WORDS)
def test_words_are_aligned_once_and_synonyms_only_add(
    word_net: Any, reference: list[str], hypothesis: list[str]
) -> None:
    pairs, stems = aligned(reference, hypothesis, word_net.synonyms), aligned(reference, hypothesis, None)
    assert set(stems) <= set(pairs)
    for side in (0, 1):
        assert len({pair[side] for pair in pairs}) == len(pairs)


@pytest.mark.parametrize("metric", [METRICS[-1], *CLINICAL], ids=lambda metric: str(metric.name))
@given(reply=TEXT, answer=TEXT)
def test_values_are_shares(metric: Any, reply: str, answer: str) -> None:
    sample = Sample(id="d/1", target=Target(answers=(answer,)))
    outcome = metric.score(sample, Prediction(key="k", status="ok", text=reply))
    assert all(0 <= value <= 1 for value in sample_values(metric, outcome.stats or metric.worst(sample)) if value)


@given(NAMES, NAMES)
def test_swapping_sides_swaps_precision_and_recall(left: str, right: str) -> None:
    (metric,) = CLINICAL

    def values(reply: str, answer: str) -> tuple[float | None, ...]:
        outcome = metric.score(
            Sample(id="d/1", target=Target(answers=(answer,))), Prediction(key="k", status="ok", text=reply)
        )
        return sample_values(metric, outcome.stats) if outcome.status == "ok" else (None, None, None)

    f1, precision, recall = values(left, right)
    assert values(right, left) == (f1, recall, precision)


@pytest.mark.parametrize(
    ("name", "protocol"),
    [("rouge", "standard"), ("rouge", "m3d"), ("meteor", "nltk"), ("meteor", "m3d"), ("bleu", "standard")],
    ids=lambda text: str(text),
)
@pytest.mark.usefixtures("word_net")
@settings(deadline=None)
@given(reply=TEXT, answers=st.lists(TEXT, min_size=1, max_size=2))
def test_whatever_the_text_the_row_gives_what_its_library_gives(
    name: str, protocol: str, reply: str, answers: list[str]
) -> None:
    metric = find(name, protocol)
    pair = (Sample(id="d/1", target=Target(answers=tuple(answers))), Prediction(key="k", status="ok", text=reply))
    assert list(find_check(metric).differences(metric, [pair])) == [None]
