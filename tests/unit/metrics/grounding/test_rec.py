"""Box IoU and accuracy: which box is read from where, and what a missing one is worth."""

from typing import Any

import pytest

from harness.errors import DataError
from harness.metrics.grounding.rec import METRICS, m3d_iou, true_iou
from harness.metrics.metric import Metric, bind, sample_values
from harness.records import Box, Media, Prediction, Sample, Target

ROWS = {(row.name, row.protocol): row for row in METRICS}
ALL_ROWS = pytest.mark.parametrize("row", METRICS, ids=lambda row: f"{row.name}-{row.protocol}")
UNIT_CUBE = (0.0, 0.0, 0.0, 1.0, 1.0, 1.0)
TEXT = "[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]"


def target(side: Any = None, *, size: tuple[int, ...] = (), absent: bool = False) -> Sample:
    media = (Media(path="x", sha256=None, kind="volume", size=size),) if size else ()
    answers, boxes = (
        ((side,) if isinstance(side, str) else ()),
        ((Box(corners=side),) if isinstance(side, tuple) else ()),
    )
    return Sample(id="d/test/1", media=media, target=Target(answers=answers, boxes=boxes, absent=absent))


def reply(side: Any = None) -> Prediction:
    if isinstance(side, tuple):
        return Prediction(key="k", status="ok", boxes=(Box(corners=side),))
    return Prediction(key="k", status="ok", text=side)


def value(row: Metric, *sides: Any) -> tuple[str, float | None]:
    sample, prediction = target(sides[1]), reply(sides[0])
    outcome = row.score(sample, prediction)
    return outcome.status, sample_values(row, outcome.stats)[0] if outcome.stats else None


@ALL_ROWS
@pytest.mark.parametrize("side", [UNIT_CUBE, TEXT])
def test_the_target_itself_reaches_the_ceiling(row: Metric, side: Any) -> None:
    status, found = value(row, side, side)
    assert (status, found) == ("ok", row.ceiling(target(side)))
    assert found == pytest.approx(1.0, abs=1e-5)


def test_two_dimensions_are_as_good_as_three() -> None:
    first, second = (0.0, 0.0, 4.0, 2.0), (2.0, 0.0, 6.0, 4.0)
    assert true_iou(first, second) == 4 / 20
    assert m3d_iou(first, second) == pytest.approx(4 / 24)


@pytest.mark.parametrize("protocol", ["standard", "m3d"])
def test_a_hit_lies_strictly_above_the_threshold(protocol: str) -> None:
    row, inner = ROWS["rec_accuracy", protocol], (0.0, 0.0, 1.0, 0.5)
    assert value(row, inner, (0.0, 0.0, 1.0, 1.0)) == ("ok", 1.0)
    assert value(bind(row, {"threshold": 0.5}, "t"), inner, (0.0, 0.0, 1.0, 1.0)) == ("ok", 0.0)


@pytest.mark.parametrize("text", ["No idea", "(0.1, 0.2)", "[1e999, 0, 0, 1, 1, 1]", "[0, 0, 1, 1]"])
def test_a_reply_without_the_box_is_unparsed_and_worst(text: str) -> None:
    for row in METRICS:
        worst = -1.0 if (row.name, row.protocol) == ("rec_iou", "m3d") else 0.0
        assert value(row, text, TEXT) == ("unparsed", worst)
        assert row.floor(target(TEXT)) == worst


def test_a_refusal_is_right_where_there_is_nothing_to_find_but_not_as_released() -> None:
    refusal = "Sorry, there is no liver."
    assert value(ROWS["rec_iou", "standard"], refusal, refusal) == ("undefined", None)
    assert value(ROWS["rec_iou", "standard"], TEXT, refusal) == ("ok", 0.0)
    assert value(ROWS["rec_iou", "m3d"], refusal, refusal) == ("ok", -1.0)
    assert value(ROWS["rec_iou", "m3d"], TEXT, refusal) == ("ok", -1.0)
    assert value(ROWS["rec_accuracy", "m3d"], TEXT, refusal) == ("ok", 0.0)
    assert (ROWS["rec_iou", "standard"].ceiling(target(refusal)), ROWS["rec_iou", "m3d"].ceiling(target(refusal))) == (
        None,
        -1.0,
    )


def test_a_crash_where_there_is_nothing_to_find_is_worst() -> None:
    assert {row.floor(target(absent=True)) for row in METRICS} == {0.0, -1.0}


def test_a_flat_target_can_never_be_hit() -> None:
    flat = (0.0, 0.0, 0.0, 0.0, 1.0, 1.0)
    for row in METRICS:
        assert value(row, flat, flat) == ("ok", 0.0)
        assert row.ceiling(target(flat)) == 0.0


