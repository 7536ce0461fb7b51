"""Agreement of two raters, or of many: accuracy, Cohen's kappa, Krippendorff's alpha, Spearman's rank correlation.

Every statistic takes weights of the samples, shape (..., samples), and returns numbers, shape (...), NaN where it is
undefined; so one code gives the value (all weights 1), the draws of a cluster bootstrap (how often each sample was
drawn) and the values without one cluster. A weight counts a sample that many times.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.scoring.intervals import Floats

Ints = NDArray[np.int64]
Level = Literal["nominal", "ordinal", "interval"]
Weights = Literal["none", "linear", "quadratic"]

# Sums of squares carry rounding errors of this share; a smaller spread than that is none.
_ROUNDING = 1e-12


def accuracy(weights: Floats, first: Floats, second: Floats) -> Floats:
    """Return the share of samples to which both raters give one label; undefined without samples.

    Args:
        weights: float64 (..., samples), >= 0.
        first, second: float64 (samples,), the raters' labels as numbers.
    """
    return _ratio(weights @ (first == second).astype(np.float64), weights.sum(axis=-1))


def kappa(weights: Floats, first: Floats, second: Floats, *, weighted: Weights = "none") -> Floats:
    """Return Cohen's kappa, 1 - observed / expected disagreement, at most 1.

    It is undefined if no disagreement is expected: both raters give one and the same label to every sample. If only
    one of them does, it is 0.

    Args:
        weights: float64 (..., samples), >= 0.
        first, second: float64 (samples,), the raters' labels as numbers.
        weighted: Size of a disagreement: `none`, 1; `linear`, the distance of the labels; `quadratic`, its square.
    Source: Cohen, Educ. Psychol. Meas. 20 (1960) 37; Psychol. Bull. 70 (1968) 213.
    """
    total = weights.sum(axis=-1)
    values = np.unique(np.concatenate([first, second]))
    if weighted == "quadratic":
        centre = values.mean() if len(values) else 0.0  # near zero, squares lose no digits
        one, two = first - centre, second - centre
        observed = _ratio(weights @ (one - two) ** 2, total)
        means = _ratio(weights @ one, total), _ratio(weights @ two, total)
        squares = _ratio(weights @ (one**2 + two**2), total)
        return _chance_corrected(observed, squares - 2 * means[0] * means[1], squares)
    sums = [_sums_by_value(weights, np.searchsorted(values, labels), len(values)) for labels in (first, second)]
    shares = [_ratio(column, total[..., np.newaxis]) for column in sums]
    if weighted == "none":
        observed = 1.0 - _ratio(weights @ (first == second).astype(np.float64), total)
        return _chance_corrected(observed, 1.0 - (shares[0] * shares[1]).sum(axis=-1), np.ones_like(total))
    observed = _ratio(weights @ np.abs(first - second), total)
    # E|a - b| of independent a and b is the integral of F (1 - G) + G (1 - F) over their distribution functions.
    below = [np.cumsum(share, axis=-1)[..., :-1] for share in shares]
    expected = ((below[0] * (1 - below[1]) + below[1] * (1 - below[0])) * np.diff(values)).sum(axis=-1)
    return _chance_corrected(observed, expected, np.full_like(total, float(np.ptp(values)) if len(values) else 0.0))


def alpha(weights: Floats, unit: Ints, value: Floats, *, level: Level) -> Floats:
    """Return Krippendorff's alpha of any number of raters, who need not rate every unit; at most 1.

    Units with one rating pair with nothing and are left out. It is undefined if all paired ratings have one value.

    Args:
        weights: float64 (..., units), >= 0: a unit counts with all of its ratings.
        unit: int64 (ratings,), the unit of each rating from 0; each unit number < units.
        value: float64 (ratings,), the ratings as numbers.
        level: What counts as disagreement: `nominal`, another value; `ordinal`, the ranks between; `interval`, the
            square of the difference.
    Source: Krippendorff, Content Analysis, 2004, chapter 11.
    """
    units = weights.shape[-1]
    raters = np.bincount(unit, minlength=units)
    paired = raters[unit] > 1
    unit, value = unit[paired], value[paired]
    values, place = np.unique(value, return_inverse=True)
    rated = weights[..., unit]
    total = rated.sum(axis=-1)
    counts = _sums_by_value(rated, place, len(values))
    others = raters[unit] - 1.0
    if level == "nominal":
        cell = unit * max(1, len(values)) + place
        alike = np.bincount(cell, minlength=units * len(values))[cell] if len(cell) else np.zeros(0)
        observed = (rated * ((raters[unit] - alike) / others)).sum(axis=-1)
        expected = _ratio(total**2 - (counts**2).sum(axis=-1), total - 1)
        return _chance_corrected(observed, expected, total)
    if level == "interval":
        position = np.broadcast_to(values - (values.mean() if len(values) else 0.0), counts.shape)
    else:
        # The distance of two ranks is the number of ratings between them, half of their own included: that of midranks.
        position = np.cumsum(counts, axis=-1) - counts / 2 - total[..., np.newaxis] / 2
    first, second = (counts * position).sum(axis=-1), (counts * position**2).sum(axis=-1)
    own = position[..., place]
    in_unit = _sums_by_value(own, unit, units)
    squares = _sums_by_value(own**2, unit, units)
    spread = np.maximum(raters * squares - in_unit**2, 0.0)
    pairs = np.divide(spread, raters - 1, out=np.zeros_like(spread), where=np.broadcast_to(raters > 1, spread.shape))
    observed = (weights * pairs).sum(axis=-1)
    expected = _ratio(total * second - first**2, total - 1)
    return _chance_corrected(observed, expected, second)


def spearman(weights: Floats, first: Floats, second: Floats) -> Floats:
    """Return the correlation of midranks, in [-1, 1]; undefined if a side has one value only.

    Args:
        weights: float64 (..., samples), >= 0.
        first, second: float64 (samples,).
    Source: Spearman, Am. J. Psychol. 15 (1904) 72; ties share the mean of their ranks.
    """
    total = weights.sum(axis=-1)
    ranks = []
    for side in (first, second):
        values, place = np.unique(side, return_inverse=True)
        counts = _sums_by_value(weights, place, len(values))
        # Midranks of a sample of total weight n have the mean n / 2.
        ranks.append((np.cumsum(counts, axis=-1) - counts / 2)[..., place] - total[..., np.newaxis] / 2)
    one, two = ((weights * rank**2).sum(axis=-1) for rank in ranks)
    both = (weights * ranks[0] * ranks[1]).sum(axis=-1)
    # Half a rank is the smallest distance of two values that differ.
    defined = (one > _ROUNDING * total**3) & (two > _ROUNDING * total**3)
    size = np.sqrt(np.where(defined, one * two, 1.0))
    return np.where(defined, np.clip(both / size, -1.0, 1.0), np.nan)


def mean_difference(weights: Floats, first: Floats, second: Floats) -> Floats:
    """Return the mean of `first - second`; undefined without samples. Arguments as `spearman`."""
    return _ratio(weights @ (first - second), weights.sum(axis=-1))


def difference_of_means(weights: Floats, value: Floats, upper: NDArray[np.bool_]) -> Floats:
    """Return the mean of `value` over the samples of `upper`, less that over the others.

    Undefined if a side has no sample.

    Args:
        weights: float64 (..., samples), >= 0.
        value: float64 (samples,).
        upper: bool (samples,).
    """
    high, low = upper.astype(np.float64), (~upper).astype(np.float64)
    return _ratio(weights @ (value * high), weights @ high) - _ratio(weights @ (value * low), weights @ low)


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Return part / whole, NaN where the whole is not positive."""
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    found: Floats = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return found


def _chance_corrected(observed: Floats, expected: Floats, scale: Floats) -> Floats:
    """Return 1 - observed / expected; NaN where less is expected than rounding leaves of sums as large as `scale`."""
    observed, expected = np.asarray(observed, np.float64), np.asarray(expected, np.float64)
    defined = expected > _ROUNDING * np.abs(scale)
    share: Floats = np.divide(observed, expected, out=np.full(expected.shape, np.nan), where=defined)
    return 1.0 - share


def _sums_by_value(weights: Floats, place: Ints, values: int) -> Floats:
    """Return float64 (..., values): the weights (..., items) summed over the items of each place; 0 without items."""
    found = np.zeros((*weights.shape[:-1], values))
    if len(place):
        order = np.argsort(place, kind="stable")
        present, starts = np.unique(place[order], return_index=True)
        found[..., present] = np.add.reduceat(weights[..., order], starts, axis=-1)
    return found
