"""Masks of probabilities: 8 bits a pixel, precise enough for soft Dice, and cut where released code cuts.

A probability is put into one of 254 bins of equal width of its logit between -12 and 12, with one more for what lies
beyond on either side; what is stored for a bin is the mean of its members. So the sum of all probabilities is kept, and
a mask with few different values is kept as it is. The cuts at 0.1, 0.5 and 0.9 fall between two bins.
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

MEDPLIB_CUT = 0.1
"""Probability above which MedPLIB's released evaluation takes a pixel for foreground."""
HALF = 0.5

_LARGEST_LOGIT = 12.0
_BINS_PER_CUT = 23
_LOGIT_STEP = float(np.log(9.0)) / _BINS_PER_CUT  # the logits of 0.1, 0.5 and 0.9 are -ln 9, 0 and ln 9
_MOST_LEVELS = 256
_CHUNK = 2**20

Probabilities = NDArray[np.float64]


def encode(array: Any, *, where: str = "soft mask") -> SoftMask:
    """Return the probabilities in 8 bits each.

    A probability is off by at most 0.024, their sum is not, and neither is a mask of a few different values. Soft Dice
    of masks as models draw them is off by less than 0.002.

    Args:
        array: (H, W) or (D, H, W), floating point, every value in [0, 1]; compared in single precision.
        where: What the messages call it.
    Raises:
        DataError: Another number of axes, another dtype, NaN, a value outside [0, 1], or too large.
    """
    found = _checked(array, where)
    codes, levels = _coded(found.reshape(-1))
    return SoftMask(size=found.shape, levels=levels, data=_packed(codes))


def _coded(values: NDArray[np.floating[Any]]) -> tuple[NDArray[np.uint8], tuple[float, ...]]:
    """Return the code of each value, and the mean of the values of each code."""
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
    """Return the probabilities as they are, in 64 bits each: for a few pairs, not for a run.

    Raises:
        DataError: As `encode`.
    """
    found = _checked(array, where)
    return SoftMask(size=found.shape, data=_packed(found.astype("<f8")))


# The rows of one sample ask for the same mask one after the other.
@lru_cache(maxsize=2)
def decode(soft: SoftMask) -> Probabilities:
    """Return the probabilities as a read-only array (H, W) or (D, H, W).

    Raises:
        DataError: The stored text is damaged or does not fit the size.
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
    """Return the mask of the pixels whose probability is above `threshold`, compared in single precision."""
    return masks.encode(above(decode(soft), threshold))


def above(probabilities: NDArray[np.floating[Any]], threshold: float) -> NDArray[np.bool_]:
    """Return where a probability is above `threshold`, both in single precision, as released code compares them."""
    return probabilities.astype(np.float32) > np.float32(threshold)


def probabilities(logits: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return the sigmoid of logits in single precision; -inf gives 0 and inf 1."""
    single = np.asarray(logits, dtype=np.float32)
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
    """Return the upper ends of the bins but the last, each belonging to its bin."""
    most = int(_LARGEST_LOGIT / _LOGIT_STEP)
    logits = np.concatenate(([-_LARGEST_LOGIT], np.arange(-most, most + 1) * _LOGIT_STEP, [_LARGEST_LOGIT]))
    edges = (1 / (1 + np.exp(-logits))).astype(np.float32)
    middle = len(edges) // 2
    for offset, probability in ((-_BINS_PER_CUT, 0.1), (0, 0.5), (_BINS_PER_CUT, 0.9)):
        edges[middle + offset] = probability  # not a rounding error beside it
    return edges


def _packed(values: NDArray[Any]) -> str:
    return base64.b64encode(zlib.compress(values.tobytes(), 6)).decode("ascii")


def _unpacked(soft: SoftMask, width: int) -> bytes:
    expected = prod(soft.size) * width
    try:
        inflater = zlib.decompressobj()
        raw = inflater.decompress(base64.b64decode(soft.data, validate=True), expected + 1)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise DataError(f"soft mask: its data are damaged and cannot be unpacked: {error}") from error
    if len(raw) != expected or not inflater.eof:
        found = "more" if len(raw) > expected else f"{len(raw)} bytes of a text that was cut short"
        raise DataError(f"soft mask: expected {expected} bytes for size {tuple(soft.size)}, found {found}")
    return raw
