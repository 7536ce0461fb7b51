"""The column map: what it may say, usual names for what it leaves out, and faults with the nearest column."""

from typing import Any

import pytest

from harness.data.releases.question_tables.columns import Columns, columns_fault, lettered_columns, resolve, strata_of
from harness.errors import SpecError


def test_usual_names_are_found_without_a_map() -> None:
    found = resolve(
        {}, ("index", "image", "question", "answer", "A", "B", "C", "category", "split", "patient"), "q.tsv"
    )
    assert found == Columns(
        question="question",
        answer="answer",
        options=("A", "B", "C"),
        image=("image",),
        id="index",
        split="split",
        patient="patient",
        strata={},
    )


def test_the_map_counts_more_and_an_empty_name_takes_a_field_away() -> None:
    given = {"question": "Frage", "answer": "Antwort", "split": "", "image": ["x", "y"], "organ": "Organ"}
    found = resolve(given, ("Frage", "Antwort", "question", "split", "x", "y", "Organ"), "q.csv")
    assert (found.question, found.split, found.image, found.strata) == ("Frage", None, ("x", "y"), {"organ": "Organ"})
    assert found.all == ("Frage", "Antwort", "x", "y", "Organ")


def test_every_fault_is_named_with_the_nearest_column() -> None:
    given = {"question": "Farge", "options": ["A", "E"], "organ": "Orgn"}
    with pytest.raises(SpecError) as caught:
        resolve(given, ("Frage", "A", "B", "Organ"), "q.csv")
    held = "(Frage, A, B, Organ)"
    assert str(caught.value).split("\n") == [
        f"q.csv: columns.question: expected a column of the table {held}, got 'Farge' (did you mean 'Frage'?)",
        f"q.csv: columns.options: expected a column of the table {held}, got 'E'",
        f"q.csv: columns.organ: expected a column of the table {held}, got 'Orgn' (did you mean 'Organ'?)",
        "q.csv: expected a column 'answer', found Frage, A, B, Organ; name yours with "
        "release.options.columns: {answer: ...}",
        "q.csv: expected a column 'image' or 'image_path', found Frage, A, B, Organ; name yours with "
        'release.options.columns: {image: ...}, or say {image: ""} if the questions have no images',
    ]


def test_questions_without_images_must_say_so() -> None:
    assert resolve({"image": ""}, ("question", "answer"), "q.csv").image == ()


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (["question"], "expected field: column, found ['question']"),
        ({"answer": 3}, "answer: expected the name of a column (in quotes if it looks like a number), found 3"),
        ({"question": ["a", "b"]}, "question: expected the name of a column (in quotes"),
        ({"options": []}, "options: expected the name of a column or a list of names"),
        ({"body part": "x"}, "body part: expected one of question, answer, options, image, id, split, patient, "),
        ({"form": "x"}, "'form' is derived"),
        ({"answer": ""}, "answer: expected the name of a column, found ''; every question needs one"),
    ],
)
def test_a_wrong_map_is_named(value: Any, fault: str) -> None:
    assert fault in columns_fault(value)


def test_a_right_map_and_its_strata() -> None:
    given = {"question": "Q", "options": ["A", "B"], "image": "", "organ": "Organ"}
    assert columns_fault(given) == ""
    assert strata_of(given) == ("answer_type", "form", "organ")


def test_lettered_columns_have_no_gap() -> None:
    assert lettered_columns(("A", "B", "D")) == ("A", "B")
    assert lettered_columns(("A", "C")) == ()
