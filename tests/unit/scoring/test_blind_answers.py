"""Blind answers: which there are, the better of two, and the number of a run."""

import pytest

from harness.imaging import masks
from harness.metrics import find
from harness.records import Entity, Media, Sample, Target
from harness.scoring.blind_answers import answered, blind_answers, run_number, search
from harness.scoring.score import score

SAMPLES = [
    Sample(id=str(place), choices=("Liver", "Spleen"), target=Target(choice=letter, answers=("liver",)))
    for place, letter in enumerate("AAB")
]


def test_listing_every_option_wins_where_a_letter_and_a_full_stop_are_searched_for() -> None:
    plain, other = search(find("choice_accuracy", "m3d"), answered("choice", SAMPLES))
    assert plain is not None
    assert other is not None
    assert (plain.value, other.answer.name, other.value) == (0.0, "every_letter_stopped", 1.0)


def test_naming_several_or_none_wins_nothing_in_our_own_reading() -> None:
    plain, other = search(find("choice_accuracy", "strict-letter"), answered("choice", SAMPLES))
    assert plain is not None
    assert other is not None
    assert (plain.answer.name, other.value) == ("letter_A", 0.0)
    assert plain.value == pytest.approx(2 / 3)


def test_where_less_is_better_the_least_wins() -> None:
    target = masks.encode([[1, 0, 0, 0], *[[0] * 4] * 3])
    media = (Media(path="a", sha256=None, kind="image", size=(4, 4)),)
    samples = [Sample(id="a", media=media, target=Target(entities=(Entity(name="liver", mask=target),)))]
    _, other = search(find("volume_error"), answered("masks", samples))
    assert other is not None
    assert (other.answer.name, other.value) == ("empty_mask", 1.0)


def test_words_are_those_frequent_among_the_answers_and_a_judge_has_none() -> None:
    names = {blind.name: blind.predict(SAMPLES[0]).text for blind in blind_answers("text", SAMPLES)}
    assert names["words_1"] == "liver"
    assert blind_answers("judge", SAMPLES) == []


def test_a_run_without_a_score_has_no_number() -> None:
    row = find("dice")
    absent = Sample(id="a", target=Target(absent=True))
    _, pairs = answered("masks", [absent])[3]
    assert run_number(row, [None]) is None
    assert run_number(row, [score(row, pairs[0][0], 0, pairs[0][1])]) is None
