"""Questions with four options: different options, and a right letter that is as frequent as the others."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from harness.data.phantoms.drawing import MODALITY_PHANTOMS
from harness.data.phantoms.patients.images import PhantomPart, Study
from harness.data.phantoms.patients.option_questions import REGIONS, OptionQuestion, option_questions


def of_every_modality(each: int) -> list[Study]:
    """Studies with `number % 4` lesions."""
    studies = []
    for number in range(each * len(MODALITY_PHANTOMS)):
        phantom = MODALITY_PHANTOMS[number % len(MODALITY_PHANTOMS)]
        lesion = next(structure for structure in phantom.structures if structure.role == "lesion")
        parts = (PhantomPart(structure=lesion, mask="m.png", area=5, across=0.5),) * (number // 10 % 4)
        studies.append(
            Study(modality_phantom=phantom, split="test", number=number, stem=f"s{number}", pixels=900, parts=parts)
        )
    return studies


@pytest.fixture(scope="module")
def questions() -> list[OptionQuestion]:
    return option_questions(of_every_modality(8), np.random.default_rng(1))


def test_options_differ_and_the_letter_marks_the_right_one(questions: list[OptionQuestion]) -> None:
    for question in questions:
        assert len(set(question.options)) == 4
        assert question.options["ABCD".index(question.letter)] == question.options[question.right]
        if question.text in ("Which imaging technique made this picture?", "What was imaged here?"):
            phantom = question.study.modality_phantom
            assert question.options[question.right] in (phantom.modality, REGIONS[phantom.organ])


def test_no_letter_and_no_answer_is_likelier_than_another(questions: list[OptionQuestion]) -> None:
    letters = Counter(question.letter for question in questions)
    assert max(letters.values()) - min(letters.values()) <= 4
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for question in questions:
        if question.text.startswith(("How many", "Count")):
            counts["count"][question.options[question.right]] += 1
    assert len(set(counts["count"].values())) == 1
    assert set(counts["count"]) == {"0", "1", "2", "3"}


def test_the_order_of_the_studies_does_not_matter(questions: list[OptionQuestion]) -> None:
    again = option_questions(of_every_modality(8)[::-1], np.random.default_rng(1))
    assert [(one.text, one.options, one.right) for one in again] == [
        (one.text, one.options, one.right) for one in questions
    ]


def test_of_eye_and_macula_only_one_is_ever_an_option(questions: list[OptionQuestion]) -> None:
    options = {option for question in questions for option in question.options}
    assert len(options & {"eye", "macula"}) == 1
