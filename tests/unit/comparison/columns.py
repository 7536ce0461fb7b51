"""Columns of scores for the tests of comparisons, without a run directory."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.comparison.pairing import PairedScores, pair_scores
from harness.comparison.scored_run import ScoreColumns

# One value per sample; None is undefined.
Values = Sequence[float | None] | NDArray[np.float64]


def columns(
    values: Values,
    clusters: Sequence[str] | None = None,
    *,
    ids: Sequence[str] | None = None,
    repeat: Sequence[int] | None = None,
    strata: Sequence[Mapping[str, str]] | None = None,
    stats: Sequence[tuple[float, ...]] = (),
    lists: Sequence[tuple[float, ...]] = (),
) -> ScoreColumns:
    """Return the scores of one metric with one value; None is undefined. A sample is its own cluster unless given."""
    names = list(ids) if ids is not None else [f"s{number:04d}" for number in range(len(values))]
    of = list(clusters) if clusters is not None else names
    known = sorted(set(of))
    numbers = np.asarray([np.nan if value is None else value for value in values], dtype=np.float64)
    return ScoreColumns(
        sample_ids=pa.array(names),
        repeat=np.asarray(repeat if repeat is not None else [0] * len(names), dtype=np.int64),
        cluster=np.asarray([known.index(name) for name in of], dtype=np.int64),
        cluster_names=known,
        strata=np.arange(len(names)) if strata is not None else np.zeros(len(names), dtype=np.int64),
        strata_values=list(strata) if strata is not None else [{}],
        values=numbers[:, np.newaxis],
        stats=np.asarray(stats, dtype=np.float64) if stats else np.zeros((len(names), 0)),
        lists=list(lists),
        scored=~np.isnan(numbers),
        failed=np.zeros(len(names), dtype=np.bool_),
    )


def paired(
    a: Values,
    b: Values,
    clusters: Sequence[str] | None = None,
    strata: Sequence[Mapping[str, str]] | None = None,
) -> PairedScores:
    """Return the pairs of two runs with one value per sample."""
    return pair_scores(columns(a, clusters, strata=strata), columns(b, clusters, strata=strata))
