"""An image as a model is shown it: cut to its crop, and painted over where something is pointed at.

Every pixel that is not painted keeps its value, and the same record gives the same pixels on any machine.
"""

import numpy as np
from numpy.typing import NDArray

from harness.imaging import masks
from harness.records import Box, Media, Overlay, Points, Region, Size

Bools = NDArray[np.bool_]
Pixels = NDArray[np.uint8]


def apply_crop_and_overlays(stored: Pixels, media: Media) -> Pixels:
    """Return the pixels that `media` shows of the stored image, as an array of their own.

    Args:
        stored: uint8 (H, W, 3) of the whole image.
        media: Its crop is cut out first; what it has drawn lies in the frame of the crop.
    """
    if media.crop is not None:
        x1, y1, x2, y2 = media.crop.corners
        stored = stored[y1:y2, x1:x2]
    pixels = stored.copy()
    for overlay in media.drawn:
        where = painted(overlay, pixels.shape[:2])
        pixels[where] = _blended(pixels[where], overlay)
    return pixels


def painted(overlay: Overlay, size: Size) -> Bools:
    """Return as boolean (H, W) which pixels of an image of `size` an overlay paints.

    An outline runs around a region, so that none of it is hidden; where the image ends it runs inside.
    """
    if isinstance(overlay.prompt, Points):
        return _dots(overlay.prompt, overlay.width, size)
    mask = overlay.prompt.mask if isinstance(overlay.prompt, Region) else masks.from_box(overlay.prompt, size)
    dense = masks.decode(mask)
    return dense if overlay.style == "fill" else _contour(dense, overlay.width)


def _blended(pixels: Pixels, overlay: Overlay) -> Pixels:
    """Return (N, 3) pixels with the overlay's share of its colour, rounded half up in whole numbers."""
    share = overlay.opacity
    colour = np.array(overlay.colour, dtype=np.uint16)
    return ((pixels.astype(np.uint16) * (100 - share) + colour * share + 50) // 100).astype(np.uint8)


def _contour(dense: Bools, width: int) -> Bools:
    from scipy.ndimage import distance_transform_edt

    line = np.zeros_like(dense)
    box = masks.bounding_box(masks.encode(dense))
    if box is None:
        return line
    near = _window(box, width)
    part = dense[near]
    line[near] = (distance_transform_edt(~part) <= width) & ~part
    frame = np.ones_like(dense)
    frame[width:-width, width:-width] = False
    return line | (dense & frame)


def _window(box: Box, width: int) -> tuple[slice, slice]:
    """Return the slices of the box and `width` pixels around it; slices may end beyond the image."""
    x1, y1, x2, y2 = map(int, box.corners)
    return slice(max(0, y1 - width), y2 + width), slice(max(0, x1 - width), x2 + width)


def _dots(points: Points, radius: int, size: Size) -> Bools:
    """Return the discs around the points' pixels."""
    rows, columns = np.ogrid[: size[0], : size[1]]
    found = np.zeros(size, dtype=np.bool_)
    for x, y in points.points:
        found |= (rows - int(y)) ** 2 + (columns - int(x)) ** 2 <= radius**2
    return found
