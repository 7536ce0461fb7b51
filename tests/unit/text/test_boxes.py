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
        ("1, 2, 3, 4", None),
        ("[a, b, c, d]", None),
        ("", None),
    ],
)
def test_the_first_list_that_can_be_a_box_is_read(text: str, expected: tuple[float, ...] | None) -> None:
    assert boxes.read_standard(text) == expected


def test_a_list_of_another_length_than_asked_for_is_passed_over() -> None:
    assert boxes.read_standard("[1, 2, 3, 4] [1, 2, 3, 4, 5, 6]", 6) == (1, 2, 3, 4, 5, 6)


@pytest.mark.parametrize("text", ["[" + "1" * 50_000, "[1" + " " * 50_000, "[1, 2" + "," * 50_000, "[" * 50_000])
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


@pytest.mark.parametrize("mask", [masks.empty((2, 3, 4)), masks.full((3, 4))])
def test_a_mask_without_a_box_is_refused(mask: records.Mask) -> None:
    with pytest.raises(DataError, match=r"^expected a mask \(D, H, W\) with at least one voxel, found one of size"):
        boxes.m3d_corners(mask)
