"""Masks and soft masks as they are stored: run lengths and compressed probabilities."""

from dataclasses import dataclass

from harness.records.values import Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """A binary mask as COCO run lengths, of one image or of each non-empty slice of a volume.

    Attributes:
        size: (H, W) or (D, H, W) of the frame the mask lies in.
        counts: The COCO run-length string of a 2-D mask; None in 3-D.
        slices: (slice index, run-length string) of every non-empty slice, by ascending index; None in 2-D.
    """

    size: Size
    counts: str | None = None
    slices: tuple[tuple[int, str], ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftMask:
    """A probability for every pixel or voxel, one code each; see `harness.imaging.soft_masks`.

    Attributes:
        size: (H, W) or (D, H, W) of the frame it lies in.
        levels: What each 8-bit code stands for, ascending; empty where `data` holds the float64 numbers themselves.
        data: The codes or numbers in C order, compressed by zlib, as base64.
    """

    size: Size
    levels: tuple[float, ...] = ()
    data: str = ""
