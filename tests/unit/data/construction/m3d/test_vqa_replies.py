"""Numbered questions as models write them, and verdicts."""

import pytest

from harness.data.construction.m3d.vqa import sides_in
from harness.data.construction.m3d.vqa_replies import read_pairs, read_questions, read_verdict


def test_questions_are_read_in_one_line_and_over_several() -> None:
    one_line = (
        "1). Planes\nQuestion-1: Which plane? Choice: A. Axial B. Coronal C. Sagittal D. Oblique Answer: B. Coronal"
    )
    options = "A) a cyst\nB) a tumor\nC) nothing\nD) a stone"
    lines = f"Question-4: What is\nseen?\nChoices:\n{options}\nAnswer: (A) a cyst\n\n5). Position"
    (first, second) = read_questions(f"{one_line}\n{lines}")
    assert (first.number, first.type, first.choices, first.letter, first.answer) == (
        1,
        "1",
        ("Axial", "Coronal", "Sagittal", "Oblique"),
        "B",
        "Coronal",
    )
    assert (second.question, second.type) == ("What is seen?", "4")
    assert (second.choices, second.letter) == (("a cyst", "a tumor", "nothing", "a stone"), "A")


def test_the_last_question_needs_no_line_break_behind_it_and_a_number_counts_once() -> None:
    reply = (
        "Question-9: A? Choice: A. x B. y C. z D. w Answer: D. w Question-9: B? Answer: A. x Question-10: C? Answer: A."
    )
    assert [(one.number, one.question, one.answer) for one in read_questions(reply)] == [(9, "A?", "w")]
    assert list(read_questions("The liver is normal.")) == []


def test_pairs_have_a_question_and_an_answer() -> None:
    reply = "Question-1: Please segment it? Answer: Sure, [SEG].\nQuestion-2: Where?\nQuestion-7: No. Answer: no"
    assert list(read_pairs(reply, range(1, 7))) == [(1, "Please segment it?", "Sure, [SEG].")]


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("Yes", True),
        ("'NO', the plane is axial. Yes?", False),
        ("no.", False),
        ("Yesterday", None),
        ("It is right", None),
    ],
)
def test_a_verdict_is_the_first_word(reply: str, verdict: bool | None) -> None:
    assert read_verdict(reply) is verdict


def test_a_structure_that_is_named_without_its_side_has_none() -> None:
    report = (
        "The right kidney is large. The left adrenal gland and the right adrenal gland are normal. The lung is clear."
    )
    assert sides_in(report) == {"kidney": {"right"}, "adrenal gland": {"left", "right"}}
