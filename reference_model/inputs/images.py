"""Images and masks as the encoders expect them: resized to a longest side, padded to a square.

Shape suffixes: H, W of the original image, S side of the square, 3 colours.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from harness.imaging.frames import padding

Pixels = NDArray[np.uint8]
Bools = NDArray[np.bool_]

# Mean and standard deviation of CLIP's image processor, for colours in [0, 1].
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
# The mean colour with which MedPLIB pads: CLIP's mean times 255, rounded down.
CLIP_FILL = (122, 116, 104)
# Mean and standard deviation of SAM, for colours in [0, 255]. In RGB as MedPLIB has it; SAM-Med2D itself trains on BGR.
SAM_MEAN = (123.675, 116.28, 103.53)
SAM_STD = (58.395, 57.12, 57.375)


def for_vision_tower(image_HW3: Pixels, side: int) -> Tensor:
    """Return float32 (3, S, S): padded with CLIP's mean colour, then scaled to [0, 1] and normalised.

    Args:
        image_HW3: uint8, RGB.
        side: S.
    """
    square_SS3 = np.empty((side, side, 3), dtype=np.uint8)
    square_SS3[:] = CLIP_FILL
    rows, columns = inside((image_HW3.shape[0], image_HW3.shape[1]), side)
    square_SS3[rows, columns] = _resized(image_HW3, side)
    return _normalised(square_SS3 / 255.0, CLIP_MEAN, CLIP_STD)


def for_pixel_encoder(image_HW3: Pixels, side: int) -> Tensor:
    """Return float32 (3, S, S): normalised as SAM does, then padded with zeros.

    Args:
        image_HW3: uint8, RGB.
        side: S.
    """
    # As in MedPLIB: padded after normalisation here, like SAM, and before it for the tower, like LLaVA.
    square_3SS = torch.zeros(3, side, side)
    rows, columns = inside((image_HW3.shape[0], image_HW3.shape[1]), side)
    square_3SS[:, rows, columns] = _normalised(_resized(image_HW3, side).astype(np.float64), SAM_MEAN, SAM_STD)
    return square_3SS


def mask_in_square(mask_HW: Bools, side: int) -> Bools:
    """Return the mask as boolean (S, S), resized to a longest side of `side` pixels and padded with False.

    Args:
        mask_HW: Boolean, in the frame of the original image.
        side: S.
    """
    # Pillow rounds the interpolated 8-bit zeros and ones, so that the mask is cut at one half, as in MedPLIB.
    square_SS = np.zeros((side, side), dtype=np.bool_)
    rows, columns = inside((mask_HW.shape[0], mask_HW.shape[1]), side)
    square_SS[rows, columns] = _resized(mask_HW.astype(np.uint8), side) > 0
    return square_SS


def inside(size: tuple[int, int], side: int) -> tuple[slice, slice]:
    """Return the rows and columns of a square of `side` pixels that an image of `size` (H, W) pixels fills."""
    (height, width), (top, left) = padding(size, side)
    return slice(top, top + height), slice(left, left + width)


def _resized(array: Pixels, side: int) -> Pixels:
    (height, width), _ = padding(array.shape[:2], side)
    resized = Image.fromarray(array).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.uint8)


def _normalised(image_SS3: NDArray[np.float64], mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    scaled_SS3 = (image_SS3 - np.array(mean)) / np.array(std)
    return torch.from_numpy(np.ascontiguousarray(scaled_SS3.transpose(2, 0, 1), dtype=np.float32))
