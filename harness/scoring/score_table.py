"""The scores of one metric as columns, and the place of their clusters in the strata."""

import json
import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics.metric import Floats, Metric, Stats
from harness.records import Score

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

NO_STRATUM = "none"  # stratum value of a sample without the key

_IN_THE_MEAN = frozenset({"ok", "unparsed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTable:
    """The scores as columns, one row each, sorted so that sums do not depend on the order they came in.

    Attributes:
        cluster: int64 (rows,), rank of the row's cluster by name.
        values: float64 (rows, names); NaN if the row is not in that name's mean.
        stats: float64 (rows, stats); 0 if the row is not in the mean; no columns if no sums are pooled.
        lists: Each row's stats for a metric that pools them as they are, empty for a row that is not in the mean; the
            rows are then in the order of their sample ids.
        scored: bool (rows,), the row's status is ok or unparsed.
        undefined: bool (rows, names).
        failed, unparsed: bool (rows,).
        strata: Key -> (values, sorted; int64 (rows,), each row's index into them).
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
    """The names seen so far, each with a code, and the code of each row, in the order they were read."""

    known: dict[str, int] = field(default_factory=dict)
    codes: "array[int]" = field(default_factory=lambda: array("q"))

    def extend(self, names: Sequence[str], rows: Ints) -> None:
        """Add rows, given as int64 indices into `names`."""
        codes = [self.known.setdefault(name, len(self.known)) for name in names]
        self.codes.frombytes(np.asarray(codes, dtype=np.int64)[rows].tobytes())

    def sorted(self) -> tuple[list[str], Ints]:
        """Return the names in order, and int64 (rows,) with each row's index into them."""
        names = sorted(self.known)
        rank = np.empty(len(names), dtype=np.int64)
        rank[[self.known[name] for name in names]] = np.arange(len(names))
        return names, rank[np.asarray(self.codes, dtype=np.int64)]


def read_columns(metric: Metric, scores: Iterable[Score], keys: Sequence[str], *, with_stats: bool) -> ScoreTable:
    """Return the columns of `scores`, which are read once and not kept.

    Args:
        metric: The metric that all `scores` come from.
        scores: In any order.
        keys: Stratum keys that become columns.
        with_stats: Keep the stats too, for pooled means.
    """
    labels = [_Codes() for _ in range(1 + len(keys))]
    # array.array grows like a list and takes 8 bytes a number, where a list of floats takes 32.
    values, stats, flags = array("d"), array("d"), array("b")
    as_lists, with_sums = metric.pool is not None, with_stats and metric.pool is None
    lists: list[Stats] = []
    places: list[tuple[str, int]] = []
    no_values, no_stats = (math.nan,) * len(metric.values), (0.0,) * len(metric.stats)
    for score in scores:
        assert (score.metric, score.protocol) == (metric.name, metric.protocol), "scores of another metric"
        named = (score.cluster, *[score.strata.get(key, NO_STRATUM) for key in keys])
        for column, name in zip(labels, named, strict=True):
            column.codes.append(column.known.setdefault(name, len(column.known)))
        scored, unparsed = score.status in _IN_THE_MEAN, score.status == "unparsed"
        flags.extend((scored, score.status == "undefined", score.failed or unparsed, unparsed))
        if scored:
            expected = len(no_values)
            assert len(score.values) == expected, f"{score.sample_id}: {score.metric} has {expected} values"
        values.extend([math.nan if value is None else value for value in score.values] if scored else no_values)
        if with_sums:
            given = score.stats if scored else no_stats
            assert len(given) == len(no_stats), f"{score.sample_id}: {score.metric} has {len(no_stats)} stats"
            stats.extend(given)
        if as_lists:
            lists.append(score.stats if scored else ())
            places.append((score.sample_id, score.repeat))
    return _sorted_table(
        labels,
        keys,
        values=np.asarray(values, dtype=np.float64).reshape(-1, len(no_values)),
        stats=np.asarray(stats, dtype=np.float64).reshape(len(labels[0].codes), len(no_stats) if with_sums else 0),
        lists=lists,
        order=np.asarray(sorted(range(len(places)), key=places.__getitem__), dtype=np.int64) if as_lists else None,
        flags=np.asarray(flags, dtype=np.bool_).reshape(-1, 4),
    )


def read_file(metric: Metric, path: Path, keys: Sequence[str], *, with_stats: bool) -> ScoreTable:
    """Return the columns of a file that `ScoreFile` wrote, as `read_columns` returns those of its scores.

    The columns go from parquet to numpy without an object for each row, in batches.

    Args:
        metric: The metric that all scores of the file come from.
        path: The file.
        keys, with_stats: As for `read_columns`.
    """
    import pyarrow.parquet as pq

    labels = [_Codes() for _ in range(1 + len(keys))]
    as_lists, with_sums = metric.pool is not None, with_stats and metric.pool is None
    wanted = ["status", "failed", "cluster", "strata", "values"]
    wanted += ["stats"] if as_lists or with_sums else []
    wanted += ["sample_id", "repeat"] if as_lists else []
    values, stats, flags = [np.empty((0, len(metric.values)))], [np.empty((0, len(metric.stats)))], [_no_flags()]
    lists: list[Stats] = []
    places: list[tuple[str, int]] = []
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=wanted):
            statuses, of_status = _distinct(batch.column("status"))
            (clusters, of_cluster), (strata, of_strata) = map(
                _distinct, (batch.column("cluster"), batch.column("strata"))
            )
            parsed = [json.loads(text) for text in strata]
            labels[0].extend(clusters, of_cluster)
            for column, key in zip(labels[1:], keys, strict=True):
                column.extend([words.get(key, NO_STRATUM) for words in parsed], of_strata)
            scored, undefined, unparsed = (
                np.asarray([status in group for status in statuses], dtype=np.bool_)[of_status]
                for group in (_IN_THE_MEAN, {"undefined"}, {"unparsed"})
            )
            failed = batch.column("failed").to_numpy(zero_copy_only=False) | unparsed
            flags.append(np.stack([scored, undefined, failed, unparsed], axis=1))
            values.append(_filled(batch.column("values"), scored, len(metric.values), math.nan))
            if with_sums:
                stats.append(_filled(batch.column("stats"), scored, len(metric.stats), 0.0))
            if as_lists:
                rows = batch.column("stats").to_pylist()
                lists += [tuple(row) if is_scored else () for row, is_scored in zip(rows, scored, strict=True)]
                places += zip(batch.column("sample_id").to_pylist(), batch.column("repeat").to_pylist(), strict=True)
    return _sorted_table(
        labels,
        keys,
        values=np.concatenate(values),
        stats=np.concatenate(stats) if with_sums else np.empty((len(labels[0].codes), 0)),
        lists=lists,
        order=np.asarray(sorted(range(len(places)), key=places.__getitem__), dtype=np.int64) if as_lists else None,
        flags=np.concatenate(flags),
    )


def _no_flags() -> Flags:
    return np.empty((0, 4), dtype=np.bool_)


def _distinct(column: Any) -> tuple[list[str], Ints]:
    """Return the different words of an arrow column, and int64 (rows,) with the index of each row among them."""
    encoded = column.dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def _filled(column: Any, scored: Flags, width: int, empty: float) -> Floats:
    """Return an arrow column of lists as float64 (rows, width), `empty` in the rows that are not in the mean."""
    filled = np.full((len(scored), width), empty)
    lengths = column.value_lengths().to_numpy(zero_copy_only=False)
    assert (lengths[scored] == width).all(), f"expected {width} numbers in every score"
    flat = column.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    filled[scored] = flat[np.repeat(scored, lengths)].reshape(-1, width)
    return filled


def _sorted_table(
    labels: Sequence[_Codes],
    keys: Sequence[str],
    *,
    values: Floats,
    stats: Floats,
    lists: Sequence[Stats],
    order: Ints | None,
    flags: Flags,
) -> ScoreTable:
    """Sort the rows by `order`, else by cluster and then by every number that is summed.

    Rows that tie in all of these are interchangeable in sums.

    Args:
        labels: The clusters, then one column per key.
        keys: Stratum keys.
        values: float64 (rows, names), NaN if undefined.
        stats: float64 (rows, stats).
        lists: Stats of each row, or nothing.
        order: int64 (rows,), or None.
        flags: bool (rows, 4): scored, undefined, failed, unparsed.
    """
    (_, ranks), *strata = [column.sorted() for column in labels]
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
        strata={key: (names, index[order]) for key, (names, index) in zip(keys, strata, strict=True)},
    )


