"""Replies of published models against what they say, in pixels; each case of `dialects.json` names its source.

Where a released reader cuts to whole pixels, swaps axes or moves a box, `expected` is the definition's and `note` says
what the reader gives.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.cli.reply import answers
from harness.text.dialects.reply_reader import ReplyReader
from tests.support.dialect_replies import every_damage

CASES = json.loads((Path(__file__).parent / "dialects.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["id"]))
def test_a_reply_says_in_pixels_what_its_dialect_defines(case: dict[str, Any]) -> None:
    line = json.dumps({"reply": case["reply"], "image_size": case["image_size"]}).encode()
    (found,) = answers([line], case["dialect"], case["frame"], json.dumps(case.get("frame_args")))
    expected = case["expected"]
    assert found["status"] == expected["status"]
    for kind in ("boxes", "points"):
        assert len(found[kind]) == len(expected[kind])
        for one, other in zip(found[kind], expected[kind], strict=True):
            assert one == pytest.approx(other, rel=1e-6, abs=1e-6)
    # An empty list beside boxes or points says that the definition gives no labels to compare.
    if expected["labels"] or not (expected["boxes"] or expected["points"]):
        assert found["labels"] == expected["labels"]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["id"]))
def test_no_damage_in_a_single_place_moves_anything(case: dict[str, Any]) -> None:
    reader = ReplyReader.of(case["dialect"], case["frame"], case.get("frame_args"))
    reply, size = case["reply"], tuple(case["image_size"])
    whole = reader.read(reply, size)
    for broken in every_damage(reply):
        # A reply that ends while it reasons is a plain one without the mark with which its reasoning begins.
        if broken == reply.replace("<think>", "", 1):
            continue
        read = reader.read(broken, size)
        assert not set(read.boxes) - set(whole.boxes), broken
        assert not set(read.points) - set(whole.points), broken
