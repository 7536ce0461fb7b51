"""Boxes of a volume in M3D's text, written and read."""

import math

import pytest

from harness.errors import DataError
from harness.imaging import masks
from harness.records import Box, Points
from harness.text import boxes
from reference_model.inputs.volume_boxes import answer_on_grid, answer_on_source, box_text, question_on_grid, read_boxes
from reference_model.inputs.volumes import VolumeFrame

SIZE = (32, 256, 256)


@pytest.mark.parametrize("size", [SIZE, (1, 7, 1000), (3, 3, 3)])
def test_every_voxel_returns_from_its_text(size: tuple[int, int, int]) -> None:
    for place in range(max(size)):
        starts = [place % length for length in size]
        box = Box(corners=(*map(float, starts), *(float(start + 1) for start in starts)))
        assert read_boxes(box_text(box, size), size) == [box]


def test_a_box_has_the_text_of_its_filled_mask() -> None:
    box = Box(corners=(10.2, 60.0, 30.5, 27.9, 211.4, 242.6))
    assert box_text(box, SIZE) == boxes.m3d_text(boxes.m3d_corners(masks.from_box(box, SIZE)))
    assert box_text(box, SIZE) == "[0.312, 0.234, 0.121, 0.844, 0.82, 0.945]"


def test_the_text_is_wrapped_for_prompts() -> None:
    whole = Box(corners=(0, 0, 0, *SIZE))
    wrapped = box_text(whole, SIZE, wrapped=True)
    assert wrapped == "<bx_start>[0.0, 0.0, 0.0, 0.969, 0.996, 0.996]<bx_end>"
    assert read_boxes(wrapped, SIZE) == [whole]


@pytest.mark.parametrize(
    ("corners", "text"),
    [
        ((0.1, 4.2, 6.7, 0.2, 4.4, 6.9), "[0.0, 0.5, 0.875, 0.0, 0.5, 0.875]"),
        ((3.9, 7.8, 7.9, 9.0, 9.0, 9.0), "[0.75, 0.875, 0.875, 0.75, 0.875, 0.875]"),
        ((-3, -3, 20, -2, -1, 30), "[0.0, 0.0, 0.875, 0.0, 0.0, 0.875]"),
        ((2, 2, 2, 2, 2, 2), "[0.5, 0.25, 0.25, 0.5, 0.25, 0.25]"),
    ],
    ids=["in the middle", "at the end", "beyond", "no extent"],
)
def test_a_box_takes_at_least_one_voxel_inside(corners: tuple[float, ...], text: str) -> None:
    assert box_text(Box(corners=corners), (4, 8, 8)) == text


@pytest.mark.parametrize("corners", [(0, 0, 1, 1), (0, 0, 0, 1, math.nan, 1), (0, 5, 0, 9, 4, 9)])
def test_corners_that_are_no_box_have_no_text(corners: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match=r"^box text: expected finite z1 y1 x1 z2 y2 x2, no end before .*, found \("):
        box_text(Box(corners=corners), SIZE)


def test_all_boxes_of_a_reply_are_read_in_order() -> None:
    reply = "Left [0.5, 0.5, 0.5, 0.5, 0.5, 0.5], right <bx_start>[0.0, 0.0, 0.0, 0.969, 0.996, 0.996]<bx_end>."
    assert read_boxes(reply, SIZE) == [
        Box(corners=(16, 128, 128, 17, 129, 129)),
        Box(corners=(0, 0, 0, 32, 256, 256)),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sorry, there is no spleen.", []),
        ("(0.1, 0.2, 0.3, 0.4, 0.5, 0.6)", []),
        ("[0.5, 0.5, 0.5, 0.25, 0.75, 0.75]", []),
        ("[2, 0, 0, 3, 1, 1]", []),
        ("[-1, 0, 0, 1, 1, 1]", [Box(corners=(0, 0, 0, 32, 256, 256))]),
    ],
    ids=["none", "other brackets", "end before start", "outside", "partly outside"],
)
def test_only_possible_boxes_are_read(text: str, expected: list[Box]) -> None:
    assert read_boxes(text, SIZE) == expected


# Half of a volume of 8 slices on a grid of 4, rows and columns exchanged as in M3D-RefSeg.
HALF = VolumeFrame(source_size=(8, 20, 40), crop=(0, 10, 0, 8, 20, 40), size=(4, 10, 10), axes=(0, 2, 1))
BOX = Box(corners=(2, 12, 8, 6, 15, 16))


def test_a_question_names_its_boxes_on_the_grid() -> None:
    on_grid = "<bx_start>[0.25, 0.2, 0.2, 0.5, 0.3, 0.4]<bx_end>"
    assert question_on_grid("What is in <box>, and in <box>?", (BOX, BOX), HALF) == (
        f"What is in {on_grid}, and in {on_grid}?"
    )
    assert question_on_grid("What is there?", (BOX,), HALF) == f"What is there? {on_grid}"


def test_a_question_about_a_volume_has_only_boxes() -> None:
    with pytest.raises(DataError, match=r"^visual prompt: expected boxes about a volume, found Points$"):
        question_on_grid("What is at the point?", (Points(points=((1, 1, 1),), labels=(1,)),), HALF)


def test_an_answer_changes_its_frame_and_returns() -> None:
    answer = f"At {box_text(BOX, HALF.source_size)}, which is not [0.5, 0.5, 0.5, 0.25, 0.75, 0.75]."
    on_grid = answer_on_grid(answer, HALF)
    assert on_grid == "At [0.25, 0.2, 0.2, 0.5, 0.3, 0.4], which is not [0.5, 0.5, 0.5, 0.25, 0.75, 0.75]."
    assert answer_on_source(on_grid, HALF) == answer


def test_an_answer_stays_where_the_grid_is_the_volume() -> None:
    same = VolumeFrame(source_size=SIZE, crop=(0, 0, 0, *SIZE), size=SIZE)
    answer = "[0.312, 0.273, 0.363, 0.844, 0.902, 0.906]"
    assert answer_on_grid(answer, same) == answer_on_source(answer, same) == answer
