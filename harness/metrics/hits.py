"""Stats of scores that are means over samples: what a sample is worth, and that it counts."""

import numpy as np

from harness.metrics.row import Floats, Stats

MISS: Stats = (0.0, 1.0)
"""A sample that counts and is worth nothing."""
UNCOUNTED: Stats = (0.0, 0.0)
"""A sample that no answer could be right on."""


def mean_worth(sums: Floats) -> Floats:
    """Return summed worth / number of samples, shape (..., 2) -> (..., 1); NaN of no samples."""
    worth, samples = sums[..., :1], sums[..., 1:]
    means: Floats = np.divide(worth, samples, out=np.full(np.shape(worth), np.nan), where=samples > 0)
    return means
