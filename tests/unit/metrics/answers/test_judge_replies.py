"""The replies of judges by form: what is clear is read, and everything else has a reason and no value."""

import json
from pathlib import Path

import pytest

from harness.metrics.answers.judge_replies import (
    LONGEST_REPLY,
    REPLY_FORMS,
    read_reply,
    readable_all_the_same,
)

GOLDEN = json.loads((Path(__file__).parents[3] / "golden" / "judge.json").read_text(encoding="utf-8"))["cases"]
BROKEN = [
    ("", "the reply is empty"),
    (" \n\t", "the reply is empty"),
    ("85", "holds no JSON object"),
    ("Score: 85", "holds no JSON object"),
    ("I'm sorry, I can't help with medical images.", "holds no JSON object"),
    ("correct", "holds no JSON object"),
    ("null", "holds no JSON object"),
    ("[]", "holds no JSON object"),
    ('["correct", 85]', "holds no JSON object"),
    ("<think>The answer names the same organ", "ends in its reasoning"),
    ('<think>{"verdict": "correct", "score": 85}', "ends in its reasoning"),
    ("{", "JSON is broken"),
    ("{}", "no key verdict and no key score"),
    ('{"verdict": "correct", "score": 8', "JSON is broken"),
    ('{"verdict": "correct", "score": }', "JSON is broken"),
    ('{"verdict": "correct" "score": 85}', "JSON is broken"),
    ("{'verdict': 'correct', 'score': 85}", "JSON is broken"),
    ('{verdict: "correct", score: 85}', "JSON is broken"),
    ('{"verdict": "correct", "score": 085}', "JSON is broken"),
    ('{"verdict": "correct", "score": +85}', "JSON is broken"),
    ('{"verdict": "correct", "score": 85/100}', "JSON is broken"),
    ('{"score": 85}', "no key verdict"),
    ('{"verdict": "correct"}', "no key score"),
    ('{"Verdict": "correct", "Score": 85}', "no key verdict and no key score"),
    ('{"verdict": "right", "score": 85}', 'verdict: expected one of correct, partly, incorrect, found "right"'),
    ('{"verdict": "correct or partly", "score": 85}', "verdict: expected one of"),
    ('{"verdict": null, "score": 85}', "verdict: expected one of correct, partly, incorrect, found null"),
    ('{"verdict": true, "score": 85}', "verdict: expected one of"),
    ('{"verdict": ["correct"], "score": 85}', "verdict: expected one of"),
    ('{"verdict": "correct", "score": "85"}', 'score: expected a number from 0 to 100, found "85"'),
    ('{"verdict": "correct", "score": "high"}', "score: expected a number"),
    ('{"verdict": "correct", "score": null}', "score: expected a number from 0 to 100, found null"),
    ('{"verdict": "correct", "score": true}', "score: expected a number from 0 to 100, found true"),
    ('{"verdict": "correct", "score": [85]}', "score: expected a number"),
    ('{"verdict": "correct", "score": 101}', "score: expected a number from 0 to 100, found 101"),
    ('{"verdict": "incorrect", "score": -1}', "score: expected a number"),
    ('{"verdict": "correct", "score": NaN}', "holds NaN, which is no number"),
    ('{"verdict": "correct", "score": Infinity}', "holds Infinity"),
    ('{"verdict": "correct", "score": 1e999}', "a number without end"),
    ('{"verdict": "correct", "score": 85, "score": 100}', "a key twice"),
    ('{"verdict": "correct", "score": 10}', "contradict each other: correct, 10"),
    ('{"verdict": "incorrect", "score": 90}', "contradict each other: incorrect, 90"),
    (
        'Candidate said {"verdict": "correct", "score": 100}. {"verdict": "incorrect", "score": 0}',
        "2 different judgements",
    ),
    ('{"verdict": "correct", "score": ' + "9" * 5000 + "}", "JSON is broken: a number has too many digits"),
    ("{" * 50_000, "JSON is broken"),
    ('{"a":' * 30_000, "JSON is broken: it is nested too deeply"),
    ("x" * (LONGEST_REPLY + 1), "the reply has 200,001 characters; at most 200,000 are read"),
]


