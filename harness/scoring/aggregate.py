"""Scores -> results: micro, macro and pooled means with intervals and counts, one row per number of `results.json`."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
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
from harness.scoring.score_table import (
    Flags,
    Ints,
    ScoreTable,
    clusters_by_stratum,
    read_columns,
    read_file,
    rows_by_stratum,
)

# Values of a key that have rows: with a row for each of a million, `results.json` would have hundreds of megabytes.
MOST_STRATA = 10_000
# Sums of the clusters in every stratum, from which the interval of a macro mean is drawn: 256 MiB.
MOST_MACRO_SUMS = 1 << 25

_NO_VALUE = "no sample has a defined value"


def aggregate(
    task_name: str,
    metric: Metric,
    scores: Iterable[Score] | Path,
    *,
    strata: Sequence[str],
    macro_over: str | None,
    pooled: bool,
    implied: Sequence[str] = (),
) -> list[Result]:
    """Return every row of one metric and protocol; the order of `scores` changes nothing, to the byte.

    Each named value has the row of the whole task, the macro row and the pooled row if asked for, then one row per
    stratum, sorted by key and value. The rows are means over samples (`micro`); those of a metric of a whole corpus are
    `pooled`. Scores that are `undefined`, `unjudged` or `scorer_error` are out of the mean, and the undefined ones are
    counted. A value that is None in an `ok` score is undefined for its name only. `failed` counts samples in the mean
    whose prediction failed or could not be read, `unparsed` only the latter. With repeats, each repeat is one row of
    the mean and `n` counts them; they share their sample's cluster, so the interval holds.

    Args:
        task_name: Seeds the draws, so all metrics of a task share them.
        metric: The metric that all `scores` come from.
        scores: Read once and not kept; or the path of a file that `ScoreFile` wrote, which is read column by column.
        strata: Keys with a row per value; a sample without the key has the value `none`.
        macro_over: Key of the macro mean; None: no macro row.
        pooled: Add a row of `metric.combine` over summed stats; rows of a corpus metric are such rows anyway.
        implied: Further keys, which have rows only if the samples differ in them.

    A key with more than MOST_STRATA values has no rows, and no macro mean; the row of the whole task says so.
    """
    keys = sorted({*strata, *implied, *((macro_over,) if macro_over else ())})
    with_stats = pooled or metric.corpus
    if isinstance(scores, Path):
        table = read_file(metric, scores, keys, with_stats=with_stats)
    else:
        table = read_columns(metric, scores, keys, with_stats=with_stats)
    shown = {*strata, *(key for key in implied if len(table.strata[key][0]) > 1)}
    mean = _pooled if metric.corpus else _micro
    whole = mean(task_name, metric, table, np.arange(len(table.cluster)), None)
    parts: dict[str, list[list[Result]]] = {}
    for key in keys:
        names, index = table.strata[key]
        if (key not in shown and key != macro_over) or len(names) > MOST_STRATA:
            continue
        members = rows_by_stratum(index, len(names))
        # Each stratum has a seed of its own and draws among its own clusters.
        parts[key] = [
            mean(task_name, metric, table, rows, (key, name)) for name, rows in zip(names, members, strict=True)
        ]
        _assert_counts_add_up(whole, parts[key])
    if left_out := [key for key in sorted({*shown, *((macro_over,) if macro_over else ())}) if key not in parts]:
        words = "; ".join(f"{key} has {len(table.strata[key][0]):,} values" for key in left_out)
        said = f"{words}: no rows by more than {MOST_STRATA:,}"
        whole = [replace(row, note=said if row.note is None else f"{row.note}; {said}") for row in whole]
    rows = [whole]
    if macro_over in parts:
        rows.append(_macro(task_name, metric, table, macro_over, whole, parts[macro_over]))
    elif macro_over:
        rows.append([replace(row, mean="macro", value=None, ci=None, ci_method="none") for row in whole])
    if pooled and not metric.corpus:
        rows.append(_pooled(task_name, metric, table, np.arange(len(table.cluster)), None))
    rows += [part for key in keys if key in shown for part in parts.get(key, ())]
    return [row[name] for name in range(len(metric.values)) for row in rows]


def to_json(result: Result) -> dict[str, Json]:
    """Return the row as `results.json` holds it; `note` only if there is one."""
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
    estimators = [_mean_estimator(name, len(names)) for name in names]
    found = intervals(sums, estimators, seed=bootstrap_seed(task_name, stratum))
    results = []
    for name in names:
        counted = ~np.isnan(values[:, name])
        defined = values[counted, name]
        # fsum rounds once, at the end, so the mean does not depend on the order of the samples.
        value = math.fsum(defined.tolist()) / len(defined) if len(defined) else None
        results.append(
            _result(
                metric,
                name,
                "micro",
                table,
                rows,
                value=value,
                interval=found[name],
                support=sums[:, len(names) + name],
                stratum=stratum,
                clusters=len(sums),
                counted=counted,
                undefined=table.undefined[rows, name],
                note=_NO_VALUE if value is None else None,
            )
        )
    return results


def _macro(
    task_name: str,
    metric: Metric,
    table: ScoreTable,
    key: str,
    whole: Sequence[Result],
    parts: Sequence[Sequence[Result]],
) -> list[Result]:
    """Return the unweighted mean over the strata of `key`, one Result per named value, with the counts of `whole`."""
    results = []
    for name, total in enumerate(whole):
        means = [part[name].value for part in parts]
        missing = [f"'{stratum}'" for stratum, mean in zip(table.strata[key][0], means, strict=True) if mean is None]
        defined = [mean for mean in means if mean is not None]
        value, interval = None, NO_INTERVAL
        note: str | None = f"no defined value in {key} {', '.join(missing)}" if missing else _NO_VALUE
        if defined and not missing:
            value = math.fsum(defined) / len(defined)
            interval, note = _macro_interval(task_name, metric, table, key, name)
        results.append(
            replace(
                total,
                mean="macro",
                value=value,
                ci=interval.bounds,
                ci_method=interval.method,
                note=metric.caveat if note is None else note,
            )
        )
    return results


def _macro_interval(
    task_name: str, metric: Metric, table: ScoreTable, key: str, name: int
) -> tuple[Interval, str | None]:
    """Return the interval of a macro mean and, if there is none for a reason of its own, the reason.

    Clusters are drawn inside each stratum if none spans strata, else over the whole task.
    """
    names, index = table.strata[key]
    strata = clusters_by_stratum(table, key)
    if not strata.spans and len(names) > 1 and strata.sizes.min() < 2:
        # Drawn within itself, a single cluster is always drawn: its stratum would seem to have no spread.
        return NO_INTERVAL, f"no interval: {key} '{names[int(strata.sizes.argmin())]}' has one cluster"
    groups = None if strata.spans else [int(size) for size in strata.sizes]
    seed, has_value = bootstrap_seed(task_name), table.scored
    if metric.pool is not None:
        pools = _macro_of_pools(metric, table, rows_by_stratum(index, len(names)), name)
        found = weight_intervals(strata.place, pools, seed=seed, groups=groups)
    else:
        columns = table.stats if metric.corpus else _with_counts(table.values[:, [name]])
        width, clusters = columns.shape[1], int(strata.place.max()) + 1
        if clusters * len(names) * width > MOST_MACRO_SUMS:
            return NO_INTERVAL, f"no interval: {clusters:,} clusters in {len(names):,} values of {key} are too many"
        # A row holds the sums of one cluster in every stratum, so that the cluster can be drawn as a whole.
        sums = np.zeros((clusters, len(names) * width))
        for offset, column in enumerate(columns.T):
            flat = np.bincount(strata.place * len(names) + index, column, minlength=clusters * len(names))
            sums[:, offset::width] = flat.reshape(clusters, len(names))
        of_sums = _combine_estimator(metric.combine, name) if metric.corpus else _mean_estimator(0, 1)
        found = intervals(sums, [_macro_estimator(of_sums, len(names))], seed=seed, groups=groups)
        has_value = has_value if metric.corpus else ~np.isnan(table.values[:, name])
    support = np.count_nonzero(np.bincount(strata.place, has_value))
    return (found[0] if support >= FEWEST_CLUSTERS else NO_INTERVAL), None


def _macro_of_pools(metric: Metric, table: ScoreTable, parts: Sequence[Ints], name: int) -> Callable[[Floats], Floats]:
    """Return an estimator: weights (..., rows) -> (..., 1), the mean over the parts of one pooled value.

    Args:
        metric: A metric with a pool.
        table: Its scores.
        parts: The rows of each stratum, int64 each.
        name: Which of the metric's values.
    """
    pools = [(rows, _pool_of(metric, table, rows)) for rows in parts]

    def estimate(weights: Floats) -> Floats:
        values = [pool(weights[..., rows])[..., name] for rows, pool in pools]
        return np.asarray(np.mean(values, axis=0))[..., np.newaxis]

    return estimate


def _pool_of(metric: Metric, table: ScoreTable, rows: Ints) -> Callable[[Floats], Floats]:
    """Return an estimator: weights (..., rows) of `rows` -> (..., names), pooled over those that are in the mean."""
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
    if not scored.any():
        # A pool ranks or counts what it is given; without a scored sample it has nothing to do that with.
        values, found = np.full(len(metric.values), np.nan), [NO_INTERVAL] * len(metric.values)
    elif metric.pool is not None:
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
                table,
                rows,
                value=float(value) if defined else None,
                interval=found[name],
                support=counted,
                stratum=stratum,
                clusters=len(present),
                counted=scored,
                undefined=table.undefined[rows].all(axis=1) & ~scored,
                note=None if defined else "the summed stats define no value" if scored.any() else _NO_VALUE,
            )
        )
    return results


def _result(
    metric: Metric,
    name: int,
    mean: Literal["micro", "pooled"],
    table: ScoreTable,
    rows: Ints,
    *,
    value: float | None,
    interval: Interval,
    support: Floats | Ints,
    stratum: tuple[str, str] | None,
    clusters: int,
    counted: Flags,
    undefined: Flags,
    note: str | None,
) -> Result:
    """Return the Result of `rows`: those `counted` are in the mean, and `failed` and `unparsed` count among them.

    Args:
        metric: The metric.
        name: Which of its values.
        mean: Which mean `value` is.
        table: The scores.
        rows: int64, rows of the table.
        value: The mean; None if it is undefined.
        interval: Of the value.
        support: (clusters,), how many rows of each cluster have a value.
        stratum: Key and value; None for the whole task.
        clusters: How many clusters have a row.
        counted: bool, one per row of `rows`.
        undefined: bool, one per row of `rows`.
        note: In place of the metric's caveat.
    """
    # Clusters without a value add no evidence, however many there are.
    shown = interval if value is not None and np.count_nonzero(support) >= FEWEST_CLUSTERS else NO_INTERVAL
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
        n=int(counted.sum()),
        clusters=clusters,
        undefined=int(undefined.sum()),
        failed=int((table.failed[rows] & counted).sum()),
        unparsed=int((table.unparsed[rows] & counted).sum()),
        note=metric.caveat if note is None else note,
    )


def _with_counts(values: Floats) -> Floats:
    """Return float64 (rows, 2 x names) of (rows, names): the values with 0 for undefined, then 1 for defined ones."""
    defined = ~np.isnan(values)
    return np.hstack([np.where(defined, values, 0.0), defined])


def _cluster_sums(cluster: Ints, columns: Floats) -> Floats:
    """Return float64 (clusters, columns): the column sums of each cluster that occurs, by ascending cluster.

    Args:
        cluster: int64 (rows,).
        columns: float64 (rows, columns).
    """
    present, row_of = np.unique(cluster, return_inverse=True)
    summed = [np.bincount(row_of, column, minlength=len(present)) for column in columns.T]
    return np.stack(summed, axis=1) if len(present) else np.zeros((0, columns.shape[1]))


def _mean_estimator(name: int, names: int) -> Estimator:
    """Return an estimator of a mean from sums of values and, `names` columns later, sums of counts; NaN without any."""

    def estimate(sums: Floats) -> Floats:
        parts, wholes = sums[..., name], sums[..., names + name]
        mean: Floats = np.divide(parts, wholes, out=np.full(np.shape(parts), np.nan), where=wholes > 0)
        return mean

    return estimate


def _macro_estimator(of_sums: Estimator, strata: int) -> Estimator:
    """Return the mean over strata of an estimator; each row holds the sums of all strata, one after the other."""

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
