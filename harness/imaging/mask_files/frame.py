"""Whether the mask of a file lies where its image or volume lies, in mm."""

from typing import NamedTuple

import numpy as np

from harness.imaging.nifti import SAME_PLACE, UNITS, UNKNOWN_UNIT, corner_distance
from harness.records import Grid


class Displacement(NamedTuple):
    """How far a mask is off its volume.

    Attributes:
        off_mm: Largest distance in mm between a corner of the mask and the same corner of the volume.
        hint: What seems to have gone wrong; empty if that is not known.
    """

    off_mm: float
    hint: str = ""

    def __str__(self) -> str:
        return f"corners lie up to {self.off_mm:.3g} mm apart" + (f"; {self.hint}" if self.hint else "")


def displacement(mask: Grid, owner: Grid, *, unit: str = "mm") -> Displacement | None:
    """Return how far a mask is off its volume; None if it is not, or if one of them has no affine.

    Args:
        mask: Size and affine of the mask, in the orientation closest to RAS+.
        owner: Size and affine of the volume, in the same orientation. Of the same size as `mask`.
        unit: Unit that the file of the mask names, as in `Volume`. A mask without a unit may be in that of its volume.
    """
    if mask.affine is None or owner.affine is None or len(owner.size) != 3:
        return None
    own, wanted = (np.array(affine, dtype=np.float64).reshape(4, 4) for affine in (mask.affine, owner.affine))
    sizes, expected = (np.linalg.norm(affine[:3, :3], axis=0) for affine in (own, wanted))
    # Programs copy the numbers of a volume in micrometres or metres and leave out the unit.
    scales = [scale for _, scale in UNITS.values()] if unit == UNKNOWN_UNIT else [1.0]
    candidates = [np.diag([scale, scale, scale, 1.0]) @ own for scale in scales]
    distances = [corner_distance(candidate, wanted, owner.size[::-1]) for candidate in candidates]
    if min(distances) <= SAME_PLACE * expected.min():
        return None
    off = distances[0]
    if (own == np.eye(4)).all():
        return Displacement(off, "the mask's affine is the identity, so it was saved without the affine of its image")
    if (abs(sizes - expected) > 1e-3 * expected).any():
        found, wants = (" x ".join(f"{size:.4g}" for size in each) for each in (sizes, expected))
        return Displacement(off, f"voxels of the mask are {found} mm, those of the volume {wants} mm")
    return Displacement(off)
