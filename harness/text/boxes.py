"""Boxes in text: reading the box of a reply, and the text that M3D writes for a box.

M3D's frame is `unit` with one difference: the second corner is the last voxel inside, not the first outside, so that a
full mask ends below 1 and a mask of one slice has no extent.
"""

import math
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from harness.errors import DataError
from harness.imaging import masks
from harness.records import Box, Mask, Size

Corners = tuple[float, ...]

# As in M3D's evaluation script: numbers without an exponent, separated by exactly a comma and a blank.
_M3D_NUMBER = r"[-+]?(?:\d*\.\d+|\d+)"
_M3D_BOX = re.compile(rf"\[({_M3D_NUMBER}(?:, {_M3D_NUMBER}){{5}})\]")

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3})?"
_COORDINATE = rf"{_NUMBER}(?:\s*(?:%|px\b))?"
_BETWEEN = r"(?:\s*[,;、]\s*|\s+)"
_QUOTED = r"\"[^\"\n]{0,80}\"|'[^'\n]{0,80}'"
_LIST = re.compile(
    rf"[\[({{<【]\s*(?:(?:{_QUOTED})\s*,\s*)?({_COORDINATE}(?:{_BETWEEN}{_COORDINATE}){{1,6}})"
    rf"(?:\s*,\s*(?:{_QUOTED}))?\s*[\])}}>】]"
)
_TAGGED_LIST = re.compile(rf"[>:]\s*({_COORDINATE}(?:{_BETWEEN}{_COORDINATE}){{3,6}})\s*(?=</)")
_KEYED_LIST = re.compile(
    rf"\b(?:b?box|coordinates?|location|region|坐标)\b[^\d\[\](){{}}\n]{{0,40}}[:=]\s*"
    rf"[\"']?({_COORDINATE}(?:{_BETWEEN}{_COORDINATE}){{3,6}})[\"']?\s*[.,}}]*\s*$",
    re.IGNORECASE | re.MULTILINE,
)
_BARE_LIST = re.compile(rf"\s*({_COORDINATE}(?:{_BETWEEN}{_COORDINATE}){{3,6}})\s*\.?\s*")
# What may stand between the two corners of a box, each in brackets of its own: "from (1, 2) to (3, 4)".
_CORNER = r"(?:(?:bottom|lower|right|down|max(?:imum)?|end)[\s-]*)+(?:corner)?[\s\w]{0,10}?"
_JOINS = re.compile(
    rf"\s*(?:,|;|-|->|→|to|and|\]\s*,\s*\[)?\s*(?:the\s+)?(?:{_CORNER})?\s*(?:at|is|[:=])?\s*", re.IGNORECASE
)
_NAMED = re.compile(
    rf"\b(?:([xyz])_?(?:(1|min|left|top|start|0)|(2|max|right|bottom|end))|(?<!-)(left|top|right|bottom))"
    rf"[\"']?\s*[:=]\s*[\"']?({_COORDINATE})",
    re.IGNORECASE,
)
_SIDES = {"left": ("x", False), "top": ("y", False), "right": ("x", True), "bottom": ("y", True)}
# Lists behind these keys are no boxes, whatever their length.
_NO_BOX = re.compile(
    r"(?:scores?|confidences?|probabilit(?:y|ies)|conf|probs?|logits?|size|shape|spacing|dimensions|resolution"
    r"|segmentation|polygon|points?|keypoints?|clicks?)[\"']?\s*(?:is|are|of|at|[:=])?\s*\[?\s*$",
    re.IGNORECASE,
)
# The key of Gemini, Gemma and MedGemma, whose boxes begin with y: read as ours they would be moved in silence.
_Y_FIRST = re.compile(r"(?<![a-z])box_2d[\"']?\s*[:=]\s*\[?\s*$")
_DECIMALS = 3  # as M3D rounds the boxes of its training texts


