"""CIDEr-D, and its agreement with pycocoevalcap on drawn corpora."""

import random
from typing import Any

import pytest

from harness.metrics.metric import sample_values
from harness.metrics.reports.cider import METRICS
from harness.records import Prediction, Sample, Target

(CIDER,) = METRICS
assert CIDER.prepare is not None
prepare = CIDER.prepare
WORDS = ["liver", "spleen", "normal", "the", "is", "no", "mass"]
Captions = list[tuple[str, list[str]]]


def pairs(captions: Captions) -> list[tuple[Sample, Prediction]]:
    return [
        (Sample(id=f"d/{number}", target=Target(answers=tuple(answers))), Prediction(key="k", status="ok", text=text))
        for number, (text, answers) in enumerate(captions)
    ]


def scores(captions: Captions) -> list[float | None]:
    asked = pairs(captions)
    score = prepare(asked)
    return [sample_values(CIDER, score(sample, prediction).stats)[0] for sample, prediction in asked]


def drawn_captions(seed: int, count: int) -> Captions:
    drawn = random.Random(seed)

    def text() -> str:
        return " ".join(drawn.choices(WORDS, k=drawn.randint(0, 9)))

    return [(text(), [text() for _ in range(drawn.randint(1, 4))]) for _ in range(count)]


@pytest.mark.parametrize(("seed", "count"), [(1, 60), (2, 3), (3, 1)])
def test_values_are_those_of_pycocoevalcap(seed: int, count: int) -> None:
    module: Any = pytest.importorskip("pycocoevalcap.cider.cider")
    captions = drawn_captions(seed, count)
    _, theirs = module.Cider().compute_score(
        {number: answers for number, (_, answers) in enumerate(captions)},
        {number: [text] for number, (text, _) in enumerate(captions)},
    )
    assert scores(captions) == pytest.approx(theirs.tolist(), abs=1e-9)


def test_a_copied_long_answer_reaches_ten_and_rare_words_weigh_more() -> None:
    captions: Captions = [
        ("the left lung is clear", ["the left lung is clear"]),
        ("the spleen", ["the kidney"]),
        ("a kidney", ["the kidney"]),
    ]
    copied, common, rare = scores(captions)
    assert copied == pytest.approx(10.0)
    assert common is not None
    assert rare is not None
    assert rare > common


def test_a_corpus_of_one_sample_scores_zero() -> None:
    ((sample, prediction),) = pairs([("the liver", ["the liver"])])
    assert CIDER.score(sample, prediction).stats == (0.0, 1.0)


def test_samples_without_answers_are_undefined_and_no_part_of_the_corpus() -> None:
    captions = drawn_captions(5, 20)
    asked = pairs([*captions, ("the liver", [])])
    score = prepare(asked)
    assert score(*asked[-1]).status == "undefined"
    assert [score(*pair).stats[0] for pair in asked[:-1]] == pytest.approx(scores(captions))
    assert CIDER.floor(asked[-1][0]) is None
    assert CIDER.ceiling(asked[-1][0]) is None


def test_the_ceiling_is_a_quarter_for_each_of_the_first_four_words() -> None:
    (sample, _), (longer, _) = pairs([("", ["left lung."]), ("", ["a", "one two three four five"])])
    assert (CIDER.floor(sample), CIDER.ceiling(sample)) == (0.0, 5.0)
    assert CIDER.ceiling(longer) == 10.0
