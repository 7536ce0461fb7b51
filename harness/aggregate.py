"""Scores -> Results: micro, macro and pooled means with intervals and counts, one row per number of `results.json`."""

import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import SpecError
from harness.metrics.row import Floats, Metric
from harness.records import Json, Result, Score
from harness.statistics import (
    FEWEST_CLUSTERS,
    NO_INTERVAL,
    Estimator,
    Interval,
    bootstrap_seed,
    intervals,
)

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

NO_STRATUM = "none"
"""Stratum value of a sample that lacks the key."""

_IN_THE_MEAN = frozenset({"ok", "unparsed"})
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

    For each named value: the micro row of the whole task, the macro row and the pooled row where asked, then one micro
    row per stratum, sorted by key and value. `undefined`, `unjudged` and `scorer_error` are out of the mean, the first
    is counted. A value that is None in an `ok` score is undefined for its name only. `failed` counts samples in the
    mean whose prediction failed or could not be read, `unparsed` the latter. With repeats, each repeat is one row of
    the mean and `n` counts them; they share their sample's cluster, so the interval holds.

    Args:
        task_name: Seeds the draws, so all metrics of a task share them.
        metric: The table row all `scores` come from.
        scores: Read once and not kept.
        strata: Keys with a row per value; a sample without the key has the value `none`.
        macro_over: Key of the macro mean; None: no macro row.
        pooled: Add a row of `metric.combine` over summed stats.
    Raises:
        SpecError: A pooled row is asked of a metric whose stats do not add up.
    """
    if pooled and not metric.additive:
        raise SpecError(
            f"{task_name}: {metric.name} (protocol {metric.protocol}): expected a metric whose stats add up for a "
            "pooled mean, got one that needs every sample's stats at once; ask for micro or macro"
        )
    keys = sorted({*strata, *((macro_over,) if macro_over else ())})
    table = _read(metric, scores, keys, with_stats=pooled)
    whole = _micro(task_name, metric, table, np.arange(len(table.cluster)), None)
    parts = {key: _micro_by_stratum(task_name, metric, table, key) for key in keys}
    for key in keys:
        _assert_counts_add_up(whole, parts[key])
    rows = [whole]
    if macro_over:
        rows.append(_macro(task_name, metric, table, macro_over, whole, parts[macro_over]))
    if pooled:
        rows.append(_pooled(task_name, metric, table))
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """The scores as columns, one row each, sorted so that sums do not depend on the order they came in.

    Attributes:
        cluster: Rank of the row's cluster by name.
        values: (rows, names); NaN where the row is not in that name's mean.
        stats: (rows, stats); 0 where the row is not in the mean; no columns where nothing is pooled.
        scored: The row's status is ok or unparsed.
        undefined: (rows, names).
        failed, unparsed: (rows,).
        strata: Key -> (values, sorted; each row's index into them).
    """

    cluster: Ints
    values: Floats
    stats: Floats
    scored: Flags
    undefined: Flags
    failed: Flags
    unparsed: Flags
    strata: Mapping[str, tuple[list[str], Ints]]


@dataclass(slots=True)
class _Codes:
    """Names met so far and the code of each row's name, in the order they came."""

    known: dict[str, int] = field(default_factory=dict)
    codes: "array[int]" = field(default_factory=lambda: array("l"))

    def add(self, name: str) -> None:
        self.codes.append(self.known.setdefault(name, len(self.known)))

    def sorted(self) -> tuple[list[str], Ints]:
        """Return the names in order and each row's index into them."""
        names = sorted(self.known)
        rank = np.empty(len(names), dtype=np.int64)
        rank[[self.known[name] for name in names]] = np.arange(len(names))
        return names, rank[np.asarray(self.codes, dtype=np.int64)]


def _read(metric: Metric, scores: Iterable[Score], keys: Sequence[str], *, with_stats: bool) -> _Table:
    """Return the columns of `scores`, which are read once."""
    cluster, strata = _Codes(), {key: _Codes() for key in keys}
    values, stats, flags = array("d"), array("d"), array("b")
    no_values = (math.nan,) * len(metric.values)
    no_stats = (0.0,) * len(metric.stats)
    for score in scores:
        assert (score.metric, score.protocol) == (metric.name, metric.protocol), "scores of another metric"
        scored = score.status in _IN_THE_MEAN
        cluster.add(score.cluster)
        for key, codes in strata.items():
            codes.add(score.strata.get(key, NO_STRATUM))
        values.extend(_numbers(score, no_values) if scored else no_values)
        if with_stats:
            stats.extend(_stats(score, no_stats) if scored else no_stats)
        unparsed = score.status == "unparsed"
        flags.extend((scored, score.status == "undefined", score.failed or unparsed, unparsed))
    width = len(metric.stats) if with_stats else 0
    return _table(
        cluster=cluster,
        values=np.asarray(values, dtype=np.float64).reshape(-1, len(metric.values)),
        stats=np.asarray(stats, dtype=np.float64).reshape(len(cluster.codes), width),
        flags=np.asarray(flags, dtype=np.bool_).reshape(-1, 4),
        strata=strata,
    )


def _numbers(score: Score, like: tuple[float, ...]) -> Iterator[float]:
    assert len(score.values) == len(like), f"{score.sample_id}: {score.metric} has {len(like)} values"
    return (math.nan if value is None else value for value in score.values)


def _stats(score: Score, like: tuple[float, ...]) -> tuple[float, ...]:
    assert len(score.stats) == len(like), f"{score.sample_id}: {score.metric} has {len(like)} stats"
    return score.stats


def _table(*, cluster: _Codes, values: Floats, stats: Floats, flags: Flags, strata: Mapping[str, _Codes]) -> _Table:
    """Sort the rows by cluster and then by every number that is summed: what ties is interchangeable in any sum.

    `flags` are the columns scored, undefined, failed, unparsed.
    """
    ranks = cluster.sorted()[1]
    order = np.lexsort((*stats.T, *values.T, ranks))
    values, flags = values[order], flags[order]
    scored, undefined, failed, unparsed = flags.T
    return _Table(
        cluster=ranks[order],
        values=values,
        stats=stats[order],
        scored=scored,
        undefined=undefined[:, np.newaxis] | (scored[:, np.newaxis] & np.isnan(values)),
        failed=failed,
        unparsed=unparsed,
        strata={key: (names, index[order]) for key, (names, index) in ((k, c.sorted()) for k, c in strata.items())},
    )


def _micro(task_name: str, metric: Metric, table: _Table, rows: Ints, stratum: tuple[str, str] | None) -> list[Result]:
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


def _micro_by_stratum(task_name: str, metric: Metric, table: _Table, key: str) -> list[list[Result]]:
    """Return the micro rows of each value of a stratum key, by value; a stratum draws among its own clusters."""
    names, index = table.strata[key]
    parts = _rows_by_stratum(index, len(names))
    return [_micro(task_name, metric, table, rows, (key, name)) for name, rows in zip(names, parts, strict=True)]


def _rows_by_stratum(index: Ints, strata: int) -> list[Ints]:
    order = np.argsort(index, kind="stable")
    return np.split(order, np.searchsorted(index[order], np.arange(1, strata))) if strata else []


def _macro(
    task_name: str, metric: Metric, table: _Table, key: str, whole: Sequence[Result], parts: Sequence[Sequence[Result]]
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
            interval, note = _macro_interval(task_name, table, key, name)
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


def _macro_interval(task_name: str, table: _Table, key: str, name: int) -> tuple[Interval, str | None]:
    """Draw inside each stratum when no cluster spans strata, else over the whole task."""
    names, index = table.strata[key]
    column = _with_counts(table.values[:, [name]])
    clusters = int(table.cluster.max()) + 1
    pair, row_of = np.unique(index * clusters + table.cluster, return_inverse=True)
    stratum_of, cluster_of = pair // clusters, pair % clusters
    spans = len(pair) > clusters
    place = cluster_of if spans else np.arange(len(pair))
    sums = np.zeros((clusters, 2 * len(names)))
    for offset in range(2):
        sums[place, offset * len(names) + stratum_of] = np.bincount(row_of, column[:, offset], minlength=len(pair))
    sizes = None if spans else np.bincount(stratum_of, minlength=len(names))
    if sizes is not None and len(names) > 1 and sizes.min() < 2:
        return NO_INTERVAL, f"no interval: {key} '{names[int(sizes.argmin())]}' has one cluster"
    found = intervals(
        sums,
        [_macro_estimator(len(names))],
        seed=bootstrap_seed(task_name),
        groups=None if sizes is None else [int(size) for size in sizes],
    )
    return _supported(found[0], sums[:, len(names) :].sum(axis=1)), None


def _pooled(task_name: str, metric: Metric, table: _Table) -> list[Result]:
    """Return the metric's `combine` of summed stats, one Result per named value."""
    scored = table.stats[table.scored]
    totals = np.asarray([math.fsum(column.tolist()) for column in scored.T])
    values = metric.combine(totals)
    columns = np.column_stack([table.stats, table.scored])
    sums = _cluster_sums(table.cluster, columns)
    estimators = [_combine_estimator(metric.combine, name) for name in range(len(metric.values))]
    found = intervals(sums[:, :-1], estimators, seed=bootstrap_seed(task_name))
    everything = np.arange(len(table.cluster))
    results = []
    for name, value in enumerate(values):
        defined = len(scored) > 0 and bool(np.isfinite(value))
        results.append(
            _result(
                metric,
                name,
                "pooled",
                value=float(value) if defined else None,
                interval=_supported(found[name], sums[:, -1]),
                stratum=None,
                clusters=len(sums),
                counts=_counts(table, everything, table.scored, table.undefined.all(axis=1) & ~table.scored),
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


def _counts(table: _Table, rows: Ints, counted: Flags, undefined: Flags) -> _Counts:
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
        note=note,
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


def _supported(interval: Interval, counts: Floats) -> Interval:
    """Return `interval`, or none where fewer than 5 clusters have a value: empty ones add no evidence."""
    return interval if np.count_nonzero(counts) >= FEWEST_CLUSTERS else NO_INTERVAL


def _ratio(parts: Floats, wholes: Floats) -> Floats:
    """Return parts / wholes, NaN where the whole is 0."""
    ratio: Floats = np.divide(parts, wholes, out=np.full(np.shape(parts), np.nan), where=wholes > 0)
    return ratio


def _mean_estimator(name: int, names: int) -> Estimator:
    return lambda sums: _ratio(sums[..., name], sums[..., names + name])


def _macro_estimator(strata: int) -> Estimator:
    return lambda sums: np.asarray(_ratio(sums[..., :strata], sums[..., strata:]).mean(axis=-1))


def _combine_estimator(combine: Callable[[Floats], Floats], name: int) -> Estimator:
    return lambda sums: combine(sums)[..., name]


def _assert_counts_add_up(whole: Sequence[Result], parts: Sequence[Sequence[Result]]) -> None:
    for name, total in enumerate(whole):
        for count in ("n", "undefined", "failed", "unparsed"):
            in_parts = sum(getattr(part[name], count) for part in parts)
            assert in_parts == getattr(total, count), f"{total.metric}: {count} of the strata do not add up"
