"""BLEU per protocol, and its agreement with nltk, sacrebleu and pycocoevalcap on random texts."""

import random
import warnings
from math import exp
from typing import Any

import numpy as np
import pytest

from harness.metrics.metric import Metric, Outcome, sample_values
from harness.metrics.reports.bleu import METRICS, clipped_matches, closest_length
from harness.records import Prediction, Sample, Target
from harness.text.tokenizers import tokens_13a

ROWS = {metric.protocol: metric for metric in METRICS}
WORDS = ["liver", "spleen", "normal", "the", "is", "no", "mass", "3.5", "cm", ",", "."]


def sample(*answers: str) -> Sample:
    return Sample(id="d/test/1", target=Target(answers=answers))


def outcome(metric: Metric, text: str | None, *answers: str) -> Outcome:
    return metric.score(sample(*answers), Prediction(key="k", status="ok", text=text))


def values(metric: Metric, text: str | None, *answers: str) -> dict[str, float | None]:
    return dict(zip(metric.values, sample_values(metric, outcome(metric, text, *answers).stats), strict=True))


def pooled(metric: Metric, pairs: list[tuple[str, list[str]]]) -> dict[str, float]:
    sums = np.sum([outcome(metric, text, *answers).stats for text, answers in pairs], axis=0)
    return dict(zip(metric.values, metric.combine(sums).tolist(), strict=True))


def drawn_pairs(count: int, *, references: int = 3, shortest: int = 0) -> list[tuple[str, list[str]]]:
    """Return texts with references that differ from them in some words, in length, or altogether."""
    drawn = random.Random(7)

    def words() -> list[str]:
        return drawn.choices(WORDS, k=drawn.randint(shortest, 12))

    def reference(text: list[str]) -> str:
        changed = [drawn.choice(WORDS) if drawn.random() < 0.2 else word for word in text] + words()[:3]
        return " ".join(drawn.choice([changed, changed[:-2], words()]))

    texts = [words() for _ in range(count)]
    return [(" ".join(text), [reference(text) for _ in range(drawn.randint(1, references))]) for text in texts]


def test_the_rows_are_those_of_the_spec() -> None:
    assert [(metric.protocol, metric.values[0], metric.corpus) for metric in METRICS] == [
        ("standard", "bleu4", True),
        ("m3d", "bleu1", False),
        ("mimo", "bleu4", True),
    ]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.protocol)
@pytest.mark.parametrize(("text", "reference"), [("", "the liver"), (None, "the liver"), ("the liver", ""), ("", "")])
def test_a_side_without_words_scores_zero(metric: Metric, text: str | None, reference: str) -> None:
    assert outcome(metric, text, reference).status == "ok"
    assert values(metric, text, reference) == pytest.approx(dict.fromkeys(metric.values, 0.0), abs=1e-9)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.protocol)
def test_a_sample_without_answers_is_undefined(metric: Metric) -> None:
    assert outcome(metric, "the liver").status == "undefined"
    assert metric.ceiling(sample()) is None
    assert metric.floor(sample()) is None


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.protocol)
def test_worst_is_an_empty_reply_and_ceiling_a_copied_answer(metric: Metric) -> None:
    asked = sample("the liver is normal today", "normal")
    assert metric.worst(asked) == outcome(metric, "", *asked.target.answers).stats
    assert metric.floor(asked) == pytest.approx(0.0)
    assert metric.ceiling(asked) == pytest.approx(1.0, abs=1e-8)


def test_a_short_answer_has_a_low_ceiling() -> None:
    assert ROWS["standard"].ceiling(sample("yes")) == pytest.approx(0.001**0.25)
    assert ROWS["m3d"].ceiling(sample("yes")) == 1.0
    assert ROWS["mimo"].ceiling(sample("yes")) == pytest.approx(0.0, abs=1e-3)


def test_a_sample_without_long_matches_says_that_its_own_value_is_smoothed() -> None:
    metric = ROWS["standard"]
    found = outcome(metric, "the liver", "the liver")
    assert "0.1" in found.detail["smoothing"]
    assert values(metric, "the liver", "the liver")["bleu4"] == pytest.approx((0.1 * 0.1) ** 0.25)
    assert metric.combine(np.asarray(found.stats))[0] == 0.0
    assert outcome(metric, "a b c d", "a b c d").detail == {}
    assert outcome(metric, "spleen", "liver").detail == {}


