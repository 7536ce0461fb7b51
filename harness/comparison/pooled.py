"""The difference of a statistic that ranks every sample anew, such as average precision: no sums by cluster hold it."""

import math

import numpy as np
from scipy.special import ndtri

from harness.comparison.pairing import PairedScores
from harness.comparison.permutation import Side, sign_flip_p
from harness.metrics.metric import Floats, Metric, Stats
from harness.scoring.intervals import (
    FEWEST_CLUSTERS,
    LEVEL,
    MOST_CLUSTERS_BCA,
    NO_INTERVAL,
    Interval,
    weight_intervals,
)
from harness.scoring.score_table import Ints

# All samples are ranked in each draw, so there are fewer of them; the smallest p value is 0.001.
DRAWS_POOLED, MOST_CLUSTERS_EXACT_POOLED = 999, 9


def pooled_numbers(
    paired: PairedScores,
    metric: Metric,
    rows: Ints,
    name: int,
    seed: int,
    *,
    sign: float,
    side: Side,
    margin: float,
    task: str,
    draws: int,
) -> tuple[float | None, float | None, Interval, float | None, float | None, str]:
    """Return values, interval, standard error, p value and its method for a statistic that ranks every sample.

    The samples of both runs stand side by side, in the order of their ids, and a weight of 0 or 1 picks either; so an
    exchange within a cluster is another choice of weights. Arguments as `paired_difference`.
    """
    pool = metric.pool
    assert pool is not None
    ids = paired.sample_ids.to_pylist()
    rows = np.asarray(sorted(rows.tolist(), key=lambda row: (ids[row], paired.repeat[row])), dtype=np.int64)
    in_a, in_b = paired.scored_a[rows], paired.scored_b[rows]
    stats_a = [paired.lists_a[row] for row in rows[in_a]]
    stats_b = [paired.lists_b[row] for row in rows[in_b]]
    if not stats_a or not stats_b:
        return None, None, NO_INTERVAL, None, None, "none"

    def values_of(weights: Floats) -> Floats:
        """Weights of the samples, (..., rows), -> (..., 2), the number of a and of b."""
        found = [pool(stats, weights[..., which])[..., name] for stats, which in ((stats_a, in_a), (stats_b, in_b))]
        return np.stack(found, axis=-1)

    _, cluster = np.unique(paired.cluster[rows], return_inverse=True)
    value_a, value_b = (float(value) if np.isfinite(value) else None for value in values_of(np.ones(len(rows))))
    if value_a is None or value_b is None:
        return value_a, value_b, NO_INTERVAL, None, None, "none"

    def difference_of(weights: Floats) -> Floats:
        both = values_of(weights)
        return both[..., 1:] - both[..., :1]

    (interval,) = weight_intervals(cluster, difference_of, seed=seed)
    clusters = int(cluster.max()) + 1
    # The jackknife, since a ranking has no derivative; beyond 2,000 clusters it costs too much, and the width of the
    # interval stands in for it.
    error: float | None = None
    if FEWEST_CLUSTERS <= clusters <= MOST_CLUSTERS_BCA:
        without = np.asarray([difference_of((cluster != left).astype(np.float64))[0] for left in range(clusters)])
        centred = without[np.isfinite(without)] - np.nanmean(without)
        error = math.sqrt((clusters - 1) / clusters * float(np.sum(centred**2)))
    elif interval.bounds is not None:
        error = (interval.bounds[1] - interval.bounds[0]) / (2 * float(ndtri(0.5 + LEVEL / 2)))
    mixed: list[Stats] = []
    places: list[int] = []
    from_b: list[bool] = []
    for place, row in enumerate(rows):
        for lists, scored, is_b in (
            (paired.lists_a, paired.scored_a, False),
            (paired.lists_b, paired.scored_b, True),
        ):
            if scored[row]:
                mixed.append(lists[row])
                places.append(cluster[place])
                from_b.append(is_b)
    differing = np.unique(
        [cluster[place] for place, row in enumerate(rows) if paired.lists_a[row] != paired.lists_b[row]]
    )
    column = np.searchsorted(differing, places)
    moved = np.isin(places, differing)
    second = np.asarray(from_b)

    def statistic(signs: Floats) -> Floats:
        as_b = np.broadcast_to(second, (len(signs), len(second))).copy()
        as_b[:, moved] ^= signs[:, column[moved]] < 0
        found = pool(mixed, as_b.astype(np.float64)) - pool(mixed, (~as_b).astype(np.float64))
        return np.asarray(sign * found[..., name])

    observed = sign * (value_b - value_a) + margin
    p, method = sign_flip_p(
        statistic, len(differing), observed, side=side, task=task, draws=draws, exact=MOST_CLUSTERS_EXACT_POOLED
    )
    return value_a, value_b, interval, error, p, method
