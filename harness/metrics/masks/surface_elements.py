"""The boundaries of two masks, and the distance of each element of a boundary to the other boundary.

There are two kinds of elements: boundary pixels, and pieces of a contour or surface laid through the corners where
pixels meet.
"""

from functools import cache, lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.imaging import masks
from harness.metrics.metric import Floats
from harness.records import Box, Mask

Bools = NDArray[np.bool_]
# Pixel size in mm per array axis; or, if the axes of a volume are not at right angles, a vector in mm per array axis,
# from each voxel to the next.
Grid = tuple[float, ...] | tuple[tuple[float, ...], ...]

# Pixels of the box for each element above which a tree of the elements is faster than a distance transform.
PIXELS_PER_ELEMENT = 16
_MOST_INSIDE = 4  # corners of a cube inside the surface; with more, the surface of the complement is meant


class Boundary(NamedTuple):
    """The boundary elements of one mask.

    Attributes:
        distances: Of each element to the nearest of the other mask, in mm, (N,) float64; infinite if there is none.
        weights: 1 for a boundary pixel; length in mm or area in square mm of another element; (N,) float64.
    """

    distances: Floats
    weights: Floats


def boundary_pixels(prediction: Bools, target: Bools, grid: Grid) -> tuple[Boundary, Boundary]:
    """Return the boundary pixels of both masks, prediction first, with the distances between their centres in mm.

    A boundary pixel belongs to the mask and shares an edge (in 3-D a face) with a pixel that does not. Pixels outside
    of the array belong to no mask.

    Args:
        prediction: Boolean (H, W) or (D, H, W).
        target: Boolean, same shape.
        grid: Pixel size in mm per array axis, or the steps along the axes of a skewed volume.
    Source: MONAI's surface Dice and Hausdorff distance; Maier-Hein et al., arXiv:2206.01653, boundary metrics.
    """
    first, second = (_boundary(mask) for mask in (prediction, target))
    distances = _to_nearest(first, second, grid), _to_nearest(second, first, grid)
    return Boundary(distances[0], np.ones(len(distances[0]))), Boundary(distances[1], np.ones(len(distances[1])))


def surface_elements(prediction: Bools, target: Bools, grid: Grid) -> tuple[Boundary, Boundary]:
    """Return the contour or surface elements of both masks, prediction first, with the distances between them in mm.

    An element sits where pixels meet: at a corner of which some of the 4 (in 3-D 8) pixels around belong to the mask
    and some do not. Its weight is the length (area) of the surface that marching squares (cubes) lays through these.
    The arguments are those of `boundary_pixels`.

    Source: Nikolov et al., arXiv:1809.04430, and its package surface-distance.
    """
    weights = element_weights(grid)
    codes = [_corner_codes(mask) for mask in (prediction, target)]
    # Code 0 lies outside of the mask and the last code inside; neither is on its surface.
    first, second = ((code > 0) & (code < len(weights) - 1) for code in codes)
    distances = _to_nearest(first, second, grid), _to_nearest(second, first, grid)
    return Boundary(distances[0], weights[codes[0][first]]), Boundary(distances[1], weights[codes[1][second]])


def _boundary(mask: Bools) -> Bools:
    """Return the pixels of a mask that have a neighbour outside of it, or of the array, across an edge or face."""
    # What binary_erosion of scipy computes, several times as fast.
    inside = mask.copy()
    for axis in range(mask.ndim):
        ours, whole = np.moveaxis(inside, axis, 0), np.moveaxis(mask, axis, 0)
        ours[1:] &= whole[:-1]
        ours[:-1] &= whole[1:]
        ours[[0, -1]] = False
    boundary: Bools = mask ^ inside
    return boundary


def _to_nearest(elements: Bools, others: Bools, grid: Grid) -> Floats:
    """Return the distance of each element to the nearest of the others, infinite if there are none."""
    from scipy import ndimage, spatial

    count = int(np.count_nonzero(elements))
    if not count:
        return np.zeros(0)
    if not others.any():
        return np.full(count, np.inf)
    distances: Floats
    skewed = isinstance(grid[0], tuple)
    # A distance transform knows only axes at right angles, and visits every pixel. Few are on a boundary, and a tree of
    # these is faster unless the masks are small or full of holes.
    if not skewed and elements.size < PIXELS_PER_ELEMENT * count:
        distances = ndimage.distance_transform_edt(~others, sampling=grid)[elements]
        return distances
    steps = np.array(grid) if skewed else np.diag(np.array(grid, dtype=np.float64))
    here, there = np.argwhere(elements), np.argwhere(others)
    # Built without balance and tight boxes, which cost more than they save for a tree that is asked once.
    tree = spatial.cKDTree(there @ steps, balanced_tree=False, compact_nodes=False)
    distances, nearest = tree.query(here @ steps)
    if skewed:
        return distances
    # As the distance transform computes them, from whole steps, so that the last digit is the same.
    squares = ((there[nearest] - here) * np.array(grid)) ** 2
    distances = np.sqrt(squares.sum(axis=1))
    return distances


