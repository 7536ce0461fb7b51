"""Boxes in words: what is read as a box, and M3D's frame there and back."""

import time

import numpy as np
import pytest

from harness import records
from harness.errors import DataError
from harness.imaging import masks
from harness.records import Box
from harness.text import boxes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[1, 2, 3, 4]", (1, 2, 3, 4)),
        ("It is (0.1;0.2 ; .3, 4.)", (0.1, 0.2, 0.3, 4)),
        ("[ 1 2 3 4 5 6 ]", (1, 2, 3, 4, 5, 6)),
        ("[1e-1, -2, +3, 4]", (0.1, -2, 3, 4)),
        ("[1, 2, 3] then [1, 2, 3, 4, 5] then [5, 6, 7, 8]", (5, 6, 7, 8)),
        ("[1, 2, 3, 4, 5, 6, 7]", None),
        ("1, 2, 3, 4", (1, 2, 3, 4)),
        ("at 1, 2, 3, 4", None),
        ("[a, b, c, d]", None),
        ("", None),
    ],
)
def test_the_first_list_that_can_be_a_box_is_read(text: str, expected: tuple[float, ...] | None) -> None:
    assert boxes.read_standard(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "<box>(1,2),(3,4)</box>",
        "<|object_ref_start|>liver<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|>",
        "<ref>liver</ref><box>[[1, 2, 3, 4]]</box>",
        "<|ref|>liver<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>",
        '[{"bbox_2d": [1, 2, 3, 4], "label": "liver"}]',
        '{"scores": [0.1, 0.2, 0.3, 0.4], "bbox": [1, 2, 3, 4]}',
        "[1, 2, 3, 4, 0.95]",
        "[1, 2, 3, 4, 95%]",
        '["liver", 1, 2, 3, 4]',
        "<bbox>1 2 3 4</bbox>",
        "Bounding box: 1, 2, 3, 4",
        "top-left (1, 2), bottom-right (3, 4)",
        "[[1, 2], [3, 4]]",
        "x1=1, y1=2, x2=3, y2=4",
        '{"xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4}',
        "left: 1, top: 2, right: 3, bottom: 4",
        "[1px, 2px, 3px, 4px]",
    ],
)
def test_the_notations_of_published_models_are_read(text: str) -> None:
    assert boxes.read_boxes(text, 4) == [boxes.TextBox((1, 2, 3, 4))]


def test_a_volume_has_two_corners_of_three_numbers_and_names_with_z_first() -> None:
    expected = [boxes.TextBox((1, 2, 3, 4, 5, 6))]
    assert boxes.read_boxes("(1, 2, 3), (4, 5, 6)", 6) == expected
    assert boxes.read_boxes("z1=1 y1=2 x1=3 z2=4 y2=5 x2=6", 6) == expected


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2, 3, 4, 5]",
        "[0.95, 1, 2, 3, 4]",
        '{"box_2d": [1, 2, 3, 4]}',
        "<quad>(1,2),(3,2),(3,4),(1,4)</quad>",
        "scores: [0.1, 0.2, 0.3, 0.4]",
        "points (1, 2), (3, 4)",
        "[1%, 2, 3, 4]",
        "x1=1, y1=2, x2=3",
        "[1, 2, 3, 4",
        "[NaN, 2, 3, 4]",
    ],
)
def test_numbers_that_are_no_box_stay_unread(text: str) -> None:
    assert boxes.read_boxes(text, 4) == []


def test_percent_is_told_apart_and_boxes_come_in_order() -> None:
    found = boxes.read_boxes("[1%, 2%, 3%, 4%] and [5, 6, 7, 8]", 4)
    assert found == [boxes.TextBox((1, 2, 3, 4), percent=True), boxes.TextBox((5, 6, 7, 8))]
    assert boxes.read_standard("[1%, 2%, 3%, 4%] and [5, 6, 7, 8]") == (5, 6, 7, 8)


@pytest.mark.parametrize(
    ("corners", "possible"),
    [
        ((1, 2, 3, 4), True),
        ((0, 0, 0, 1, 1, 1), True),
        ((3, 2, 1, 4), False),
        ((1, 2, 1, 4), False),
        ((float("nan"), 2, 3, 4), False),
        ((1, 2, 3, float("inf")), False),
    ],
)
def test_a_box_encloses_something(corners: tuple[float, ...], possible: bool) -> None:
    assert boxes.is_possible(corners) is possible


def test_a_list_of_another_length_than_asked_for_is_passed_over() -> None:
    assert boxes.read_standard("[1, 2, 3, 4] [1, 2, 3, 4, 5, 6]", 6) == (1, 2, 3, 4, 5, 6)


@pytest.mark.parametrize(
    "text", ["[" + "1" * 50_000, "[1" + " " * 50_000, "[1, 2" + "," * 50_000, "[" * 50_000, "box" + ":" * 50_000]
)
def test_no_reply_takes_long_to_read(text: str) -> None:
    start = time.perf_counter()
    assert (boxes.read_standard(text), boxes.read_m3d(text)) == (None, None)
    assert time.perf_counter() - start < 1


def test_a_full_mask_ends_below_one_in_the_frame_of_m3d() -> None:
    assert boxes.m3d_corners(masks.full((32, 256, 256))) == (0.0, 0.0, 0.0, 0.969, 0.996, 0.996)


def test_the_frame_of_m3d_is_undone_to_the_box_of_the_mask() -> None:
    dense = np.zeros((4, 8, 10), dtype=np.bool_)
    dense[1:3, 2:7, 5:8] = True
    mask = masks.encode(dense)
    assert boxes.from_m3d(boxes.m3d_corners(mask), mask.size) == Box(corners=(1, 2, 5, 3, 7, 8))


def test_a_box_has_the_corners_of_its_mask() -> None:
    box = Box(corners=(1, 2, 5, 3, 7, 8))
    assert boxes.to_m3d(box, (4, 8, 10)) == boxes.m3d_corners(masks.from_box(box, (4, 8, 10)))


def test_every_box_of_m3d_is_found_and_rewritten_by_its_rule() -> None:
    text = "At [0.1, .2, 0.3, 0.4, 0.5, 0.6], (0, 0, 0, 1, 1, 1) and [1, 2, 3, 4, 5, 6]."
    assert list(boxes.m3d_boxes(text)) == [(0.1, 0.2, 0.3, 0.4, 0.5, 0.6), (1, 2, 3, 4, 5, 6)]
    rewritten = boxes.rewrite_m3d(text, lambda corners: "here" if corners[0] < 1 else None)
    assert rewritten == "At here, (0, 0, 0, 1, 1, 1) and [1, 2, 3, 4, 5, 6]."


@pytest.mark.parametrize("mask", [masks.empty((2, 3, 4)), masks.full((3, 4))])
def test_a_mask_without_a_box_is_refused(mask: records.Mask) -> None:
    with pytest.raises(DataError, match=r"^expected a mask \(D, H, W\) with at least one voxel, found one of size"):
        boxes.m3d_corners(mask)
