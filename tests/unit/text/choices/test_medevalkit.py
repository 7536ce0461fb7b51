"""MedEvalKit's rule: unwrapping, and the quirks that its docstring promises."""

import pytest

from harness.text.choices.medevalkit import boxed, medevalkit, tagged, unwrapped
from harness.text.choices.reading import ChoiceReading

ORGANS = ("Liver", "Spleen", "Left kidney", "Right kidney")


@pytest.mark.parametrize(
    ("reply", "letter", "rule"),
    [
        ("b", "B", "letter"),
        ("B\n\nbecause of its place", "B", "letter"),
        ("First I looked.\n\nB. Spleen", "B", "letter"),
        ("Spleen", "B", "likeness"),
        ("@", "A", "nothing_alike"),
    ],
)
def test_quirks(reply: str, letter: str | None, rule: str) -> None:
    assert medevalkit(reply, ORGANS) == ChoiceReading(letter, rule)


def test_without_options_nothing_is_read() -> None:
    assert medevalkit("spleen", ()).letter is None


def test_tags_are_joined_and_an_open_one_is_left() -> None:
    assert tagged("<answer>A</answer> or <answer>B</answer>", "answer") == "A B"
    assert tagged("<answer>A", "answer") == "<answer>A"
    assert tagged("<answer></answer>", "answer") == "<answer></answer>"


def test_the_last_box_counts_and_its_braces_balance() -> None:
    assert boxed("\\boxed{A} then \\boxed{ \\text{B} }") == "\\text{B}"
    assert boxed("\\boxed{A") == boxed("A") == "None"


def test_markers_are_cut_at_their_last_occurrence_one_after_the_other() -> None:
    assert unwrapped("Answer: no. The answer is Left") == " left"
    assert unwrapped("**Answer**: yes") == " yes"
    assert unwrapped("nothing is boxed") == "None"
