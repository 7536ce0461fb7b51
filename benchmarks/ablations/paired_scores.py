"""Scores of several runs on the same samples, summed by patient, for intervals of paired differences."""

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

# The one stratum of a number that is no mean over strata.
WHOLE = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """One number of a task.

    Attributes:
        title: Its name in tables.
        task: Task of the harness.
        metric, protocol, name: The metric's row, and which of its named values.
        only: Stratum (key, value) whose samples count; None: all samples.
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
        clusters: Names of the clusters, sorted.
        sums: float64 (runs, clusters, strata, 2): sum of the values, and their count.
    """

    clusters: tuple[str, ...]
    sums: Floats


def read_sums(runs: Sequence[Path], number: Number) -> ClusterSums:
    """Return the sums of one number over the samples of each cluster.

    Raises:
        DataError: A run has no such scores, or the runs have different samples.
    """
    tables = [_read(run, number) for run in runs]
    # A paired difference takes both values of the same sample, so a run that lacks one cannot take part.
    for run, table in zip(runs, tables, strict=True):
        if table.keys() != tables[0].keys():
            raise DataError(f"{run}: {number.task}: expected the {len(tables[0])} samples of {runs[0]}, found others")
    places = [
        (score.cluster, WHOLE if number.over is None else score.strata[number.over]) for score in tables[0].values()
    ]
    # Sorted, because what a seed draws depends on the order of the clusters.
    clusters, strata = (sorted(set(names)) for names in zip(*places, strict=True))
    value_at = metrics.find(number.metric, number.protocol).values.index(number.name)
    sums = np.zeros((len(runs), len(clusters), len(strata), 2))
    for at, table in enumerate(tables):
        for sample, (cluster, stratum) in zip(tables[0], places, strict=True):
            values = table[sample].values
            # An undefined value is out of the mean, as in results.json.
            value = values[value_at] if values else None
            if value is not None:
                sums[at, clusters.index(cluster), strata.index(stratum)] += (value, 1.0)
    return ClusterSums(clusters=tuple(clusters), sums=sums)


def means(sums: Floats) -> Floats:
    """Return the mean over strata of the means in each, from sums over clusters.

    Args:
        sums: float64 (..., strata, 2): sum of the values, and their count.
    Returns:
        float64 (...); NaN if a stratum has no value.
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
