"""Masks and soft masks as they are stored: run lengths and compressed probabilities."""

from dataclasses import dataclass

from harness.records.values import Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """A binary mask as COCO run lengths, of one image or of each non-empty slice of a volume.

    `harness.imaging.masks.encode` makes one of a boolean array, and `decode` gives the array back.

    Attributes:
        size: (H, W) or (D, H, W) of the frame in which the mask lies.
        counts: The COCO run-length string of a 2-D mask; None in 3-D.
        slices: (slice index, run-length string) of every non-empty slice, by ascending index; None in 2-D.
    """

    size: Size
    counts: str | None = None
    slices: tuple[tuple[int, str], ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftMask:
    """A probability for every pixel or voxel; `harness.imaging.soft_masks` encodes and decodes it.

    Attributes:
        size: (H, W) or (D, H, W) of the frame in which the mask lies.
        levels: The probability that each 8-bit code stands for, ascending; empty if `data` holds float64 numbers.
        data: The codes or numbers in C order, compressed by zlib, as base64.
    """

    size: Size
    levels: tuple[float, ...] = ()
    data: str = ""