def read_m3d(text: str) -> Corners | None:
    """Return the first `[z1, y1, x1, z2, y2, x2]` of a text as M3D's script finds it; None if there is none."""
    return next(m3d_boxes(text), None)


def m3d_boxes(text: str) -> Iterator[Corners]:
    """Yield every `[z1, y1, x1, z2, y2, x2]` of a text, by the rule of `read_m3d`, in order."""
    for match in _M3D_BOX.finditer(text):
        yield tuple(map(float, match[1].split(", ")))


def rewrite_m3d(text: str, rewritten: Callable[[Corners], str | None]) -> str:
    """Return a text with each box of `m3d_boxes` replaced by what `rewritten` returns for it; None leaves it as it is.

    Args:
        text: Any text.
        rewritten: Gets the corners as written and returns the new text with its brackets.
    """
    return _M3D_BOX.sub(lambda match: rewritten(tuple(map(float, match[1].split(", ")))) or match[0], text)


@dataclass(frozen=True, slots=True)
class TextBox:
    """A box as a text gives it.

    Attributes:
        corners: All starts, then all ends, as written.
        percent: Whether the numbers are percent of the axes, whatever the frame of other numbers is.
    """

    corners: Corners
    percent: bool = False


def read_boxes(text: str, count: int | None = None) -> list[TextBox]:
    """Return what a text writes as boxes, in order, possible or not.

    A box is a list of numbers in brackets or in tags, separated by commas, semicolons or blanks, perhaps with a label
    or, behind the numbers, a confidence in [0, 1] that is written as a decimal or in percent; or two corners in
    brackets of their own; or named numbers (`x1`, `ymin`, `z_end`); or, if nothing else stands on the line
    behind a word such as box, or in the text, bare numbers. So the notations of Qwen-VL, Qwen2.5-VL, InternVL,
    DeepSeek-VL2, VLM-R1 and lmms-eval are read. Three corners and more are a polygon and no box. Lists under the key
    `box_2d` begin with y and are left to a reader that knows their frame.

    Args:
        text: A reply without its reasoning, in plain characters.
        count: The number of corners' numbers, 4 or 6; None means either.
    """
    counts = (4, 6) if count is None else (count,)
    found: dict[int, TextBox | None] = {}
    corners: list[tuple[int, int, list[str]]] = []
    for match in _LIST.finditer(text):
        numbers = re.findall(_COORDINATE, match[1])
        before = text[max(0, match.start() - 24) : match.start()]
        if _Y_FIRST.search(before) or _NO_BOX.search(before):
            continue
        numbers = _without_confidence(numbers, counts)
        if len(numbers) in counts:
            found[match.start()] = _text_box(numbers)
        elif 2 * len(numbers) in counts:
            corners.append((match.start(), match.end(), numbers))
    run: list[tuple[int, int, list[str]]] = []
    for corner in [*corners, None]:
        if corner and run and len(corner[2]) == len(run[0][2]) and _JOINS.fullmatch(text, run[-1][1], corner[0]):
            run.append(corner)
            continue
        if len(run) == 2:
            found[run[0][0]] = _text_box([*run[0][2], *run[1][2]])
        run = [corner] if corner else []
    found.update(_named_boxes(text, counts))
    for pattern in (_TAGGED_LIST, _KEYED_LIST):
        for match in pattern.finditer(text):
            numbers = _without_confidence(re.findall(_COORDINATE, match[1]), counts)
            if len(numbers) in counts:
                found.setdefault(match.start(1), _text_box(numbers))
    if not found and (whole := _BARE_LIST.fullmatch(text)):
        numbers = _without_confidence(re.findall(_COORDINATE, whole[1]), counts)
        if len(numbers) in counts:
            found[0] = _text_box(numbers)
    return [box for _, box in sorted(found.items(), key=lambda item: item[0]) if box is not None]


