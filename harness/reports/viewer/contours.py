"""Masks as SVG paths along the edges of their pixels: small, exact, and sharp at any size of a page."""

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]

# Longest side, in pixels, on which a mask is traced. Beyond it a pixel is smaller than one of the page.
TRACED_SIDE = 400
# Most corners of one path, about 4 characters each. A mask of noise has a hundred times as many, and would weigh more
# than the page; it is traced on a coarser grid instead.
MOST_CORNERS = 2_500


def path_of(dense: Bools) -> str:
    """Return the boundary of a mask as the `d` attribute of an SVG path, to be filled by the even-odd rule.

    Args:
        dense: Boolean (H, W).
    Returns:
        Closed subpaths of whole numbers in the pixels of `dense`, where pixel i reaches from i to i + 1; empty for a
        mask without foreground. Masks that are large or ragged are traced on a grid of 2, 3, ... pixels.
    """
    if not dense.any():
        return ""
    step = -(-max(dense.shape) // TRACED_SIDE)
    grid = _coarser(dense, step)
    while len(corners := _corners(grid)) > MOST_CORNERS:
        step *= 2
        grid = _coarser(dense, step)
    return _chained(corners, step, dense.shape)


def _coarser(dense: Bools, step: int) -> Bools:
    """Return the mask on a grid of `step` pixels: cells of which half is foreground, or any part if none has that."""
    if step == 1:
        return dense
    rows, columns = (range(0, length, step) for length in dense.shape)
    counts = np.add.reduceat(np.add.reduceat(dense, rows, axis=0, dtype=np.int64), columns, axis=1)
    half: Bools = 2 * counts >= step * step
    # A lesion of a few pixels must not vanish.
    return half if half.any() else counts > 0


def _corners(grid: Bools) -> NDArray[np.intp]:
    """Return the (row, column) of every corner of the boundary; where two corners touch, the place twice."""
    framed = np.pad(grid, 1)
    top_left, top_right, bottom_left, bottom_right = (
        framed[rows, columns] for rows in (slice(-1), slice(1, None)) for columns in (slice(-1), slice(1, None))
    )
    single = top_left ^ top_right ^ bottom_left ^ bottom_right
    double = (top_left == bottom_right) & (top_right == bottom_left) & (top_left != top_right)
    return np.concatenate([np.argwhere(single), np.repeat(np.argwhere(double), 2, axis=0)])


def _chained(corners: NDArray[np.intp], step: int, shape: tuple[int, ...]) -> str:
    """Return closed subpaths through all corners.

    In every row the first corner is joined to the second, the third to the fourth, and so on; the same in every column.
    """
    partners = np.empty((2, len(corners)), dtype=np.intp)
    for axis in (0, 1):
        order = np.lexsort((corners[:, 1 - axis], corners[:, axis]))
        partners[axis, order[0::2]], partners[axis, order[1::2]] = order[1::2], order[0::2]
    across, along = partners.tolist()
    # The last cell of a coarser grid may reach beyond the image.
    places = np.minimum(corners * step, shape[:2]).tolist()
    left = dict.fromkeys(range(len(places)))
    parts = []
    while left:
        here = first = next(iter(left))
        parts.append(f"M{places[here][1]} {places[here][0]}")
        while here in left:
            there = across[here]
            del left[here], left[there]
            parts.append(f"h{places[there][1] - places[here][1]}")
            here = along[there]
            parts.append("z" if here == first else f"v{places[here][0] - places[there][0]}")
    return "".join(parts)