@pytest.mark.parametrize(("reply", "reason"), BROKEN, ids=range(len(BROKEN)))
def test_a_broken_reply_has_a_reason_and_no_value(reply: str, reason: str) -> None:
    read = read_reply("correctness", reply)
    assert read.value is None
    assert reason in read.reason


def test_there_are_at_least_forty_kinds_of_broken_replies() -> None:
    assert len(dict(BROKEN)) == len(BROKEN) >= 40


@pytest.mark.parametrize(
    "reply",
    [
        '{"verdict": "correct", "score": 85}',
        '{"score": 85.0, "verdict": " Correct ", "reason": "{same organ}"}',
        '```json\n{"verdict": "correct", "score": 85}\n```',
        'Here it is: {"verdict": "correct", "score": 85}. I hope it helps.',
        '<think>{"verdict": "incorrect", "score": 0}?</think>{"verdict": "correct", "score": 85}',
        '{"verdict": "correct", "score": 85}\n{"verdict": "correct", "score": 85}',
        'The set {liver} matches: {"verdict": "correct", "score": 85}',
    ],
)
def test_one_judgement_is_read_whatever_stands_around_it(reply: str) -> None:
    read = read_reply("correctness", reply)
    assert (read.value, read.verdict, read.reason) == (85.0, "correct", "")


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["reply"][:30])
def test_the_released_expression_reads_what_it_read_as_released(case: dict[str, object]) -> None:
    reply = str(case["reply"])
    read = read_reply("m3d", reply)
    assert read.value == case["m3d"]
    assert readable_all_the_same(reply) == (case["m3d"] is None and case["standard"] is not None)
    assert ("in another form" in read.reason) == (readable_all_the_same(reply) and bool(reply.strip()))


def test_findings_are_counted_not_believed() -> None:
    read = read_reply("findings", '{"present": ["a", "b", "c"], "missing": ["d"], "contradicted": []}')
    assert (read.value, read.counts) == (75.0, {"present": 3, "missing": 1, "contradicted": 0})


@pytest.mark.parametrize(
    ("form", "reply", "reason"),
    [
        ("findings", '{"present": [], "missing": [], "contradicted": []}', "names no finding of the reference"),
        ("findings", '{"present": 3, "missing": 0, "contradicted": 0}', "present: expected a list of findings"),
        ("findings", '{"present": ["a", 1], "missing": [], "contradicted": []}', "present: expected a list"),
        ("findings", '{"present": ["a"], "missing": []}', "no key contradicted"),
        ("findings", '{"present": ["a", " "], "missing": [], "contradicted": []}', "present: expected a list"),
        ("winner", '{"winner": "A"}', 'winner: expected one of first, second, tie, found "A"'),
        ("winner", "first", "holds no JSON object"),
        ("m3d", "It is right.", "M3D's released expression finds no 'Score: ' with a decimal"),
    ],
)
def test_other_forms_are_as_strict(form: str, reply: str, reason: str) -> None:
    read = read_reply(form, reply)
    assert read.value is None
    assert reason in read.reason


@pytest.mark.parametrize(("word", "value"), [("first", 100.0), ("second", 0.0), ("tie", 50.0)])
def test_a_winner_is_worth_all_or_nothing_and_a_tie_half(word: str, value: float) -> None:
    read = read_reply("winner", json.dumps({"winner": word}))
    assert (read.value, read.verdict) == (value, word)


def test_every_form_but_the_released_one_has_a_schema_and_one_retry() -> None:
    assert {name for name, form in REPLY_FORMS.items() if form.schema is None or not form.retries} == {"m3d"}