def test_clipping_counts_no_word_more_often_than_one_reference_has_it() -> None:
    assert clipped_matches(["the"] * 7, [["the", "cat", "the"], ["the"]], 1) == 2
    assert clipped_matches(["a"], [["a"]], 2) == 0


def test_closest_length_prefers_the_shorter_of_two() -> None:
    assert closest_length(5, [7, 3, 9]) == 3
    assert closest_length(6, [7, 3]) == 7


def test_the_nearest_of_several_references_sets_the_length_and_in_m3d_the_shortest() -> None:
    answers = ("a b c d e", "a b c d e f g h")
    assert values(ROWS["standard"], "a b c d e f g", *answers)["bleu1"] == pytest.approx(exp(1 - 8 / 7))
    assert values(ROWS["m3d"], "a b c d e f g", *answers)["bleu1"] == 1.0


def test_cjk_counts_by_character_in_standard_only() -> None:
    assert values(ROWS["standard"], "左肺正常", "左肺异常")["bleu1"] == 0.75
    assert values(ROWS["m3d"], "左肺正常", "左肺异常")["bleu1"] == 0.0


def test_grounding_tags_do_not_count_in_mimo() -> None:
    tagged = values(ROWS["mimo"], "<p>liver<SEG></p> and <p> spleen </p> [SEG] seen here", "liver and spleen seen here")
    assert tagged["bleu4"] == pytest.approx(1.0, abs=1e-6)


def test_standard_and_m3d_agree_with_nltk() -> None:
    bleu: Any = pytest.importorskip("nltk.translate.bleu_score")
    smoothing = bleu.SmoothingFunction().method1
    pairs = drawn_pairs(300)
    for text, answers in pairs:
        references, words = [tokens_13a(answer) for answer in answers], tokens_13a(text)
        found, single = values(ROWS["standard"], text, *answers), values(ROWS["m3d"], text, answers[0])
        for order in (1, 2, 3, 4):
            weights = [1 / order] * order
            with warnings.catch_warnings(action="ignore"):
                smoothed = bleu.sentence_bleu(references, words, weights, smoothing) if any(references) else 0
                plain = bleu.sentence_bleu(references[:1], words, weights) if references[0] else 0
            assert found[f"bleu{order}"] == pytest.approx(smoothed, abs=1e-9)
            assert single[f"bleu{order}"] == pytest.approx(plain, abs=1e-9)


def test_the_corpus_value_agrees_with_nltk_and_sacrebleu() -> None:
    bleu: Any = pytest.importorskip("nltk.translate.bleu_score")
    sacrebleu: Any = pytest.importorskip("sacrebleu")
    pairs = drawn_pairs(300, references=1, shortest=4)  # nltk counts a 4-gram too many in shorter texts
    references = [[tokens_13a(answer) for answer in answers] for _, answers in pairs]
    found = pooled(ROWS["standard"], pairs)
    assert found["bleu4"] == pytest.approx(
        bleu.corpus_bleu(references, [tokens_13a(text) for text, _ in pairs]), abs=1e-9
    )
    score = sacrebleu.corpus_bleu(
        [text for text, _ in pairs], [[answers[0] for _, answers in pairs]], smooth_method="none", force=True
    )
    assert 100 * found["bleu4"] == pytest.approx(score.score, abs=1e-9)


def test_mimo_agrees_with_pycocoevalcap() -> None:
    module: Any = pytest.importorskip("pycocoevalcap.bleu.bleu")
    pairs = [
        (text.replace(",", "").replace(".", ""), [answer.replace(",", "").replace(".", "") for answer in answers])
        for text, answers in drawn_pairs(300)
    ]
    theirs, singles = module.Bleu(4).compute_score(
        {number: answers for number, (_, answers) in enumerate(pairs)},
        {number: [text] for number, (text, _) in enumerate(pairs)},
        verbose=0,
    )
    names = ("bleu1", "bleu2", "bleu3", "bleu4")
    assert pooled(ROWS["mimo"], pairs) == pytest.approx(dict(zip(names, theirs, strict=True)), abs=1e-9)
    for (text, answers), single in zip(pairs, zip(*singles, strict=True), strict=True):
        assert values(ROWS["mimo"], text, *answers) == pytest.approx(dict(zip(names, single, strict=True)), abs=1e-9)
