"""Words, clauses and the structures that a text names."""

import pytest

from harness.data.construction.checks.anatomy import without_side
from harness.data.construction.checks.answers import letter_of
from harness.data.construction.checks.tokens import contains, count_words, mentions
from harness.data.construction.lexicons import particles, read_lexicon, structures


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("The gall bladder and the urinary bladder.", ["gallbladder", "bladder"]),
        ("Inferior vena cava beside the vertebral bodies", ["vena cava", "vertebra"]),
        ("肾上腺和肾", ["adrenal gland", "kidney"]),
        ("a livery of gutters", []),
    ],
)
def test_the_longest_names_are_found(text: str, names: list[str]) -> None:
    assert [mention.structure.name for mention in mentions(text)] == names


def test_words_are_counted_in_both_scripts() -> None:
    assert count_words("The liver, it's big.") == 4
    assert count_words("肝脏 CT 正常。") == 5
    assert count_words("") == 0


def test_a_name_is_found_whole_and_in_the_plural() -> None:
    assert contains("Two kidney cysts.", "kidney cyst")
    assert not contains("A cyst in the kidney.", "kidney cyst")
    assert not contains("anything", "")


@pytest.mark.parametrize(
    ("label", "parts"),
    [
        ("kidney left", ("kidney", "left")),
        ("Right_lung", ("lung", "right")),
        ("liver", ("liver", "")),
        ("left and right lung", ("left and right lung", "")),
    ],
)
def test_labels_give_their_side(label: str, parts: tuple[str, str]) -> None:
    assert without_side(label) == parts


@pytest.mark.parametrize(
    ("answer", "letter"), [("spleen", "B"), ("b", "B"), ("(A)", "A"), ("B. Spleen", "B"), ("A. Spleen", ""), ("E", "")]
)
def test_answers_are_letters_of_their_options(answer: str, letter: str) -> None:
    assert letter_of(answer, ("Liver", "Spleen")) == letter


def test_lexicons_say_where_they_come_from() -> None:
    for name in ("anatomy", "languages", "particles", "refusals"):
        content = read_lexicon(name)
        assert content["source"]
        assert content["licence"]
        assert content["version"] >= 1
    assert "left" in particles("sides")
    known = structures()
    assert all(whole in known for structure in known.values() for whole in structure.part_of)
