"""Scores -> Results: micro, macro and pooled means with intervals and counts, one row per number of `results.json`."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.metrics.metric import Floats, Metric
from harness.records import Json, Result, Score
from harness.scoring.intervals import (
    FEWEST_CLUSTERS,
    NO_INTERVAL,
    Estimator,
    Interval,
    bootstrap_seed,
    intervals,
    weight_intervals,
)
from harness.scoring.score_table import Flags, Ints, ScoreTable, clusters_by_stratum, read_columns, rows_by_stratum

_NO_VALUE = "no sample has a defined value"


def aggregate(
    task_name: str,
    metric: Metric,
    scores: Iterable[Score],
    *,
    strata: Sequence[str],
    macro_over: str | None,
    pooled: bool,
) -> list[Result]:
    """Return every row of one metric and protocol; the order of `scores` changes nothing, to the byte.

    For each named value: the row of the whole task, the macro row and the pooled row where asked, then one row per
    stratum, sorted by key and value. The rows are means over samples (`micro`), those of a metric of a whole corpus
    `pooled`. `undefined`, `unjudged` and `scorer_error` are out of the mean, the first is counted. A value that is None
    in an `ok` score is undefined for its name only. `failed` counts samples in the mean whose prediction failed or
    could not be read, `unparsed` the latter. With repeats, each repeat is one row of the mean and `n` counts them; they
    share their sample's cluster, so the interval holds.

    Args:
        task_name: Seeds the draws, so all metrics of a task share them.
        metric: The table row all `scores` come from.
        scores: Read once and not kept.
        strata: Keys with a row per value; a sample without the key has the value `none`.
        macro_over: Key of the macro mean; None: no macro row.
        pooled: Add a row of `metric.combine` over summed stats; rows of a corpus metric are such rows anyway.
    """
    keys = sorted({*strata, *((macro_over,) if macro_over else ())})
    table = read_columns(metric, scores, keys, with_stats=pooled or metric.corpus)
    mean = _pooled if metric.corpus else _micro
    whole = mean(task_name, metric, table, np.arange(len(table.cluster)), None)
    parts = {key: _by_stratum(mean, task_name, metric, table, key) for key in keys}
    for key in keys:
        _assert_counts_add_up(whole, parts[key])
    rows = [whole]
    if macro_over:
        rows.append(_macro(task_name, metric, table, macro_over, whole, parts[macro_over]))
    if pooled and not metric.corpus:
        rows.append(_pooled(task_name, metric, table, np.arange(len(table.cluster)), None))
    rows += [part for key in keys if key in strata for part in parts[key]]
    return [row[name] for name in range(len(metric.values)) for row in rows]


def to_json(result: Result) -> dict[str, Json]:
    """Return the row as `results.json` holds it; `note` only where there is one."""
    numbers = [number for number in (result.value, *(result.ci or ())) if number is not None]
    assert all(math.isfinite(number) for number in numbers), f"{result.metric}: results.json holds finite numbers only"
    row: dict[str, Json] = {
        "metric": result.metric,
        "name": result.name,
        "protocol": result.protocol,
        "protocol_version": result.protocol_version,
        "higher_is_better": result.higher_is_better,
        "stratum": None if result.stratum is None else dict(result.stratum),
        "mean": result.mean,
        "value": result.value,
        "ci": None if result.ci is None else list(result.ci),
        "ci_method": result.ci_method,
        "n": result.n,
        "clusters": result.clusters,
        "undefined": result.undefined,
        "failed": result.failed,
        "unparsed": result.unparsed,
    }
    return row if result.note is None else {**row, "note": result.note}


def _micro(
    task_name: str, metric: Metric, table: ScoreTable, rows: Ints, stratum: tuple[str, str] | None
) -> list[Result]:
    """Return the mean over the samples of `rows`, one Result per named value."""
    values, names = table.values[rows], range(len(metric.values))
    sums = _cluster_sums(table.cluster[rows], _with_counts(values))
    estimators = [_mean_estimator(name, len(metric.values)) for name in names]
    found = intervals(sums, estimators, seed=bootstrap_seed(task_name, stratum))
    results = []
    for name in names:
        value = _mean(values[:, name])
        results.append(
            _result(
                metric,
                name,
                "micro",
                value=value,
                interval=_supported(found[name], sums[:, len(metric.values) + name]),
                stratum=stratum,
                clusters=len(sums),
                counts=_counts(table, rows, ~np.isnan(values[:, name]), table.undefined[rows, name]),
                note=_NO_VALUE if value is None else None,
            )
        )
    return results


Mean = Callable[[str, Metric, ScoreTable, Ints, tuple[str, str] | None], list[Result]]


def _by_stratum(mean: Mean, task_name: str, metric: Metric, table: ScoreTable, key: str) -> list[list[Result]]:
    """Return the rows of each value of a stratum key, by value; a stratum draws among its own clusters."""
    names, index = table.strata[key]
    parts = rows_by_stratum(index, len(names))
    return [mean(task_name, metric, table, rows, (key, name)) for name, rows in zip(names, parts, strict=True)]


def _macro(
    task_name: str,
    metric: Metric,
    table: ScoreTable,
    key: str,
    whole: Sequence[Result],
    parts: Sequence[Sequence[Result]],
) -> list[Result]:
    """Return the unweighted mean over the strata of `key`, one Result per named value."""
    results = []
    for name, total in enumerate(whole):
        means = [part[name].value for part in parts]
        defined = [mean for mean in means if mean is not None]
        complete = bool(means) and len(defined) == len(means)
        value = math.fsum(defined) / len(means) if complete else None
        interval, note = NO_INTERVAL, _missing_strata(key, table.strata[key][0], means)
        if value is not None:
            interval, note = _macro_interval(task_name, metric, table, key, name)
        counts = _Counts(n=total.n, undefined=total.undefined, failed=total.failed, unparsed=total.unparsed)
        results.append(
            _result(
                metric,
                name,
                "macro",
                value=value,
                interval=interval,
                stratum=None,
                clusters=total.clusters,
                counts=counts,
                note=note,
            )
        )
    return results


def _missing_strata(key: str, names: Sequence[str], means: Sequence[float | None]) -> str | None:
    missing = [f"'{name}'" for name, mean in zip(names, means, strict=True) if mean is None]
    return f"no defined value in {key} {', '.join(missing)}" if missing else _NO_VALUE


def _macro_interval(
    task_name: str, metric: Metric, table: ScoreTable, key: str, name: int
) -> tuple[Interval, str | None]:
    """Draw inside each stratum when no cluster spans strata, else over the whole task."""
    names, index = table.strata[key]
    strata = clusters_by_stratum(table, key)
    if not strata.spans and len(names) > 1 and strata.sizes.min() < 2:
        return NO_INTERVAL, f"no interval: {key} '{names[int(strata.sizes.argmin())]}' has one cluster"
    groups = None if strata.spans else [int(size) for size in strata.sizes]
    if metric.pool is not None:
        estimator = _macro_of_pools(metric, table, rows_by_stratum(index, len(names)), name)
        found = weight_intervals(strata.place, estimator, seed=bootstrap_seed(task_name), groups=groups)
        return _supported(found[0], np.bincount(strata.place, table.scored)), None
    columns = table.stats if metric.corpus else _with_counts(table.values[:, [name]])
    width, clusters = columns.shape[1], int(strata.place.max()) + 1
    sums = np.zeros((clusters, len(names) * width))
    for offset, column in enumerate(columns.T):
        flat = np.bincount(strata.place * len(names) + index, column, minlength=clusters * len(names))
        sums[:, offset::width] = flat.reshape(clusters, len(names))
    of_sums = _combine_estimator(metric.combine, name) if metric.corpus else _mean_estimator(0, 1)
    found = intervals(sums, [_macro_estimator(of_sums, len(names))], seed=bootstrap_seed(task_name), groups=groups)
    counted = np.bincount(strata.place, table.scored if metric.corpus else columns[:, 1], minlength=clusters)
    return _supported(found[0], counted), None


def _macro_of_pools(metric: Metric, table: ScoreTable, parts: Sequence[Ints], name: int) -> Callable[[Floats], Floats]:
    """Return (weights of all rows -> the mean over the parts of one pooled value, as the one number of an axis)."""
    pools = [(rows, _pool_of(metric, table, rows)) for rows in parts]

    def estimate(weights: Floats) -> Floats:
        values = [pool(weights[..., rows])[..., name] for rows, pool in pools]
        return np.asarray(np.mean(values, axis=0))[..., np.newaxis]

    return estimate


def _pool_of(metric: Metric, table: ScoreTable, rows: Ints) -> Callable[[Floats], Floats]:
    """Return (weights of `rows` -> pooled values of those that are in the mean)."""
    assert metric.pool is not None
    pool, scored = metric.pool, table.scored[rows]
    stats = [table.lists[row] for row in rows[scored]]
    return lambda weights: pool(stats, weights[..., scored])


def _pooled(
    task_name: str, metric: Metric, table: ScoreTable, rows: Ints, stratum: tuple[str, str] | None
) -> list[Result]:
    """Return the value of all samples of `rows` together, one Result per named value."""
    scored = table.scored[rows]
    present, cluster = np.unique(table.cluster[rows], return_inverse=True)
    seed = bootstrap_seed(task_name, stratum)
    if metric.pool is not None:
        pool = _pool_of(metric, table, rows)
        values = pool(np.ones(len(rows)))
        found = weight_intervals(cluster, pool, seed=seed)
    else:
        stats = table.stats[rows]
        values = metric.combine(np.asarray([math.fsum(column.tolist()) for column in stats[scored].T]))
        estimators = [_combine_estimator(metric.combine, name) for name in range(len(metric.values))]
        found = intervals(_cluster_sums(cluster, stats), estimators, seed=seed)
    counted = np.bincount(cluster, scored, minlength=len(present))
    results = []
    for name, value in enumerate(values):
        defined = bool(scored.any()) and bool(np.isfinite(value))
        results.append(
            _result(
                metric,
                name,
                "pooled",
                value=float(value) if defined else None,
                interval=_supported(found[name], counted),
                stratum=stratum,
                clusters=len(present),
                counts=_counts(table, rows, scored, table.undefined[rows].all(axis=1) & ~scored),
                note=None if defined else "the summed stats define no value",
            )
        )
    return results


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    n: int
    undefined: int
    failed: int
    unparsed: int


def _counts(table: ScoreTable, rows: Ints, counted: Flags, undefined: Flags) -> _Counts:
    """Count `rows`: those `counted` are in the mean, and `failed` and `unparsed` are counted among them."""
    return _Counts(
        n=int(counted.sum()),
        undefined=int(undefined.sum()),
        failed=int((table.failed[rows] & counted).sum()),
        unparsed=int((table.unparsed[rows] & counted).sum()),
    )


def _result(
    metric: Metric,
    name: int,
    mean: Literal["micro", "macro", "pooled"],
    *,
    value: float | None,
    interval: Interval,
    stratum: tuple[str, str] | None,
    clusters: int,
    counts: _Counts,
    note: str | None,
) -> Result:
    shown = NO_INTERVAL if value is None else interval
    return Result(
        metric=metric.name,
        name=metric.values[name],
        protocol=metric.protocol,
        protocol_version=metric.version,
        higher_is_better=metric.higher_is_better,
        stratum=None if stratum is None else dict([stratum]),
        mean=mean,
        value=value,
        ci=shown.bounds,
        ci_method=shown.method,
        n=counts.n,
        clusters=clusters,
        undefined=counts.undefined,
        failed=counts.failed,
        unparsed=counts.unparsed,
        note=metric.caveat if note is None else note,
    )


def _mean(values: Floats) -> float | None:
    """Return the mean of what is defined, exactly rounded and so free of order; None where nothing is."""
    defined = values[~np.isnan(values)]
    return math.fsum(defined.tolist()) / len(defined) if len(defined) else None


def _with_counts(values: Floats) -> Floats:
    """Return (rows, 2 x names): the values with 0 for undefined, then 1 where they are defined."""
    defined = ~np.isnan(values)
    return np.hstack([np.where(defined, values, 0.0), defined])


def _cluster_sums(cluster: Ints, columns: Floats) -> Floats:
    """Return the column sums of each cluster that occurs, by ascending cluster."""
    present, row_of = np.unique(cluster, return_inverse=True)
    summed = [np.bincount(row_of, column, minlength=len(present)) for column in columns.T]
    return np.stack(summed, axis=1) if len(present) else np.zeros((0, columns.shape[1]))


def _supported(interval: Interval, counts: Floats | Ints) -> Interval:
    """Return `interval`, or none where fewer than 5 clusters have a value: empty ones add no evidence."""
    return interval if np.count_nonzero(counts) >= FEWEST_CLUSTERS else NO_INTERVAL


def _ratio(parts: Floats, wholes: Floats) -> Floats:
    """Return parts / wholes, NaN where the whole is 0."""
    ratio: Floats = np.divide(parts, wholes, out=np.full(np.shape(parts), np.nan), where=wholes > 0)
    return ratio


def _mean_estimator(name: int, names: int) -> Estimator:
    return lambda sums: _ratio(sums[..., name], sums[..., names + name])


def _macro_estimator(of_sums: Estimator, strata: int) -> Estimator:
    """Return the mean over strata of an estimator; the sums of each stratum stand side by side."""

    def estimate(sums: Floats) -> Floats:
        return np.asarray(of_sums(sums.reshape(*sums.shape[:-1], strata, -1)).mean(axis=-1))

    return estimate


def _combine_estimator(combine: Callable[[Floats], Floats], name: int) -> Estimator:
    return lambda sums: combine(sums)[..., name]


def _assert_counts_add_up(whole: Sequence[Result], parts: Sequence[Sequence[Result]]) -> None:
    for name, total in enumerate(whole):
        for count in ("n", "undefined", "failed", "unparsed"):
            in_parts = sum(getattr(part[name], count) for part in parts)
            assert in_parts == getattr(total, count), f"{total.metric}: {count} of the strata do not add up"
