"""Options in every form, and right options named by letter, text or number: decided over the whole table."""

from collections.abc import Sequence
from typing import Any

import pytest

from harness.data.releases.question_tables.answers import (
    AnswerForms,
    answer_texts,
    read_options,
    right_option,
    separators_fault,
)
from harness.errors import DataError

ORGANS = ("lung", "liver", "heart")


@pytest.mark.parametrize(
    ("cells", "separator"),
    [
        (["lung", " liver ", "heart", "", None], None),
        ([["lung", "liver", "heart"]], None),
        (['["lung", "liver", "heart"]'], None),
        (["['lung', 'liver', 'heart']"], None),
        (['{"A": "lung", "B": "liver", "C": "heart"}'], None),
        ([{"A": "lung", "B": "liver", "C": "heart", "D": None}], None),
        ([[{"key": "A", "value": "lung"}, {"key": "B", "value": "liver"}, {"key": "C", "value": "heart"}]], None),
        (["lung|liver|heart"], "|"),
    ],
)
def test_options_are_read_in_every_form(cells: list[Any], separator: str | None) -> None:
    assert read_options(cells, separator).texts == ORGANS


@pytest.mark.parametrize("cells", [[], [""], [None], [float("nan")], ["", "", ""], [[]], ["  "]])
def test_a_row_without_options_is_a_question_in_words(cells: list[Any]) -> None:
    found = read_options(cells, None)
    assert (found.texts, found.fault) == ((), "")


@pytest.mark.parametrize(
    ("cells", "fault"),
    [
        (["lung", "", "heart"], "option B is empty"),
        ([["lung"]], "there are 1"),
        (["lung, liver"], "'lung, liver' is not a list of options"),
        ([{"A": "lung", "C": "heart"}], "is not a list of options"),
        ([list(map(str, range(27)))], "there are 27"),
    ],
)
def test_options_that_cannot_be_read_are_named(cells: list[Any], fault: str) -> None:
    found = read_options(cells, None)
    assert found.texts == ()
    assert fault in found.fault


def test_letters_are_removed_if_every_option_has_its_own() -> None:
    assert read_options(["A. lung", "(B) liver", "C: heart"], None).texts == ORGANS
    assert read_options(["A. fumigatus", "C. albicans"], None).texts == ("A. fumigatus", "C. albicans")
    assert read_options(["A.", "B."], None).texts == ("A.", "B.")


def decided(answers: Sequence[str], options: Sequence[str] = ORGANS, asked: str = "auto") -> str:
    forms = AnswerForms()
    for number, answer in enumerate(answers):
        forms.add(answer, options, f"q.csv:{number + 2}")
    return forms.decide(asked)


@pytest.mark.parametrize(
    ("answers", "form"),
    [
        (["A", "b", "(C)", "B.", "Option A"], "letter"),
        (["lung", "Liver", " heart "], "text"),
        (["A", "B", "lung"], "letter"),
        (["A. lung", "(B) liver"], "letter"),
        ([], "letter"),
    ],
)
def test_the_majority_of_the_table_decides(answers: list[str], form: str) -> None:
    assert decided(answers) == form


BLOOD = ("B", "A", "AB", "0")  # texts that are letters of other options


def test_rows_with_one_meaning_decide_for_those_with_two() -> None:
    assert decided(["A", "B", "AB"], BLOOD) == "text"
    assert decided(["A", "B", "C", "D"], BLOOD) == "letter"
    assert right_option("A", BLOOD, "text").place == 1
    letter = right_option("A", BLOOD, "letter")
    assert (letter.place, letter.remark) == (0, "'A' is a letter and another option's text, read as letter")


def test_a_table_that_does_not_decide_must_be_told() -> None:
    words = (
        r"q\.csv:2: the answer is the letter of one option and the text of another, and no other row decides which is "
        r"meant; set release\.options\.answers: letter or text"
    )
    with pytest.raises(DataError, match=words):
        decided(["A", "B"], BLOOD)
    assert decided(["A", "B"], BLOOD, asked="text") == "text"


@pytest.mark.parametrize(
    ("answers", "hint"),
    [(["0", "2"], "index_from_0"), (["1", "3"], "index_from_1"), (["1", "2"], "index_from_0 or index_from_1")],
)
def test_numbers_are_never_guessed(answers: list[str], hint: str) -> None:
    with pytest.raises(DataError, match=rf"found whole numbers from \d to \d in 2 rows; set .*answers: {hint}$"):
        decided(answers)


def test_numbers_that_are_texts_of_options_are_texts() -> None:
    assert decided(["2", "4"], ("1", "2", "4")) == "text"


@pytest.mark.parametrize(
    ("answer", "form", "place"),
    [
        ("1", "index_from_0", 1),
        ("1", "index_from_1", 0),
        ("liver", "letter", 1),
        ("b", "text", 1),
        ("B) Liver", "text", 1),
    ],
)
def test_the_right_option_is_found(answer: str, form: str, place: int) -> None:
    assert right_option(answer, ORGANS, form).place == place


def test_a_row_that_names_its_option_in_the_other_way_is_remarked() -> None:
    assert right_option("liver", ORGANS, "letter").remark == "'liver' is a text, most answers of the table are a letter"
    assert right_option("B", ORGANS, "letter").remark == ""


@pytest.mark.parametrize(
    ("answer", "form", "fault"),
    [
        ("spleen", "text", "the answer is 'spleen', the options are 'lung', 'liver', 'heart'"),
        ("D", "letter", "the answer is 'D', the options are"),
        ("A, C", "letter", "the answer is 'A, C', the options are"),
        ("A. heart", "letter", "whose letter and text are different options of 'lung', 'liver', 'heart'"),
        ("3", "index_from_0", "expected index_from_0 of 3 options"),
        ("0", "index_from_1", "expected index_from_1 of 3 options"),
        ("liver", "index_from_0", "expected index_from_0 of 3 options"),
    ],
)
def test_an_answer_that_names_no_option_is_a_fault(answer: str, form: str, fault: str) -> None:
    found = right_option(answer, ORGANS, form)
    assert found.place is None
    assert fault in found.fault


def test_several_answers_are_a_list_or_stand_between_a_declared_separator() -> None:
    assert answer_texts(["a", "b"], None) == ["a", "b"]
    assert answer_texts("a; b;", ";") == ["a", " b"]
    assert answer_texts("a; b", None) == ["a; b"]
    assert answer_texts("['a', 'b']", None) == ["['a', 'b']"]


def test_separators_are_texts_of_known_fields() -> None:
    assert separators_fault({"answer": ";"}) == ""
    assert separators_fault(";") == "expected field: separator, found ';'"
    for wrong in ({"question": ";"}, {"answer": ""}, {"answer": 3}):
        assert "expected a separator in quotes for answer, options or image" in separators_fault(wrong)
