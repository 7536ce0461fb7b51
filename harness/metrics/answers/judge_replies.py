"""The replies of judges, by the form that their rubric asks for. Nothing is guessed: what is unclear is not read."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.metrics.answers.judge import m3d_points
from harness.records import Json
from harness.text.judgement import BEST, stated_points
from harness.text.reply import answer_part

# A judge that writes more has lost its way.
LONGEST_REPLY = 200_000
# Each brace may begin an object that is only known to be broken at the end of the reply.
MOST_BROKEN = 100
VALUE_SHOWN = 60
VERDICTS = ("correct", "partly", "incorrect")
WINNERS = ("first", "second", "tie")
FINDINGS = ("present", "missing", "contradicted")
# A verdict whose score lies on the other side of this contradicts it.
MIDDLE = 50.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadReply:
    """What a judge's reply says.

    Attributes:
        value: The score, 0 to 100; None if the reply cannot be read.
        verdict: The word that the judge chose; empty if the form has none.
        counts: What the judge listed, by kind.
        reason: Why it cannot be read, for people; empty if it can.
    """

    value: float | None = None
    verdict: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyForm:
    """A form of replies.

    Attributes:
        read: The reader of what remains of a reply without its reasoning.
        schema: JSON schema for servers that can be held to it; None for replies in words.
        retries: Whether a reply that cannot be read is asked for once more.
        verdicts: Words that `verdict` may be.
    """

    read: Callable[[str], ReadReply]
    schema: Mapping[str, Json] | None = None
    retries: bool = True
    verdicts: tuple[str, ...] = ()


def read_reply(form: str, reply: str) -> ReadReply:
    """Return what a judge's reply says in one of `REPLY_FORMS`; one that cannot be read has a reason and no value."""
    if not reply.strip():
        return ReadReply(reason="the reply is empty")
    if len(reply) > LONGEST_REPLY:
        return ReadReply(reason=f"the reply has {len(reply):,} characters; at most {LONGEST_REPLY:,} are read")
    if form == "m3d":  # released code reads all of a reply, its reasoning included
        return _read_m3d(reply)
    answer = answer_part(reply)
    if not answer:
        return ReadReply(reason="the reply ends in its reasoning")
    return REPLY_FORMS[form].read(answer)


def readable_all_the_same(reply: str) -> bool:
    """Say whether a reply that M3D's released expression misses states a score that a reader would find."""
    return m3d_points(reply) is None and stated_points(reply) is not None


def _read_m3d(reply: str) -> ReadReply:
    points = m3d_points(reply)
    if points is not None:
        return ReadReply(value=points)
    seen = "; the reply states a score in another form" if readable_all_the_same(reply) else ""
    return ReadReply(reason=f"M3D's released expression finds no 'Score: ' with a decimal{seen}")


def _read_correctness(answer: str) -> ReadReply:
    found = _object(answer, ("verdict", "score"))
    if isinstance(found, ReadReply):
        return found
    verdict, score = found["verdict"], found["score"]
    if not isinstance(verdict, str) or verdict.strip().lower() not in VERDICTS:
        return _unreadable("verdict", f"one of {', '.join(VERDICTS)}", verdict)
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= BEST:
        return _unreadable("score", "a number from 0 to 100", score)
    word, points = verdict.strip().lower(), float(score)
    if (word == "correct" and points < MIDDLE) or (word == "incorrect" and points > MIDDLE):
        return ReadReply(reason=f"verdict and score contradict each other: {word}, {points:g}")
    return ReadReply(value=points, verdict=word)


def _read_findings(answer: str) -> ReadReply:
    found = _object(answer, FINDINGS)
    if isinstance(found, ReadReply):
        return found
    counts = {}
    for name in FINDINGS:
        names = found[name]
        if not isinstance(names, list) or not all(isinstance(one, str) and one.strip() for one in names):
            return _unreadable(name, "a list of findings in words", names)
        counts[name] = len(names)
    total = sum(counts.values())
    if not total:
        return ReadReply(reason="the reply names no finding of the reference")
    return ReadReply(value=BEST * counts["present"] / total, counts=counts)


