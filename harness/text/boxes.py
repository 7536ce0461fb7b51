"""Boxes in text: reading the box of a reply, and the text that M3D writes for a box.

M3D's frame is `unit` with one difference: the second corner is the last voxel inside, not the first outside, so that a
full mask ends below 1 and a mask of one slice has no extent.
"""

import re

from harness.errors import DataError
from harness.imaging import masks
from harness.records import Box, Mask, Size

Corners = tuple[float, ...]

# As in M3D's evaluation script: numbers without an exponent, separated by exactly a comma and a blank.
_M3D_NUMBER = r"[-+]?(?:\d*\.\d+|\d+)"
_M3D_BOX = re.compile(rf"\[({_M3D_NUMBER}(?:, {_M3D_NUMBER}){{5}})\]")

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3})?"
_LIST = re.compile(rf"[\[(]\s*({_NUMBER}(?:(?:\s*[,;]\s*|\s+){_NUMBER}){{3,5}})\s*[\])]")
_DECIMALS = 3  # as M3D rounds the boxes of its training texts


def read_m3d(text: str) -> Corners | None:
    """Return the first `[z1, y1, x1, z2, y2, x2]` of a text as M3D's script finds it; None if there is none."""
    match = _M3D_BOX.search(text)
    return tuple(map(float, match[1].split(", "))) if match else None


def read_standard(text: str, count: int | None = None) -> Corners | None:
    """Return the first list of numbers in a text that can be a box.

    The list is enclosed in square or round brackets, and its numbers are separated by commas, semicolons or blanks.

    Args:
        text: A reply.
        count: The number of corners; None means 4 or 6.
    Returns:
        The numbers as written, in the reply's own frame; None if there is no such list.
    """
    for match in _LIST.finditer(text):
        corners = tuple(map(float, re.findall(_NUMBER, match[1])))
        if len(corners) in ((4, 6) if count is None else (count,)):
            return corners
    return None


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
    starts, ends = box.corners[:3], box.corners[3:]
    indices = (*starts, *(end - 1 for end in ends))
    return tuple(round(index / length, _DECIMALS) for index, length in zip(indices, 2 * mask.size, strict=True))


def m3d_text(corners: Corners) -> str:
    """Return the text that M3D writes for a box in its frame, such as `[0.25, 0.25, 0.375, 0.5, 0.625, 0.75]`."""
    return str(list(corners))


def from_m3d(corners: Corners, size: Size) -> Box:
    """Return the half-open box in voxels, unrounded, that M3D's corners stand for.

    Args:
        corners: z1 y1 x1 z2 y2 x2 in M3D's frame, whose last index belongs to the box.
        size: (D, H, W) of the volume.
    """
    scaled = [value * length for value, length in zip(corners, 2 * size, strict=True)]
    return Box(corners=(*scaled[:3], *(end + 1 for end in scaled[3:])))
