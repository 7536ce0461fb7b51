"""The stratum `target_size`: small, medium or large."""

from math import prod
from typing import Literal

from harness.records import Size

TargetSize = Literal["small", "medium", "large"]

_MM3_PER_ML = 1000.0


def target_size(area: int, size: Size, spacing_mm: tuple[float, ...] | None = None) -> TargetSize:
    """Return the size class of a target.

    In an image, a small target covers less than 1 % of the pixels and a large one more than 10 %. In a volume, a small
    target is less than 1 ml and a large one more than 10 ml; without a spacing, less than 0.01 % and more than 0.1 % of
    the voxels.

    Args:
        area: Number of pixels or voxels of the target.
        size: (H, W) or (D, H, W) of the image or volume.
        spacing_mm: Voxel size in millimetres, in the order of `size`; ignored for images.
    """
    if len(size) == 3 and spacing_mm is not None:
        return _between(area * prod(spacing_mm) / _MM3_PER_ML, 1.0, 10.0)
    # Whole numbers on both sides, so that a target of exactly 1 % is on the same side of the limit on any machine.
    if len(size) == 3:
        return _between(area * 10_000, prod(size), prod(size) * 10)
    return _between(area * 100, prod(size), prod(size) * 10)


def _between(amount: float, medium: float, large: float) -> TargetSize:
    if amount < medium:
        return "small"
    return "medium" if amount <= large else "large"