def _corner_codes(mask: Bools) -> NDArray[np.uint8]:
    """Return a code per corner of the grid, uint8 (H + 1, W + 1) or (D + 1, H + 1, W + 1).

    Bit i of a code is set if the pixel at offset i, in the order of `product`, belongs to the mask.
    """
    padded = np.pad(mask, 1)
    codes = np.zeros([length + 1 for length in mask.shape], dtype=np.uint8)
    for bit, offset in enumerate(product((0, 1), repeat=mask.ndim)):
        window = tuple(slice(start, start + length) for start, length in zip(offset, codes.shape, strict=True))
        codes |= padded[window].astype(np.uint8) << bit
    return codes


@lru_cache(maxsize=64)
def element_weights(grid: Grid) -> Floats:
    """Return the length in mm (2-D) or area in square mm (3-D) of the element of each code of `_corner_codes`.

    Args:
        grid: Pixel size in mm per array axis, 2 or 3 of them, or the steps along the axes of a skewed volume.
    Returns:
        (16,) or (256,) float64; codes without a surface have 0.
    """
    steps = np.array(grid) if isinstance(grid[0], tuple) else np.diag(grid)
    if len(grid) == 2:
        return np.array([_contour_length(code, steps) for code in range(16)])
    # The area vectors of the faces of a voxel, each across one axis.
    faces = np.cross(steps[[1, 2, 0]], steps[[2, 0, 1]])
    return np.array([float(np.linalg.norm(normals @ faces, axis=1).sum()) for normals in _surface_normals()])


def _contour_length(code: int, steps: Floats) -> float:
    """Return the length in mm of the contour around one corner; `steps` are those to the next row and column."""
    inside = [offset for bit, offset in enumerate(product((0, 1), repeat=2)) if code >> bit & 1]
    if len(inside) in (0, 4):
        return 0.0
    if len(inside) == 2:
        # Two neighbours are parted by a straight line along their axis.
        rows, columns = np.ptp(np.array(inside), axis=0)
        if not (rows and columns):
            return float(np.linalg.norm(steps[1 if columns else 0]))
    # One pixel is cut off, or the one that three leave over, or two diagonal ones one by one.
    alone = inside[0] if len(inside) < 3 else next(one for one in product((0, 1), repeat=2) if one not in inside)
    across = steps[0] - steps[1] if alone[0] == alone[1] else steps[0] + steps[1]
    return 0.5 * float(np.linalg.norm(across)) * (2 if len(inside) == 2 else 1)


@cache
def _surface_normals() -> tuple[Floats, ...]:
    """Return for each code of 8 corners the normals of its triangles, as long as their area, in a cube of side 1.

    The triangles are those of Lorensen's marching cubes. As in the surface-distance package, a cube and its complement
    have the same surface.
    """
    from skimage.measure import marching_cubes

    none = np.zeros((0, 3))
    normals = []
    for code in range(256):
        few = code if code.bit_count() <= _MOST_INSIDE else 255 - code
        cube = np.array([few >> bit & 1 for bit in range(8)], dtype=np.float32).reshape(2, 2, 2)
        if not few:
            normals.append(none)
            continue
        points, triangles, _, _ = marching_cubes(cube, 0.5, method="lorensen")
        first, second, third = points[triangles].astype(np.float64).transpose(1, 0, 2)
        normals.append(np.cross(second - first, third - first) / 2)
    return tuple(normals)


def cropped(predicted: Mask | None, target: Mask | None) -> tuple[Bools, Bools]:
    """Return both masks inside the box around them, boolean (h, w) or (d, h, w) of one shape.

    All boundaries are in that box, so the distances between them are those of the whole image.

    Args:
        predicted: None if it is empty.
        target: None if it is empty; at least one of the two has a pixel.
    """
    boxes = [box for mask in (predicted, target) if mask is not None and (box := masks.bounding_box(mask)) is not None]
    corners = np.array([box.corners for box in boxes])
    axes = corners.shape[1] // 2
    joint = Box(corners=(*corners[:, :axes].min(axis=0), *corners[:, axes:].max(axis=0)))
    found = [None if mask is None else _inside(mask, joint) for mask in (predicted, target)]
    shape = next(part.shape for part in found if part is not None)
    first, second = (np.zeros(shape, dtype=np.bool_) if part is None else part for part in found)
    return first, second


def _inside(mask: Mask, box: Box) -> Bools:
    corners = [int(corner) for corner in box.corners]
    if mask.slices is None:
        x1, y1, x2, y2 = corners
        return masks.decode(mask)[y1:y2, x1:x2]
    z1, y1, x1, z2, y2, x2 = corners
    slices = tuple((index - z1, counts) for index, counts in mask.slices if z1 <= index < z2)
    return masks.decode(Mask(size=(z2 - z1, *mask.size[1:]), slices=slices))[:, y1:y2, x1:x2]