def _read_winner(answer: str) -> ReadReply:
    found = _object(answer, ("winner",))
    if isinstance(found, ReadReply):
        return found
    winner = found["winner"]
    if not isinstance(winner, str) or winner.strip().lower() not in WINNERS:
        return _unreadable("winner", f"one of {', '.join(WINNERS)}", winner)
    word = winner.strip().lower()
    return ReadReply(value={"first": BEST, "second": 0.0, "tie": BEST / 2}[word], verdict=word)


def _unreadable(name: str, expected: str, found: object) -> ReadReply:
    text = json.dumps(found, ensure_ascii=False, default=repr)
    shown = text if len(text) <= VALUE_SHOWN else f"{text[:VALUE_SHOWN]}..."
    return ReadReply(reason=f"{name}: expected {expected}, found {shown}")


class _BrokenObjectError(ValueError):
    """Raised for an object that is JSON to a lenient reader only; the message is for people."""


def _object(answer: str, names: tuple[str, ...]) -> dict[str, Any] | ReadReply:
    """Return the one object of a reply that has these keys, or why there is none.

    Words around it are passed over. Of several objects all must say the same, because a judge may repeat one that
    stands in the answer that it judges.
    """
    decoder = json.JSONDecoder(object_pairs_hook=_once_each, parse_constant=_no_constant)
    objects: list[dict[str, Any]] = []
    broken, faults, place = "", 0, answer.find("{")
    while place >= 0 and faults < MOST_BROKEN:
        try:
            value, end = decoder.raw_decode(answer, place)
        except _BrokenObjectError as error:
            return ReadReply(reason=str(error))
        except RecursionError:
            return ReadReply(reason="the JSON is broken: it is nested too deeply")
        except ValueError as error:  # also a whole number of more digits than Python reads
            words = error.msg if isinstance(error, json.JSONDecodeError) else "a number has too many digits"
            broken, faults, end = broken or words, faults + 1, place + 1
        else:
            objects.append(value)
        place = answer.find("{", end)
    if faults == MOST_BROKEN:
        return ReadReply(reason=f"the JSON is broken: {broken}")
    whole = [one for one in objects if all(name in one for name in names)]
    if not whole:
        if objects:
            missing = [name for name in names if name not in objects[-1]]
            return ReadReply(reason=f"the JSON object has no key {' and no key '.join(missing)}")
        return ReadReply(reason=f"the JSON is broken: {broken}" if broken else "the reply holds no JSON object")
    if any({name: one[name] for name in names} != {name: whole[0][name] for name in names} for one in whole):
        return ReadReply(reason=f"the reply holds {len(whole)} different judgements")
    return whole[0]


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _BrokenObjectError("the JSON object has a key twice")
    if any(isinstance(value, float) and not math.isfinite(value) for value in found.values()):
        raise _BrokenObjectError("the JSON object holds a number without end")
    return found


def _no_constant(name: str) -> Any:
    raise _BrokenObjectError(f"the JSON object holds {name}, which is no number")


def _schema(**properties: Json) -> dict[str, Json]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


_WORDS: dict[str, Json] = {"type": "array", "items": {"type": "string"}}
REPLY_FORMS: Mapping[str, ReplyForm] = {
    "correctness": ReplyForm(
        read=_read_correctness,
        schema=_schema(
            verdict={"type": "string", "enum": list(VERDICTS)}, score={"type": "number", "minimum": 0, "maximum": 100}
        ),
        verdicts=VERDICTS,
    ),
    # As released: one reply, and what its expression misses is lost.
    "m3d": ReplyForm(read=_read_m3d, retries=False),
    "findings": ReplyForm(read=_read_findings, schema=_schema(**dict.fromkeys(FINDINGS, _WORDS))),
    "winner": ReplyForm(
        read=_read_winner, schema=_schema(winner={"type": "string", "enum": list(WINNERS)}), verdicts=WINNERS
    ),
}