def rows_by_stratum(index: Ints, strata: int) -> list[Ints]:
    """Return the rows of each stratum, one ascending int64 array per stratum.

    Args:
        index: int64 (rows,), each row's place in the list of strata.
        strata: Number of strata.
    """
    order = np.argsort(index, kind="stable")
    return np.split(order, np.searchsorted(index[order], np.arange(1, strata))) if strata else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Strata:
    """The place of a task's clusters in the strata of a key.

    Attributes:
        spans: A cluster has samples in several strata, so whole clusters are drawn over the whole task.
        place: int64 (rows,), each row's cluster or, if no cluster spans strata, the number of its (stratum, cluster)
            pair, strata in order.
        sizes: int64 (strata,), clusters per stratum; of use only if no cluster spans strata.
    """

    spans: bool
    place: Ints
    sizes: Ints


def clusters_by_stratum(table: ScoreTable, key: str) -> Strata:
    """Return the place of the clusters in the strata of `key`, one of the table's."""
    names, index = table.strata[key]
    clusters = int(table.cluster.max()) + 1
    pair, row_of = np.unique(index * clusters + table.cluster, return_inverse=True)
    spans = len(pair) > clusters
    sizes = np.bincount(pair // clusters, minlength=len(names))
    return Strata(spans=spans, place=table.cluster if spans else row_of, sizes=sizes)
