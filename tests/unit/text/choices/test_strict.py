"""Our own rules: which step reads a reply, and what stays unread."""

import time

import pytest

from harness.text.choices.reading import ChoiceReading, lettered
from harness.text.choices.strict import exact, strict_letter

ORGANS = ("Liver", "Spleen", "Left kidney", "Right kidney")
UNREAD = ChoiceReading(None, "none")


def read(reply: str, options: tuple[str, ...] = ORGANS) -> tuple[str | None, str]:
    found = strict_letter(reply, options)
    return found.letter, found.rule


@pytest.mark.parametrize(
    "reply",
    [
        "B",
        " B\n",
        "(B)",
        "[B]",
        "*B*",
        "**B**",
        "B.",
        "B)",
        "B:",
        "(B).",
        "**B.**",
        "（Ｂ）",
        "b",
        "b)",
        "“B”",
        "$B$",
        "Ⓑ",
        "**Answer:** B",
        "正确答案：B。",
        "\\boxed{\\text{B}}",
        "<answer>B</answer>",
        '{"answer": "B"}',
        "`B`",
        "B、",
        "【B】",
        "<think>It is A.</think>B",
        "Final answer: **B**",
    ],
)
def test_a_reply_that_is_one_letter(reply: str) -> None:
    assert read(reply) == ("B", "letter_alone")


@pytest.mark.parametrize(
    "reply",
    [
        "B. Spleen",
        "B) the spleen",
        "B: Spleen, not A",
        "B.\nIt is small.",
        "B Spleen",
        "B - Spleen",
        "B—Spleen",
        "(B) Spleen",
        "b) spleen",
        "B、脾脏",
        "B because of its shape",
        "B rather than A",
        "B\n\nThe liver is normal.",
    ],
)
def test_a_reply_that_begins_with_a_letter(reply: str) -> None:
    assert read(reply) == ("B", "leading_letter")


@pytest.mark.parametrize(
    "reply",
    [
        "The answer is B",
        "The answer is (B).",
        "the correct Answer is **B**, the spleen",
        "Option B",
        "Options B",
        "option b",
        "I think it is option B",
        "答案是B",
        "答案B项",
        "Answer B. The answer is B.",
        "The DNA is normal. Answer B",
        "选B",
        "我选择 B",
        "The answer is b",
        "I would choose B.",
        "B is correct.",
        "Spleen (B)",
        "It's not A but B",
        "Not A. B",
        "不是A，而是B",
        "Option A is wrong; the answer is B.",
        "Reasoning first.\n\nB. Spleen",
        "There is no doubt that the answer is B.",
        "A. Liver\nB. Spleen\nC. Left kidney\n\nI choose B",
        "I first thought of A, but the answer is B",
    ],
)
def test_a_reply_that_names_a_letter(reply: str) -> None:
    assert read(reply) == ("B", "named_letter")


@pytest.mark.parametrize("reply", ["Spleen", "spleen.", '"SPLEEN"', " the  spleen "])
def test_a_reply_that_is_an_option_text(reply: str) -> None:
    assert strict_letter(reply, ("The spleen", "Spleen")).rule == "option_text"


@pytest.mark.parametrize(
    "reply",
    [
        "the spleen",
        "It is the spleen.",
        "The answer is spleen.",
        "I choose the spleen",
        "Spleen, not liver",
        "正确答案是Spleen。",
        "It is not the liver, it is the spleen.",
        "The structure shown is the spleen.",
    ],
)
def test_a_reply_that_states_an_option_text(reply: str) -> None:
    assert read(reply) == ("B", "option_text")


@pytest.mark.parametrize(
    "reply",
    [
        "Answer: A. Actually, B",
        "A. Wait, B.",
        "A\nCorrection: B",
        "The answer is A or B",
        "The answer is A/B",
        "Answer: A and B",
        "The answer is B, C",
        "答案是A或B",
        "A or B",
        "(A) or (B)",
        "A. Spleen",
        "The answer is A, the spleen.",
        "Spleen (A)",
        "The answer is A. The answer is B.",
        "A - B",
        "A\nB",
        "The answer is A, but B is also possible.",
        "It could be the liver or the spleen",
        "spleen and liver",
    ],
)
def test_a_reply_that_asserts_two_options_stays_unread(reply: str) -> None:
    assert read(reply) == (None, "conflict")


@pytest.mark.parametrize(
    "reply",
    [
        "Option A is incorrect",
        "The answer is not A",
        "I would rule out B.",
        "A is wrong.",
        "Neither A nor B",
        "All but A",
        "A cannot be right",
        "A: incorrect",
        "not the liver",
        "The answer is not liver.",
        "不选A",
        "A不正确",
        "排除A",
        "B? No.",
        "I initially thought A, now I am not sure.",
        "I'm not sure it's A",
        "Some may say A",
    ],
)
def test_what_a_reply_denies_is_not_asserted(reply: str) -> None:
    assert read(reply) == (None, "none")


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "E",
        "E. Pancreas",
        "The answer is E",
        "The answer is B-cell lymphoma",
        "A large spleen",
        "A.B",
        "Adoption B",
        "AB",
        "I cannot determine the answer.",
        "A fracture is visible",
        "An organ",
        "Answer: A typical organ",
        "Hepatitis B",
        "A-line",
        "A: I cannot tell",
        "The liver is normal.",
        "<think>The answer is B",
        "<think>B</think>",
        "A. Liver\nB. Spleen",
        "<answer>A</answer><answer>B</answer>",
        "The answer is a",
        "Is it B?",
    ],
)
def test_nothing_is_read(reply: str) -> None:
    assert read(reply) == (None, "none")


