"""MMMU's rules: option letters, and the candidates of open replies."""

import pytest

from harness.text.choices.mmmu import mmmu, mmmu_candidates, mmmu_forms, mmmu_match
from harness.text.choices.reading import ChoiceReading

ORGANS = ("Liver", "Spleen", "Left kidney", "Right kidney")


@pytest.mark.parametrize(
    ("reply", "letter", "rule"),
    [
        ("A CT scan shows the spleen", "A", "lone_letter"),
        ("B or C", "C", "lone_letter"),
        ("(A) or (B), not C here", "B", "bracketed"),
        ("I would say that this is the Spleen", "B", "option_text"),
        ("It is the Spleen", None, "none"),
        ("\\boxed{B}", "B", "lone_letter"),
    ],
)
def test_quirks(reply: str, letter: str | None, rule: str) -> None:
    assert mmmu(reply, ORGANS) == ChoiceReading(letter, rule)


def test_without_options_nothing_is_read() -> None:
    assert mmmu("spleen", ()).letter is None


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
