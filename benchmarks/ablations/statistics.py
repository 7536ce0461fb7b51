"""The numbers of the ablations: each arm's means over seeds, and its difference to the full model.

Intervals are the 2.5th and 97.5th percentiles of 2,000 draws. In each draw patients are resampled with replacement (in
VQA-RAD images, because the release names no patients), the same for every arm and seed, then seeds, the same for every
arm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.ablations.arms import Arm
from benchmarks.ablations.paired_scores import ClusterSums, Number, means, read_sums
from benchmarks.ablations.runs import run_folder
from harness.metrics.metric import Floats
from harness.scoring.intervals import FEWEST_CLUSTERS, LEVEL, bootstrap_seed, resampled_sums

PATIENTS, IMAGES = "patients", "images"
Measured = Sequence[tuple[str, Number]]
Bounds = tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmNumbers:
    """The numbers of one arm.

    Attributes:
        arm: The setting.
        columns: One mean over seeds per number, in [0, 1].
        mean: Mean of the columns.
        interval: 95 % interval of `mean`; None with fewer than five patients or images.
        difference: `mean` minus that of the full model.
        difference_interval: 95 % interval of `difference`, from pairs of the same seed and samples.
        seeds_below: Number of seeds with which the arm is below the full model.
    """

    arm: Arm
    columns: tuple[float, ...]
    mean: float
    interval: Bounds
    difference: float
    difference_interval: Bounds
    seeds_below: int


def numbers_of(
    out: Path, arms: Sequence[Arm], seeds: Sequence[int], *, measured: Measured, full: Arm
) -> list[ArmNumbers]:
    """Return the numbers of arms, after every seed of them was evaluated.

    Args:
        out: Folder of the ablations.
        arms: The settings, `full` among them.
        seeds: Seeds of the trainings.
        measured: What is resampled (`PATIENTS` or `IMAGES`) and measured on it.
        full: The setting that the others are compared with.
    Raises:
        DataError: An evaluation is missing, or has other samples than the others.
    """
    runs = [run_folder(out, seed, arm) for arm in arms for seed in seeds]
    tables = [read_sums(runs, number) for _, number in measured]
    shape = (len(arms), len(seeds))
    value = _values([table.sums.sum(axis=1) for table in tables], shape)
    drawn = _drawn([kind for kind, _ in measured], tables, shape)
    # Three seeds say little about the spread between trainings, so seeds are counted beside the interval.
    base = [arm.name for arm in arms].index(full.name)
    below = (value.mean(axis=-1) < value.mean(axis=-1)[base]).sum(axis=1)
    mean = value.mean(axis=(1, 2))
    return [
        ArmNumbers(
            arm=arm,
            columns=tuple(float(column) for column in value[at].mean(axis=0)),
            mean=float(mean[at]),
            interval=_bounds(drawn, at),
            difference=float(mean[at] - mean[base]),
            difference_interval=None if drawn is None else _bounds(drawn - drawn[:, [base]], at),
            seeds_below=int(below[at]),
        )
        for at, arm in enumerate(arms)
    ]


def _values(sums: Sequence[Floats], shape: tuple[int, int]) -> Floats:
    """Return float64 (..., arms, seeds, numbers) from the sums of each number, float64 (..., runs, strata, 2)."""
    found = np.stack([means(one) for one in sums], axis=-1)
    return found.reshape(*found.shape[:-2], *shape, len(sums))


def _drawn(kinds: Sequence[str], tables: Sequence[ClusterSums], shape: tuple[int, int]) -> Floats | None:
    """Return the mean of the numbers of each arm in every draw, float64 (draws, arms); None with too few clusters."""
    # A patient has samples in several tasks and is one cluster of them all. Images are resampled by themselves, since
    # the release does not say which patient they show.
    groups = []
    for kind in dict.fromkeys(kinds):
        of_kind = [table for own, table in zip(kinds, tables, strict=True) if own == kind]
        groups.append([(kind, name) for name in sorted({name for table in of_kind for name in table.clusters})])
    if min(map(len, groups)) < FEWEST_CLUSTERS:
        return None
    # The sums of all numbers and runs are side by side in one matrix, so that one draw of clusters serves all of them
    # and differences are paired. A cluster has zeros where a number has no sample of it.
    row_of = {cluster: row for row, cluster in enumerate(cluster for group in groups for cluster in group)}
    blocks = []
    for kind, table in zip(kinds, tables, strict=True):
        flat = table.sums.swapaxes(0, 1).reshape(len(table.clusters), -1)
        block = np.zeros((len(row_of), flat.shape[1]))
        block[[row_of[kind, name] for name in table.clusters]] = flat
        blocks.append(block)
    seed = bootstrap_seed("ablations")
    sizes = np.asarray([len(group) for group in groups])
    drawn = resampled_sums(np.concatenate(blocks, axis=1), seed=seed, sizes=sizes)
    # Back from columns to (draws, runs, strata, 2) of each number.
    parts = np.split(drawn, np.cumsum([block.shape[1] for block in blocks])[:-1], axis=-1)
    sums = [
        part.reshape(len(drawn), len(table.sums), *table.sums.shape[2:])
        for part, table in zip(parts, tables, strict=True)
    ]
    by_seed = _values(sums, shape).mean(axis=-1)
    # One choice of seeds per draw for all arms: arms of one seed share stages, so their differences are paired.
    chosen = np.random.default_rng(seed).integers(shape[1], size=(len(drawn), 1, shape[1]))
    return np.asarray(np.take_along_axis(by_seed, chosen, axis=2).mean(axis=2))


def _bounds(drawn: Floats | None, arm: int) -> Bounds:
    """Return the interval of an arm from float64 (draws, arms); draws in which a number has no value are left out."""
    if drawn is None:
        return None
    low, high = np.nanquantile(drawn[:, arm], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