def test_a_pronoun_names_no_ninth_option() -> None:
    options = tuple("mnopqrstu")
    for reply in ("I don't know", "Answer: I don't know", "I, as an AI, cannot tell", "I think so"):
        assert read(reply, options) == (None, "none")
    assert read("I", options) == ("I", "letter_alone")
    assert read("I think the answer is B", options) == ("B", "named_letter")


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("E. coli", None),
        ("C. difficile colitis", None),
        ("A. fumigatus infection", None),
        ("The answer is E. coli.", None),
        ("E. proteus", "E"),
        ("E. The colonies are smooth.", "E"),
    ],
)
def test_the_letter_of_a_genus_names_no_option(reply: str, letter: str | None) -> None:
    options = ["Staphylococcus", "Streptococcus", "Klebsiella", "Pseudomonas", "Proteus"]
    assert strict_letter(reply, options).letter == letter


@pytest.mark.parametrize(
    "reply",
    [
        '{"A": 0.1, "B": 0.9}',
        "A: 10%\nB: 90%",
        '{"A": "no", "B": "yes"}',
        "A → no, B → yes",
        "Spleen? No. Heart? No.",
        "Spleen? No, the heart.",
    ],
)
def test_the_first_of_options_that_are_judged_in_turn_is_not_chosen(reply: str) -> None:
    assert strict_letter(reply, ["Spleen", "Liver", "Heart", "Kidney"]).letter != "A"


def test_a_species_that_is_an_option_is_read_by_its_text() -> None:
    assert strict_letter("B. E. coli", ["S. aureus", "E. coli"]).letter == "B"
    assert strict_letter("E. coli", ["S. aureus", "E. coli"]).letter == "B"


def test_options_with_one_text_are_one_answer() -> None:
    doubled = ("Stage 1", "Stage 1 ", "Stage 2")
    assert strict_letter("stage 1", doubled) == ChoiceReading("A", "option_text")
    assert strict_letter("The answer is A or B", doubled) == ChoiceReading("A", "named_letter")
    assert strict_letter("The answer is A or C", doubled).letter is None


def test_a_text_that_two_options_share_after_normalising_stays_unread() -> None:
    assert read("grade i", ("Grade I", "Grade I.", "Grade II")) == (None, "conflict")


def test_a_letter_that_is_another_options_text_is_ambiguous() -> None:
    assert read("A", ("B", "A", "C")) == (None, "conflict")
    assert read("A. B", ("B", "A", "C")) == ("A", "leading_letter")
    assert read("A", ("A", "B", "AB", "O")) == ("A", "letter_alone")
    assert read("O", ("A", "B", "AB", "O")) == ("D", "option_text")
    assert read("The answer is E. coli.", ("E. coli", "S. aureus", "x", "y", "z")) == ("A", "option_text")
    assert read("The answer is Vitamin A", ("Vitamin B", "Vitamin A")) == ("B", "option_text")
    assert read("E. coli", ("E. coli", "S. aureus", "x", "y", "z")) == ("A", "option_text")


def test_the_longest_text_that_fits_is_the_one_named() -> None:
    options = ("Normal", "Abnormal", "Normal variant", "None of the above")
    assert read("The answer is Normal variant", options) == ("C", "option_text")
    assert read("A. Normal variant", options) == (None, "conflict")
    assert read("D. None of the above", options) == ("D", "leading_letter")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Yes, there is no effusion.", ("A", "yes_no")),
        ("No, there is none", ("B", "yes_no")),
        ("yes or no", (None, "none")),
        ("A. Yes", ("A", "leading_letter")),
        ("A. No", (None, "conflict")),
        ("Option B, as there is no air", ("B", "named_letter")),
    ],
)
def test_options_yes_and_no_are_read_as_such_answers(reply: str, expected: tuple[str | None, str]) -> None:
    assert read(reply, ("Yes", "No")) == expected


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
        ("<think>It is A.</think>\n\nB", ChoiceReading("B", "letter")),
        ("<think>B", UNREAD),
        ("**B**", UNREAD),
    ],
)
def test_exact_takes_a_letter_or_a_text_to_the_character(reply: str, reading: ChoiceReading) -> None:
    assert exact(reply, ORGANS) == reading


def test_exact_reads_a_letter_before_a_text() -> None:
    assert exact("B", ("B", "C")) == ChoiceReading("B", "letter")
    assert exact("C", ("B", "C")) == ChoiceReading("B", "option_text")


def test_there_are_26_letters() -> None:
    assert "".join(lettered([str(number) for number in range(30)])) == "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@pytest.mark.parametrize(
    "text", ["A. " * 5_000, "(A) " * 5_000, "spleen " * 3_000, "A or " * 5_000, "x " + "\n" * 50_000 + "B"]
)
def test_no_reply_takes_long_to_read(text: str) -> None:
    start = time.perf_counter()
    strict_letter(text, ORGANS)
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    "reply",
    [
        "I cannot tell.\nC\nA",
        "D. B. A",
        "The answer is D. B.",
        "It could be Spleen. Liver.\nHeart or something else",
        "It is not B.\nB. A",
        "A. Liver/B. Spleen",
    ],
)
def test_a_list_of_options_chooses_none_of_them(reply: str) -> None:
    assert strict_letter(reply, ("Liver", "Spleen", "Heart", "Kidney")).letter is None
