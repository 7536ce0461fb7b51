"""The stratum `target_size`: small, medium or large, for images and volumes alike."""

from math import prod
from typing import Literal

from harness.records import Size

TargetSize = Literal["small", "medium", "large"]

_MM3_PER_ML = 1000.0


def target_size(area: int, size: Size, spacing_mm: tuple[float, ...] | None = None) -> TargetSize:
    """Return how large a target is.

    Images: small is less than 1 % of the pixels, large more than 10 %. Volumes: small is less than 1 ml, large more
    than 10 ml; without spacing less than 0.01 % and more than 0.1 % of the voxels.

    Args:
        area: Pixels or voxels of the target.
        size: (H, W) or (D, H, W) of the image or volume.
        spacing_mm: Voxel size per array axis; of images it does not matter.
    """
    if len(size) == 3 and spacing_mm is not None:
        return _between(area * prod(spacing_mm) / _MM3_PER_ML, 1.0, 10.0)
    if len(size) == 3:
        return _between(area * 10_000, prod(size), prod(size) * 10)
    return _between(area * 100, prod(size), prod(size) * 10)


def _between(amount: float, medium: float, large: float) -> TargetSize:
    if amount < medium:
        return "small"
    return "medium" if amount <= large else "large"
