"""Intervals against scipy, closed forms and simulation."""

import hashlib
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from harness.errors import DataError
from harness.scoring import intervals as interval_module
from harness.scoring.intervals import DRAWS, Interval, bootstrap_seed, intervals, resampled_sums, wilson_interval

Floats = NDArray[np.float64]


def ratio(sums: Floats) -> Floats:
    """Return column 0 over column 1, NaN where that is 0."""
    wholes = sums[..., 1]
    shares: Floats = np.divide(sums[..., 0], wholes, out=np.full(np.shape(wholes), np.nan), where=wholes > 0)
    return shares


def means_of(values: Floats) -> Floats:
    """Return the sums of clusters of one sample each."""
    return np.stack([values, np.ones_like(values)], axis=1)


def only(sums: Floats, *, seed: int = 1, groups: list[int] | None = None) -> Interval:
    return intervals(sums, [ratio], seed=seed, groups=groups)[0]


def bounds(interval: Interval) -> tuple[float, float]:
    assert interval.bounds is not None
    return interval.bounds


def skewed(count: int, seed: int = 7) -> Floats:
    return np.random.default_rng(seed).exponential(size=count) ** 1.5


def test_seed_is_the_digest_of_task_bootstrap_and_stratum() -> None:
    assert bootstrap_seed("t") == int(hashlib.sha256(b'["t", "bootstrap"]').hexdigest(), 16)
    assert len({bootstrap_seed("t"), bootstrap_seed("u"), bootstrap_seed("t", ("a", "b"))}) == 3


@pytest.mark.parametrize("count", [12, 60, 400])
def test_bca_agrees_with_scipy_within_monte_carlo_error(count: int) -> None:
    values = skewed(count)
    reference = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", rng=3, batch=2_000)
    interval = only(means_of(values))
    error = 0.15 * float(reference.standard_error)
    assert interval.method == "bca"
    assert bounds(interval) == pytest.approx(tuple(reference.confidence_interval), abs=error)


def test_bca_over_groups_agrees_with_scipy_for_several_samples() -> None:
    first, second = skewed(40, seed=1), skewed(25, seed=2)

    def half_sum(a: Floats, b: Floats, axis: int) -> Floats:
        return np.asarray((a.mean(axis=axis) + b.mean(axis=axis)) / 2)

    reference = stats.bootstrap(
        (first, second), half_sum, n_resamples=20_000, method="BCa", vectorized=True, rng=3, batch=2_000
    )
    sums = np.zeros((65, 4))
    sums[:40, 0], sums[40:, 1], sums[:40, 2], sums[40:, 3] = first, second, 1, 1

    def macro(sums: Floats) -> Floats:
        return np.asarray((sums[..., :2] / sums[..., 2:]).mean(axis=-1))

    # leaving one cluster out must not empty a group, and drawing inside groups never does
    interval = intervals(sums, [macro], seed=1, groups=[40, 25])[0]
    assert interval.method == "bca"
    assert bounds(interval) == pytest.approx(
        tuple(reference.confidence_interval), abs=0.15 * float(reference.standard_error)
    )


def test_percentile_agrees_with_the_normal_limit_between_2000_and_20000_clusters() -> None:
    values = np.random.default_rng(0).random(3_000)
    interval = only(means_of(values))
    error = values.std(ddof=1) / math.sqrt(len(values))
    expected = values.mean() - 1.96 * error, values.mean() + 1.96 * error
    assert interval.method == "percentile"
    assert bounds(interval) == pytest.approx(expected, abs=0.15 * error)


def test_delta_method_is_the_closed_form_of_a_mean_above_20000_clusters() -> None:
    values = np.random.default_rng(0).random(20_001)
    interval = only(means_of(values))
    error = values.std(ddof=1) / math.sqrt(len(values))
    z = stats.norm.ppf(0.975)
    assert interval.method == "delta"
    assert bounds(interval) == pytest.approx((values.mean() - z * error, values.mean() + z * error), abs=1e-9)


def test_delta_method_of_a_ratio_is_the_linearised_closed_form() -> None:
    generator = np.random.default_rng(0)
    sizes = generator.integers(1, 9, size=25_000).astype(float)
    sums = np.stack([sizes * generator.random(25_000), sizes], axis=1)
    estimate = sums[:, 0].sum() / sums[:, 1].sum()
    residual = sums[:, 0] - estimate * sums[:, 1]
    error = math.sqrt(25_000 / 24_999 * float(np.sum(residual**2))) / sums[:, 1].sum()
    low, high = bounds(only(sums))
    assert (high - low) / (2 * stats.norm.ppf(0.975)) == pytest.approx(error, rel=1e-6)


def test_delta_method_over_groups_takes_the_spread_inside_each() -> None:
    values = np.concatenate([np.zeros(12_000), np.ones(12_000)])
    together, apart = only(means_of(values)), only(means_of(values), groups=[12_000, 12_000])
    assert bounds(apart) == pytest.approx((0.5, 0.5), abs=1e-9)
    assert np.ptp(bounds(together)) > 0.01


