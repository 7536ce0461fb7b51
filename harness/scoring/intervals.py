"""Intervals for means over clustered samples: cluster bootstrap for small tasks, delta method for large ones.

Clusters (patients, studies or images) are resampled. Everything works on per-cluster sums, (clusters, k), and on
estimators that turn summed columns, (..., k), into numbers, (...); so micro, macro and pooled means share one code.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from harness.errors import DataError

Floats = NDArray[np.float64]
Estimator = Callable[[Floats], Floats]  # summed columns, (..., k), -> estimates, (...); NaN if undefined

DRAWS = 2000
LEVEL = 0.95
FEWEST_CLUSTERS = 5  # fewer say too little about their spread
MOST_CLUSTERS_BCA = 2_000  # beyond, BCa's correction is smaller than the noise of the draws
MOST_CLUSTERS_PERCENTILE = 20_000  # beyond, the delta method agrees with the bootstrap without its cost

_TAIL = (1 - LEVEL) / 2
_CHUNK_BYTES = 2**20  # the counts of one chunk of draws stay in a core's cache


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval.

    Attributes:
        bounds: (low, high); None if there is no interval.
        method: `bca`, `percentile`, `delta` or `none`.
    """

    bounds: tuple[float, float] | None
    method: str


NO_INTERVAL = Interval(None, "none")


def bootstrap_seed(task: str, stratum: tuple[str, str] | None = None) -> int:
    """Return the seed that all metrics of a task share, or that of the rows of one (key, value) stratum.

    The seed is the sha256 of the JSON list [task, "bootstrap"], with the key and value of a stratum appended.
    """
    parts = [task, "bootstrap", *(stratum or ())]
    return int.from_bytes(hashlib.sha256(json.dumps(parts).encode()).digest(), "big")


def intervals(
    sums: Floats, estimators: Sequence[Estimator], *, seed: int, groups: Sequence[int] | None = None
) -> list[Interval]:
    """Return one interval per estimator, all from the same draws.

    BCa up to 2,000 clusters, percentile up to 20,000, the cluster-robust delta method above; none with fewer than 5.

    Args:
        sums: float64 (clusters, k), one row per cluster, by ascending cluster name so that draws do not depend on file
            order.
        estimators: Each sees all k columns.
        seed: From `bootstrap_seed`.
        groups: Sizes of runs of rows that are drawn within themselves (strata); None: all rows are one group.
    """
    clusters = len(sums)
    sizes = np.asarray([clusters] if groups is None else groups, dtype=np.int64)
    assert sizes.sum() == clusters, "groups must cover every cluster once"
    if clusters < FEWEST_CLUSTERS:
        return [NO_INTERVAL for _ in estimators]
    if clusters > MOST_CLUSTERS_PERCENTILE:
        return [_delta(sums, estimator, sizes) for estimator in estimators]
    draws = resampled_sums(sums, seed=seed, sizes=sizes)
    if clusters > MOST_CLUSTERS_BCA:
        return [_percentile(estimator(draws)) for estimator in estimators]
    total = sums.sum(axis=0)
    return [_bca(float(estimator(total)), estimator(draws), estimator(total - sums), sizes) for estimator in estimators]


