"""Scores as columns: rows in an order of their own, strata by name, and the place of clusters in strata."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.metrics.metric import Metric, Outcome
from harness.records import Score
from harness.scoring.score import ScoreFile
from harness.scoring.score_table import (
    ScoreTable,
    clusters_by_stratum,
    read_columns,
    read_file,
    rows_by_stratum,
)

METRIC = Metric(
    name="m",
    protocol="standard",
    version=1,
    values=("a", "b"),
    stats=("part", "whole"),
    line="text",
    suits=frozenset({"text"}),
    score=lambda _sample, _prediction: Outcome("undefined"),
    combine=lambda sums: sums,
    worst=lambda _: (0.0, 1.0),
    ceiling=lambda _: 1.0,
)


def score(name: str, *values: float | None, **changes: Any) -> Score:
    base = Score(
        sample_id=name,
        repeat=0,
        metric="m",
        protocol="standard",
        status="ok",
        values=values or (1.0, 1.0),
        stats=(1.0, 2.0),
        cluster=name,
        strata={},
    )
    return replace(base, **changes)


def read(scores: Iterable[Score], keys: Sequence[str] = (), *, metric: Metric = METRIC) -> ScoreTable:
    return read_columns(metric, scores, keys, with_stats=True)


def test_rows_are_sorted_by_the_name_of_their_cluster_whatever_order_they_come_in() -> None:
    scores = [score("s10", 0.1, None), score("s2", 0.2, 0.5), score("s1", 0.3, 0.6, stats=(7.0, 8.0))]
    tables = [read(order) for order in permutations(scores)]
    for table in tables:
        assert table.cluster.tolist() == [0, 1, 2]  # s1, s10, s2
        assert np.array_equal(table.values, [[0.3, 0.6], [0.1, np.nan], [0.2, 0.5]], equal_nan=True)
        assert table.stats.tolist() == [[7.0, 8.0], [1.0, 2.0], [1.0, 2.0]]
        assert table.undefined.tolist() == [[False, False], [False, True], [False, False]]


def test_a_row_outside_the_mean_has_no_numbers_and_its_flags_say_why() -> None:
    outside = {"values": (), "stats": ()}
    table = read(
        [
            score("a", 0.5, 0.5, failed=True),
            score("b", 0.0, 0.0, status="unparsed"),
            score("c", status="undefined", **outside),
            score("d", status="unjudged", **outside),
        ]
    )
    assert table.scored.tolist() == [True, True, False, False]
    assert table.failed.tolist() == [True, True, False, False]
    assert table.unparsed.tolist() == [False, True, False, False]
    assert table.undefined.tolist() == [[False, False], [False, False], [True, True], [False, False]]
    assert np.isnan(table.values[2:]).all()
    assert not table.stats[2:].any()


def test_stats_are_kept_only_for_pooled_sums() -> None:
    table = read_columns(METRIC, [score("a"), score("b")], [], with_stats=False)
    assert table.stats.shape == (2, 0)
    assert table.lists == ()


def test_a_metric_with_a_pool_keeps_each_rows_stats_in_the_order_of_the_sample_ids() -> None:
    metric = replace(METRIC, pool=lambda _stats, weights: weights)
    first = score("a", cluster="z", stats=(3.0,))
    second = score("b", cluster="y", stats=(4.0, 5.0, 6.0))
    third = score("c", cluster="x", status="undefined", values=(), stats=())
    table = read([third, second, replace(second, repeat=1, stats=(9.0,)), first], metric=metric)
    assert table.lists == [(3.0,), (4.0, 5.0, 6.0), (9.0,), ()]
    assert table.cluster.tolist() == [2, 1, 1, 0]
    assert table.stats.shape == (4, 0)


def test_a_sample_without_the_key_is_in_the_stratum_none() -> None:
    table = read([score("a", strata={"organ": "liver"}), score("b"), score("c", strata={"organ": "bone"})], ["organ"])
    names, index = table.strata["organ"]
    assert names == ["bone", "liver", "none"]
    assert index.tolist() == [1, 2, 0]
    assert [rows.tolist() for rows in rows_by_stratum(index, 3)] == [[2], [0], [1]]


def test_no_scores_are_a_table_without_rows() -> None:
    table = read([], ["organ"])
    assert (table.values.shape, table.stats.shape, len(table.cluster)) == ((0, 2), (0, 2), 0)
    assert table.strata["organ"][0] == []
    assert rows_by_stratum(table.strata["organ"][1], 0) == []


@pytest.mark.parametrize(("second", "spans", "place"), [("mr", True, [0, 0, 1]), ("ct", False, [0, 0, 1])])
def test_a_cluster_in_two_strata_spans_them(second: str, spans: bool, place: list[int]) -> None:
    strata = ("ct", second, "mr")
    scores = [
        score(name, cluster=cluster, strata={"modality": modality})
        for name, cluster, modality in zip("abc", ("p1", "p1", "p2"), strata, strict=True)
    ]
    found = clusters_by_stratum(read(scores, ["modality"]), "modality")
    assert (found.spans, found.place.tolist()) == (spans, place)
    if not spans:
        assert found.sizes.tolist() == [1, 1]


@pytest.mark.parametrize("metric", [METRIC, replace(METRIC, pool=lambda _stats, weights: weights)])
@pytest.mark.parametrize("count", [0, 7])
def test_a_file_has_the_table_of_its_scores(tmp_path: Path, metric: Metric, count: int) -> None:
    outside = {"values": (), "stats": ()}
    rows = [
        score("s10", 0.1, None, strata={"organ": "liver"}),
        score("s2", 0.2, 0.5, failed=True, stats=(7.0, 8.0)),
        score("s3", status="undefined", strata={"organ": "lung"}, **outside),
        score("s2", 0.2, 0.5, repeat=1, cluster="s10"),
        score("s4", status="unjudged", **outside),
        score("s5", 0.0, 0.0, status="unparsed", strata={"organ": "liver", "view": "axial"}),
        score("s6", status="scorer_error", detail={"error": {"a": 1}}, **outside),
    ][:count]
    file = ScoreFile(tmp_path / "scores.parquet")
    for row in rows:
        file.add(row)
    file.close()
    keys = ["organ", "view"]
    read = read_file(metric, tmp_path / "scores.parquet", keys, with_stats=True)
    expected = read_columns(metric, rows, keys, with_stats=True)
    for name in ("cluster", "values", "stats", "scored", "undefined", "failed", "unparsed"):
        assert np.array_equal(getattr(read, name), getattr(expected, name), equal_nan=name == "values"), name
        assert getattr(read, name).dtype == getattr(expected, name).dtype
    assert read.lists == expected.lists
    assert read.strata.keys() == expected.strata.keys()
    for key in keys:
        assert read.strata[key][0] == expected.strata[key][0]
        assert np.array_equal(read.strata[key][1], expected.strata[key][1])
