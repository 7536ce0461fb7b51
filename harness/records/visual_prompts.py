"""What a user points with: boxes, points and regions, in the frame of the original image."""

from dataclasses import dataclass

from harness.records.masks import Mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A half-open box: x1 y1 x2 y2, or z1 y1 x1 z2 y2 x2, in pixels of the original image."""

    corners: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Pixels (x, y) or voxels (x, y, z) of the original image; labels are 1 for foreground, 0 for background."""

    points: tuple[tuple[float, ...], ...]
    labels: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A free-form region given to the model as a mask."""

    mask: Mask


VisualPrompt = Box | Points | Region
