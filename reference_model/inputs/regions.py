"""Points, boxes and free-form masks as cells of the image tower's grid.

Shape suffixes: H, W of the original image, S side of the padded square, G cells along a side.
"""

import numpy as np
from numpy.random import Generator
from scipy.ndimage import label

from harness.errors import DataError
from harness.imaging import masks
from harness.records import Points, Region, VisualPrompt
from reference_model.inputs.images import Bools, mask_in_square

# Pixels in each direction around a point that MedPLIB's demo takes as its region.
POINT_REACH = 20
# Longest side, in pixels, of an image at which the reach is the same here; the released code does not scale it.
POINT_SIDE = 336
# MedPLIB's augmentation is meant to keep 20 to 100 % of a region.
SMALLEST_SHARE = 0.2
# Cells that touch at a corner are connected, as in MedPLIB.
EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=np.int_)


def prompt_mask(prompt: VisualPrompt, size: tuple[int, int], *, released: bool = False) -> Bools:
    """Return the pixels that a prompt covers, boolean (H, W): squares around points, a filled box, or the region.

    Args:
        prompt: In pixels of the original image. Squares around points labelled 0 are removed again.
        size: (H, W) of the original image, in pixels.
        released: Whether squares have sides of 41 pixels at any resolution, not a constant share of the longest side.

    Raises:
        DataError: The prompt covers no pixel of the image, or a region has another size.
    """
    if isinstance(prompt, Points):
        mask_HW = _squares(prompt, size, POINT_REACH if released else round(POINT_REACH * max(size) / POINT_SIDE))
    elif isinstance(prompt, Region):
        masks.check_size(prompt.mask, size, "region prompt", what="region")
        mask_HW = masks.decode(prompt.mask)
    else:
        mask_HW = masks.decode(masks.from_box(prompt, size))
    if not mask_HW.any():
        raise DataError(f"region prompt: expected a {type(prompt).__name__} inside the image of {size}, found nothing")
    return mask_HW


def grid_of(mask_HW: Bools, *, side: int, cells: int, released: bool = False) -> Bools:
    """Return the cells of the padded square that a mask covers, boolean (G, G).

    Only the largest connected part is kept. A region that covers no cell's upper left pixel gets the cell in which its
    centre lies; with `released`, it gets none.

    Args:
        mask_HW: Boolean, not empty, in the frame of the original image.
        side: S of the image tower, in pixels.
        cells: G.
        released: Whether a small region may vanish; training then leaves its sample out.
    """
    square_SS = mask_in_square(mask_HW, side)
    step = side // cells
    # The upper left pixel decides for its cell: MedPLIB resizes by 1/14 with nearest-neighbour sampling.
    grid_GG = square_SS[::step, ::step][:cells, :cells].copy()
    if not (grid_GG.any() or released):
        grid_GG[_centre_cell(mask_HW, side, step)] = True
    return largest_part(grid_GG)


def largest_part(grid_GG: Bools) -> Bools:
    """Return the largest connected part of a region, boolean (G, G); cells connect at sides and corners.

    Of equally large parts, the first in reading order is returned; an empty region stays empty.
    """
    labels_GG, parts = label(grid_GG, structure=EIGHT_NEIGHBOURS)
    if parts == 0:
        return grid_GG.copy()
    part_GG: Bools = labels_GG == 1 + int(np.argmax(np.bincount(labels_GG.ravel())[1:]))
    return part_GG


def random_part(grid_GG: Bools, *, smallest: int, random: Generator) -> Bools:
    """Return a connected 20 to 100 percent of a connected region, boolean (G, G), grown from one of its cells.

    MedPLIB's augmentation is meant to do this in training; its released code nearly always returns the whole region.

    Args:
        grid_GG: Boolean, one connected part.
        smallest: The least number of cells of the result; a smaller region stays whole.
        random: Chooses the share, the first cell and every next cell.
    """
    total = int(grid_GG.sum())
    if total < smallest:
        return grid_GG.copy()
    wanted = max(smallest, round(total * random.uniform(SMALLEST_SHARE, 1.0)))
    part_GG = np.zeros_like(grid_GG)
    edge = [tuple(random.choice(np.argwhere(grid_GG)))]
    for _ in range(wanted):
        row, column = edge.pop(int(random.integers(len(edge))))
        part_GG[row, column] = True
        rows, columns = (range(max(0, place - 1), min(place + 2, len(grid_GG))) for place in (row, column))
        around = [(r, c) for r in rows for c in columns if grid_GG[r, c]]
        edge += [cell for cell in around if not part_GG[cell] and cell not in edge]
    return part_GG


def _squares(points: Points, size: tuple[int, int], reach: int) -> Bools:
    mask_HW = np.zeros(size, dtype=np.bool_)
    for wanted in (1, 0):
        for (x, y), mark in zip(points.points, points.labels, strict=True):
            if mark == wanted:
                rows, columns = (slice(max(0, int(p) - reach), max(0, int(p) + reach + 1)) for p in (y, x))
                mask_HW[rows, columns] = bool(wanted)
    return mask_HW


def _centre_cell(mask_HW: Bools, side: int, step: int) -> tuple[int, int]:
    """Return the cell that holds the middle pixel of the mask, counted in reading order."""
    middle = np.argwhere(mask_HW)[int(mask_HW.sum()) // 2]
    scale = side / max(mask_HW.shape)
    pads = [(side - length * scale) / 2 for length in mask_HW.shape]
    last = side // step - 1
    row, column = (min(last, int((p * scale + pad) // step)) for p, pad in zip(middle, pads, strict=True))
    return row, column
