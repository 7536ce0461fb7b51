"""Similarity rules as released: the quirks that their docstrings promise, each with the step that decides."""

from collections.abc import Callable, Sequence

import pytest

from harness.text.choices.reading import ChoiceReading
from harness.text.choices.similarity import huatuo, omnimedvqa

ORGANS = ("Liver", "Spleen", "Left kidney", "Right kidney")
Reader = Callable[[str, Sequence[str]], ChoiceReading]


@pytest.mark.parametrize(
    ("read", "reply", "letter", "rule"),
    [
        (huatuo, "I think the answer is B", "I", "lone_letter"),
        (huatuo, "M.R.I.", "M", "lone_letter"),
        (huatuo, "b", "b", "lone_letter"),
        (huatuo, "It is not A, it is B", "A", "lone_letter"),
        (huatuo, "A or B", "B", "lone_letter"),
        (huatuo, "not the liver but the spleen", "B", "option_text"),
        (huatuo, "", "D", "likeness"),
        (omnimedvqa, "B", None, "nothing_alike"),
        (omnimedvqa, "D. Spleen", "B", "likeness"),
        (omnimedvqa, "The image shows the spleen, located in the left upper quadrant.", "D", "likeness"),
    ],
)
def test_quirks(read: Reader, reply: str, letter: str | None, rule: str) -> None:
    assert read(reply, ORGANS) == ChoiceReading(letter, rule)


@pytest.mark.parametrize("read", [omnimedvqa, huatuo])
def test_without_options_no_rule_reads_one_of_them(read: Reader) -> None:
    assert read("spleen", ()).letter is None
