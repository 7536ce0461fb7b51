"""Visual prompts: the boxes, points and regions with which a user points at part of an image or volume.

Coordinates are pixels of the original image, or voxels of the volume, unless the field that holds the prompt names
another frame.
"""

from dataclasses import dataclass

from harness.records.masks import Mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A half-open box.

    Attributes:
        corners: x1 y1 x2 y2 in 2-D, z1 y1 x1 z2 y2 x2 in 3-D. The second corner is the first pixel outside.
    """

    corners: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """One or several points.

    Attributes:
        points: (x, y) of each pixel or (x, y, z) of each voxel.
        labels: One per point: 1 for foreground, 0 for background.
    """

    points: tuple[tuple[float, ...], ...]
    labels: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A free-form region that is given to the model as a mask."""

    mask: Mask


VisualPrompt = Box | Points | Region
