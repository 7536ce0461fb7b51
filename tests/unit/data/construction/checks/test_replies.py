"""JSON in replies: found among words and fences, or rejected by name."""

import pytest

from harness.data.construction.checks.replies import FieldKind, read_object, read_objects
from harness.data.construction.records import Rejection

FIELDS: dict[str, FieldKind] = {"question": "text", "answer": "text"}


@pytest.mark.parametrize(
    "reply",
    [
        '{"question": " Where? ", "answer": "Here."}',
        'Sure, here it is:\n```json\n{"question": "Where?", "answer": "Here.", "note": 1}\n```\nAnything else?',
        '<think>{"question": 1}</think>{"question": "Where?", "answer": "Here."}',
        'I use {braces} first. {"question": "Where?", "answer": "Here."}',
    ],
)
def test_an_object_is_read_whatever_is_around_it(reply: str) -> None:
    assert read_object(reply, FIELDS) == {"question": "Where?", "answer": "Here."}


@pytest.mark.parametrize(
    ("reply", "reason", "detail"),
    [
        ("A finding.", "wrong_json", "found no '{' in 'A finding.'"),
        ('{"question": "Where?", "answer": "He', "wrong_json", "Unterminated string"),
        ("<think>{", "wrong_json", "the reply ends while the model reasons"),
        ('{"question": NaN, "answer": "x"}', "wrong_json", "NaN is no JSON"),
        ("{" * 60, "wrong_json", "Expecting property name"),
        ("[" * 100_000, "wrong_json", "found no '{'"),
        ('{"a":' * 100_000, "wrong_json", ""),
        ("I'm sorry, I cannot help with that.", "refusal", 'found "I\'m sorry"'),
        ('{"question": "Where?"}', "schema", "the object: expected the key 'answer', found 'question'"),
        ("{}", "schema", "the object: expected the key 'question', found ''"),
        (
            '{"question": "\\ud83d?", "answer": "x"}',
            "wrong_json",
            "question: expected whole characters, found '\\ud83d?'",
        ),
        ('{"question": ["Where?"], "answer": "x"}', "schema", "the object: question: expected text, found"),
    ],
)
def test_a_reply_without_the_object_is_rejected_by_name(reply: str, reason: str, detail: str) -> None:
    found = read_object(reply, FIELDS)
    assert isinstance(found, Rejection)
    assert found.reason == reason
    assert detail in found.detail


def test_a_list_is_read_element_by_element() -> None:
    reply = '[{"question": "a", "answer": "b"}, {"question": "a"}, 3]'
    assert read_objects(reply, FIELDS) == [
        {"question": "a", "answer": "b"},
        Rejection(reason="schema", detail="element 2: expected the key 'answer', found 'question'"),
        Rejection(reason="schema", detail="element 3: expected an object, found '3'"),
    ]
    assert read_objects("none", FIELDS) == Rejection(reason="wrong_json", detail="found no '[' in 'none'")
    assert read_objects('[{"names": ["x "]}, {"names": "x"}]', {"names": "texts"}) == [
        {"names": ["x"]},
        Rejection(reason="schema", detail="element 2: names: expected a list of texts, found 'x'"),
    ]