def test_standard_takes_the_first_list_of_as_many_numbers_as_the_target_has() -> None:
    row = ROWS["rec_iou", "standard"]
    assert value(row, "slices [1, 2, 3, 4], box (0 0 0 1 1 1)", UNIT_CUBE) == ("ok", 1.0)
    assert value(ROWS["rec_iou", "m3d"], "slices [1, 2, 3, 4], box (0 0 0 1 1 1)", UNIT_CUBE) == ("unparsed", -1.0)


def test_numbers_come_before_text_in_standard_and_after_it_as_released() -> None:
    sample = target(UNIT_CUBE)
    prediction = Prediction(key="k", status="ok", text="none", boxes=(Box(corners=UNIT_CUBE),))
    assert ROWS["rec_iou", "standard"].score(sample, prediction).stats == (1.0, 1.0)
    assert ROWS["rec_iou", "m3d"].score(sample, prediction).status == "unparsed"


def test_released_text_is_compared_with_the_target_in_words() -> None:
    sample = Sample(id="x", target=Target(answers=(TEXT,), boxes=(Box(corners=(0.0, 0.0, 0.0, 32.0, 256.0, 256.0)),)))
    assert ROWS["rec_accuracy", "m3d"].score(sample, reply(TEXT)).stats == (1.0, 1.0)
    boxes = reply((0.0, 0.0, 0.0, 32.0, 256.0, 256.0))
    assert ROWS["rec_accuracy", "m3d"].score(sample, boxes).stats == (1.0, 1.0)


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        ("m3d", "[0.25, 0.5, 0.0, 0.5, 0.75, 0.875]"),
        ("unit", "[0.25, 0.5, 0.0, 0.75, 1.0, 1.0]"),
        ("per_mille", "[250, 500, 0, 750, 1000, 1000]"),
        ("original", "[1, 2, 0, 3, 4, 8]"),
    ],
)
def test_a_box_in_words_is_brought_to_voxels_from_its_frame(frame: str, text: str) -> None:
    row = bind(ROWS["rec_iou", "standard"], {"text_frame": frame}, "t")
    sample = target((1.0, 2.0, 0.0, 3.0, 4.0, 8.0), size=(4, 4, 8))
    assert row.score(sample, reply(text)).stats == (1.0, 1.0)
    assert row.score(target(text, size=(4, 4, 8)), reply(text)).stats == (1.0, 1.0)


@pytest.mark.parametrize(
    ("text", "status", "iou"),
    [
        ("<think>[0, 0, 4, 2]?</think>[2, 0, 6, 4]", "ok", 1.0),
        ('<answer>{"bbox_2d": [2, 0, 6, 4]}</answer>', "ok", 1.0),
        ("[2, 0, 6, 4, 0.9]", "ok", 1.0),
        ("[6, 4, 2, 0] or [2, 0, 6, 4]", "ok", 1.0),
        ("[25%, 0%, 75%, 100%]", "ok", 1.0),
        ("<think>[2, 0, 6, 4]", "unparsed", 0.0),
        ("[6, 4, 2, 0]", "unparsed", 0.0),
        ("[2, 0, 2, 4]", "unparsed", 0.0),
        ("[2, 0, 1e999, 4]", "unparsed", 0.0),
    ],
)
def test_the_first_box_of_the_answer_that_encloses_anything_counts(text: str, status: str, iou: float) -> None:
    row = ROWS["rec_iou", "standard"]
    found = row.score(target((2.0, 0.0, 6.0, 4.0), size=(4, 8)), reply(text))
    assert (found.status, found.stats) == (status, (iou, 1.0))


def test_percent_needs_an_image_and_infinity_has_no_place_in_one() -> None:
    row = ROWS["rec_iou", "standard"]
    assert row.score(target((2.0, 0.0, 6.0, 4.0)), reply("[25%, 0%, 75%, 100%]")).status == "unparsed"
    unit = bind(row, {"text_frame": "unit"}, "t")
    assert unit.score(target((2.0, 0.0, 6.0, 4.0), size=(4, 8)), reply("[0.25, 0, 1e999, 1]")).status == "unparsed"


def test_a_frame_needs_an_image_of_as_many_axes() -> None:
    row = bind(ROWS["rec_iou", "standard"], {"text_frame": "unit"}, "t")
    expected = r"^d/test/1: a box of 6 numbers in frame unit needs an image of 3 axes, found size \(4, 4\)$"
    with pytest.raises(DataError, match=expected):
        row.score(target(UNIT_CUBE, size=(4, 4)), reply(TEXT))
