"""The numbers of the ablations: each arm's means over seeds, and how far it lies from the full model.

Intervals: 2,000 draws. In each, patients (of VQA-RAD images, whose release names no patients) are drawn with
replacement, the same for every arm and seed, and then seeds, the same for every arm; 2.5th and 97.5th percentile.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.ablations.arms import FULL, Arm
from benchmarks.ablations.runs import run_folder
from benchmarks.paired_scores import ClusterSums, Number, means, read_sums
from harness.metrics.metric import Floats
from harness.scoring.intervals import FEWEST_CLUSTERS, LEVEL, bootstrap_seed, resampled_sums

PATIENTS, IMAGES = "patients", "images"
# What is drawn, and what is measured on it, in the order of the paper's columns.
NUMBERS: tuple[tuple[str, Number], ...] = (
    (
        PATIENTS,
        Number(title="MeCoVQA-C", task="mecovqa_c", metric="token_prf", protocol="medplib", name="recall"),
    ),
    (
        PATIENTS,
        Number(title="MeCoVQA-R", task="mecovqa_r", metric="token_prf", protocol="medplib", name="recall"),
    ),
    (
        IMAGES,
        Number(
            title="VQA-RAD closed",
            task="vqa_rad",
            metric="vqa_accuracy",
            protocol="standard",
            name="vqa_accuracy",
            only=("answer_type", "closed"),
        ),
    ),
    (
        PATIENTS,
        Number(title="MeCoVQA-G", task="mecovqa_g", metric="dice", protocol="medplib", name="dice", over="modality"),
    ),
)

Bounds = tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmNumbers:
    """What one arm reached.

    Attributes:
        arm: The setting.
        columns: One mean over seeds per number of `NUMBERS`, in [0, 1].
        mean: Of the columns.
        interval: Of `mean`; None with fewer than five patients or images.
        difference: `mean` minus that of the full model.
        difference_interval: Of `difference`, from pairs.
        seeds_below: Of how many seeds it lies below the full model.
    """

    arm: Arm
    columns: tuple[float, ...]
    mean: float
    interval: Bounds
    difference: float
    difference_interval: Bounds
    seeds_below: int


def numbers_of(out: Path, arms: Sequence[Arm], seeds: Sequence[int]) -> list[ArmNumbers]:
    """Return the numbers of arms of which every seed is evaluated.

    Raises:
        DataError: An evaluation is missing, or not about the same samples as the others.
    """
    runs = [run_folder(out, seed, arm) for arm in arms for seed in seeds]
    tables = [read_sums(runs, number) for _, number in NUMBERS]
    shape = (len(arms), len(seeds))
    value = _values([table.sums.sum(axis=1) for table in tables], shape)
    drawn = _drawn(tables, shape)
    full = [arm.name for arm in arms].index(FULL.name)
    below = (value.mean(axis=-1) < value.mean(axis=-1)[full]).sum(axis=1)
    mean = value.mean(axis=(1, 2))
    return [
        ArmNumbers(
            arm=arm,
            columns=tuple(float(column) for column in value[at].mean(axis=0)),
            mean=float(mean[at]),
            interval=_bounds(drawn, at),
            difference=float(mean[at] - mean[full]),
            difference_interval=None if drawn is None else _bounds(drawn - drawn[:, [full]], at),
            seeds_below=int(below[at]),
        )
        for at, arm in enumerate(arms)
    ]


def _values(sums: Sequence[Floats], shape: tuple[int, int]) -> Floats:
    """Return (..., arms, seeds, numbers) from the sums of each number, (..., runs, strata, 2)."""
    found = np.stack([means(one) for one in sums], axis=-1)
    return found.reshape(*found.shape[:-2], *shape, len(sums))


def _drawn(tables: Sequence[ClusterSums], shape: tuple[int, int]) -> Floats | None:
    """Return the mean of the numbers of each arm in every draw, (draws, arms); None with too few clusters."""
    groups = [_clusters(tables, kind) for kind in (PATIENTS, IMAGES)]
    if min(map(len, groups)) < FEWEST_CLUSTERS:
        return None
    seed = bootstrap_seed("ablations")
    matrix = _matrix(tables, [cluster for group in groups for cluster in group])
    sums = resampled_sums(matrix, seed=seed, sizes=np.asarray([len(group) for group in groups]))
    by_seed = _values(_split(sums, tables), shape).mean(axis=-1)
    chosen = np.random.default_rng(seed).integers(shape[1], size=(len(sums), 1, shape[1]))
    return np.asarray(np.take_along_axis(by_seed, chosen, axis=2).mean(axis=2))


def _clusters(tables: Sequence[ClusterSums], kind: str) -> list[tuple[str, str]]:
    """Return (kind, name) of all clusters of one kind, sorted: patients are the same in several tasks."""
    of_kind = [table for (own, _), table in zip(NUMBERS, tables, strict=True) if own == kind]
    return [(kind, name) for name in sorted({name for table in of_kind for name in table.clusters})]


def _matrix(tables: Sequence[ClusterSums], clusters: Sequence[tuple[str, str]]) -> Floats:
    """Return the sums of all numbers and runs side by side, one row a cluster; 0 where a number has none of it."""
    row_of = {cluster: row for row, cluster in enumerate(clusters)}
    blocks = []
    for (kind, _), table in zip(NUMBERS, tables, strict=True):
        flat = table.sums.swapaxes(0, 1).reshape(len(table.clusters), -1)
        block = np.zeros((len(clusters), flat.shape[1]))
        block[[row_of[kind, name] for name in table.clusters]] = flat
        blocks.append(block)
    return np.concatenate(blocks, axis=1)


def _split(sums: Floats, tables: Sequence[ClusterSums]) -> list[Floats]:
    """Return each number's part of summed rows of `_matrix`, (..., runs, strata, 2)."""
    shapes = [(table.sums.shape[0], *table.sums.shape[2:]) for table in tables]
    ends = np.cumsum([np.prod(shape) for shape in shapes])[:-1]
    parts = np.split(sums, ends, axis=-1)
    return [part.reshape(*sums.shape[:-1], *shape) for part, shape in zip(parts, shapes, strict=True)]


def _bounds(drawn: Floats | None, arm: int) -> Bounds:
    """Return the interval of an arm; draws in which a number has no value are left out."""
    if drawn is None:
        return None
    low, high = np.nanquantile(drawn[:, arm], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