def test_delta_method_of_an_undefined_estimate_gives_none() -> None:
    assert only(np.zeros((20_001, 2))) == Interval(None, "none")


def test_fewer_than_five_clusters_have_no_interval() -> None:
    assert only(means_of(np.arange(4.0))) == Interval(None, "none")
    assert only(means_of(np.arange(5.0))).bounds is not None


def test_equal_clusters_give_an_interval_of_no_width_and_say_percentile() -> None:
    interval = only(means_of(np.full(50, 0.3)))
    assert interval.method == "percentile"
    assert bounds(interval) == pytest.approx((0.3, 0.3), abs=1e-12)


def test_draws_on_one_side_fall_back_to_percentile(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = np.stack([np.linspace(2.0, 3.0, DRAWS), np.ones(DRAWS)], axis=1)
    monkeypatch.setattr(interval_module, "resampled_sums", lambda *_, **__: draws)
    interval = only(np.tile([0.1, 1.0], (10, 1)))
    assert interval.method == "percentile"
    assert bounds(interval) == pytest.approx((2.025, 2.975), abs=1e-6)


def test_draws_in_which_the_estimate_is_undefined_are_left_out() -> None:
    sums = np.zeros((12, 2))
    sums[:2] = [[0.25, 1.0], [0.75, 1.0]]
    low, high = bounds(only(sums))
    assert (low, high) == (0.25, 0.75)


def test_an_estimate_undefined_in_most_draws_has_no_interval() -> None:
    sums = np.full((12, 2), 0.5)

    def seldom(sums: Floats) -> Floats:
        return np.where(np.abs(sums[..., 0] - 6.0) < 1e-9, np.nan, 1.0)

    assert intervals(sums, [seldom], seed=1) == [Interval(None, "none")]


def test_an_undefined_estimate_has_no_interval() -> None:
    assert only(np.tile([1.0, 0.0], (12, 1))) == Interval(None, "none")


def test_all_estimators_see_the_same_draws() -> None:
    sums = np.hstack([means_of(skewed(100)), means_of(skewed(100))])
    left, right = intervals(sums, [ratio, lambda sums: ratio(sums[..., 2:])], seed=5)
    assert left == right


def test_draws_follow_the_seed_and_nothing_else() -> None:
    sums = means_of(skewed(100))
    assert only(sums, seed=1) == only(sums, seed=1)
    assert only(sums, seed=1) != only(sums, seed=2)


@pytest.mark.parametrize("sizes", [[50], [20, 30]])
def test_chunks_do_not_change_which_clusters_are_drawn(sizes: list[int]) -> None:
    sums, whole = np.eye(50), np.asarray(sizes)
    once = resampled_sums(sums, seed=3, sizes=whole, draws=101)
    chunked = resampled_sums(sums, seed=3, sizes=whole, draws=101, chunk_bytes=8 * 50 * 7)
    assert np.array_equal(once, chunked)


def test_groups_are_drawn_within_themselves() -> None:
    drawn = resampled_sums(np.eye(10), seed=3, sizes=np.asarray([4, 6]), draws=50)
    assert np.all(drawn[:, :4].sum(axis=1) == 4)
    assert np.all(drawn[:, 4:].sum(axis=1) == 6)
    assert len({tuple(row) for row in drawn}) > 40


def test_every_cluster_is_drawn_equally_often() -> None:
    drawn = resampled_sums(np.eye(20), seed=3, sizes=np.asarray([20]))
    assert drawn.mean(axis=0) == pytest.approx(np.ones(20), abs=0.12)


def test_groups_that_leave_a_cluster_out_are_a_mistake_of_ours() -> None:
    with pytest.raises(AssertionError, match="groups must cover every cluster once"):
        intervals(np.ones((6, 2)), [ratio], seed=1, groups=[2, 3])


def test_bca_covers_the_true_ratio_about_as_often_as_it_says() -> None:
    generator, hits, runs = np.random.default_rng(11), 0, 150
    for run in range(runs):
        sizes = generator.integers(1, 6, size=40).astype(float)
        rates = generator.beta(2, 2, size=40)
        low, high = bounds(only(np.stack([generator.binomial(sizes.astype(int), rates), sizes], axis=1), seed=run))
        hits += low <= 0.5 <= high
    assert 0.88 <= hits / runs <= 0.99


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (3, 10), (10, 10), (151, 251)])
def test_wilson_interval_agrees_with_scipy(successes: int, n: int) -> None:
    reference = stats.binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson_interval(successes, n) == pytest.approx((reference.low, reference.high), abs=1e-12)


@pytest.mark.parametrize(("successes", "n"), [(61.2, 10), (-1, 10), (0, 0), (math.nan, 10)])
def test_wilson_interval_refuses_what_is_no_share(successes: float, n: float) -> None:
    with pytest.raises(DataError, match=r"expected 0 <= successes <= n and n > 0.*give counts, not a percentage"):
        wilson_interval(successes, n)
