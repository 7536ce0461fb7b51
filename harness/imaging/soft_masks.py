"""Masks of probabilities in 8 bits per pixel: precise enough for soft Dice, and exact at the usual thresholds.

A probability is put into one of 254 bins by its logit: bins of equal width from -12 to 12, and one on either side for
the values beyond. The value stored for a bin is the mean of its members, which preserves the sum of all probabilities
and leaves masks with few distinct values unchanged. The thresholds 0.1, 0.5 and 0.9 fall between two bins, so that
thresholding the stored mask gives the same pixels.
"""

import base64
import binascii
import zlib
from functools import cache, lru_cache
from math import isfinite, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.imaging import masks
from harness.records import Mask, SoftMask

MEDPLIB_CUT = 0.1  # MedPLIB's released evaluation takes pixels above this probability for foreground
HALF = 0.5

_LARGEST_LOGIT = 12.0  # beyond it a probability is within 7e-6 of 0 or 1
_BINS_PER_CUT = 23  # bins between 0.1 and 0.5; with 24 the bins up to the largest logit would not fit into 8 bits
_LOGIT_STEP = float(np.log(9.0)) / _BINS_PER_CUT  # the logits of 0.1, 0.5 and 0.9 are -ln 9, 0 and ln 9
_MOST_LEVELS = 256
_CHUNK = 2**20  # values at a time, which bounds the memory that a large volume takes

Probabilities = NDArray[np.float64]


def encode(array: Any, *, where: str = "soft mask") -> SoftMask:
    """Return the probabilities in 8 bits each.

    A probability may be off by 0.024; their sum is exact, and so is a mask with few distinct values. The soft Dice of
    typical predicted masks is off by less than 0.002.

    Args:
        array: (H, W) or (D, H, W), floating point, with every value in [0, 1]; binned in single precision.
        where: Name of the mask, for messages.
    Raises:
        DataError: The array has another number of axes or another dtype, holds NaN or a value outside [0, 1], or is too
            large for a mask.
    """
    found = _checked(array, where)
    codes, levels = _coded(found.reshape(-1))
    return SoftMask(size=found.shape, levels=levels, data=_packed(codes))


def _coded(values: NDArray[np.floating[Any]]) -> tuple[NDArray[np.uint8], tuple[float, ...]]:
    """Return the code of each value, uint8 of the same shape (N,), and the mean of the values of each code."""
    bins = np.empty(values.shape, dtype=np.uint8)
    counts, sums = np.zeros(_MOST_LEVELS), np.zeros(_MOST_LEVELS)
    for start in range(0, values.size, _CHUNK):
        part = values[start : start + _CHUNK]
        indices = np.searchsorted(_edges(), part.astype(np.float32), side="left")
        bins[start : start + _CHUNK] = indices
        counts += np.bincount(indices, minlength=_MOST_LEVELS)
        sums += np.bincount(indices, weights=part, minlength=_MOST_LEVELS)
    used = np.flatnonzero(counts)
    renumbered = np.zeros(_MOST_LEVELS, dtype=np.uint8)
    renumbered[used] = np.arange(len(used))
    return renumbered[bins], tuple((sums[used] / counts[used]).tolist())


def exact(array: Any, *, where: str = "soft mask") -> SoftMask:
    """Return the probabilities without loss, in 64 bits each; for single pairs, since a run would be too large.

    Args:
        array: As for `encode`.
        where: Name of the mask, for messages.
    Raises:
        DataError: As for `encode`.
    """
    found = _checked(array, where)
    return SoftMask(size=found.shape, data=_packed(found.astype("<f8")))


