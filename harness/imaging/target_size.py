"""The volume of a voxel, and the stratum `target_size` that follows from it: small, medium or large."""

from itertools import combinations
from math import hypot, prod
from operator import mul
from typing import Literal

from harness.records import Size

TargetSize = Literal["small", "medium", "large"]

_MM3_PER_ML = 1000.0
# Cosine of the angle between two axes up to which they count as being at right angles (0.06 degrees): direction
# cosines are rounded to four digits in some headers.
_RIGHT_ANGLE = 1e-3

Steps = tuple[tuple[float, ...], ...]


def skewed_steps(affine: tuple[float, ...] | None, axes: tuple[int, ...] = (0, 1, 2)) -> Steps | None:
    """Return the steps from a voxel to the next along each array axis, if the axes are not at right angles.

    They are not in a CT with a tilted gantry, whose slices shift sideways, and in volumes under a shearing transform.

    Args:
        affine: As in `Media`: row-major 4 x 4, from (x, y, z) voxels to mm.
        axes: The array axes that count, of (z, y, x).
    Returns:
        A vector (x, y, z) in mm for each of `axes`. None if they are at right angles, or without an affine.
    """
    if affine is None:
        return None
    steps = tuple(tuple(affine[4 * row + 2 - axis] for row in range(3)) for axis in axes)
    for first, second in combinations(steps, 2):
        if abs(sum(map(mul, first, second))) > _RIGHT_ANGLE * hypot(*first) * hypot(*second):
            return steps
    return None


def voxel_mm3(spacing_mm: tuple[float, ...], affine: tuple[float, ...] | None = None) -> float:
    """Return the volume of a voxel in cubic millimetres, which is the determinant of the affine.

    The product of the three sides would be too large where the axes are not at right angles.

    Args:
        spacing_mm: Voxel size in mm per array axis.
        affine: As in `Media`.
    """
    steps = skewed_steps(affine)
    if steps is None:
        return prod(spacing_mm)  # rounder than the determinant, and equal to it
    (a, b, c), (d, e, f), (g, h, i) = steps
    return abs(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))


def target_size(
    area: int,
    size: Size,
    spacing_mm: tuple[float, ...] | None = None,
    affine: tuple[float, ...] | None = None,
    flat: bool = False,
) -> TargetSize:
    """Return the size class of a target.

    In an image, a small target covers less than 1 % of the pixels and a large one more than 10 %. In a volume, a small
    target is less than 1 ml and a large one more than 10 ml; without a spacing, less than 0.01 % and more than 0.1 % of
    the voxels.

    Args:
        area: Number of pixels or voxels of the target.
        size: (H, W) or (D, H, W) of the image or volume.
        spacing_mm: Voxel size in millimetres, in the order of `size`; ignored for images.
        affine: As in `Media`, for volumes whose axes are not at right angles.
        flat: As in `Media`: a volume of one slice that is an image.
    """
    if len(size) == 3 and not flat and spacing_mm is not None:
        return _between(area * voxel_mm3(spacing_mm, affine) / _MM3_PER_ML, 1.0, 10.0)
    # Whole numbers on both sides, so that a target of exactly 1 % is on the same side of the limit on any machine.
    if len(size) == 3 and not flat:
        return _between(area * 10_000, prod(size), prod(size) * 10)
    return _between(area * 100, prod(size), prod(size) * 10)


def _between(amount: float, medium: float, large: float) -> TargetSize:
    if amount < medium:
        return "small"
    return "medium" if amount <= large else "large"
