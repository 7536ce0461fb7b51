"""The scores of one metric as columns, and how their clusters lie in the strata."""

import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.metrics.metric import Floats, Metric, Stats
from harness.records import Score

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

NO_STRATUM = "none"
"""Stratum value of a sample that lacks the key."""

_IN_THE_MEAN = frozenset({"ok", "unparsed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTable:
    """The scores as columns, one row each, sorted so that sums do not depend on the order they came in.

    Attributes:
        cluster: Rank of the row's cluster by name.
        values: (rows, names); NaN where the row is not in that name's mean.
        stats: (rows, stats); 0 where the row is not in the mean; no columns where no sums are pooled.
        lists: Each row's stats for a metric that pools them as they are, empty for a row that is not in the mean; the
            rows then stand in the order of their sample ids.
        scored: The row's status is ok or unparsed.
        undefined: (rows, names).
        failed, unparsed: (rows,).
        strata: Key -> (values, sorted; each row's index into them).
    """

    cluster: Ints
    values: Floats
    stats: Floats
    lists: Sequence[Stats]
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


def read_columns(metric: Metric, scores: Iterable[Score], keys: Sequence[str], *, with_stats: bool) -> ScoreTable:
    """Return the columns of `scores`, which are read once."""
    cluster, strata = _Codes(), {key: _Codes() for key in keys}
    values, stats, flags = array("d"), array("d"), array("b")
    as_lists, with_sums = metric.pool is not None, with_stats and metric.pool is None
    lists: list[Stats] = []
    places: list[tuple[str, int]] = []
    no_values = (math.nan,) * len(metric.values)
    no_stats = (0.0,) * len(metric.stats)
    for score in scores:
        assert (score.metric, score.protocol) == (metric.name, metric.protocol), "scores of another metric"
        scored = score.status in _IN_THE_MEAN
        cluster.add(score.cluster)
        for key, codes in strata.items():
            codes.add(score.strata.get(key, NO_STRATUM))
        values.extend(_numbers(score, no_values) if scored else no_values)
        if with_sums:
            stats.extend(_stats(score, no_stats) if scored else no_stats)
        if as_lists:
            lists.append(score.stats if scored else ())
            places.append((score.sample_id, score.repeat))
        unparsed = score.status == "unparsed"
        flags.extend((scored, score.status == "undefined", score.failed or unparsed, unparsed))
    width = len(metric.stats) if with_sums else 0
    return _table(
        cluster=cluster,
        values=np.asarray(values, dtype=np.float64).reshape(-1, len(metric.values)),
        stats=np.asarray(stats, dtype=np.float64).reshape(len(cluster.codes), width),
        lists=lists,
        order=np.asarray(sorted(range(len(places)), key=places.__getitem__), dtype=np.int64) if as_lists else None,
        flags=np.asarray(flags, dtype=np.bool_).reshape(-1, 4),
        strata=strata,
    )


def _numbers(score: Score, like: tuple[float, ...]) -> Iterator[float]:
    assert len(score.values) == len(like), f"{score.sample_id}: {score.metric} has {len(like)} values"
    return (math.nan if value is None else value for value in score.values)


def _stats(score: Score, like: tuple[float, ...]) -> tuple[float, ...]:
    assert len(score.stats) == len(like), f"{score.sample_id}: {score.metric} has {len(like)} stats"
    return score.stats


def _table(
    *,
    cluster: _Codes,
    values: Floats,
    stats: Floats,
    lists: Sequence[Stats],
    order: Ints | None,
    flags: Flags,
    strata: Mapping[str, _Codes],
) -> ScoreTable:
    """Sort the rows by `order`, else by cluster and every number that is summed: what ties is interchangeable in sums.

    `flags` are the columns scored, undefined, failed, unparsed.
    """
    ranks = cluster.sorted()[1]
    if order is None:
        order = np.lexsort((*stats.T, *values.T, ranks))
    values, flags = values[order], flags[order]
    scored, undefined, failed, unparsed = flags.T
    return ScoreTable(
        cluster=ranks[order],
        values=values,
        stats=stats[order],
        lists=[lists[place] for place in order] if lists else (),
        scored=scored,
        undefined=undefined[:, np.newaxis] | (scored[:, np.newaxis] & np.isnan(values)),
        failed=failed,
        unparsed=unparsed,
        strata={key: (names, index[order]) for key, (names, index) in ((k, c.sorted()) for k, c in strata.items())},
    )


def rows_by_stratum(index: Ints, strata: int) -> list[Ints]:
    """Return the rows of each stratum; `index` is each row's place in the list of strata."""
    order = np.argsort(index, kind="stable")
    return np.split(order, np.searchsorted(index[order], np.arange(1, strata))) if strata else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Strata:
    """How the clusters of a task lie in the strata of a key.

    Attributes:
        spans: A cluster has samples in several strata, so whole clusters are drawn over the whole task.
        place: Of each row, its cluster, or where none spans strata its (stratum, cluster) pair, strata in order.
        sizes: Clusters per stratum, where none spans strata.
    """

    spans: bool
    place: Ints
    sizes: Ints


def clusters_by_stratum(table: ScoreTable, key: str) -> Strata:
    """Return where the clusters lie in the strata of `key`."""
    names, index = table.strata[key]
    clusters = int(table.cluster.max()) + 1
    pair, row_of = np.unique(index * clusters + table.cluster, return_inverse=True)
    spans = len(pair) > clusters
    sizes = np.bincount(pair // clusters, minlength=len(names))
    return Strata(spans=spans, place=table.cluster if spans else row_of, sizes=sizes)
