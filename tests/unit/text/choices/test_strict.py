"""Our own rules: which step reads a reply, and what stays unread."""

import pytest

from harness.text.choices.reading import ChoiceReading, lettered
from harness.text.choices.strict import exact, strict_letter

ORGANS = ("Liver", "Spleen", "Left kidney", "Right kidney")
UNREAD = ChoiceReading(None, "none")


@pytest.mark.parametrize(
    "reply", ["B", " B\n", "(B)", "[B]", "*B*", "**B**", "B.", "B)", "B:", "(B).", "**B.**", "（Ｂ）"]
)
def test_a_reply_that_is_one_letter(reply: str) -> None:
    assert strict_letter(reply, ORGANS) == ChoiceReading("B", "letter_alone")


@pytest.mark.parametrize("reply", ["B. Spleen", "B) the spleen", "B: Spleen, not A", "B.\nIt is small."])
def test_a_reply_that_begins_with_a_letter(reply: str) -> None:
    assert strict_letter(reply, ORGANS) == ChoiceReading("B", "leading_letter")


@pytest.mark.parametrize(
    "reply",
    [
        "The answer is B",
        "The answer is (B).",
        "the correct Answer is **B**, the spleen",
        "**Answer:** B",
        "Option B",
        "I think it is option B",
        "答案是B",
        "正确答案：B。",
        "答案B项",
        "Answer B. The answer is B.",
        "The DNA is normal. Answer B",
    ],
)
def test_a_reply_that_names_a_letter(reply: str) -> None:
    assert strict_letter(reply, ORGANS) == ChoiceReading("B", "named_letter")


@pytest.mark.parametrize("reply", ["Spleen", "spleen.", '"SPLEEN"', " the  spleen "])
def test_a_reply_that_is_an_option_text(reply: str) -> None:
    assert strict_letter(reply, ("The spleen", "Spleen")).rule == "option_text"


@pytest.mark.parametrize(
    "reply",
    [
        "The answer is A or B",
        "The answer is A/B",
        "Answer: A and B",
        "The answer is B, C",
        "Option A is wrong; the answer is B.",
        "答案是A或B",
    ],
)
def test_two_different_letters_of_the_step_that_fired_stay_unread(reply: str) -> None:
    assert strict_letter(reply, ORGANS) == ChoiceReading(None, "named_letter")


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "E",
        "b",
        "A or B",
        "E. Pancreas",
        "The answer is E",
        "The answer is not A",
        "The answer is B-cell lymphoma",
        "The answer is b",
        "A large spleen",
        "A.B",
        "Adoption B",
        "Options A",
        "It is the spleen.",
        "I cannot determine the answer.",
    ],
)
def test_no_step_fires(reply: str) -> None:
    assert strict_letter(reply, ORGANS) == UNREAD


def test_options_with_one_text_are_one_answer() -> None:
    doubled = ("Stage 1", "Stage 1 ", "Stage 2")
    assert strict_letter("stage 1", doubled) == ChoiceReading("A", "option_text")
    assert strict_letter("The answer is A or B", doubled) == ChoiceReading("A", "named_letter")
    assert strict_letter("The answer is A or C", doubled).letter is None


def test_a_text_that_two_options_share_after_normalising_stays_unread() -> None:
    assert strict_letter("grade i", ("Grade I", "Grade I.", "Grade II")) == ChoiceReading(None, "option_text")


def test_without_options_nothing_is_read() -> None:
    assert strict_letter("A", ()) == exact("A", ()) == UNREAD


@pytest.mark.parametrize(
    ("reply", "reading"),
    [
        ("B", ChoiceReading("B", "letter")),
        (" B\n", ChoiceReading("B", "letter")),
        ("Spleen", ChoiceReading("B", "option_text")),
        ("spleen", UNREAD),
        ("Spleen.", UNREAD),
        ("B.", UNREAD),
        ("b", UNREAD),
        ("E", UNREAD),
    ],
)
def test_exact_takes_a_letter_or_a_text_to_the_character(reply: str, reading: ChoiceReading) -> None:
    assert exact(reply, ORGANS) == reading


def test_exact_reads_a_letter_before_a_text() -> None:
    assert exact("B", ("B", "C")) == ChoiceReading("B", "letter")
    assert exact("C", ("B", "C")) == ChoiceReading("B", "option_text")


def test_there_are_26_letters() -> None:
    assert "".join(lettered([str(number) for number in range(30)])) == "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
