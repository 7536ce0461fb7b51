"""The order of questions: by ratio, each once an epoch, packed by picture, the same for the same step."""

from collections import Counter

from reference_model.training.mixing import Mix
from tests.unit.reference_model.small_training import example, example_set


def sets(ratio: float = 3.0) -> list:
    return [
        example_set("a", [example(picture, question=f"a{picture} {n}?") for picture in range(5) for n in range(4)]),
        example_set("b", [example(picture, question=f"b{picture}?") for picture in range(5)], ratio),
    ]


def test_a_step_depends_on_nothing_before_it() -> None:
    first, second = (Mix(sets(), steps=9, rows=4, questions=3, seed=7) for _ in range(2))
    later = [second.step(step) for step in (8, 3)]
    assert [first.step(step) for step in range(9)][8] == later[0]
    assert first.step(3) == later[1]
    assert first.step(3) != Mix(sets(), steps=9, rows=4, questions=3, seed=8).step(3)


def test_leading_questions_keep_the_ratio_and_come_once_an_epoch() -> None:
    mix = Mix(sets(), steps=50, rows=8, questions=1, seed=1)
    leads = [row[0].question for step in range(50) for row in mix.step(step)]
    share = sum(question.startswith("b") for question in leads) / len(leads)
    assert abs(share - 0.75) < 0.06
    of_a = [question for question in leads if question.startswith("a")]
    assert Counter(of_a[:20]) == Counter(one.question for one in sets()[0].examples)


def test_a_row_holds_different_questions_about_one_picture_by_the_same_ratio() -> None:
    mix = Mix(sets(), steps=100, rows=4, questions=2, seed=1)
    rows = [row for step in range(100) for row in mix.step(step)]
    assert all(len({one.media_key for one in row}) == 1 and len(set(row)) == 2 for row in rows)
    behind_a = [row[1].question[0] for row in rows if row[0].question.startswith("a")]
    assert abs(behind_a.count("b") / len(behind_a) - 0.75) < 0.12


def test_a_picture_with_few_questions_makes_a_short_row() -> None:
    mix = Mix(sets()[1:], steps=2, rows=2, questions=4, seed=1)
    assert all(len(row) == 1 for row in mix.step(0))
