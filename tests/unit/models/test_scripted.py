"""The scripted model: fixed replies, and the faults a real model shows."""

from pathlib import Path
from typing import Any

import pytest

from harness.errors import SpecError
from harness.models import scripted
from harness.models.arguments import parse_arguments
from harness.models.scripted import Scripted
from harness.records import Answer, Request


def replies(model: Scripted, *sample_ids: str) -> list[Answer]:
    model.load("cpu")
    return model.predict([Request(sample_id=sample_id) for sample_id in sample_ids])


@pytest.mark.parametrize(
    ("typed", "reply"),
    [
        ("text=yes", "yes"),
        ("text=3", "3"),
        ("text=true", "true"),
        ("text=null", "null"),
        ('text="a, b"', "a, b"),
        ("", ""),
    ],
)
def test_the_reply_is_what_was_typed(typed: str, reply: str) -> None:
    assert [answer.text for answer in replies(Scripted(**parse_arguments(typed)), "s/1", "s/2")] == [reply, reply]


def test_a_file_replies_by_sample_and_the_text_fills_its_gaps(tmp_path: Path) -> None:
    file = tmp_path / "replies.jsonl"
    file.write_text('{"sample_id": "s/1", "text": "left\u2028"}\n\n{"sample_id": "s/2", "text": 2}\n', encoding="utf-8")
    model = Scripted(file=str(file), text="else")
    assert [answer.text for answer in replies(model, "s/2", "s/1", "s/3")] == ["2", "left\u2028", "else"]
    assert model.capabilities().weights == (str(file),)


@pytest.mark.parametrize("line", ["{", "[]", '{"sample_id": "s/1"}', '{"sample_id": [], "text": ""}'])
def test_a_line_that_is_no_reply_is_named(line: str, tmp_path: Path) -> None:
    file = tmp_path / "replies.jsonl"
    file.write_text(f'{{"sample_id": "s/0", "text": "x"}}\n{line}\n', encoding="utf-8")
    with pytest.raises(SpecError, match=r'replies\.jsonl:2: expected \{"sample_id": \.\.\., "text": \.\.\.\}: '):
        replies(Scripted(file=str(file)))


def test_about_one_sample_in_n_fails_whatever_the_order() -> None:
    names = [f"s/{index}" for index in range(400)]
    answers = dict(zip(names, replies(Scripted(text="x", fail_every=4), *names), strict=True))
    failed = {name for name, answer in answers.items() if answer.error is not None}
    assert 60 < len(failed) < 140
    for name in reversed(names[:50]):
        (answer,) = replies(Scripted(text="x", fail_every=4), name)
        assert (answer.error is not None) == (name in failed)
    one = answers[min(failed)].error
    assert one is not None
    assert one.message == f"{min(failed)}: told to fail by fail_every"
    assert all(answer.error for answer in replies(Scripted(fail_every=1), "s/1", "s/2"))


def test_it_ends_the_process_hangs_and_sleeps_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []
    monkeypatch.setattr(scripted.os, "_exit", lambda code: done.append(("exit", code)))
    monkeypatch.setattr(scripted.time, "sleep", lambda seconds: done.append(("sleep", seconds)))
    replies(Scripted(crash_on="s/2", hang_on="s/3", sleep=0.25), "s/1", "s/2", "s/3")
    assert done == [
        ("sleep", 0.25),
        ("sleep", 0.25),
        ("exit", scripted.CRASH_EXIT_CODE),
        ("sleep", 0.25),
        ("sleep", scripted.HANG_SECONDS),
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"sleep": "long"}, "scripted: sleep: expected seconds of at least 0, found 'long'"),
        ({"sleep": -1}, "scripted: sleep: expected seconds of at least 0, found -1"),
        ({"fail_every": 0.5}, "scripted: fail_every: expected a whole number of at least 0, found 0.5"),
        ({"fail_every": -2}, "scripted: fail_every: expected a whole number of at least 0, found -2"),
    ],
)
def test_settings_that_make_no_sense_are_refused(arguments: dict[str, Any], expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        Scripted(**arguments)
    assert str(caught.value) == expected


def test_sleeping_is_no_part_of_the_models_identity() -> None:
    capabilities = Scripted().capabilities()
    assert capabilities.execution_only == {"sleep"}
    assert capabilities.batch_invariant
