"""What a train split says before a model has seen anything."""

import numpy as np
import pytest

from harness.data.train_prior import TrainPrior
from harness.imaging import masks
from harness.records import Entity, Mask, Media, Prior, Sample, Target


def asked(question: str, answer: str, *, defect: str | None = None) -> Sample:
    return Sample(id=f"{question}/{answer}", question=question, target=Target(answers=(answer,)), defect=defect)


def drawn(*found: Mask | None, size: tuple[int, ...] = (4, 4)) -> Sample:
    entities = tuple(Entity(name="lung", mask=mask) for mask in found)
    return Sample(id="m", media=(Media(path="a.png", sha256="0", size=size),), target=Target(entities=entities))


def left(share: float, size: tuple[int, int] = (8, 8)) -> Mask:
    array = np.zeros(size, dtype=bool)
    array[:, : int(size[1] * share)] = True
    return masks.encode(array)


def test_the_most_frequent_answer_ignores_case_and_is_written_as_it_mostly_is() -> None:
    train = [asked("a?", "no"), asked("b?", "Yes"), asked("c?", "yes"), asked("d?", "yes"), asked("e?", "No.")]
    assert TrainPrior.of(train).for_sample(asked("z?", "")).answer == "yes"


def test_ties_go_to_the_alphabetically_first() -> None:
    assert TrainPrior.of([asked("a?", "right"), asked("b?", "left")]).answer == "left"


def test_the_same_question_has_an_answer_of_its_own() -> None:
    train = [asked("Is it left?", "no"), asked("is it LEFT", "no"), *[asked("Other?", "yes")] * 3]
    prior = TrainPrior.of(train)
    assert prior.for_sample(asked("Is it left? ", "")) == Prior(answer="yes", answer_to_question="no")
    assert prior.for_sample(asked("Is it right?", "")) == Prior(answer="yes", answer_to_question=None)


def chosen(letter: str | None, *choices: str, question: str = "Which?") -> Sample:
    answers = (choices[ord(letter) - ord("A")],) if letter else ("neither",)
    return Sample(id="c", question=question, choices=choices, target=Target(answers=answers, choice=letter))


def test_the_letter_is_the_one_most_often_right_of_those_that_the_sample_has() -> None:
    train = [chosen("C", "x", "y", "z"), chosen("C", "u", "v", "w"), chosen("B", "p", "q"), chosen(None, "l", "r")]
    prior = TrainPrior.of(train)
    assert prior.for_sample(chosen("A", "1", "2", "3")).choice == "C"
    assert prior.for_sample(chosen("A", "1", "2")).choice == "B"
    assert prior.for_sample(asked("a?", "no")).choice is None
    assert TrainPrior.of([asked("a?", "no")]).for_sample(chosen("A", "1", "2")).choice is None


def test_the_option_that_train_mostly_answers_a_question_with_has_its_letter() -> None:
    prior = TrainPrior.of([chosen("A", "CT scan", "MR"), chosen("A", "yes", "no", question="Other?")])
    assert prior.for_sample(chosen("A", "MR", "ct Scan.", "CT scan")).choice_to_question == "B"
    assert prior.for_sample(chosen("A", "MR", "US")).choice_to_question is None
    assert prior.for_sample(chosen("A", "CT scan", "MR", question="New?")).choice_to_question is None


def test_samples_that_cannot_be_asked_do_not_count() -> None:
    train = [asked("a?", "yes", defect="no image"), asked("b?", "yes", defect="no image"), asked("c?", "no")]
    assert TrainPrior.of(train).answer == "no"


def test_an_empty_train_split_says_nothing() -> None:
    assert TrainPrior.of([]).for_sample(drawn()) == Prior()


def test_the_mask_is_what_at_least_half_of_the_train_masks_share() -> None:
    train = [drawn(left(0.25)), drawn(left(0.5)), drawn(left(0.5, (16, 32))), drawn(left(1.0))]
    for size in ((8, 8), (2, 4), (300, 200)):
        found = TrainPrior.of(train).for_sample(drawn(size=size)).mask
        assert found == left(0.5, size)
    assert TrainPrior.of(train[:2]).for_sample(drawn(size=(8, 8))).mask == left(0.5)


def test_masks_of_one_sample_count_together_and_missing_ones_not_at_all() -> None:
    right = masks.encode(~masks.decode(left(0.5)))
    prior = TrainPrior.of([drawn(left(0.5), right, None), drawn(None)])
    assert prior.for_sample(drawn(size=(4, 4))).mask == masks.full((4, 4))


def test_a_mask_of_one_size_is_drawn_once() -> None:
    prior = TrainPrior.of([drawn(left(0.5))])
    assert prior.for_sample(drawn()).mask is prior.for_sample(drawn()).mask


@pytest.mark.parametrize("size", [(), (2, 4, 4)])
def test_unreadable_images_and_volumes_get_no_mask(size: tuple[int, ...]) -> None:
    prior = TrainPrior.of([drawn(left(0.5)), drawn(masks.full((2, 2, 2)))])
    assert prior.for_sample(drawn(size=size)).mask is None
