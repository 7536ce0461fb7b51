"""Which slices of a volume are shown: rules that place a number of slices along one axis."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# A slice belongs to the part of a volume that is not empty if its grey values spread at least this much, as a share of
# the spread of the slice with the most. Air, padding and noise outside of the body stay far below it.
LEAST_SPREAD = 0.1


def every_nth(depth: int, wanted: int) -> list[int]:
    """Return every (depth // wanted)-th slice from 0 on; all slices if there are no more than `wanted`.

    These can be up to 2 * wanted - 1 slices, and they lean to the front.

    Args:
        depth: Number of slices of the volume, >= 1.
        wanted: Number of slices to show, >= 1.
    Source: M3D's scripts for GPT-4V, which want 10 for captions and 5 for questions.
    """
    return list(range(depth)) if depth <= wanted else list(range(0, depth, depth // wanted))


def evenly_spaced(depth: int, wanted: int) -> list[int]:
    """Return slices equally spaced from the first to the last, rounded half to even; every slice at most once.

    A single wanted slice is the first. The arguments are those of `every_nth`. This is one reading of "equally spaced"
    in arXiv:2404.00578, whose rule is not published.
    """
    if wanted == 1:
        return [0]
    step = (depth - 1) / (wanted - 1)
    return sorted({*(round(place * step) for place in range(wanted - 1)), depth - 1})


def bin_centres(depth: int, wanted: int) -> list[int]:
    """Return the middle slice of each of `wanted` equal parts of the volume; every slice at most once.

    The arguments are those of `every_nth`. Neither end is shown, where volumes are often empty.
    """
    return sorted({(2 * place + 1) * depth // (2 * wanted) for place in range(wanted)})


def up_to_the_last(depth: int, wanted: int) -> list[int]:
    """Return `wanted` equally spaced slices of which the last is that of the volume; all slices if there are no more.

    The arguments are those of `every_nth`.
    Source: Google's notebook `high_dimensional_ct_hugging_face.ipynb` for MedGemma 1.5, with 85 slices.
    """
    if depth <= wanted:
        return list(range(depth))
    return [round(place / wanted * (depth - 1)) for place in range(1, wanted + 1)]


def every_millimetres(depth: int, spacing_mm: float, wanted_mm: float) -> list[int]:
    """Return the middle slices of equal parts that are as close to `wanted_mm` thick as their number allows.

    Args:
        depth: Number of slices of the volume, >= 1.
        spacing_mm: Distance of two neighbouring slices, > 0.
        wanted_mm: Distance of the slices to show, > 0.
    """
    return bin_centres(depth, min(depth, max(1, round(depth * spacing_mm / wanted_mm))))


def filled(slices: Sequence[NDArray[np.uint8]], wanted: int) -> list[int]:
    """Return `bin_centres` of the part of a volume that is not empty; always min(depth, wanted) slices.

    The part goes from the first to the last slice whose grey values spread by at least LEAST_SPREAD of the largest
    spread. A part that is too short for `wanted` slices grows at both ends. Only the voxels decide, so a target has no
    influence.

    Args:
        slices: uint8 grey values of each slice along one axis, the full range of the volume.
        wanted: Number of slices to show, >= 1.
    """
    depth = len(slices)
    spreads = np.array([float(pixels.std(dtype=np.float64)) for pixels in slices])
    # In a volume of one value no slice is fuller than another: `>=` takes all of them.
    kept = np.flatnonzero(spreads >= LEAST_SPREAD * spreads.max())
    first, last = int(kept[0]), int(kept[-1]) + 1
    missing = min(depth, wanted) - (last - first)
    if missing > 0:
        first = min(max(0, first - missing // 2), depth - min(depth, wanted))
        last = first + min(depth, wanted)
    return [first + place for place in bin_centres(last - first, wanted)]
