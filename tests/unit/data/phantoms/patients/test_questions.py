"""Questions with one answer: read off the parts, balanced within each topic, and silent where nobody could tell."""

from collections import Counter, defaultdict

import numpy as np

from harness.data.phantoms.drawing import MODALITY_PHANTOMS
from harness.data.phantoms.drawing.modality import Structure
from harness.data.phantoms.patients.images import PhantomPart, Study
from harness.data.phantoms.patients.questions import Question, balanced_questions

XRAY, FUNDUS = MODALITY_PHANTOMS[4], MODALITY_PHANTOMS[5]


def part(structure: Structure, across: float, area: int = 10) -> PhantomPart:
    return PhantomPart(structure=structure, mask="masks/m.png", area=area, across=across)


def fundus(number: int, across: float, hemorrhages: int = 0) -> Study:
    disc, hemorrhage, _ = FUNDUS.structures
    parts = (part(disc, across), *(part(hemorrhage, 0.0) for _ in range(hemorrhages)))
    return Study(modality_phantom=FUNDUS, split="train", number=number, stem=f"f{number}", pixels=900, parts=parts)


def chest(number: int, left: int, right: int) -> Study:
    lung = XRAY.structures[0]
    parts = (part(lung, -0.4, left), part(lung, 0.4, right))
    return Study(modality_phantom=XRAY, split="train", number=number, stem=f"x{number}", pixels=900, parts=parts)


def asked(studies: list[Study]) -> list[Question]:
    return balanced_questions(studies, np.random.default_rng(0))


def test_each_answer_of_a_topic_is_right_equally_often() -> None:
    studies = [fundus(number, (-0.5, 0.5, 0.5)[number % 3], number % 4) for number in range(24)]
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for question in asked(studies):
        counts[question.topic.key][question.answer] += 1
    assert counts["side of fundus optic disc"] == {"left": 8, "right": 8}
    assert counts["presence hemorrhage"] == {"no": 6, "yes": 6}
    assert all(len(set(found.values())) == 1 and len(found) > 1 for found in counts.values())


def test_questions_come_in_the_order_of_the_images() -> None:
    numbers = [question.study.number for question in asked([fundus(number, 0.5 - number % 2) for number in range(8)])]
    assert numbers == sorted(numbers)
    assert numbers


def test_a_part_near_the_middle_has_no_side() -> None:
    studies = [fundus(number, 0.05 - 0.1 * (number % 2)) for number in range(8)]
    assert not [question for question in asked(studies) if question.topic.type == "POS"]


def test_lungs_of_nearly_one_size_are_not_compared() -> None:
    unlike = [chest(number, 100 + 50 * (number % 2), 150 - 50 * (number % 2)) for number in range(4)]
    answers = Counter(question.answer for question in asked(unlike) if question.topic.key == "larger lung")
    assert answers == {"left": 2, "right": 2}
    similar = [chest(number, 100 + 5 * (number % 2), 105 - 5 * (number % 2)) for number in range(4)]
    assert not [question for question in asked(similar) if question.topic.type == "SIZE"]


def test_no_images_give_no_questions() -> None:
    assert asked([]) == []
