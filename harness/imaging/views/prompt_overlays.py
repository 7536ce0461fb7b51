"""An image as it is shown to a model: cropped, and with visual prompts painted over it.

Pixels that are not painted keep their values, and the same record gives the same pixels on any machine.
"""

import numpy as np
from numpy.typing import NDArray

from harness.imaging import masks
from harness.records import Media, Overlay, Points, Region, Size

Bools = NDArray[np.bool_]
Pixels = NDArray[np.uint8]


def apply_crop_and_overlays(stored: Pixels, media: Media) -> Pixels:
    """Return the pixels that `media` shows of the stored image.

    Args:
        stored: uint8 (H, W, 3) RGB of the whole image.
        media: The record with the crop and the overlays; the overlays lie in the frame of the crop.
    Returns:
        A new array, uint8 (H, W, 3) RGB of the crop.
    """
    if media.crop is not None:
        x1, y1, x2, y2 = media.crop.corners
        stored = stored[y1:y2, x1:x2]
    pixels = stored.copy()
    for overlay in media.drawn:
        where = painted(overlay, pixels.shape[:2])
        share, colour = overlay.opacity, np.array(overlay.colour, dtype=np.uint16)
        # Whole numbers, rounded half up: floating point could differ in the last digit between machines.
        blended = (pixels[where].astype(np.uint16) * (100 - share) + colour * share + 50) // 100
        pixels[where] = blended.astype(np.uint8)
    return pixels


def painted(overlay: Overlay, size: Size) -> Bools:
    """Return the pixels that an overlay paints.

    An outline runs around its region, so that none of the region is hidden; at the border of the image it runs inside.

    Args:
        overlay: The overlay.
        size: (H, W) of the image it is painted on.
    Returns:
        Boolean (H, W).
    """
    if isinstance(overlay.prompt, Points):
        rows, columns = np.ogrid[: size[0], : size[1]]
        dots = np.zeros(size, dtype=np.bool_)
        for x, y in overlay.prompt.points:
            dots |= (rows - int(y)) ** 2 + (columns - int(x)) ** 2 <= overlay.width**2
        return dots
    mask = overlay.prompt.mask if isinstance(overlay.prompt, Region) else masks.from_box(overlay.prompt, size)
    dense = masks.decode(mask)
    return dense if overlay.style == "fill" else _contour(dense, overlay.width)


def _contour(dense: Bools, width: int) -> Bools:
    """Return the line of `width` pixels around the foreground; all False without foreground."""
    from scipy.ndimage import distance_transform_edt

    line = np.zeros_like(dense)
    box = masks.bounding_box(masks.encode(dense))
    if box is None:
        return line
    # Only around the box, because the distance transform of a whole radiograph is slow. The slices may end beyond the
    # image, where numpy cuts them.
    x1, y1, x2, y2 = map(int, box.corners)
    near = slice(max(0, y1 - width), y2 + width), slice(max(0, x1 - width), x2 + width)
    part = dense[near]
    line[near] = (distance_transform_edt(~part) <= width) & ~part
    frame = np.ones_like(dense)
    frame[width:-width, width:-width] = False
    return line | (dense & frame)
