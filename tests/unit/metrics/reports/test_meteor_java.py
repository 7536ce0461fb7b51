"""METEOR 1.5: its formula, and how its programs are asked. One golden test runs the programs themselves."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import DataError
from harness.metrics.reports import meteor_java
from harness.metrics.reports.meteor_java import METRICS, combine, prepare
from harness.records import Prediction, Sample, Target

(ROW,) = METRICS
Pair = tuple[Sample, Prediction]


def pair(text: str | None, *answers: str) -> Pair:
    return Sample(id="d/1", target=Target(answers=answers)), Prediction(key="k", status="ok", text=text)


def counts(length: int, reference: int, exact: int, chunks: int) -> list[float]:
    """Return the counts of a sentence whose `exact` aligned words are content words, as are all others."""
    found = [0.0] * 25
    found[0], found[1], found[4], found[5] = length, reference, exact, exact
    found[20:24] = chunks, exact, exact, 1.0
    return found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Stand in for both programs: tokens are the lower-case words, every sentence has one word aligned of two."""
    calls: list[list[str]] = []

    def java(words: Sequence[str], _folder: Path, lines: Sequence[str]) -> list[str]:
        calls.append(list(lines))
        if "-stdio" in words:
            return [" ".join(map(str, counts(2, 2, 1, 1)[:23])) for _ in lines]
        return [line.lower().replace(".", " .") for line in lines]

    monkeypatch.setattr(meteor_java, "_java", java)
    return calls


def test_the_formula_is_that_of_the_paper() -> None:
    precision, recall = 3 / 4, 3 / 6
    mean = 1 / (0.15 / precision + 0.85 / recall)
    expected = mean * (1 - 0.6 * (2 / 3) ** 0.2)
    assert combine(np.asarray(counts(4, 6, 3, 2)))[0] == pytest.approx(expected, abs=1e-12)


def test_stages_and_function_words_have_their_weights() -> None:
    sentence = np.zeros(25)
    sentence[:4] = 4, 4, 2, 2
    sentence[[10, 11]] = 1  # a function word, matched by its stem
    sentence[[12, 13]] = 1  # a content word, matched by a synonym
    sentence[20:24] = 2, 2, 2, 1
    share = (0.6 * 0.25 + 0.8 * 0.75) / (0.75 * 2 + 0.25 * 2)
    assert combine(sentence)[0] == pytest.approx(share * (1 - 0.6), abs=1e-12)


def test_nothing_aligned_scores_zero_and_no_sentence_is_undefined() -> None:
    assert combine(np.asarray([counts(4, 6, 0, 0), counts(0, 3, 0, 0), counts(0, 0, 0, 0)])).tolist() == [[0.0] * 2] * 3
    assert np.isnan(combine(np.zeros(25))).all()
    assert combine(np.ones((3, 2, 25))).shape == (3, 2, 2)


def test_a_sentence_that_matches_as_a_whole_is_not_penalised() -> None:
    assert meteor_java._counts(" ".join(map(str, counts(5, 5, 5, 1)[:23])))[20] == 0.0
    assert meteor_java._counts(" ".join(map(str, counts(5, 6, 5, 1)[:23])))[20] == 1.0
    assert combine(np.asarray(counts(5, 5, 5, 0)))[0] == pytest.approx(1.0, abs=1e-12)


def test_a_corpus_asks_each_program_once(asked: list[list[str]]) -> None:
    pairs = [
        pair("The <p>liver<SEG></p>.", "the\nliver", "a  liver"),
        pair(None, "lung"),
        pair("The <p>liver<SEG></p>.", "the\nliver", "a  liver"),
        pair("x"),
    ]
    score = prepare(pairs)
    assert asked == [
        ["the liver", "a liver", "The liver.", "lung", ""],
        ["SCORE ||| the liver ||| a liver ||| the liver", "SCORE ||| lung ||| "],
    ]
    assert [score(*one).status for one in pairs] == ["ok", "ok", "ok", "undefined"]
    assert len(asked) == 2


def test_a_sample_outside_the_corpus_is_asked_for_when_it_comes(asked: list[list[str]]) -> None:
    score = prepare([])
    assert asked == []
    assert score(*pair("lung", "lung")).stats == ROW.score(*pair("lung", "lung")).stats
    assert len(asked) == 4


def test_a_failed_reply_keeps_the_words_of_its_reference() -> None:
    worst = ROW.worst(pair("", "<p>Liver<SEG></p> of 3.5 cm.")[0])
    assert worst[:2] == (0.0, 4.0)
    assert combine(np.asarray(worst)).tolist() == [0.0, 0.0]
    assert ROW.floor(pair("", "liver")[0]) == 0.0
    assert ROW.floor(pair("")[0]) is None


def test_the_ceiling_is_one_where_an_answer_has_words() -> None:
    assert [ROW.ceiling(pair("", *answers)[0]) for answers in (("liver",), ("...",), ())] == [1.0, 0.0, None]


def test_a_sentence_has_one_score_and_a_corpus_two() -> None:
    one, other = (meteor_java._counts(" ".join(map(str, counts(*of)[:23]))) for of in ((4, 6, 3, 2), (9, 9, 9, 1)))
    first, second = combine(np.asarray([one, other]))
    assert first[0] == first[1] == one[-1]
    assert second.tolist() == [1.0, 1.0]
    pooled, mean = combine(np.asarray(one) + np.asarray(other))
    assert mean == pytest.approx((first[0] + 1.0) / 2)
    assert pooled != pytest.approx(mean, abs=1e-3)
    assert ROW.corpus


@pytest.mark.parametrize(
    ("program", "wording"),
    [
        ("print('a')", r"expected 2 lines from -c .*, got 1 with exit code 0; it said: nothing"),
        ("import sys; sys.exit('no memory')", r"got 1 with exit code 1; it said: no memory"),
    ],
)
def test_a_program_that_fails_is_told(program: str, wording: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=wording):
        meteor_java._java([sys.executable, "-I", "-c", program], tmp_path, ["a", "b"])


def test_a_program_that_is_absent_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot start no-such-program: .*; install Java"):
        meteor_java._java(["no-such-program"], tmp_path, ["a"])


def test_a_line_of_another_form_is_told() -> None:
    with pytest.raises(DataError, match=r"expected 23 counts for a sentence, got '1\.0 2\.0'"):
        meteor_java._counts("1.0 2.0")


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(meteor_java.shutil, "which", lambda _name: None)
    lacking: Any = meteor_java.missing({})
    assert lacking.reason == "there is no Java on this machine"
    assert meteor_java._describe({}) == {}
    monkeypatch.setattr(meteor_java.shutil, "which", lambda name: name)
    monkeypatch.setattr(meteor_java, "_folder", lambda part: tmp_path / part)
    lacking = meteor_java.missing({})
    assert lacking.reason == "meteor-1.5.jar of pycocoevalcap is not installed"
    assert "pip install" in lacking.remedy
    meteor_java._function_words.cache_clear()
    assert meteor_java._function_words() == frozenset()
    meteor_java._function_words.cache_clear()


@pytest.mark.usefixtures("java")
def test_versions_and_digests_are_told() -> None:
    told = meteor_java._describe({})
    assert told["version"] == "1.5"
    assert told["java"] != "unknown"
    assert {len(told[name]) for name in ("meteor", "paraphrases")} == {64}
