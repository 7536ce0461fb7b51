"""A judge beside people: the numbers, their intervals, what is left out, and what biases it."""

import krippendorff
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from harness.errors import DataError
from harness.evaluation.judging.calibration import Calibration, calibrate, summary_of, to_json
from harness.evaluation.judging.labels import GRADES, Label
from harness.metrics.answers.judge_words import calibration_words


def answers(count: int, seed: int, patients: int = 20) -> tuple[list[Label], list[Label]]:
    """Return a judge's labels and people's, of which about three in four agree."""
    generator = np.random.default_rng(seed)
    people = generator.integers(0, 3, count)
    judge = np.where(generator.random(count) < 0.7, people, generator.integers(0, 3, count))
    made = [
        Label(sample_id=f"s{i}", task="t", verdict=GRADES[grade], score=50.0 * grade, length=10 + i % 7,
              cluster=f"p{i % patients}")
        for i, grade in enumerate(judge)
    ]  # fmt: skip
    return made, [Label(sample_id=f"s{i}", verdict=GRADES[grade]) for i, grade in enumerate(people)]


def test_verdicts_agree_as_scikit_learn_and_krippendorff_say() -> None:
    judge, people = answers(60, 1)
    found = calibrate(judge, people)
    mine, theirs = ([GRADES.index(label.verdict) for label in side] for side in (judge, people))
    values = {name: number.value for name, number in found.agreement.items()}
    assert values["accuracy"] == pytest.approx(np.mean(np.equal(mine, theirs)))
    for name, weights in (("kappa", None), ("kappa_linear", "linear"), ("kappa_quadratic", "quadratic")):
        assert values[name] == pytest.approx(cohen_kappa_score(mine, theirs, weights=weights), abs=1e-9)
    for level in ("nominal", "ordinal"):
        theirs_alpha = krippendorff.alpha(np.asarray([mine, theirs]), level_of_measurement=level)
        assert values[f"alpha_{level}"] == pytest.approx(theirs_alpha, abs=1e-9)
    assert (found.kind, found.n, found.clusters, found.raters) == ("verdict", 60, 20, 1)
    assert all(number.ci and number.ci[0] < number.value < number.ci[1] for number in found.agreement.values())
    assert found == calibrate(judge[::-1], people[::-1])  # the order of lines is nothing


def test_scores_are_compared_by_distance_and_by_the_verdict_they_stand_for() -> None:
    judge, people = answers(40, 2)
    people = [Label(sample_id=label.sample_id, score=label.points + 5.0 * (label.points < 60)) for label in people]
    found = calibrate(judge, people)
    pairs = np.asarray([[label.points for label in side] for side in (judge, people)])
    assert found.kind == "score"
    assert found.agreement["alpha_interval"].value == pytest.approx(
        krippendorff.alpha(pairs, level_of_measurement="interval"), abs=1e-9
    )
    assert found.bias["mean_error"].value == pytest.approx(np.mean(pairs[0] - pairs[1]))
    grades = [np.searchsorted([10, 90], side, side="right") for side in pairs]
    assert found.agreement["accuracy"].value == pytest.approx(np.mean(grades[0] == grades[1]))


