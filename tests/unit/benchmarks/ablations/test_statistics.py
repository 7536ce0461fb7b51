"""Numbers of the ablations and their intervals."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.ablations.arms import Arm
from benchmarks.ablations.medplib import ARMS, FULL, NUMBERS
from benchmarks.ablations.runs import run_folder
from benchmarks.ablations.statistics import numbers_of
from tests.unit.benchmarks.scores import write_scores

SEEDS = (42, 43)


def write_runs(out: Path, arm: Arm, *, lower: Sequence[float], patients: int = 6) -> None:
    """Write the scores of an arm: random ones, equal for every arm, those of each seed lowered by a number."""
    for seed, by in zip(SEEDS, lower, strict=True):
        for _, number in NUMBERS:
            drawn = np.random.default_rng(len(number.task)).uniform(0.3, 1.0, size=2 * patients)
            values = {f"{place // 2}/{place}": float(value) - by for place, value in enumerate(drawn)}
            strata = {"answer_type": "closed", "modality": "ct"}
            write_scores(run_folder(out, seed, arm), number, values, strata)


def test_a_difference_that_all_samples_share_has_no_spread(tmp_path: Path) -> None:
    write_runs(tmp_path, FULL, lower=(0.0, 0.0))
    write_runs(tmp_path, ARMS[0], lower=(0.1, 0.1))
    full, other = numbers_of(tmp_path, [FULL, ARMS[0]], SEEDS, measured=NUMBERS, full=FULL)
    assert full.difference == 0
    assert other.difference == pytest.approx(-0.1)
    assert other.difference_interval == pytest.approx((-0.1, -0.1))
    assert (full.seeds_below, other.seeds_below) == (0, 2)
    assert other.interval is not None
    assert other.interval[0] < other.mean < other.interval[1]
    assert other.mean == pytest.approx(full.mean - 0.1)


def test_seeds_that_differ_widen_the_interval(tmp_path: Path) -> None:
    write_runs(tmp_path, FULL, lower=(0.0, 0.0))
    write_runs(tmp_path, ARMS[0], lower=(0.0, 0.2))
    _, other = numbers_of(tmp_path, [FULL, ARMS[0]], SEEDS, measured=NUMBERS, full=FULL)
    assert other.difference == pytest.approx(-0.1)
    assert other.difference_interval == pytest.approx((-0.2, 0.0))
    assert other.seeds_below == 1


def test_four_patients_give_no_interval(tmp_path: Path) -> None:
    write_runs(tmp_path, FULL, lower=(0.0, 0.0), patients=4)
    (full,) = numbers_of(tmp_path, [FULL], SEEDS, measured=NUMBERS, full=FULL)
    assert (full.interval, full.difference_interval) == (None, None)
