"""Slices of a volume as images: their plane, turn and size, windows as colours, montages, and masks back again.

Volumes are (D, H, W) in the orientation closest to RAS+: indices grow to the head, the front and the patient's right.
The radiological convention shows axial slices from the feet, coronal ones from the front and sagittal ones from the
patient's left: the front of an axial slice and the head of the others are at the top, the patient's right is at the
left, and a sagittal slice has the front at the left. All three are a turn by 180 degrees of what is stored.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.errors import DataError
from harness.imaging.windowing import windowed
from harness.records import Size, View

AXES: Mapping[str, int] = {"axial": 0, "coronal": 1, "sagittal": 2}

# A slice whose voxels are not square is stretched along their longer side, but no further than this: a wrong header
# must not make an image that fills the memory.
MOST_SIDE = 4096
# Longest side of a montage, in pixels: processors of models shrink larger images to about this or less.
MONTAGE_SIDE = 1024
# Spacings closer to each other than this share count as equal; headers are rounded.
SQUARE = 0.01
# Fat is at about -100 Hounsfield units and air at -1000, and no scan of a patient lacks both. Voxels that are all above
# this are not in Hounsfield units: z-scores, 8-bit values, or values stored without their intercept.
LEAST_HOUNSFIELD = -50.0


def tile_size(size: Size, spacing_mm: Sequence[float] | None, plane: str, grid: Size) -> Size:
    """Return (rows, columns) of pixels of one slice as it is shown.

    Pixels become square where the spacing is known, by stretching the axis with the larger one. A montage is shrunk to
    MONTAGE_SIDE.

    Args:
        size: (D, H, W) of the volume.
        spacing_mm: Voxel size in the same order; None if it is not known.
        plane: `axial`, `coronal` or `sagittal`.
        grid: (rows, columns) of slices in the image.
    """
    along = AXES[plane]
    sides = [float(length) for axis, length in enumerate(size) if axis != along]
    if spacing_mm is not None:
        steps = [step for axis, step in enumerate(spacing_mm) if axis != along]
        if abs(steps[0] / steps[1] - 1) > SQUARE:
            sides = [min(MOST_SIDE, side * step / min(steps)) for side, step in zip(sides, steps, strict=True)]
    if tuple(grid) != (1, 1):
        scale = min(1.0, MONTAGE_SIDE / max(side * count for side, count in zip(sides, grid, strict=True)))
        return tuple(max(1, int(side * scale)) for side in sides)
    return tuple(max(1, round(side)) for side in sides)


def along(volume: NDArray[Any], plane: str) -> NDArray[Any]:
    """Return the volume with the axis of a plane first, so that iterating over it yields the slices; a view."""
    return np.moveaxis(volume, AXES[plane], 0)


def render(view: View, volume: NDArray[Any], places: Sequence[int]) -> NDArray[np.uint8]:
    """Return the image of a view.

    Args:
        view: What to show.
        volume: (D, H, W): Hounsfield units if the view has windows, else uint8 grey values.
        places: Index of the slice of each tile, in reading order.
    Returns:
        uint8 (H, W, 3) of the view's grid of tiles; tiles without a slice are black.
    """
    rows, columns = view.tile
    image = np.zeros((view.grid[0] * rows, view.grid[1] * columns, 3), dtype=np.uint8)
    slices = along(volume, view.plane)
    for number, place in enumerate(places):
        pixels = slices[place][::-1, ::-1] if view.turned else slices[place]
        channels = [windowed(pixels, window) for window in view.windows] or [pixels]
        coloured = np.stack(channels * (3 // len(channels)), axis=2)
        if coloured.shape[:2] != (rows, columns):
            shown = Image.fromarray(np.ascontiguousarray(coloured)).resize((columns, rows), Image.Resampling.BILINEAR)
            coloured = np.asarray(shown)
        down, right = divmod(number, view.grid[1])
        image[down * rows : (down + 1) * rows, right * columns : (right + 1) * columns] = coloured
    return image


def to_stored(view: View, shown: NDArray[Any]) -> NDArray[Any]:
    """Return what a model marked on a single slice in the pixels of the volume: turned back, the nearest pixel each.

    Args:
        view: A view of one slice.
        shown: Mask or probabilities (rows, columns) of the image.
    """
    stored = [length for axis, length in enumerate(view.original) if axis != AXES[view.plane]]
    rows, columns = (
        ((np.arange(length) + 0.5) * have / length).astype(np.intp)
        for length, have in zip(stored, shown.shape, strict=True)
    )
    plane = shown[np.ix_(rows, columns)]
    return plane[::-1, ::-1] if view.turned else plane


def check_hounsfield(voxels: NDArray[np.float32], where: str) -> None:
    """Check that voxels can be Hounsfield units.

    Raises:
        DataError: None of them is as low as fat or air.
    """
    finite = voxels[np.isfinite(voxels)]
    if not finite.size or float(finite.min()) > LEAST_HOUNSFIELD:
        found = f"{finite.min():g} to {finite.max():g}" if finite.size else "no finite number"
        raise DataError(
            f"{where}: a window in Hounsfield units needs a CT, where air is -1000 and fat -100, found {found}; choose "
            "a recipe without windows (`harness list recipes`)"
        )
