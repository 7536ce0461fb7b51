"""Boxes in words: how a reply's box is read, and the text M3D writes for one.

M3D's frame is `unit` with a difference: the ends are the last voxel inside, not the first outside, so that a full mask
ends below 1 and a mask one slice thick has no extent.
"""

import re

from harness.errors import DataError
from harness.imaging import masks
from harness.records import Box, Mask, Size

Corners = tuple[float, ...]

# M3D's numbers have no exponent, and exactly a comma and a blank stand between them.
_M3D_NUMBER = r"[-+]?(?:\d*\.\d+|\d+)"
_M3D_BOX = re.compile(rf"\[({_M3D_NUMBER}(?:, {_M3D_NUMBER}){{5}})\]")

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3})?"
_LIST = re.compile(rf"[\[(]\s*({_NUMBER}(?:(?:\s*[,;]\s*|\s+){_NUMBER}){{3,5}})\s*[\])]")
_DECIMALS = 3


def read_m3d(text: str) -> Corners | None:
    """Return the first `[z1, y1, x1, z2, y2, x2]` of a text as M3D's script finds it; None where there is none."""
    match = _M3D_BOX.search(text)
    return tuple(map(float, match[1].split(", "))) if match else None


def read_standard(text: str, count: int | None = None) -> Corners | None:
    """Return the first list of numbers of a text that can be a box; None where there is none.

    The list stands in square or round brackets, with commas, semicolons or blanks between its numbers.

    Args:
        text: A reply.
        count: How many numbers the box has; None: 4 or 6.
    """
    for match in _LIST.finditer(text):
        corners = tuple(map(float, re.findall(_NUMBER, match[1])))
        if len(corners) in ((4, 6) if count is None else (count,)):
            return corners
    return None


def m3d_corners(mask: Mask) -> Corners:
    """Return a mask's box in M3D's frame: first and last index / axis length per axis, rounded to 3 decimals.

    The order is that of the array's axes: z1 y1 x1 z2 y2 x2 of a volume.

    Raises:
        DataError: The mask is empty or no volume.
    """
    box = masks.bounding_box(mask)
    if box is None or len(mask.size) != 3:
        raise DataError(f"expected a mask (D, H, W) with at least one voxel, found one of size {mask.size} with none")
    starts, ends = box.corners[:3], box.corners[3:]
    indices = (*starts, *(end - 1 for end in ends))
    return tuple(round(index / length, _DECIMALS) for index, length in zip(indices, 2 * mask.size, strict=True))


def m3d_text(corners: Corners) -> str:
    """Return the text M3D writes for a box in its frame, such as `[0.25, 0.25, 0.375, 0.5, 0.625, 0.75]`."""
    return str(list(corners))


def from_m3d(corners: Corners, size: Size) -> Box:
    """Return the half-open box in voxels that M3D's corners mean, unrounded: its last index belongs to it.

    Args:
        corners: z1 y1 x1 z2 y2 x2 in M3D's frame.
        size: (D, H, W).
    """
    scaled = [value * length for value, length in zip(corners, 2 * size, strict=True)]
    return Box(corners=(*scaled[:3], *(end + 1 for end in scaled[3:])))