def test_several_raters_count_as_one_and_are_compared_with_each_other() -> None:
    judge = [Label(sample_id=name, task="t", verdict="correct", score=100.0, length=1) for name in "abcdef"]
    words = {"a": "correct correct partly", "b": "correct incorrect", "c": "incorrect incorrect", "d": "correct",
             "e": "partly", "f": "incorrect"}  # fmt: skip
    people = [
        Label(sample_id=sample, verdict=word, rater=f"r{place}")
        for sample, said in words.items()
        for place, word in enumerate(said.split())
    ]
    found = calibrate(judge, people)
    # Of `b` nobody knows what is right; but its raters disagree, and that counts between raters.
    assert (found.n, found.no_consensus, found.raters) == (5, 1, 3)
    assert found.agreement["accuracy"].value == pytest.approx(2 / 5)
    between = {name: number.value for name, number in found.between_raters.items()}
    assert between["accuracy"] == pytest.approx((1 / 3 + 0 + 1) / 3)
    assert between["accuracy_of_judge_with_each"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert found.between_raters["accuracy"].note == "fewer than 5 patients"
    ratings = [[2, 2, 0], [2, 0, 0], [1, np.nan, np.nan]]  # by rater: a, b, c
    assert between["alpha_ordinal"] == pytest.approx(krippendorff.alpha(ratings, level_of_measurement="ordinal"))


def test_what_cannot_be_computed_says_why() -> None:
    judge = [Label(sample_id=f"s{i}", task="t", verdict="correct", score=100.0) for i in range(6)]
    found = calibrate(judge, [Label(sample_id=f"s{i}", verdict="correct") for i in range(3)])
    notes = {name: number.note for name, number in (*found.agreement.items(), *found.bias.items())}
    assert found.agreement["accuracy"].value == 1.0
    assert notes["accuracy"] == "fewer than 5 patients"
    assert notes["kappa"] == "both sides give every answer the same label, so nothing is expected by chance"
    assert notes["alpha_ordinal"] == "all labels are equal, so nothing is expected by chance"
    assert notes["spearman"] == "one side gives every answer the same label"
    assert notes["length_correlation"] == "the lengths of the answers are not known"
    equal = [Label(sample_id=f"s{i}", task="t", score=50.0 * (i % 3), length=4) for i in range(6)]
    bias = calibrate(equal, [Label(sample_id=f"s{i}", verdict="partly") for i in range(6)]).bias
    assert bias["length_correlation"].note == "all answers have one length, or all errors are equal"
    assert bias["longer_minus_shorter"].note == "no answer is longer than the median"


def test_a_judge_that_likes_long_answers_is_found() -> None:
    people = [Label(sample_id=f"s{i}", score=50.0) for i in range(30)]
    judge = [Label(sample_id=f"s{i}", task="t", score=40.0 + i, length=100 + i) for i in range(30)]
    bias = calibrate(judge, people).bias
    assert bias["length_correlation"].value == 1.0
    assert bias["longer_minus_shorter"].value == pytest.approx(15.0)


def test_a_pair_needs_both_orders_and_position_is_a_bias() -> None:
    judge = []
    for i in range(8):
        always_first = i < 4  # whichever answer stands first wins; the others always prefer this run's
        judge.append(Label(sample_id=f"s{i}", task="t", score=100.0, order="first", length=i))
        judge.append(Label(sample_id=f"s{i}", task="t", score=0.0 if always_first else 100.0, order="second", length=i))
    judge.append(Label(sample_id="s8", task="t", score=100.0, order="first"))
    people = [Label(sample_id=f"s{i}", verdict="tie" if i < 2 else "win") for i in range(9)]
    found = calibrate(judge, people)
    assert (found.kind, found.n, found.unjudged) == ("winner", 8, 1)
    assert found.agreement["accuracy"].value == pytest.approx(6 / 8)  # two flipped pairs are ties to the judge only
    assert found.bias["flip_rate"].value == pytest.approx(0.5)
    assert found.bias["first_preferred"].value == pytest.approx(0.75)


def test_what_was_not_judged_is_counted_and_never_guessed() -> None:
    judge, people = answers(10, 3)
    found = calibrate(judge[:6], people, unjudged=[("t", "s6", 0), ("t", "s7", 0)])
    assert (found.n, found.unjudged, found.not_asked) == (6, 2, 2)
    with pytest.raises(DataError, match=r"none of the 2 labelled answers \(s8, s9\) can be compared with a judgement"):
        calibrate(judge[:2], people[8:])
    twice = [*judge, Label(sample_id="s0", task="u", verdict="correct", score=100.0)]
    with pytest.raises(DataError, match="label in line 0: 's0' is a sample of t, u; name the task of each label"):
        calibrate(twice, people)


def entry(found: Calibration) -> dict[str, object]:
    return {"protocol": "p", "rubric_version": 1, "labels": {}, **to_json(found)}


def test_a_judged_number_says_how_far_its_judge_agrees_or_that_nobody_knows() -> None:
    found = entry(calibrate(*answers(60, 1)))
    summary = summary_of([found], "p", {"rubric_version": 1})
    assert calibration_words(summary).startswith("agrees with people: accuracy 0.")
    assert calibration_words(summary).endswith(" points, n 60")
    # Another judge, and another version of the rubric, are other instruments.
    assert summary_of([found], "q", {"rubric_version": 1}) is None
    assert summary_of([found], "p", {"rubric_version": 2}) is None
    assert calibration_words(None) == "uncalibrated"
