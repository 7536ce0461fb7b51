import math

import numpy as np
import pytest

from harness.comparison.power import (
    Noise,
    clusters_needed,
    detectable_drop,
    exchanged,
    level_of,
    optimistic,
    power,
    samples_of,
)
from harness.errors import SpecError
from tests.unit.comparison.columns import paired

NOISE = Noise(error=0.01, clusters=100, samples=500)


def test_the_drop_of_a_number_of_patients_and_the_patients_of_that_drop_agree() -> None:
    for rows in (1, 12):
        drop = detectable_drop(NOISE, 100, rows=rows)
        assert power(NOISE, drop, 100, rows=rows) == pytest.approx(0.9, abs=1e-6)
        assert clusters_needed(NOISE, drop * (1 + 1e-9), rows=rows) == 100
    # Close to the textbook's (1.645 + 1.282) standard errors.
    assert detectable_drop(NOISE, 100) == pytest.approx(2.926 * 0.01, rel=0.02)
    assert samples_of(NOISE, 200) == 1000


def test_more_rows_need_more_patients() -> None:
    assert level_of(12) == pytest.approx(0.05 / 12)
    assert clusters_needed(NOISE, 0.02, rows=12) > 1.5 * clusters_needed(NOISE, 0.02)


def test_the_power_of_mcnemar_is_that_of_simulated_tests() -> None:
    noise = Noise(error=math.sqrt(0.1 / 200), clusters=200, samples=200, changed=0.1, binary=True)
    from scipy.stats import binom

    generator = np.random.default_rng(0)
    wins = generator.binomial(200, 0.05, 20_000)
    losses = generator.binomial(200 - wins, (0.05 + 0.08) / (1 - 0.05))
    caught = float(np.mean(binom.cdf(wins, wins + losses, 0.5) <= 0.05))
    assert power(noise, 0.08, 200) == pytest.approx(caught, abs=0.01)
    assert power(noise, detectable_drop(noise, 200), 200) == pytest.approx(0.9, abs=0.001)


def test_lost_answers_add_to_the_variance_of_a_share() -> None:
    share = Noise(error=0.01, clusters=100, samples=500, binary=True, tolerance=0.02)
    assert share.at(100, 0.03) == pytest.approx(math.sqrt(0.01**2 + 0.05 * 0.95 / 500))
    assert detectable_drop(share, 100) > detectable_drop(NOISE, 100)


def test_a_single_patient_shows_nothing() -> None:
    assert power(NOISE, 0.5, 1) == 0.0
    assert detectable_drop(NOISE, 1) == math.inf
    certain = Noise(error=0.0, clusters=10, samples=10)
    assert power(certain, 0.1, 10) == 1.0
    assert detectable_drop(Noise(error=0.1, clusters=3, samples=3, changed=0.9, binary=True), 3) == math.inf


def test_a_noise_that_was_measured_may_be_smaller() -> None:
    small, large = optimistic(Noise(error=1.0, clusters=20, samples=20)), optimistic(NOISE)
    assert 0.78 < small.error < 0.8
    assert 0.0089 < large.error < 0.009
    assert optimistic(Noise(error=0.1, clusters=100, samples=100, changed=0.1)).changed == pytest.approx(0.05)


def test_what_cannot_be_reached_is_said() -> None:
    with pytest.raises(SpecError, match="--drop 0: expected a number above 0"):
        clusters_needed(NOISE, 0.0)
    with pytest.raises(SpecError, match=r"--drop 1e-09: more than 100,000,000 patients are needed; name a larger drop"):
        clusters_needed(NOISE, 1e-9)


def test_a_share_of_the_answers_is_exchanged_and_samples_without_a_value_stay() -> None:
    values = [*np.linspace(0, 1, 400), None]
    both = paired(values, values)
    moved = exchanged(both, changed=0.2)
    differs = moved.values_a[:-1, 0] != moved.values_b[:-1, 0]
    assert 0.15 < differs.mean() < 0.25
    assert np.isnan(moved.values_b[-1, 0])
    assert set(moved.values_b[:-1, 0]) <= set(moved.values_a[:-1, 0])
    with pytest.raises(SpecError, match=r"--changed 0: expected a share of answers above 0 and up to 1, such as 0.1"):
        exchanged(both, changed=0.0)
