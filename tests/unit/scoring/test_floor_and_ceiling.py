"""Floors and ceilings of a task's samples."""

import random
from pathlib import Path

import pytest

from harness.metrics import find
from harness.records import Sample, Target
from harness.scoring.floor_and_ceiling import Bounds, BoundsSample

ROW = find("token_prf", "medplib")


def questions(answers: list[str]) -> list[Sample]:
    return [Sample(id=str(place), target=Target(answers=(answer,))) for place, answer in enumerate(answers)]


def bounds(samples: list[Sample]) -> Bounds:
    spread = BoundsSample()
    for sample in samples:
        spread.add(sample)
    return spread.bounds(ROW)


def test_a_ceiling_below_one_is_shown_as_it_is() -> None:
    assert bounds(questions(["left lung", "the", "a", "liver"])) == Bounds(0.0, 0.5)


def test_without_a_reference_there_is_neither_floor_nor_ceiling() -> None:
    assert find("vqa_accuracy").ceiling(Sample(id="n")) is None
    spread = BoundsSample()
    spread.add(Sample(id="n"))
    assert spread.bounds(find("vqa_accuracy")) == Bounds(None, None)


def test_repeats_of_a_sample_count_once() -> None:
    one, other = questions(["liver", "the"])
    assert bounds([one, one, one, other]) == Bounds(0.0, 0.5)


def test_many_samples_are_thinned_to_the_same_ones_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.scoring.floor_and_ceiling.MOST", 20)
    samples = questions([("liver", "the")[place % 3 == 0] for place in range(200)])
    shuffled = random.Random(1).sample(samples, len(samples))
    assert bounds(samples) == bounds(shuffled)
    assert bounds(samples).ceiling in [share / 20 for share in range(21)]


def test_the_module_says_how_many_samples(repository: Path) -> None:
    text = (repository / "docs" / "statistics.md").read_text(encoding="utf-8")
    assert "1,000 samples" in text
