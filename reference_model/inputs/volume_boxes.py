"""Boxes of a volume as M3D-LaMed writes and reads them: `[z1, y1, x1, z2, y2, x2]`, the last voxel over axis length.

The model sees the grid, so the boxes of its texts are in cells of the grid, those of the harness in voxels.
"""

from collections.abc import Sequence
from math import floor, isfinite

from harness.errors import DataError
from harness.imaging.frames import clip_box
from harness.records import Box, VisualPrompt
from harness.text import boxes
from reference_model.inputs.conversation import BOX_END, BOX_START
from reference_model.inputs.volumes import Size3, VolumeFrame

_MARK = "<box>"


def question_on_grid(question: str, prompts: Sequence[VisualPrompt], frame: VolumeFrame) -> str:
    """Return a question with its boxes as text on the grid, in place of the marks `<box>`, or behind the text.

    Raises:
        DataError: A visual prompt is no box, or has no six corners.
    """
    for prompt in prompts:
        if not isinstance(prompt, Box):
            raise DataError(f"visual prompt: expected boxes about a volume, found {type(prompt).__name__}")
        text = box_text(frame.box_to_grid(prompt), frame.size, wrapped=True)
        question = question.replace(_MARK, text, 1) if _MARK in question else f"{question} {text}"
    return question


def answer_on_grid(answer: str, frame: VolumeFrame) -> str:
    """Return an answer whose boxes, written in the frame of the volume, are written in that of the grid."""
    return _rewritten(answer, frame, to_grid=True)


def answer_on_source(answer: str, frame: VolumeFrame) -> str:
    """Return an answer whose boxes, written in the frame of the grid, are written in that of the volume.

    A box with an end before its start stays as the model wrote it.
    """
    return _rewritten(answer, frame, to_grid=False)


def box_text(box: Box, size: Size3, *, wrapped: bool = False) -> str:
    """Return the text of a box, such as `[0.25, 0.25, 0.375, 0.5, 0.625, 0.75]`.

    The corners are rounded half up to whole voxels, as `harness.imaging.masks.from_box` does, and clipped. A box that
    is thinner than a voxel takes one, and a box beyond the array the voxels at its edge.

    Args:
        box: z1 y1 x1 z2 y2 x2, half-open, in voxels of an array of `size`: those of the model's grid, as a rule.
        size: (D, H, W) of the array.
        wrapped: Whether the text stands between `<bx_start>` and `<bx_end>`, as in M3D's prompts and answers.
    Raises:
        DataError: The box does not have six finite corners, or an end lies before its start.
    """
    corners = box.corners
    if len(corners) != 6 or not all(map(isfinite, corners)) or any(corners[i] > corners[i + 3] for i in range(3)):
        raise DataError(f"box text: expected finite z1 y1 x1 z2 y2 x2, no end before its start, found {corners}")
    starts = [min(max(floor(start + 0.5), 0), length - 1) for start, length in zip(corners[:3], size, strict=True)]
    ends = [
        min(max(floor(end + 0.5), start + 1), length)
        for end, start, length in zip(corners[3:], starts, size, strict=True)
    ]
    text = boxes.m3d_text(boxes.to_m3d(Box(corners=(*starts, *ends)), size))
    return f"{BOX_START}{text}{BOX_END}" if wrapped else text


def read_boxes(text: str, size: Size3) -> list[Box]:
    """Return every box of a text, half-open and in whole voxels, in order; an empty list if it has none.

    Three decimals name each voxel of an axis of up to 1,000, so that `read_boxes` undoes `box_text`. What lies beyond
    the array is cut off; a box with an end before its start, or with no part inside, is left out.

    Args:
        text: A reply, with or without `<bx_start>` and `<bx_end>`, which a tokenizer may remove.
        size: (D, H, W) of the array in whose voxels the boxes are wanted.
    """
    found = (_whole_voxels(corners, size) for corners in boxes.m3d_boxes(text))
    return [box for box in found if box is not None]


def _whole_voxels(corners: boxes.Corners, size: Size3) -> Box | None:
    rounded = (floor(value + 0.5) for value in boxes.from_m3d(corners, size).corners)
    box = clip_box(Box(corners=tuple(map(float, rounded))), size)
    return box if boxes.is_possible(box.corners) else None


def _rewritten(text: str, frame: VolumeFrame, *, to_grid: bool) -> str:
    first, second = (frame.source_size, frame.size) if to_grid else (frame.size, frame.source_size)

    def moved(corners: boxes.Corners) -> str | None:
        box = _whole_voxels(corners, first)
        if box is None:
            return None
        return box_text(frame.box_to_grid(box) if to_grid else frame.box_to_source(box), second)

    return boxes.rewrite_m3d(text, moved)
