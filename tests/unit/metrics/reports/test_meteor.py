"""METEOR as nltk computes it."""

import random
from typing import Any

import numpy as np
import pytest
from nltk import word_tokenize
from nltk.translate.meteor_score import meteor_score

from harness.errors import DataError
from harness.metrics.metric import Metric, sample_values
from harness.metrics.reports import meteor as module
from harness.metrics.reports.meteor import METRICS, aligned, meteor
from harness.records import Prediction, Sample, Target
from harness.text import nltk_tokenizer

ROWS = {metric.protocol: metric for metric in METRICS}
STEMS = ROWS["nltk-stem"]
WORDS = (
    "the liver is normal in size no focal lesion lesions mass masses tumour tumor neoplasm kidney kidneys left right "
    "big large larger bigger effusion pleural lungs clear heart enlarged enlargement cardiac cyst cystic growth nodule "
    "nodules seen shows showing show with a there are 3 12 4.5 mm cm. calcified old previous prior scan scans x-ray"
)
ids = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: str(metric.protocol))


def sample(*answers: str) -> Sample:
    return Sample(id="d/test/1", target=Target(answers=answers))


def value(metric: Metric, text: str | None, *answers: str) -> float | None:
    outcome = metric.score(sample(*answers), Prediction(key="k", status="ok", text=text))
    return sample_values(metric, outcome.stats)[0]


def report(draw: random.Random) -> str:
    lines = (
        " ".join(draw.choices(WORDS.split(), k=draw.randint(1, 12))).capitalize() for _ in range(draw.randint(0, 4))
    )
    return ". ".join(lines) + "."


def test_values_are_those_of_nltk(word_net: Any) -> None:
    class NoWordNet:
        def synsets(self, _word: str) -> list[str]:
            return []

    draw = random.Random(11)
    for _ in range(300):
        answers, reply = (report(draw), report(draw)), report(draw)
        cut = [word_tokenize(text, preserve_line=True) for text in (*answers, reply)]
        for protocol, words in (("nltk", word_net.reader), ("nltk-stem", NoWordNet())):
            expected = meteor_score(cut[:2], cut[2], wordnet=words)
            assert value(ROWS[protocol], reply, *answers) == expected


def test_synonyms_are_looked_up_under_stems(word_net: Any) -> None:
    assert meteor(["tumour"], ["neoplasm"], word_net.synonyms) == 0.5
    assert meteor(["large"], ["big"], word_net.synonyms) == 0.0  # "larg" is no synonym of "big"
    assert meteor(["tumour"], ["neoplasm"], None) == 0.0


def test_a_synonym_that_stands_last_is_taken() -> None:
    def synonyms(word: str) -> frozenset[str]:
        return frozenset({"q", "r"}) if word == "p" else frozenset()

    assert aligned(["q", "r", "q", "s"], ["p", "p"], synonyms) == [(0, 1), (1, 2)]


def test_words_are_taken_from_the_end() -> None:
    assert aligned(["a", "b", "a"], ["a"], None) == [(0, 2)]
    assert aligned(["nodules", "nodule"], ["nodule", "nodules", "nodule"], None) == [(1, 0), (2, 1)]


def test_protocol_m3d_splits_sentences_first() -> None:
    texts = "No nodes. Heart normal.", "Heart normal. No nodes."
    assert module.words_by_sentence(texts[0]) == ["No", "nodes", ".", "Heart", "normal", "."]
    assert nltk_tokenizer.nltk_words(texts[0]) == ["No", "nodes.", "Heart", "normal", "."]


@ids
@pytest.mark.usefixtures("word_net")
def test_empty_sides_score_zero_and_no_answer_is_undefined(metric: Metric) -> None:
    assert value(metric, "", "liver") == value(metric, None, "liver") == value(metric, "liver", "") == 0.0
    assert metric.score(sample(), Prediction(key="k", status="ok", text="liver")).status == "undefined"
    assert metric.ceiling(sample()) is None
    assert metric.floor(sample()) is None


@ids
@pytest.mark.usefixtures("word_net")
@pytest.mark.parametrize("answer", ["left", "The left lung is clear. No nodes.", "a a b a", ""])
def test_the_reference_reaches_the_ceiling_and_worst_the_floor(metric: Metric, answer: str) -> None:
    assert value(metric, answer, answer) == metric.ceiling(sample(answer))
    assert metric.floor(sample(answer)) == 0.0


def test_one_right_word_is_worth_a_half() -> None:
    assert value(STEMS, "axial", "Axial") == STEMS.ceiling(sample("Axial")) == 0.5


def test_the_best_of_several_answers_counts() -> None:
    assert value(STEMS, "left lung", "heart", "left lung") == value(STEMS, "left lung", "left lung")


def test_summed_stats_give_the_mean() -> None:
    stats = np.asarray([[0.5, 1.0], [0.25, 1.0], [0.0, 0.0]])
    assert STEMS.combine(stats.sum(axis=0)).tolist() == [0.375]
    assert np.isnan(STEMS.combine(stats[2])).all()
    assert STEMS.combine(np.ones((3, 2, 2))).shape == (3, 2, 1)


def test_without_wordnet_stems_stand_in_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.wordnet, "find", lambda _cache: None)
    resource = ROWS["nltk"].resource
    assert resource is not None
    missing = resource.missing({})
    assert missing is not None
    assert (missing.reason, resource.stand_in, resource.describe({})) == (
        "WordNet is not on this machine",
        "nltk-stem",
        {},
    )
    assert "harness doctor --fix" in missing.remedy
    assert STEMS.resource is None
    module._synonyms.cache_clear()
    with pytest.raises(DataError, match="expected WordNet on this machine, found none; run 'harness doctor --fix'"):
        value(ROWS["nltk"], "a", "b")


@pytest.mark.usefixtures("word_net")
def test_version_and_digest_of_wordnet_are_told() -> None:
    resource = ROWS["m3d"].resource
    assert resource is not None
    assert resource.missing({}) is None
    told = resource.describe({})
    assert told["wordnet"] == "3.0"
    assert len(told["digest"]) == 64
