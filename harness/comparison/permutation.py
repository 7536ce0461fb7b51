"""P values of paired differences: McNemar, sign flips by cluster, and Holm's correction over a family.

The null hypothesis is that the two runs can be exchanged within a cluster (a patient): a draw exchanges all answers of
some clusters, which for a mean is a flip of the sign of their summed differences.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtr
from scipy.stats import binom

from harness.metrics.metric import Floats
from harness.scoring.intervals import MOST_CLUSTERS_PERCENTILE, Estimator, standard_error
from harness.scoring.score_table import Ints

Side = Literal["two-sided", "worse", "better"]

DRAWS = 9_999  # with the observed one 10,000, so that the smallest p value, 0.0001, survives a family of 500
# Every assignment of signs is enumerated up to this number of clusters that differ: 16,384 are no more work than draws.
MOST_CLUSTERS_EXACT = 14
# Draws that equal the observed statistic but for rounding count as equal to it.
ROUNDING = 1e-10
_CHUNK_BYTES = 2**24


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairedSums:
    """One number of two runs before the clusters are added up.

    Attributes:
        a, b: float64 (clusters, k), column sums of either run.
        estimator: Summed columns (..., k) -> the number (...).
        values, counts: Columns of a mean's values and of their counts, to which a margin is added; empty for a
            statistic that is no mean.
        groups: Sizes of runs of clusters that are drawn within themselves; None: all are one group.
        spread: Whether every group has at least two clusters, so that an interval exists.
    """

    a: Floats
    b: Floats
    estimator: Estimator
    values: Sequence[int] = ()
    counts: Sequence[int] = ()
    groups: Sequence[int] | None = None
    spread: bool = True


def estimates(sums: PairedSums) -> tuple[float | None, float | None]:
    """Return the number of either run; None if it is undefined."""
    found = (float(sums.estimator(part.sum(axis=0))) for part in (sums.a, sums.b))
    value_a, value_b = (value if math.isfinite(value) else None for value in found)
    return value_a, value_b


def exact_mcnemar(gain: Floats, cluster: Ints, side: Side = "two-sided") -> tuple[float | None, str]:
    """Return McNemar's exact p value and its name, or (None, `none`) if it does not apply.

    It applies if every cluster is one pair, both runs have a value for it, and the pairs differ by -1, 0 or 1. It is
    then the permutation test over every assignment of signs.

    Args:
        gain: float64 (rows,), b - a with a gain positive; NaN if a run has no value.
        cluster: int64 (rows,).
        side: As for `paired_difference`.
    """
    if not len(gain) or not np.isin(gain, (-1.0, 0.0, 1.0)).all() or len(np.unique(cluster)) < len(cluster):
        return None, "none"
    wins, losses = int((gain > 0).sum()), int((gain < 0).sum())
    differing = wins + losses
    worse, better = (float(binom.cdf(count, differing, 0.5)) for count in (wins, losses))
    return {"worse": worse, "better": better, "two-sided": min(1.0, 2 * min(worse, better))}[side], "mcnemar"


def permutation_p(
    sums: PairedSums,
    *,
    sign: float,
    side: Side = "two-sided",
    margin: float = 0.0,
    task: str = "",
    draws: int = DRAWS,
    error: float | None = None,
) -> tuple[float | None, str]:
    """Return the p value of the sign-flip test by cluster, and its name.

    Every assignment of signs is enumerated where at most 14 clusters differ; otherwise the observed one counts as one
    of the draws, so the p value is never 0 and the test keeps its level. Above 20,000 differing clusters it is the
    normal test with the cluster-robust error. A margin is added to b's values before the flips if the number is a mean;
    the statistic of other numbers is compared with the margin added to it.

    Args:
        sums: The two runs.
        sign: 1 if a higher number is better, else -1.
        side, margin, draws: As for `paired_difference`.
        task: Seeds the draws.
        error: Standard error for the normal test; None: it is computed.
    Returns:
        (None, `none`) if a number is undefined.
    """
    b, extra = sums.b, 0.0
    if margin and sums.values:
        b = b.copy()
        b[:, list(sums.values)] += sign * margin * b[:, list(sums.counts)]
    else:
        extra = margin
    value_a, value_b = estimates(PairedSums(a=sums.a, b=b, estimator=sums.estimator))
    if value_a is None or value_b is None:
        return None, "none"
    observed = sign * (value_b - value_a) + extra
    moves = b - sums.a
    moves = moves[np.any(moves != 0, axis=1)]
    total = sums.a.sum(axis=0) + b.sum(axis=0)
    if len(moves) > MOST_CLUSTERS_PERCENTILE:
        both, k = np.hstack([sums.a, b]), b.shape[1]
        error = error or standard_error(
            both, lambda it: np.asarray(sums.estimator(it[..., k:]) - sums.estimator(it[..., :k]))
        )
        if not error:
            return None, "none"
        worse, better = float(ndtr(observed / error)), float(ndtr(-observed / error))
        return {"worse": worse, "better": better, "two-sided": min(1.0, 2 * min(worse, better))}[side], "normal"

    def statistic(flips: Floats) -> Floats:
        moved = flips @ moves
        difference = sums.estimator((total + moved) / 2) - sums.estimator((total - moved) / 2)
        return np.asarray(sign * difference)

    return sign_flip_p(statistic, len(moves), observed, side=side, task=task, draws=draws, exact=MOST_CLUSTERS_EXACT)


def sign_flip_p(
    statistic: Callable[[Floats], Floats],
    clusters: int,
    observed: float,
    *,
    side: Side,
    task: str,
    draws: int,
    exact: int,
) -> tuple[float, str]:
    """Return the p value of an observed gain among those of flipped signs, and the name of the test.

    Args:
        statistic: Signs, float64 (draws, clusters) of -1 and 1, -> gains (draws,).
        clusters: Number of clusters that differ.
        observed: The gain, with the margin added.
        side, task, draws: As for `permutation_p`.
        exact: Up to this number of clusters every assignment of signs is enumerated.
    """
    tolerance = ROUNDING * max(abs(observed), 1e-3)
    low = high = tried = 0
    whole = clusters <= exact
    for signs in all_signs(clusters) if whole else _drawn_signs(clusters, draws, task):
        gains = statistic(signs)
        # A draw in which the number is undefined counts against any claim.
        low += int((~(gains > observed + tolerance)).sum())
        high += int((~(gains < observed - tolerance)).sum())
        tried += len(gains)
    worse, better = ((count if whole else count + 1) / (tried if whole else tried + 1) for count in (low, high))
    p = {"worse": worse, "better": better, "two-sided": min(1.0, 2 * min(worse, better))}[side]
    return p, "permutation-exact" if whole else "permutation"


def all_signs(clusters: int) -> Iterator[Floats]:
    """Yield one array with every assignment of signs, float64 (2 ** clusters, clusters)."""
    numbers = np.arange(2**clusters)[:, np.newaxis]
    yield (1 - 2 * ((numbers >> np.arange(clusters)) & 1)).astype(np.float64)


def _drawn_signs(clusters: int, draws: int, task: str) -> Iterator[Floats]:
    """Yield signs drawn at random, float64 (draws of this chunk, clusters); the task seeds them."""
    digest = hashlib.sha256(json.dumps([task, "permutation"]).encode()).digest()
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))
    # The bytes of a draw do not depend on the size of the chunks, so neither does the p value.
    width = -(-clusters // 8)
    rows = max(1, _CHUNK_BYTES // (8 * clusters))
    for start in range(0, draws, rows):
        count = min(rows, draws - start)
        bits = np.unpackbits(generator.integers(0, 256, size=(count, width), dtype=np.uint8), axis=1, count=clusters)
        yield 1.0 - 2.0 * bits.astype(np.float64)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return Holm's adjusted p values of one family, in the order given; None stays None and does not count.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979) 65.
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    found: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(known):
        # An adjusted value is never below that of a smaller p value.
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        found[place] = largest
    return found
