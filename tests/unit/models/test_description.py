"""What a submitter says of a model: what is taken, and how it stands beside what is stored."""

from typing import Any

import pytest

from harness.errors import SpecError
from harness.models.description import FIELDS, ModelDescription, described, display_name, undescribed


def test_every_field_is_taken() -> None:
    found = ModelDescription.read(
        name=" Ours 7B ",
        url="https://example.org/ours?a=1",
        paper="Ours et al., arXiv:2601.00001",
        params="7B",
        licence="Apache-2.0",
    )
    assert found.to_json() == {
        "name": "Ours 7B",
        "url": "https://example.org/ours?a=1",
        "paper": "Ours et al., arXiv:2601.00001",
        "params": 7_000_000_000,
        "licence": "Apache-2.0",
    }
    assert tuple(found.to_json()) == FIELDS
    assert ModelDescription.read().to_json() == {}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("7B", 7 * 10**9),
        ("0.35b", 350_000_000),
        ("350 M", 350_000_000),
        ("12k", 12_000),
        ("1.8T", 1_800_000_000_000),
        ("7,000,000,000", 7 * 10**9),
        ("7_000", 7000),
        (42, 42),
    ],
)
def test_a_number_of_parameters_may_have_a_unit(text: str | int, number: int) -> None:
    assert ModelDescription.read(params=text).params == number


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": " "}, "--name: expected 1 to 80 characters that can be shown, found ' '"),
        ({"name": "n" * 81}, "--name: expected 1 to 80 characters that can be shown"),
        ({"name": "a\nb"}, r"--name: expected 1 to 80 characters that can be shown, found 'a\nb'"),
        ({"name": "a\u202eb"}, r"--name: expected 1 to 80 characters that can be shown, found 'a\u202eb'"),
        ({"licence": "\ud800"}, r"--licence: expected 1 to 80 characters that can be shown, found '\ud800'"),
        ({"paper": "p" * 201}, "--paper: expected 1 to 200 characters that can be shown"),
        (
            {"url": "example.org"},
            "--url: expected an address that begins with https:// or http://, found 'example.org'",
        ),
        ({"url": "javascript:alert(1)"}, "--url: expected an address that begins with https:// or http://"),
        ({"url": "https://"}, "--url: expected an address that begins with https:// or http://"),
        ({"url": "https://[::1"}, "--url: expected an address that begins with https:// or http://"),
        ({"url": "https://a b.org"}, "--url: expected an address that begins with https:// or http://"),
        (
            {"url": "https://me:secret@example.org"},
            "--url: expected an address without a user name or password, because it is published",
        ),
        (
            {"params": "seven"},
            "--params: expected the number of parameters, such as 7B, 350M or 7000000000, found 'seven'",
        ),
        ({"params": "0"}, "--params: expected the number of parameters"),
        ({"params": "8x7B"}, "--params: expected the number of parameters"),
        ({"params": "-7B"}, "--params: expected the number of parameters"),
        ({"params": "9" * 30}, "--params: expected the number of parameters"),
        ({"params": "9" * 5000}, "--params: expected the number of parameters"),
    ],
)
def test_another_form_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        ModelDescription.read(**given)
    assert str(caught.value).startswith(message)
    assert "secret@" not in str(caught.value)


def test_what_is_given_now_stands_before_what_is_stored_and_that_before_a_default() -> None:
    model = {"id": "predictions", "name": "stem"}
    stored = {"id": "other", "name": "Stored", "params": 7}
    given = ModelDescription(name="Now")
    assert described(model, given, stored) == {"id": "predictions", "name": "Now", "params": 7}
    assert described(model, ModelDescription(), stored) == {"id": "predictions", "name": "Stored", "params": 7}
    assert described(model, ModelDescription(), {}) == model


def test_a_model_is_shown_by_its_name_and_else_by_its_id() -> None:
    assert display_name({"id": "predictions", "name": "Ours"}) == "Ours"
    assert display_name({"id": "predictions"}) == "predictions"


def test_a_record_without_its_description() -> None:
    run = {"schema": 1, "model": {"id": "m", "name": "Ours", "url": "https://example.org"}}
    assert undescribed(run) == {"schema": 1, "model": {"id": "m"}}
    assert undescribed({"model": None}) == {"model": None}
