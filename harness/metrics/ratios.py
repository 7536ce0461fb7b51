"""Ratios of summed stats, as the `combine` of a row needs them."""

import numpy as np

from harness.metrics.row import Floats


def shares(parts: Floats, wholes: Floats, empty: float) -> Floats:
    """Return parts / wholes element by element, and `empty` where the whole is 0."""
    found: Floats = np.divide(parts, wholes, out=np.full(np.shape(parts), empty), where=wholes > 0)
    return found


def mean(sums: Floats) -> Floats:
    """Return the first column / the second, shape (..., 1); undefined where the second is 0."""
    return shares(sums[..., :1], sums[..., 1:], np.nan)
