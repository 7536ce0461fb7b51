"""Named coordinate frames, and the conversion of boxes and points between them.

Inside the harness every `Box` and `Points` lies in the frame `original`: pixels of the stored image. Pixel i covers
[i, i + 1), boxes are half-open, and a point names a pixel whose centre is half a pixel further. The other frames occur
only in the text that a model reads and writes, where coordinates are bare numbers and never a `Box`.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import DataError, SpecError, nearest
from harness.records import Box, Points, Size

_NAMES = ("original", "unit", "per_mille", "padded_square")
_KNOWN = ("original", "unit", "per_mille", "padded_square(n)")
_TEXT = re.compile(r"(\w+)(?:\((\d{1,6})\))?")

Coordinates = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """A named coordinate frame.

    Attributes:
        name: `original` (pixels), `unit` ([0, 1] per axis), `per_mille` ([0, 1000] per axis) or `padded_square`.
        side: Length of the padded square's sides in pixels; None for the other frames.
    """

    name: str
    side: int | None = None

    @classmethod
    def parse(cls, text: str, where: str = "frame") -> "Frame":
        """Return the frame that `text` names, such as `unit` or `padded_square(336)`; the side is at least 1.

        Raises:
            SpecError: There is no such frame; the message lists the known ones and suggests the nearest.
        """
        match = _TEXT.fullmatch(text.strip())
        name, side = match.groups() if match else (text, None)
        wants_side = name == "padded_square"
        if name not in _NAMES or wants_side != bool(side and int(side)):
            guess = nearest(text.partition("(")[0], _NAMES) if name not in _NAMES else ""
            raise SpecError(f"{where}: expected one of the frames {', '.join(_KNOWN)}, got '{text}'{guess}")
        return cls(name, int(side) if side else None)

    def __str__(self) -> str:
        return self.name if self.side is None else f"{self.name}({self.side})"


@dataclass(frozen=True, slots=True)
class _Axis:
    """The mapping of one axis of the image to a frame: position * scale + offset."""

    scale: float
    offset: float = 0.0


ORIGINAL = Frame("original")
UNIT = Frame("unit")
PER_MILLE = Frame("per_mille")


def padded_square(side: int) -> Frame:
    """Return the frame of an image that is resized to a longest side of `side` and padded symmetrically to a square."""
    return Frame("padded_square", side)


def padding(size: Size, side: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the place of an image in a square after it is resized and padded.

    Args:
        size: (H, W) of the image in pixels.
        side: Length of the square's sides in pixels.
    Returns:
        ((height, width), (top, left)) of the resized image in the square. Lengths are rounded half up and at least 1;
        the padding is shared evenly, and an odd pixel goes to the bottom or the right.
    Source: MedPLIB's image pipeline, arXiv:2412.09278.
    """
    longest = max(size)
    height, width = (max(1, math.floor(length * side / longest + 0.5)) for length in size)
    return (height, width), ((side - height) // 2, (side - width) // 2)


def box_to_frame(box: Box, size: Size, frame: Frame) -> Coordinates:
    """Return the corners of `box` in `frame`, unrounded.

    Args:
        box: x1 y1 x2 y2 or z1 y1 x1 z2 y2 x2 in original pixels.
        size: (H, W) or (D, H, W) of the original image.
        frame: The frame of the result; `padded_square` is for 2-D only.
    Returns:
        The corners in the order of `box`.
    Raises:
        DataError: The number of corners does not fit `size`.
        SpecError: `frame` is `padded_square` and `size` that of a volume.
    """
    axes = _corner_axes(box.corners, size, frame)
    return tuple(value * axis.scale + axis.offset for value, axis in zip(box.corners, axes, strict=True))


def box_from_frame(corners: Sequence[float], size: Size, frame: Frame) -> Box:
    """Return the box in original pixels whose corners in `frame` are `corners`; the inverse of `box_to_frame`.

    Args:
        corners: x1 y1 x2 y2 or z1 y1 x1 z2 y2 x2 in `frame`.
        size: (H, W) or (D, H, W) of the original image.
        frame: The frame of `corners`.
    Returns:
        The box, neither rounded nor clipped.
    Raises:
        DataError: The number of corners does not fit `size`.
        SpecError: `frame` is `padded_square` and `size` that of a volume.
    """
    axes = _corner_axes(corners, size, frame)
    return Box(corners=tuple((value - axis.offset) / axis.scale for value, axis in zip(corners, axes, strict=True)))


def points_to_frame(points: Points, size: Size, frame: Frame) -> tuple[Coordinates, ...]:
    """Return each point in `frame`: the pixel itself in `original`, elsewhere the position of the pixel's centre.

    Args:
        points: (x, y) or (x, y, z) in original pixels.
        size: (H, W) or (D, H, W) of the original image.
        frame: The frame of the result; `padded_square` is for 2-D only.
    Raises:
        DataError: A point has another number of coordinates than `size`.
        SpecError: `frame` is `padded_square` and `size` that of a volume.
    """
    # Half a pixel to the centre, except in `original`, where a point names its pixel.
    half = 0.0 if frame == ORIGINAL else 0.5
    found = []
    for point in points.points:
        axes = _point_axes(point, size, frame)
        found.append(tuple((value + half) * axis.scale + axis.offset for value, axis in zip(point, axes, strict=True)))
    return tuple(found)


def points_from_frame(
    coordinates: Sequence[Sequence[float]], labels: Sequence[int], size: Size, frame: Frame
) -> Points:
    """Return the original pixels in which positions given in `frame` lie; the inverse of `points_to_frame`.

    Args:
        coordinates: (x, y) or (x, y, z) of each position in `frame`.
        labels: 1 (foreground) or 0 (background) of each position.
        size: (H, W) or (D, H, W) of the original image.
        frame: The frame of `coordinates`.
    Returns:
        Whole pixels. A position on the far edge, in the padding or outside gives the nearest pixel of the image.
    Raises:
        DataError: A position has another number of coordinates than `size`.
        SpecError: `frame` is `padded_square` and `size` that of a volume.
    """
    pixels = []
    for position in coordinates:
        axes = _point_axes(position, size, frame)
        indices = (math.floor((value - axis.offset) / axis.scale) for value, axis in zip(position, axes, strict=True))
        pixels.append(
            tuple(float(min(max(index, 0), length - 1)) for index, length in zip(indices, size[::-1], strict=True))
        )
    return Points(points=tuple(pixels), labels=tuple(labels))


def clip_box(box: Box, size: Size) -> Box:
    """Return the part of `box` inside an image of `size`; a box that lies outside is left without extent.

    Raises:
        DataError: The number of corners does not fit `size`.
    """
    _check_count(box.corners, 2 * len(size), "box")
    limits = _limits(size)
    return Box(
        corners=tuple(min(max(value, 0.0), limit) for value, limit in zip(box.corners, (*limits, *limits), strict=True))
    )


def box_size(box: Box) -> Coordinates:
    """Return (height, width) or (depth, height, width) of `box` in pixels; negative along axes with swapped corners."""
    half = len(box.corners) // 2
    extent = tuple(end - start for start, end in zip(box.corners[:half], box.corners[half:], strict=True))
    return extent[::-1] if half == 2 else extent


def check_box(box: Box, size: Size, where: str) -> None:
    """Check that `box` has finite corners and an extent and lies inside the image.

    Args:
        box: The box, in pixels of the original image.
        size: (H, W) or (D, H, W) of the original image.
        where: The sample or field, for the message.
    Raises:
        DataError: The number of corners does not fit `size`, a corner is not finite, or the box has no extent or
            reaches beyond the image.
    """
    axes, letters = len(size), "xy" if len(size) == 2 else "zyx"
    _check_count(box.corners, 2 * axes, f"{where}: box")
    for name, value in zip([f"{letter}{end}" for end in (1, 2) for letter in letters], box.corners, strict=True):
        if not math.isfinite(value):
            raise DataError(f"{where}: box: expected finite numbers, found {name} = {value}")
    for axis, (name, limit) in enumerate(zip(letters, _limits(size), strict=True)):
        start, end = box.corners[axis], box.corners[axes + axis]
        if start >= end:
            raise DataError(
                f"{where}: box: expected {name}1 < {name}2, found {name}1 = {start:g} and {name}2 = {end:g}; "
                "boxes are half-open, one pixel is (x, y, x + 1, y + 1)"
            )
        if start < 0 or end > limit:
            raise DataError(
                f"{where}: box: expected {name} within 0 and {limit}, found {name}1 = {start:g} and {name}2 = {end:g}; "
                "boxes are in pixels of the original image"
            )


def box_text(box: Box, size: Size, frame: Frame) -> str:
    """Return the text of `box`, `[x1, y1, x2, y2]` or `[z1, y1, x1, z2, y2, x2]` in `frame`.

    Numbers have three decimals in `unit` and are rounded half up to integers in the other frames.

    Raises:
        DataError: The number of corners does not fit `size`.
        SpecError: `frame` is `padded_square` and `size` that of a volume.
    """
    corners = box_to_frame(box, size, frame)
    if frame == UNIT:
        return f"[{', '.join(f'{value:.3f}' for value in corners)}]"
    return f"[{', '.join(str(math.floor(value + 0.5)) for value in corners)}]"


def _check_count(numbers: Sequence[float], expected: int, where: str) -> None:
    if len(numbers) != expected:
        raise DataError(f"{where}: expected {expected} numbers, found {len(numbers)}")


def _limits(size: Size) -> Size:
    """Return the lengths in the order of a box's corners: (x, y) of an image, (z, y, x) of a volume."""
    return size[::-1] if len(size) == 2 else size


def _axes(size: Size, frame: Frame) -> tuple[_Axis, ...]:
    """Return the mapping of every array axis, in the order of `size`."""
    if frame.name == "padded_square":
        if len(size) != 2 or frame.side is None:
            raise SpecError(
                f"{frame} is a frame of 2-D images, found a volume of size {tuple(size)}; use unit or per_mille"
            )
        resized, before = padding(size, frame.side)
        return tuple(_Axis(new / old, start) for new, old, start in zip(resized, size, before, strict=True))
    full = {"original": None, "unit": 1.0, "per_mille": 1000.0}[frame.name]
    return tuple(_Axis(1.0 if full is None else full / length) for length in size)


def _corner_axes(corners: Sequence[float], size: Size, frame: Frame) -> tuple[_Axis, ...]:
    _check_count(corners, 2 * len(size), "box")
    axes = _axes(size, frame)
    # Corners are x y in 2-D but z y x in 3-D.
    ordered = axes[::-1] if len(size) == 2 else axes
    return (*ordered, *ordered)


def _point_axes(point: Sequence[float], size: Size, frame: Frame) -> tuple[_Axis, ...]:
    _check_count(point, len(size), "point")
    # Points count x first, sizes count rows first.
    return _axes(size, frame)[::-1]
