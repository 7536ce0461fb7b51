"""Images and slices as `data:` URIs that a page holds, at a bounded weight."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.records import Size

Pixels = NDArray[np.uint8]

# Longest side of an image on a page, in pixels.
SIDE = 384
# Of the JPEG: masks are lines on top, so that its blur does not touch them.
QUALITY = 78
QUALITY_OF_SLICES = 62


def jpeg_uri(image: Pixels, *, quality: int = QUALITY) -> str:
    """Return an image as the `data:` URI of a JPEG; a grey one is stored with a single channel.

    Args:
        image: uint8 (H, W, 3) RGB.
        quality: Of the JPEG, 1 to 95.
    """
    grey = bool((image[..., 0] == image[..., 1]).all() and (image[..., 0] == image[..., 2]).all())
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image[..., 0] if grey else image)).save(
        file, format="JPEG", quality=quality, optimize=True
    )
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def scaled(image: Pixels, side: int = SIDE) -> Pixels:
    """Return an image of which no side is longer than `side`; smaller ones are returned as they are.

    Args:
        image: uint8 (H, W, 3) RGB.
        side: In pixels.
    """
    height, width = scaled_size(image.shape[:2], side)
    if (height, width) == image.shape[:2]:
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))


def scaled_size(size: Size, side: int = SIDE) -> tuple[int, int]:
    """Return the (H, W) that `scaled` gives an image of `size`."""
    scale = min(1.0, side / max(size))
    height, width = (max(1, round(length * scale)) for length in size)
    return height, width