# Cached, because all metrics of a sample decode the same mask one after the other.
@lru_cache(maxsize=2)
def decode(soft: SoftMask) -> Probabilities:
    """Return the probabilities as a read-only float64 array (H, W) or (D, H, W).

    Raises:
        DataError: The stored data are damaged or do not fit the size.
    """
    raw = _unpacked(soft, 1 if soft.levels else 8)
    if soft.levels:
        codes = np.frombuffer(raw, dtype=np.uint8)
        if codes.max() >= len(soft.levels):
            raise DataError(f"soft mask: expected codes below {len(soft.levels)}, found {codes.max()}; it is damaged")
        values = np.asarray(soft.levels, dtype=np.float64)[codes]
    else:
        values = np.frombuffer(raw, dtype="<f8").astype(np.float64)
    values.flags.writeable = False
    return values.reshape(soft.size)


def cut(soft: SoftMask, threshold: float) -> Mask:
    """Return the mask of the pixels whose probability exceeds `threshold`, compared in single precision."""
    return masks.encode(above(decode(soft), threshold))


def above(probabilities: NDArray[np.floating[Any]], threshold: float) -> NDArray[np.bool_]:
    """Return which probabilities exceed `threshold`: boolean, same shape.

    Both are compared in single precision, as released code does: 0.1 in float32 is not 0.1 in float64.
    """
    return probabilities.astype(np.float32) > np.float32(threshold)


def probabilities(logits: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return the sigmoid of logits as float32 of the same shape; -inf gives 0 and inf gives 1."""
    single = np.asarray(logits, dtype=np.float32)
    # exp of a negative number cannot overflow.
    small = np.exp(-np.abs(single))
    return (np.where(single >= 0, np.float32(1), small) / (np.float32(1) + small)).astype(np.float32)


def _checked(array: Any, where: str) -> NDArray[np.floating[Any]]:
    found = np.asarray(array)
    if found.ndim not in (2, 3):
        raise DataError(f"{where}: expected an array (H, W) or (D, H, W), found shape {found.shape}")
    masks.check_extent(found.shape, where)
    if found.dtype.kind != "f":
        raise DataError(f"{where}: expected floating-point probabilities, found {found.dtype}; a binary mask is a mask")
    low, high = float(found.min()), float(found.max())
    if not isfinite(low):
        raise DataError(f"{where}: expected probabilities, found {int((~np.isfinite(found)).sum())} NaN or infinite")
    if low < 0 or high > 1:
        advice = "apply the sigmoid to logits first"
        raise DataError(f"{where}: expected probabilities in [0, 1], found {low:g} to {high:g}; {advice}")
    return found


@cache
def _edges() -> NDArray[np.float32]:
    """Return the upper ends of all bins but the last, float32 (253,); an end belongs to its bin."""
    most = int(_LARGEST_LOGIT / _LOGIT_STEP)
    logits = np.concatenate(([-_LARGEST_LOGIT], np.arange(-most, most + 1) * _LOGIT_STEP, [_LARGEST_LOGIT]))
    edges = (1 / (1 + np.exp(-logits))).astype(np.float32)
    middle = len(edges) // 2
    for offset, probability in ((-_BINS_PER_CUT, 0.1), (0, 0.5), (_BINS_PER_CUT, 0.9)):
        edges[middle + offset] = probability  # exactly, since a rounding error would move pixels across the threshold
    return edges


def _packed(values: NDArray[Any]) -> str:
    return base64.b64encode(zlib.compress(values.tobytes(), 6)).decode("ascii")


def _unpacked(soft: SoftMask, width: int) -> bytes:
    """Return the raw bytes of a mask with `width` bytes per pixel."""
    expected = prod(soft.size) * width
    try:
        # At most one byte more than expected is inflated, so that damaged data cannot fill the memory.
        inflater = zlib.decompressobj()
        raw = inflater.decompress(base64.b64decode(soft.data, validate=True), expected + 1)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise DataError(f"soft mask: its data are damaged and cannot be unpacked: {error}") from error
    if len(raw) != expected or not inflater.eof:
        found = "more" if len(raw) > expected else f"{len(raw)} bytes of a text that was cut short"
        raise DataError(f"soft mask: expected {expected} bytes for size {tuple(soft.size)}, found {found}")
    return raw
