"""Ratios of summed stats, as the `combine` of a row needs them, and the stats of samples that score nothing."""

import numpy as np

from harness.metrics.metric import Floats, Stats
from harness.records import Sample

MISS: Stats = (0.0, 1.0)  # a sample that counts, with the value 0
UNCOUNTED: Stats = (0.0, 0.0)  # a sample to which no answer could be right; it leaves the mean


def shares(parts: Floats, wholes: Floats, empty: float) -> Floats:
    """Return parts / wholes element by element, and `empty` where the whole is 0.

    Args:
        parts: Any shape, float64.
        wholes: A shape that broadcasts to that of `parts`, none negative.
        empty: Value of a share of nothing; NaN for undefined.
    Returns:
        The shape of `parts`.
    """
    # `where` leaves the zero wholes out of the division, so numpy warns of none; warnings are errors in the tests.
    found: Floats = np.divide(parts, wholes, out=np.full(np.shape(parts), empty), where=wholes > 0)
    return found


def ratio(sums: Floats) -> Floats:
    """Return all columns but the last divided by the last, shape (..., n + 1) -> (..., n); NaN where that is 0."""
    return shares(sums[..., :-1], sums[..., -1:], np.nan)


def f1_precision_recall(shared: Floats, found: Floats, wanted: Floats) -> Floats:
    """Return 2 shared / (found + wanted), shared / found and shared / wanted, shape (...) -> (..., 3).

    Each lies in [0, 1]. A share of nothing is 0; if nothing is found and nothing wanted, all three are NaN.
    """
    whole = (found + wanted)[..., np.newaxis]
    sides = [shares(2 * shared, found + wanted, 0.0), shares(shared, found, 0.0), shares(shared, wanted, 0.0)]
    return np.where(whole > 0, np.stack(sides, axis=-1), np.nan)


def miss_if_answered(sample: Sample) -> Stats:
    """Return the stats of a reply that scores nothing; a sample without an answer to compare with does not count."""
    return MISS if sample.target.answers else UNCOUNTED