def read_standard(text: str, count: int | None = None) -> Corners | None:
    """Return the numbers of the first box of `read_boxes` that is not written in percent; None without one."""
    return next((box.corners for box in read_boxes(text, count) if not box.percent), None)


def is_possible(corners: Corners) -> bool:
    """Return whether corners enclose a box: all finite, and on every axis the end behind the start."""
    half = len(corners) // 2
    return all(map(math.isfinite, corners)) and all(map(operator.lt, corners[:half], corners[half:]))


def _without_confidence(numbers: list[str], counts: Sequence[int]) -> list[str]:
    """Return numbers without a last one that can only be a confidence, if a box is left."""
    *corners, last = numbers
    if len(corners) not in counts or any("%" in number for number in corners):
        return numbers
    confidence = "%" in last or ("." in last and 0 <= float(last.rstrip(" px")) <= 1)
    return corners if confidence else numbers


def _text_box(numbers: Sequence[str]) -> TextBox | None:
    """Return the box of numbers as written; None if some of them are in percent and others are not."""
    percent = sum("%" in number for number in numbers)
    if percent not in (0, len(numbers)):
        return None
    return TextBox(tuple(float(number.rstrip("% px")) for number in numbers), percent=bool(percent))


def _named_boxes(text: str, counts: Sequence[int]) -> dict[int, TextBox | None]:
    """Return the boxes whose numbers have names, by place; a name that recurs begins the next box."""
    found: dict[int, TextBox | None] = {}
    named: dict[tuple[str, bool], str] = {}
    start = 0
    for match in [*_NAMED.finditer(text), None]:
        key = None
        if match:
            key = _SIDES[match[4].lower()] if match[4] else (match[1].lower(), match[3] is not None)
        if key is None or key in named:
            axes = [axis for axis in "zyx" if (axis, False) in named] if ("z", False) in named else ["x", "y"]
            wanted = [(axis, end) for end in (False, True) for axis in axes]
            if len(named) == len(wanted) and len(wanted) in counts and all(name in named for name in wanted):
                found[start] = _text_box([named[name] for name in wanted])
            named = {}
        if match and key:
            start = start if named else match.start()
            named[key] = match[5]
    return found


def m3d_corners(mask: Mask) -> Corners:
    """Return the box of a mask in M3D's frame: first and last index over axis length, rounded to 3 decimals.

    Args:
        mask: A mask (D, H, W) with at least one voxel.
    Returns:
        z1 y1 x1 z2 y2 x2.
    Raises:
        DataError: The mask is empty or not 3-D.
    """
    box = masks.bounding_box(mask)
    if box is None or len(mask.size) != 3:
        raise DataError(f"expected a mask (D, H, W) with at least one voxel, found one of size {mask.size} with none")
    return to_m3d(box, mask.size)


def m3d_text(corners: Corners) -> str:
    """Return the text that M3D writes for a box in its frame, such as `[0.25, 0.25, 0.375, 0.5, 0.625, 0.75]`."""
    return str(list(corners))


def to_m3d(box: Box, size: Size) -> Corners:
    """Return the corners, rounded to 3 decimals, that M3D gives to a box: first and last voxel over axis length.

    Args:
        box: z1 y1 x1 z2 y2 x2, half-open, in whole voxels.
        size: (D, H, W) of the volume.
    """
    indices = (*box.corners[:3], *(end - 1 for end in box.corners[3:]))
    return tuple(round(index / length, _DECIMALS) for index, length in zip(indices, 2 * size, strict=True))


def from_m3d(corners: Corners, size: Size) -> Box:
    """Return the half-open box in voxels, unrounded, that M3D's corners stand for.

    Args:
        corners: z1 y1 x1 z2 y2 x2 in M3D's frame, whose last index belongs to the box.
        size: (D, H, W) of the volume.
    """
    scaled = [value * length for value, length in zip(corners, 2 * size, strict=True)]
    return Box(corners=(*scaled[:3], *(end + 1 for end in scaled[3:])))
