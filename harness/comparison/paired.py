"""The difference between two runs on the same samples: estimate, interval, p value, effect and detectable effect.

Everything works on sums over clusters (patients), float64 (clusters, k), and on the estimators of
`harness.scoring.intervals` that turn summed columns into a number.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtri

from harness.comparison.pairing import PairedScores
from harness.comparison.permutation import DRAWS, ROUNDING, PairedSums, Side, estimates, exact_mcnemar, permutation_p
from harness.comparison.pooled import DRAWS_POOLED, pooled_numbers
from harness.errors import SpecError
from harness.metrics.metric import Floats, Metric
from harness.scoring.intervals import FEWEST_CLUSTERS, NO_INTERVAL, bootstrap_seed, intervals, standard_error
from harness.scoring.score_table import NO_STRATUM, Ints

Mean = Literal["micro", "macro", "pooled"]

POWER, LEVEL = 0.90, 0.05  # of the detectable effect


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """The difference b - a of one number of two runs, over the samples that both have.

    Attributes:
        value_a, value_b: The number in either run, in the metric's unit; None if it is undefined.
        difference: value_b - value_a; None if one is undefined.
        ci: (low, high), the 95 % interval of the difference; None with fewer than 5 clusters.
        ci_method: `bca`, `percentile`, `delta` or `none`.
        p: P value; None if the difference is undefined.
        p_method: `mcnemar` (exact binomial), `permutation-exact`, `permutation`, `normal` (more than 20,000 clusters
            differ) or `none`.
        higher_is_better: Direction of the number: where False, a positive difference is a loss.
        n: Number of pairs with a value in at least one run.
        clusters: Number of clusters with such a pair.
        n_a, n_b: Number of samples in the mean of either run.
        wins, ties, losses: Pairs in which b is better, equal, or worse, by their own values.
        unpaired: Pairs with a value in one run only, as Dice has where one run rightly finds nothing.
        standard_error: Cluster-robust, of the difference; None if it has none.
        effect_size: The difference in standard deviations of a cluster's contribution to it; None if nothing differs.
        detectable: The smallest true difference that a two-sided test at 5 % sees in 90 % of such comparisons; None
            with fewer than 5 clusters.
    """

    value_a: float | None
    value_b: float | None
    difference: float | None
    ci: tuple[float, float] | None
    ci_method: str
    p: float | None
    p_method: str
    higher_is_better: bool
    n: int
    clusters: int
    n_a: int
    n_b: int
    wins: int
    ties: int
    losses: int
    unpaired: int
    standard_error: float | None
    effect_size: float | None
    detectable: float | None

    @property
    def improvement(self) -> float | None:
        """The difference with the sign that makes a gain positive."""
        if self.difference is None:
            return None
        return self.difference if self.higher_is_better else -self.difference


def paired_difference(
    paired: PairedScores,
    metric: Metric | None,
    *,
    task: str,
    name: int,
    mean: Mean,
    higher_is_better: bool,
    over: str | None = None,
    stratum: tuple[str, str] | None = None,
    side: Side = "two-sided",
    margin: float = 0.0,
    draws: int = DRAWS,
) -> PairedDifference:
    """Return the difference of one row of `results.json` between two runs.

    A sample counts in the mean of a run if it has a value there, so that the difference is that of the two numbers of
    `results.json` if both runs have the same samples.

    Args:
        paired: The scores of the row's metric and protocol.
        metric: Its row of the table; only pooled means need it.
        task: Seeds the draws, with the stratum.
        name: Which of the metric's values.
        mean: Of the row.
        higher_is_better: Of the row.
        over: Stratum key of a macro mean.
        stratum: (key, value) of a row of a stratum.
        side: `two-sided`; `worse`: a small p value shows that b is worse than a by more than `margin`; `better`: that
            b is not worse than a by `margin` or more.
        margin: In the metric's unit, >= 0; for `two-sided` 0.
        draws: Of the permutation test.
    Raises:
        SpecError: A pooled mean of a metric whose code is not at hand, or a stratum that no common sample has.
    """
    if mean == "macro" and stratum is None:
        assert over is not None, "a macro mean is over a stratum key"
    rows = paired.rows_of(stratum)
    if stratum is not None and not len(rows):
        names, _ = paired.strata.get(stratum[0], ([NO_STRATUM], None))
        raise SpecError(
            f"{task}: no sample of both runs has {stratum[0]} '{stratum[1]}'; expected one of {', '.join(names)}"
        )
    sign = 1.0 if higher_is_better else -1.0
    seed = bootstrap_seed(task, stratum)
    if mean == "pooled" and metric is None:
        raise SpecError(
            f"{task}: a pooled mean of a task's own metric cannot be compared without its code; "
            "name the folder of the task file by --task-path"
        )
    counted_a, counted_b = (
        (paired.scored_a[rows], paired.scored_b[rows])
        if mean == "pooled"
        else (~np.isnan(paired.values_a[rows, name]), ~np.isnan(paired.values_b[rows, name]))
    )
    either = counted_a | counted_b
    cluster = paired.cluster[rows]
    supported = len(np.unique(cluster[either]))
    gain = sign * (paired.values_b[rows, name] - paired.values_a[rows, name])
    if mean == "pooled" and metric is not None and metric.pool is not None:
        numbers = pooled_numbers(
            paired,
            metric,
            rows,
            name,
            seed,
            sign=sign,
            side=side,
            margin=margin,
            task=task,
            draws=min(draws, DRAWS_POOLED),
        )
    else:
        sums = paired_sums(paired, metric, rows, name=name, mean=mean, over=over)
        found = estimates(sums)
        interval, error = NO_INTERVAL, None
        if supported >= FEWEST_CLUSTERS and sums.spread:
            both, k = np.hstack([sums.a, sums.b]), sums.a.shape[1]
            estimator = sums.estimator

            def difference_of(totals: Floats) -> Floats:
                return np.asarray(estimator(totals[..., k:]) - estimator(totals[..., :k]))

            (interval,) = intervals(both, [difference_of], seed=seed, groups=sums.groups)
            error = standard_error(both, difference_of, sums.groups)
        p, method = exact_mcnemar(gain, cluster, side) if mean == "micro" and margin == 0.0 else (None, "none")
        if p is None and None not in found:
            p, method = permutation_p(sums, sign=sign, side=side, margin=margin, task=task, draws=draws, error=error)
        numbers = (*found, interval, error, p, method)
    value_a, value_b, interval, error, p, method = numbers
    difference = None if value_a is None or value_b is None else value_b - value_a
    measured = difference is not None and supported >= FEWEST_CLUSTERS
    spread = error if measured and error is not None and error > ROUNDING * max(1.0, abs(value_a or 0.0)) else None
    return PairedDifference(
        value_a=value_a,
        value_b=value_b,
        difference=difference,
        ci=interval.bounds if measured else None,
        ci_method=interval.method if measured else "none",
        p=None if difference is None else p,
        p_method="none" if difference is None else method,
        higher_is_better=higher_is_better,
        n=int(either.sum()),
        clusters=supported,
        n_a=int(counted_a.sum()),
        n_b=int(counted_b.sum()),
        wins=int((gain > 0).sum()),
        ties=int((gain == 0).sum()),
        losses=int((gain < 0).sum()),
        unpaired=int((counted_a != counted_b).sum()),
        standard_error=error if measured else None,
        effect_size=None if spread is None or difference is None else difference / (spread * math.sqrt(supported)),
        detectable=(float(ndtri(1 - LEVEL / 2)) + float(ndtri(POWER))) * error
        if measured and error is not None
        else None,
    )


def paired_sums(
    paired: PairedScores, metric: Metric | None, rows: Ints, *, name: int, mean: Mean, over: str | None = None
) -> PairedSums:
    """Return the sums by cluster of a row of `results.json` in two runs. Arguments as `paired_difference`."""
    _, cluster = np.unique(paired.cluster[rows], return_inverse=True)
    clusters = int(cluster.max()) + 1 if len(cluster) else 0
    if mean == "pooled":
        assert metric is not None
        combine = metric.combine
        a, b = (_sums(cluster, clusters, stats[rows]) for stats in (paired.stats_a, paired.stats_b))
        return PairedSums(a=a, b=b, estimator=lambda sums: np.asarray(combine(sums)[..., name]))
    columns_a, columns_b = (_with_count(values[rows, name]) for values in (paired.values_a, paired.values_b))
    if mean == "micro" or over is None:
        a, b = _sums(cluster, clusters, columns_a), _sums(cluster, clusters, columns_b)
        return PairedSums(a=a, b=b, estimator=_ratio, values=(0,), counts=(1,))
    strata, index = paired.strata.get(over, ([NO_STRATUM], np.zeros(len(paired.cluster), dtype=np.int64)))
    index, parts = index[rows], len(strata)
    pair, place = np.unique(index * clusters + cluster, return_inverse=True)
    sizes = np.bincount(pair // max(clusters, 1), minlength=parts)
    spans = len(pair) > clusters
    # Clusters are drawn inside each stratum if none spans strata, else whole, as for the mean itself.
    if spans:
        place = cluster
    count = clusters if spans else len(pair)
    a, b = np.zeros((count, 2 * parts)), np.zeros((count, 2 * parts))
    for sums, columns in ((a, columns_a), (b, columns_b)):
        for column in range(2):
            flat = np.bincount(place * parts + index, columns[:, column], minlength=count * parts)
            sums[:, column::2] = flat.reshape(count, parts)
    return PairedSums(
        a=a,
        b=b,
        estimator=lambda sums: np.asarray(_ratio(sums.reshape(*sums.shape[:-1], parts, 2)).mean(axis=-1)),
        values=tuple(range(0, 2 * parts, 2)),
        counts=tuple(range(1, 2 * parts, 2)),
        groups=None if spans or parts == 1 else [int(size) for size in sizes],
        spread=spans or parts == 1 or int(sizes.min()) >= 2,
    )


def _with_count(values: Floats) -> Floats:
    """Return float64 (rows, 2): each value, 0 if undefined, and 1 for a defined one."""
    defined = ~np.isnan(values)
    return np.stack([np.where(defined, values, 0.0), defined.astype(np.float64)], axis=1)


def _sums(cluster: Ints, clusters: int, columns: Floats) -> Floats:
    """Return float64 (clusters, columns), the column sums of each cluster."""
    if not columns.shape[1]:
        return np.zeros((clusters, 0))
    return np.stack([np.bincount(cluster, column, minlength=clusters) for column in columns.T], axis=1)


def _ratio(sums: Floats) -> Floats:
    """Return the mean from summed values and their count, (..., 2) -> (...); NaN without any."""
    parts, wholes = sums[..., 0], sums[..., 1]
    found: Floats = np.divide(parts, wholes, out=np.full(np.shape(parts), np.nan), where=wholes > 0)
    return found
