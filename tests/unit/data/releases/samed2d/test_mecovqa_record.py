"""Records of MeCoVQA: turns, paths between tags, and what each subset needs."""

import re
from typing import Any

import pytest

from harness.data.integrity import Integrity
from harness.data.releases.samed2d.mecovqa_record import RecordParser

REGION = re.compile(r"<region>(.*?)</region>", re.DOTALL)


def parser(subset: str = "complex") -> RecordParser:
    return RecordParser("file[0]", subset, Integrity())


def turn(who: str, value: Any) -> dict[str, Any]:
    return {"from": who, "value": value}


@pytest.mark.parametrize(
    ("turns", "expected", "later"),
    [
        ([turn("human", "q"), turn("gpt", "a")], ("q", "a"), 0),
        ([turn("gpt", "before"), turn("human", "q"), turn("gpt", "a"), turn("gpt", "b")], ("q", "a"), 0),
        ([turn("human", "q"), turn("human", "r"), turn("gpt", "a")], ("q", ""), 1),
        (
            [turn("human", "q"), turn("gpt", "a"), turn("human", "r"), turn("gpt", "b"), turn("human", "s")],
            ("q", "a"),
            2,
        ),
        ([turn("gpt", "a")], ("", ""), 0),
        ("text", ("", ""), 0),
        (None, ("", ""), 0),
        ([turn("human", 3), "no turn", turn("gpt", None)], ("3", ""), 0),
    ],
)
def test_the_first_question_and_the_reply_before_the_next_count(
    turns: Any, expected: tuple[str, str], later: int
) -> None:
    one = parser()
    assert one.first_turn({"conversations": turns}) == expected
    assert one.integrity.counts.get("later_turn", 0) == later


def test_either_spelling_of_the_key_is_read() -> None:
    one = parser()
    assert one.first_turn({"conversatons": [turn("human", "q")]}) == ("q", "")
    assert one.integrity.repairs == {"conversations_spelling": 1}


def test_paths_between_tags_are_trimmed_and_get_their_suffix() -> None:
    one = parser()
    assert one.paths(REGION, "<region> masks/a </region> and <region></region>", "region") == ("masks/a.png",)
    assert one.integrity.repairs == {"mask_suffix_added": 1}
    assert one.defect == "the turn has 2 regions, expected at most one"


@pytest.mark.parametrize(
    ("subset", "reply", "regions", "masks", "missing", "defect"),
    [
        ("complex", "yes", (), (), [], None),
        ("complex", "", (), (), ["answer"], "the record has no answer"),
        ("region", "yes", (), (), ["region"], "the record has no region"),
        ("region", "", (), (), ["region", "answer"], "the record has no region"),
        ("grounding", "<SEG>", (), ("m.png",), [], None),
        ("grounding", "here", (), ("m.png",), ["<SEG>"], None),
        ("grounding", "", (), (), ["mask", "<SEG>"], "the record has no mask"),
    ],
)
def test_each_subset_needs_its_own_parts(
    subset: str, reply: str, regions: tuple[str, ...], masks: tuple[str, ...], missing: list[str], defect: str | None
) -> None:
    one = parser(subset)
    one.check_answer(reply, regions, masks)
    assert [finding.detail for finding in one.integrity.findings] == missing
    assert one.defect == defect


@pytest.mark.parametrize(
    ("record", "image", "expected"),
    [({"id": " x "}, "images/a.png", "x"), ({}, "images/a.png", "a"), ({"id": 4}, None, "4"), ({}, None, "unknown")],
)
def test_a_record_is_called_by_its_id_or_its_image(record: dict[str, Any], image: str | None, expected: str) -> None:
    assert parser().id(record, image) == expected
