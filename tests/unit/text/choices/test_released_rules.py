"""Quirks of released rules that the notes on them promise, each with the step that decides."""

import pytest

from harness.text.choices.medevalkit import boxed, medevalkit, tagged, unwrapped
from harness.text.choices.mmmu import mmmu, mmmu_candidates, mmmu_forms, mmmu_match
from harness.text.choices.reading import ChoiceReading
from harness.text.choices.similarity import huatuo, omnimedvqa
from harness.text.choices.vlmevalkit import vlmevalkit

ORGANS = ("Liver", "Spleen", "Left kidney", "Right kidney")
READERS = {"omnimedvqa": omnimedvqa, "huatuo": huatuo, "medevalkit": medevalkit, "vlmevalkit": vlmevalkit, "mmmu": mmmu}


@pytest.mark.parametrize(
    ("reader", "reply", "letter", "rule"),
    [
        ("huatuo", "I think the answer is B", "I", "lone_letter"),
        ("huatuo", "M.R.I.", "M", "lone_letter"),
        ("huatuo", "b", "b", "lone_letter"),
        ("huatuo", "It is not A, it is B", "A", "lone_letter"),
        ("huatuo", "A or B", "B", "lone_letter"),
        ("huatuo", "not the liver but the spleen", "B", "option_text"),
        ("huatuo", "", "D", "likeness"),
        ("omnimedvqa", "B", None, "nothing_alike"),
        ("omnimedvqa", "D. Spleen", "B", "likeness"),
        ("omnimedvqa", "The image shows the spleen, located in the left upper quadrant.", "D", "likeness"),
        ("medevalkit", "b", "B", "letter"),
        ("medevalkit", "B\n\nbecause of its place", "B", "letter"),
        ("medevalkit", "First I looked.\n\nB. Spleen", "B", "letter"),
        ("medevalkit", "Spleen", "B", "likeness"),
        ("medevalkit", "@", "A", "nothing_alike"),
        ("vlmevalkit", "b", None, "none"),
        ("vlmevalkit", "B or C", None, "none"),
        ("vlmevalkit", "B is what I would say if asked", None, "none"),
        ("vlmevalkit", "Z", None, "failed"),
        ("vlmevalkit", "Cannot determine the answer", None, "refusal"),
        ("vlmevalkit", "Failed to obtain answer via API, spleen", "B", "option_text"),
        ("vlmevalkit", "The answer is carotid", "C", "stated"),
        ("vlmevalkit", "The image shows the spleen, located in the left upper quadrant.", "B", "option_text"),
        ("mmmu", "A CT scan shows the spleen", "A", "lone_letter"),
        ("mmmu", "B or C", "C", "lone_letter"),
        ("mmmu", "(A) or (B), not C here", "B", "bracketed"),
        ("mmmu", "I would say that this is the Spleen", "B", "option_text"),
        ("mmmu", "It is the Spleen", None, "none"),
        ("mmmu", "\\boxed{B}", "B", "lone_letter"),
    ],
)
def test_quirks(reader: str, reply: str, letter: str | None, rule: str) -> None:
    assert READERS[reader](reply, ORGANS) == ChoiceReading(letter, rule)


@pytest.mark.parametrize("reader", READERS)
def test_without_options_no_rule_reads_one_of_them(reader: str) -> None:
    assert READERS[reader]("spleen", ()).letter is None


def test_vlmevalkit_gives_up_on_replies_longer_than_twice_the_options() -> None:
    assert vlmevalkit("it shows the spleen", ("Liver", "Spleen")).letter == "B"
    assert vlmevalkit("it shows the spleen indeed", ("Liver", "Spleen")).letter is None


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


def test_open_replies_give_key_parts_and_numbers() -> None:
    assert mmmu_candidates("So the dose is 12 mg/dL.") == ["12 mg/dl", 12.0]
    assert mmmu_candidates("Normal potassium. Hypokalemia") == ["normal potassium. hypokalemia"]
    assert mmmu_candidates("it is 1,234.567\nratio = 1e5") == [1234.57, 100000.0, 1234.0, 234.57, 5.0]


def test_a_single_character_is_compared_with_a_blank_beside_it() -> None:
    assert mmmu_forms("B") == [" b", "b "]
    assert mmmu_match(["a b"], ["b"]) == "a b"
    assert mmmu_match(["abc"], ["b"]) is None


def test_numbers_are_compared_to_two_decimals() -> None:
    assert mmmu_forms("1,234.567") == [1234.57]
    assert mmmu_match([3.14], ["3.1416"]) == 3.14
    assert mmmu_match(["3.14 cm"], ["3.14"]) is None
