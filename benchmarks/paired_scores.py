"""Scores of several runs on the same samples, summed by patient: what paired differences are drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness import metrics
from harness.errors import DataError
from harness.metrics.metric import Floats
from harness.records import Score
from harness.runs.directory import RunDirectory
from harness.scoring.score import read_scores, score_files

# Stands for all samples where no mean is taken over strata.
WHOLE = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """One number of a task.

    Attributes:
        title: In tables.
        task: Of the harness.
        metric, protocol, name: The metric's row and which of its named values.
        only: Stratum that the samples are of, (key, value); None: all samples.
        over: Stratum key whose means are averaged; None: one mean over all samples.
    """

    title: str
    task: str
    metric: str
    protocol: str
    name: str
    only: tuple[str, str] | None = None
    over: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSums:
    """One number of several runs, before the mean is taken.

    Attributes:
        clusters: Names, sorted.
        sums: (runs, clusters, strata, 2): sum of the values, and how many there are.
    """

    clusters: tuple[str, ...]
    sums: Floats


def read_sums(runs: Sequence[Path], number: Number) -> ClusterSums:
    """Return the sums of one number over the samples of each cluster.

    Raises:
        DataError: A run has no such scores, or the runs are about different samples.
    """
    tables = [_read(run, number) for run in runs]
    for run, table in zip(runs, tables, strict=True):
        if table.keys() != tables[0].keys():
            raise DataError(f"{run}: {number.task}: expected the {len(tables[0])} samples of {runs[0]}, found others")
    places = [
        (score.cluster, WHOLE if number.over is None else score.strata[number.over]) for score in tables[0].values()
    ]
    clusters, strata = (sorted(set(names)) for names in zip(*places, strict=True))
    value_at = metrics.find(number.metric, number.protocol).values.index(number.name)
    sums = np.zeros((len(runs), len(clusters), len(strata), 2))
    for at, table in enumerate(tables):
        for sample, (cluster, stratum) in zip(tables[0], places, strict=True):
            values = table[sample].values
            value = values[value_at] if values else None
            if value is not None:
                sums[at, clusters.index(cluster), strata.index(stratum)] += (value, 1.0)
    return ClusterSums(clusters=tuple(clusters), sums=sums)


def means(sums: Floats) -> Floats:
    """Return the mean over strata of the means, (...), from sums over clusters, (..., strata, 2).

    NaN where a stratum has no value.
    """
    counts = sums[..., 1]
    found = np.divide(sums[..., 0], counts, out=np.full(counts.shape, np.nan), where=counts > 0)
    return np.asarray(found.mean(axis=-1))


def _read(run: Path, number: Number) -> dict[str, Score]:
    """Return the scores that count towards a number, by sample id in order."""
    row = metrics.find(number.metric, number.protocol)
    path = score_files(RunDirectory(run).scores_folder, number.task, [row])[row.name, row.protocol]
    if not path.is_file():
        raise DataError(f"{path}: expected the scores of a finished run; evaluate {number.task} first")
    scores = sorted(read_scores(path, row), key=lambda score: score.sample_id)
    found = {
        score.sample_id: score
        for score in scores
        if number.only is None or score.strata.get(number.only[0]) == number.only[1]
    }
    if not found:
        raise DataError(f"{path}: expected samples with {number.only}, found none; raise --limit")
    return found
