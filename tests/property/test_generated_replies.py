"""A thousand replies of known meaning per kind: none credited wrongly, and nearly all that say something are read."""

from collections.abc import Callable, Iterable

import pytest

from harness.metrics.answers.choice import CHOICE_ACCURACY
from harness.metrics.grounding.rec import REC_IOU
from harness.records import Box, Prediction, Sample, Target
from harness.text.choices.strict import strict_letter
from harness.text.judgement import stated_points
from harness.text.yes_no import yes_no
from tests.support import replies
from tests.support.replies import Meaning, Reply

COUNT = 1_000
ELSEWHERE = Box(corners=(1.0, 1.0, 2.0, 2.0))


def box(reply: Reply) -> Meaning:
    """Return the box that rec_iou compares, as its detail names it."""
    row = REC_IOU.rows()[0]
    sample = Sample(id="d/1", target=Target(boxes=(ELSEWHERE,)))
    outcome = row.score(sample, Prediction(key="k", status="ok", text=reply.text))
    return tuple(outcome.detail["box"]) if outcome.status == "ok" else None


KINDS: dict[str, tuple[Iterable[Reply], Callable[[Reply], Meaning]]] = {
    "letters": (
        replies.choice_replies(1, COUNT, by_text=False),
        lambda one: strict_letter(one.text, one.options).letter,
    ),
    "texts": (replies.choice_replies(2, COUNT, by_text=True), lambda one: strict_letter(one.text, one.options).letter),
    "yes_no": (replies.yes_no_replies(3, COUNT), lambda one: yes_no(one.text)),
    "boxes": (replies.box_replies(4, COUNT), box),
    "judge": (replies.judge_replies(5, COUNT), lambda one: stated_points(one.text)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_generated_reply_is_credited_wrongly_and_nearly_all_are_read(kind: str) -> None:
    generated, read = KINDS[kind]
    known = list(generated)
    found = [read(reply) for reply in known]
    wrong = [
        (reply.text, reply.meaning, reading)
        for reply, reading in zip(known, found, strict=True)
        if reading is not None and reading != (reply.meaning if reply.meaning is None else pytest.approx(reply.meaning))
    ]
    assert wrong == []
    meant = [reading for reply, reading in zip(known, found, strict=True) if reply.meaning is not None]
    assert len(known) == COUNT
    assert 0.6 * COUNT < len(meant) < 0.8 * COUNT  # traps are among them
    assert sum(reading is not None for reading in meant) >= 0.98 * len(meant)


@pytest.mark.parametrize("phrases", ["LETTERS", "TEXTS", "YES_NO", "BOXES", "JUDGED"])
def test_every_kind_is_worded_in_forty_ways_and_has_its_traps(phrases: str) -> None:
    traps = "NOT_" + phrases
    assert len(set(getattr(replies, phrases))) >= 40
    assert len(set(getattr(replies, traps))) >= 25
    assert not set(getattr(replies, phrases)) & set(getattr(replies, traps))


def test_the_row_of_strict_letter_scores_what_is_read() -> None:
    row = next(row for row in CHOICE_ACCURACY.rows() if row.protocol == "strict-letter")
    for reply in replies.choice_replies(6, 200, by_text=False):
        right = str(reply.meaning or "A")
        sample = Sample(id="d/1", choices=reply.options, target=Target(choice=right))
        outcome = row.score(sample, Prediction(key="k", status="ok", text=reply.text))
        assert outcome.stats == (float(reply.meaning is not None), 1.0) or outcome.status == "unparsed"
