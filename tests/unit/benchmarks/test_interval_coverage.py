"""The simulation behind the table of empirical coverage."""

import numpy as np
import pytest

from benchmarks.interval_coverage import Job, coverage, simulations
from harness.scoring import intervals


@pytest.fixture(autouse=True)
def _draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the number of draws back, which a job sets for its process."""
    monkeypatch.setattr(intervals, "DRAWS", intervals.DRAWS)


@pytest.mark.parametrize("name", list(simulations()))
def test_a_cohort_has_its_samples_by_patient_and_a_value_within_its_interval(name: str) -> None:
    simulation = simulations()[name]
    cohort = simulation.draw(np.random.default_rng(1), 12, 3)
    assert cohort.patient.tolist() == [patient for patient in range(12) for _ in range(3)]
    assert len(cohort.stats) == 36
    intervals.DRAWS = 50
    bounds = simulation.interval(cohort, 1).bounds
    assert bounds is not None
    assert 0 <= bounds[0] < simulation.value(cohort) < bounds[1] <= 1


def test_every_draw_is_counted_once_and_a_job_repeats_itself() -> None:
    job = Job("proportion", clusters=20, size=2, draws=40, resamples=100)
    found = coverage(job)
    assert found.held + found.above + found.below == pytest.approx(1)
    assert found.held > 0.7
    assert 0.65 < found.truth < 0.75
    assert coverage(job) == found