def weight_intervals(
    cluster: NDArray[np.int64],
    estimator: Callable[[Floats], Floats],
    *,
    seed: int,
    groups: Sequence[int] | None = None,
) -> list[Interval]:
    """Return one interval per number of an estimator that needs every sample and not only sums of them.

    BCa up to 2,000 clusters, the percentile method above, none with fewer than 5; the draws are those of `intervals`.

    Args:
        cluster: int64 (samples,), each sample's cluster from 0, clusters by ascending name.
        estimator: Weights of the samples, shape (..., samples), -> numbers, shape (..., numbers); NaN is undefined.
        seed: From `bootstrap_seed`.
        groups: Sizes of runs of clusters that are drawn within themselves (strata); None: all are one group.
    """
    clusters = int(cluster.max()) + 1 if len(cluster) else 0
    sizes = np.asarray([clusters] if groups is None else groups, dtype=np.int64)
    estimates = estimator(np.ones(len(cluster)))
    if clusters < FEWEST_CLUSTERS:
        return [NO_INTERVAL for _ in estimates]
    counts = _cluster_counts(sizes, seed, DRAWS, _CHUNK_BYTES)
    draws = np.concatenate([estimator(chunk[:, cluster]) for chunk in counts])
    if clusters > MOST_CLUSTERS_BCA:
        return [_percentile(column) for column in draws.T]
    rows = max(1, _CHUNK_BYTES // (8 * max(1, len(cluster))))
    starts = range(0, clusters, rows)
    without = np.concatenate(
        [
            estimator((cluster != np.arange(start, min(start + rows, clusters))[:, np.newaxis]).astype(np.float64))
            for start in starts
        ]
    )
    return [
        _bca(float(estimate), draws[:, number], without[:, number], sizes) for number, estimate in enumerate(estimates)
    ]


def resampled_sums(
    sums: Floats, *, seed: int, sizes: NDArray[np.int64], draws: int = DRAWS, chunk_bytes: int = _CHUNK_BYTES
) -> Floats:
    """Return the column sums of `draws` resamples with replacement, float64 (draws, k).

    Each draw takes as many clusters as there are, group by group of `sizes`.

    Args:
        sums: float64 (clusters, k).
        seed: From `bootstrap_seed`.
        sizes: int64 (groups,), clusters per group.
        draws: Number of resamples.
        chunk_bytes: About a quarter of the memory needed beside the result, one draw at least; the clusters drawn do
            not depend on it.
    """
    columns = np.ascontiguousarray(sums.T, dtype=np.float64)
    # einsum without BLAS: the order of additions, and so the last bit, is the same for any number of threads
    chunks = [
        np.stack([np.einsum("dc,c->d", counts, column) for column in columns], axis=1)
        for counts in _cluster_counts(sizes, seed, draws, chunk_bytes)
    ]
    return np.concatenate(chunks)


def _cluster_counts(sizes: NDArray[np.int64], seed: int, draws: int, chunk_bytes: int) -> Iterator[Floats]:
    """Yield how often each cluster is drawn, float64 (draws of this chunk, clusters). Arguments as `resampled_sums`."""
    generator = np.random.Generator(np.random.PCG64(seed))
    clusters = int(sizes.sum())
    ends = np.cumsum(sizes)
    low: int | NDArray[np.int64] = 0
    high: int | NDArray[np.int64] = clusters
    if len(sizes) > 1:
        low, high = np.repeat(ends - sizes, sizes), np.repeat(ends, sizes)
    rows = max(1, chunk_bytes // (8 * clusters))
    for start in range(0, draws, rows):
        count = min(rows, draws - start)
        drawn = generator.integers(low, high, size=(count, clusters))
        drawn += np.arange(count)[:, np.newaxis] * clusters
        counted = np.bincount(drawn.ravel(), minlength=count * clusters)
        yield counted.reshape(count, clusters).astype(np.float64)


def _percentile(draws: Floats, low: float = _TAIL, high: float = 1 - _TAIL, method: str = "percentile") -> Interval:
    """Return two quantiles of the draws that are defined; none if fewer than half are."""
    defined = draws[np.isfinite(draws)]
    if 2 * len(defined) < len(draws):
        return NO_INTERVAL
    bounds = np.quantile(defined, [low, high])
    return Interval((float(bounds[0]), float(bounds[1])), method)


def _bca(estimate: float, draws: Floats, without: Floats, sizes: NDArray[np.int64]) -> Interval:
    """Return the bias-corrected and accelerated interval; the percentile one if its correction does not exist.

    The correction does not exist if all draws lie on one side of the estimate, none differs from it, or no cluster
    moves it.

    Args:
        estimate: From all clusters.
        draws: float64 (draws,), the estimate of each resample.
        without: float64 (clusters,), the estimate without each cluster.
        sizes: int64 (groups,), clusters per group.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 14.
    """
    defined = draws[np.isfinite(draws)]
    if 2 * len(defined) < len(draws) or not math.isfinite(estimate):
        return NO_INTERVAL
    # Draws equal to the estimate count half, as scores of 0 and 1 give many of them.
    below = float(np.mean(defined < estimate) + np.mean(defined <= estimate)) / 2
    acceleration = _acceleration(without, sizes)
    if not 0 < below < 1 or acceleration is None:
        return _percentile(draws)
    bias = float(ndtri(below))
    # |acceleration| <= 1/6, and 2,000 draws keep |bias + tail| below 6: the denominator is positive
    shifted = (bias + float(ndtri(tail)) for tail in (_TAIL, 1 - _TAIL))
    low, high = (float(ndtr(bias + shift / (1 - acceleration * shift))) for shift in shifted)
    return _percentile(draws, low, high, "bca")


def _acceleration(without: Floats, sizes: NDArray[np.int64]) -> float | None:
    """Return BCa's acceleration from the estimates that leave out one cluster; None if they do not differ.

    With several groups it is the several-sample form of Efron and Tibshirani, weighted by group size. A cluster
    without which the estimate is undefined does not count.
    """
    group = np.repeat(np.arange(len(sizes)), sizes)
    defined = np.isfinite(without)
    counted = np.bincount(group[defined], minlength=len(sizes))
    total = np.bincount(group[defined], without[defined], minlength=len(sizes))
    centre = np.divide(total, counted, out=np.zeros(len(sizes)), where=counted > 0)
    spread = np.where(defined, centre[group] - np.where(defined, without, 0.0), 0.0)
    influence = (sizes[group] - 1) / sizes[group] * spread
    largest = float(np.max(np.abs(influence)))
    if largest <= 1e-14 * float(np.max(np.abs(centre))):  # no more than rounding
        return None
    influence = influence / largest  # the ratio below is free of scale, and cubes of tiny numbers would underflow
    return float(np.sum(influence**3) / (6 * np.sum(influence**2) ** 1.5))


def standard_error(sums: Floats, estimator: Estimator, groups: Sequence[int] | None = None) -> float | None:
    """Return the cluster-robust standard error of the linearised estimator; None if it has no derivative here.

    Args:
        sums: float64 (clusters, k).
        estimator: Sees all k columns.
        groups: Sizes of runs of rows that are sampled within themselves (strata); None: all rows are one group.
    """
    sizes = np.asarray([len(sums)] if groups is None else groups, dtype=np.int64)
    totals = sums.sum(axis=0)
    # Central differences; a step of the cube root of epsilon balances their truncation and rounding errors.
    steps = np.cbrt(np.finfo(np.float64).eps) * np.maximum(np.abs(totals), 1.0)
    moves = np.diag(steps)
    gradient = np.asarray((estimator(totals + moves) - estimator(totals - moves)) / (2 * steps), dtype=np.float64)
    if not np.all(np.isfinite(gradient)):
        return None
    influence = np.einsum("ck,k->c", sums, gradient)
    group = np.repeat(np.arange(len(sizes)), sizes)
    centre = np.bincount(group, influence) / sizes
    squares = np.bincount(group, (influence - centre[group]) ** 2)
    return math.sqrt(float(np.sum(squares * sizes / np.maximum(sizes - 1, 1))))


def _delta(sums: Floats, estimator: Estimator, sizes: NDArray[np.int64]) -> Interval:
    """Return the normal interval with the cluster-robust standard error of the linearised estimator."""
    estimate = float(estimator(sums.sum(axis=0)))
    error = standard_error(sums, estimator, [int(size) for size in sizes])
    if not math.isfinite(estimate) or error is None:
        return NO_INTERVAL
    margin = float(ndtri(1 - _TAIL)) * error
    return Interval((estimate - margin, estimate + margin), "delta")


def wilson_interval(successes: float, n: float) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a share, for published accuracies without per-sample scores.

    Args:
        successes: Number of right answers, 0 <= successes <= n; a printed accuracy times n need not be whole.
        n: Number of samples, > 0.
    Raises:
        DataError: The two do not describe a share.
    Source: Wilson, JASA 22 (1927) 209.
    """
    if not 0 <= successes <= n or n <= 0:
        raise DataError(
            f"wilson_interval: expected 0 <= successes <= n and n > 0, got successes {successes} and n {n}; "
            "give counts, not a percentage"
        )
    share, z = successes / n, float(ndtri(1 - _TAIL))
    scale = 1 + z**2 / n
    centre = (share + z**2 / (2 * n)) / scale
    margin = z / scale * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return max(0.0, centre - margin), min(1.0, centre + margin)
