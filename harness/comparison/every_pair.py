"""All pairs of several runs at once: the p value of every paired difference of one number, in closed form.

The p value of a pair is that of `harness.comparison.paired` wherever that is exact: McNemar's test where every cluster
is one sample and the answers differ by 0 or 1, and every assignment of signs where at most 14 clusters differ. For all
other pairs it is the large-sample form of the same sign-flip test: the gain over the square root of the summed squares
of what each cluster contributes to it is compared with the normal distribution. Drawn signs, as one comparison takes
them, cannot show a p value below 0.0001, and the pairs of 200 models need less than 0.000003.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import binom

from harness.comparison.permutation import MOST_CLUSTERS_EXACT, ROUNDING, all_signs
from harness.metrics.metric import Floats
from harness.scoring.intervals import Estimator

_CHUNK_BYTES = 2**25


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairTests:
    """Every pair of several runs, tested.

    Attributes:
        first, second: int64 (pairs,), the place of either run.
        gain: float64 (pairs,), the number of the second run minus that of the first; a gain is positive.
        p: float64 (pairs,), two-sided; NaN if the number has no derivative there.
        method: Texts (pairs,): `mcnemar`, `permutation-exact` or `sign-flip-normal`.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    gain: Floats
    p: Floats
    method: NDArray[np.str_]


def every_pair(sums: Floats, estimator: Estimator, *, sign: float, single: bool) -> PairTests:
    """Return the p values of all pairs in closed form; `docs/statistics.md` says how they follow.

    Args:
        sums: float64 (runs, clusters, k), at least two runs.
        estimator: Summed columns (..., k) -> numbers (...).
        sign: 1 if a higher number is better, else -1.
        single: Whether the number is a mean of samples, the columns are its value and count, and every cluster is one
            sample; McNemar's test needs all three.
    """
    runs, clusters, width = sums.shape
    first, second = np.triu_indices(runs, 1)
    totals = sums.sum(axis=1)
    values = estimator(totals)
    gain = sign * (values[second] - values[first])
    p, method = np.empty(len(first)), np.full(len(first), "sign-flip-normal", dtype="<U20")
    wins, losses, applies = _binary_counts(sums, first, second, sign) if single else np.zeros((3, len(first)))
    left = np.flatnonzero(applies == 0)
    half = (totals[first[left]] + totals[second[left]]) / 2
    gradient = sign * _gradient(estimator, half)
    squares = np.empty(len(left))
    few: dict[int, list[tuple[int, Floats]]] = {}
    whole = (sums[:, :, 1] == 1).all(axis=1) if single else np.zeros(runs, dtype=np.bool_)
    rows = max(1, _CHUNK_BYTES // (8 * clusters * width))
    for start in range(0, len(left), rows):
        pairs = left[start : start + rows]
        moves = sums[second[pairs]] - sums[first[pairs]]
        differ = (moves != 0).any(axis=2)
        differing = differ.sum(axis=1)
        squares[start : start + rows] = (np.einsum("pck,pk->pc", moves, gradient[start : start + rows]) ** 2).sum(
            axis=1
        )
        if single:
            gains = sign * moves[:, :, 0]
            wins[pairs], losses[pairs] = (gains == 1).sum(axis=1), (gains == -1).sum(axis=1)
            steps = wins[pairs] + losses[pairs] == differing
            applies[pairs] = steps & whole[first[pairs]] & whole[second[pairs]]
        for place in np.flatnonzero((differing <= MOST_CLUSTERS_EXACT) & (applies[pairs] == 0)):
            few.setdefault(int(differing[place]), []).append((start + int(place), moves[place][differ[place]]))
    with np.errstate(divide="ignore", invalid="ignore"):
        p[left] = np.where(squares == 0, 1.0, 2 * ndtr(-np.abs(gain[left]) / np.sqrt(squares)))
    mcnemar = applies > 0
    least = np.minimum(wins, losses)[mcnemar]
    p[mcnemar] = np.minimum(1.0, 2 * binom.cdf(least, (wins + losses)[mcnemar], 0.5))
    method[mcnemar] = "mcnemar"
    for count, found in few.items():
        places = np.asarray([place for place, _ in found])
        moves = np.stack([moved for _, moved in found])
        p[left[places]] = _all_flips(moves, 2 * half[places], gain[left[places]], estimator, sign, count)
        method[left[places]] = "permutation-exact"
    return PairTests(first=first, second=second, gain=gain, p=p, method=method)


def _binary_counts(sums: Floats, first: NDArray[np.int64], second: NDArray[np.int64], sign: float) -> Floats:
    """Return wins and losses of the second run and whether both runs score every sample 0 or 1, float64 (3, pairs).

    The counts are those of such pairs only; a product of matrices makes them, since they are most of a board's pairs.
    """
    binary = (sums[:, :, 1] == 1).all(axis=1) & np.isin(sums[:, :, 0], (0.0, 1.0)).all(axis=1)
    right = np.where(binary[:, np.newaxis], sums[:, :, 0], 0.0)
    more = right @ (1 - right).T  # (runs, runs), samples that the first scores 1 and the second 0
    wins, losses = more[second, first], more[first, second]
    if sign < 0:
        wins, losses = losses, wins
    return np.stack([wins, losses, (binary[first] & binary[second]).astype(np.float64)])


def _gradient(estimator: Estimator, sums: Floats) -> Floats:
    """Return the derivative of a number by its summed columns, float64 (pairs, k), at the middle of two runs.

    About the middle a flip of all signs is symmetric, so that a linear statistic leaves out no term of even order. The
    steps are those of the standard error of an interval.
    """
    gradient = np.empty_like(sums)
    for column in range(sums.shape[1]):
        step = np.cbrt(np.finfo(np.float64).eps) * np.maximum(np.abs(sums[:, column]), 1.0)
        up, down = sums.copy(), sums.copy()
        up[:, column] += step
        down[:, column] -= step
        gradient[:, column] = (estimator(up) - estimator(down)) / (2 * step)
    return gradient


def _all_flips(moves: Floats, totals: Floats, gain: Floats, estimator: Estimator, sign: float, count: int) -> Floats:
    """Return the p values of pairs in which `count` clusters differ, from every assignment of signs.

    Args:
        moves: float64 (pairs, count, k), the sums of the second run minus those of the first.
        totals: float64 (pairs, k), the sums of both runs together.
        gain: float64 (pairs,), observed.
        estimator, sign: As for `every_pair`.
    """
    signs = next(all_signs(count))
    found = np.empty(len(moves))
    rows = max(1, _CHUNK_BYTES // (8 * len(signs) * moves.shape[2]))
    for start in range(0, len(moves), rows):
        pairs = slice(start, start + rows)
        moved = np.einsum("sc,pck->psk", signs, moves[pairs], optimize=True)
        total = totals[pairs, np.newaxis]
        gains = sign * (estimator((total + moved) / 2) - estimator((total - moved) / 2))
        observed = gain[pairs, np.newaxis]
        tolerance = ROUNDING * np.maximum(np.abs(observed), 1e-3)
        low = (~(gains > observed + tolerance)).sum(axis=1)
        high = (~(gains < observed - tolerance)).sum(axis=1)
        found[pairs] = np.minimum(1.0, 2 * np.minimum(low, high) / len(signs))
    return found
