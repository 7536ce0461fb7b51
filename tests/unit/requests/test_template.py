"""Templates filled with the fields of a sample."""

import pytest

from harness.errors import DataError
from harness.records import (
    Entity,
    Target,
)
from harness.requests.template import fill, names
from tests.unit.requests.request_cases import REPORTED, build, model, sample, task


def test_a_name_the_sample_lacks_is_an_error_that_names_both() -> None:
    with pytest.raises(DataError) as caught:
        build(task(prompt="Outline the {class}."), sample(), model())
    known = ", ".join(sorted(names(sample())))
    assert "class" not in known
    assert str(caught.value) == f"t/test/1: the template names 'class', the sample has only {known}"


def test_the_options_are_there_in_lines_in_one_line_as_a_list_and_as_a_number() -> None:
    spec = task(prompt="{question}\n{options}|{options_line}|{option_list}|{option_count}|{options_bracketed}")
    words = build(spec, sample(question="Which?", choices=("left", "Crohn's")), model()).prompt
    assert words == "Which?\nA. left\nB. Crohn's|A. left B. Crohn's|['left', \"Crohn's\"]|2|(A) left\n(B) Crohn's"


def test_the_target_is_named_for_the_oracle_alone() -> None:
    item = sample(choices=("left", "right"), target=Target(answers=("right",), choice="B"))
    assert "answer" not in names(item)
    filled = fill("{answer} {letter} {option}", names(item, with_target=True), where="t")
    assert filled == "right B right"
    assert names(sample(), with_target=True)["option"] == ""


def test_a_caption_stands_in_no_other_prompt() -> None:
    with pytest.raises(DataError, match="the template names 'caption', the sample has only"):
        build(task(prompt="{caption}"), REPORTED, model("text volume"))


def test_braces_in_a_value_are_left_as_they_are_and_doubled_ones_of_the_template_are_halved() -> None:
    values = {"question": "What is {class} in {{x}}?", "class": "liver"}
    assert fill("{{{question}}} {class}{{}}", values, where="t") == "{What is {class} in {{x}}?} liver{}"
    assert fill("", {}, where="t") == ""


def test_a_class_is_named_only_if_the_target_has_one_entity() -> None:
    one = sample(target=Target(entities=(Entity(name="liver"),)), strata={"question": "no", "modality": "ct"})
    two = sample(target=Target(entities=(Entity(name="liver"), Entity(name="spleen"))))
    assert (names(one)["class"], names(one)["modality"], names(one)["question"]) == ("liver", "ct", "Is it left?")
    assert "class" not in names(two)
