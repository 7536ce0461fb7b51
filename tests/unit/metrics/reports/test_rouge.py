"""ROUGE per protocol, and its agreement with rouge_score and pycocoevalcap on random texts."""

import random
from typing import Any

import pytest

from harness.metrics.metric import Metric, Outcome, sample_values
from harness.metrics.reports.rouge import METRICS, common_length
from harness.records import Prediction, Sample, Target

ROWS = {metric.protocol: metric for metric in METRICS}
WORDS = ["liver", "spleen", "normal", "the", "is", "no", "mass"]


def sample(*answers: str) -> Sample:
    return Sample(id="d/test/1", target=Target(answers=answers))


def outcome(metric: Metric, text: str | None, *answers: str) -> Outcome:
    return metric.score(sample(*answers), Prediction(key="k", status="ok", text=text))


def values(metric: Metric, text: str | None, *answers: str) -> dict[str, float | None]:
    return dict(zip(metric.values, sample_values(metric, outcome(metric, text, *answers).stats), strict=True))


def drawn_texts(count: int, joints: str) -> list[list[str]]:
    drawn = random.Random(8)

    def text() -> str:
        words = (piece for _ in range(drawn.randint(0, 12)) for piece in (drawn.choice(WORDS), drawn.choice(joints)))
        return "".join(words).strip(" ")

    return [[text() for _ in range(drawn.randint(2, 4))] for _ in range(count)]


def test_the_rows_are_those_of_the_spec() -> None:
    assert {metric.protocol: metric.values for metric in METRICS} == {
        "standard": ("rougeL", "rouge1", "rouge2", "rougeLsum"),
        "m3d": ("rouge1", "rouge2", "rougeL", "rougeLsum"),
        "mimo": ("rougeL",),
    }


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.protocol)
@pytest.mark.parametrize(("text", "reference"), [("", "the liver"), (None, "the liver"), ("the liver", "")])
def test_one_side_without_words_scores_zero(metric: Metric, text: str | None, reference: str) -> None:
    assert outcome(metric, text, reference).status == "ok"
    assert values(metric, text, reference) == dict.fromkeys(metric.values, 0.0)


def test_both_sides_without_words_score_as_released() -> None:
    assert values(ROWS["standard"], "...", "")["rougeL"] == 0.0
    assert values(ROWS["m3d"], "...", "")["rouge1"] == 0.0
    assert values(ROWS["mimo"], "...", "")["rougeL"] == 1.0


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.protocol)
def test_floor_and_ceiling(metric: Metric) -> None:
    assert (metric.floor(sample("the liver")), metric.ceiling(sample("the liver"))) == (0.0, pytest.approx(1.0))
    assert (metric.floor(sample()), metric.ceiling(sample())) == (None, None)
    assert outcome(metric, "the liver").status == "undefined"


def test_other_scripts_count_in_standard_and_not_in_m3d() -> None:
    assert values(ROWS["standard"], "左肺正常", "左肺异常")["rougeL"] == pytest.approx(0.75)
    assert values(ROWS["m3d"], "左肺正常", "左肺正常")["rouge1"] == 0.0
    assert ROWS["m3d"].ceiling(sample("左肺正常")) == 0.0


def test_the_best_answer_counts_for_each_value_on_its_own() -> None:
    found = values(ROWS["standard"], "b a c d", "a b c d", "b a x y")
    assert found["rouge1"] == 1.0
    assert found["rougeL"] == 0.75
    assert found["rouge2"] == pytest.approx(1 / 3)


def test_mimo_weighs_recall_with_beta() -> None:
    precision, recall = 2 / 2, 2 / 4
    expected = (1 + 1.44) * precision * recall / (recall + 1.44 * precision)
    assert values(ROWS["mimo"], "<p>liver<SEG></p> normal.", "liver is now normal")["rougeL"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("first", "second", "length"), [("abcbdab", "bdcaba", 4), ("", "abc", 0), ("abc", "", 0), ("aaa", "aa", 2)]
)
def test_common_length(first: str, second: str, length: int) -> None:
    assert common_length(list(first), list(second)) == length


@pytest.mark.parametrize("protocol", ["standard", "m3d"])
@pytest.mark.parametrize("joints", [" ", " \n", " -_.\n"], ids=["one line", "lines", "marks"])
def test_values_are_those_of_rouge_score(protocol: str, joints: str) -> None:
    scorer: Any = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(
        ["rouge1", "rouge2", "rougeL", "rougeLsum"]
    )
    for text, *answers in drawn_texts(150, joints):
        theirs = {name: score.fmeasure for name, score in scorer.score_multi(answers, text).items()}
        assert values(ROWS[protocol], text, *answers) == pytest.approx(theirs, abs=1e-9)


def test_mimo_values_are_those_of_pycocoevalcap() -> None:
    scorer: Any = pytest.importorskip("pycocoevalcap.rouge.rouge").Rouge()
    for text, *answers in drawn_texts(200, " "):
        theirs = scorer.calc_score([text], answers)
        assert values(ROWS["mimo"], text, *answers)["rougeL"] == pytest.approx(theirs, abs=1e-9)
