"""Agreement of raters, against scikit-learn, scipy and krippendorff."""

import math

import krippendorff
import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score

from harness.scoring.agreement import (
    accuracy,
    alpha,
    difference_of_means,
    kappa,
    mean_difference,
    spearman,
)

LEVELS = ("nominal", "ordinal", "interval")


def labels(samples: int, categories: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    first = generator.integers(0, categories, samples).astype(float)
    second = np.where(generator.random(samples) < 0.6, first, generator.integers(0, categories, samples))
    return first, second.astype(float)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("samples", "categories"), [(3, 2), (4, 3), (10, 3), (10, 101), (100, 2), (100, 101), (3000, 2), (3000, 11)]
)
def test_equals_scikit_learn_scipy_and_krippendorff(samples: int, categories: int) -> None:
    for seed in range(3 if samples <= 100 else 1):
        first, second = labels(samples, categories, seed)
        if len({*first}) < 2 or len({*second}) < 2:
            continue
        weights, unit = np.ones(samples), np.tile(np.arange(samples), 2)
        for weighted, name in (("none", None), ("linear", "linear"), ("quadratic", "quadratic")):
            theirs = cohen_kappa_score(first, second, labels=range(categories), weights=name)
            assert kappa(weights, first, second, weighted=weighted) == pytest.approx(theirs, abs=1e-9)
        for level in LEVELS:
            theirs = krippendorff.alpha(np.stack([first, second]), level_of_measurement=level)
            ours = alpha(weights, unit, np.concatenate([first, second]), level=level)
            assert ours == pytest.approx(theirs, abs=1e-9)
        assert spearman(weights, first, second) == pytest.approx(spearmanr(first, second)[0], abs=1e-9)
        assert accuracy(weights, first, second) == pytest.approx(np.mean(first == second))


def test_many_raters_with_missing_ratings_equal_krippendorff() -> None:
    generator = np.random.default_rng(1)
    ratings = generator.integers(1, 5, (4, 60)).astype(float)
    ratings[generator.random(ratings.shape) < 0.5] = np.nan  # some units have one rating, or none
    rater, unit = np.nonzero(~np.isnan(ratings))
    for level in LEVELS:
        theirs = krippendorff.alpha(ratings, level_of_measurement=level)
        assert alpha(np.ones(60), unit, ratings[rater, unit], level=level) == pytest.approx(theirs, abs=1e-9)


def test_a_weight_counts_a_sample_that_often() -> None:
    first, second = labels(40, 3, 5)
    weights = np.random.default_rng(2).integers(0, 4, (3, 40)).astype(float)
    unit = np.tile(np.arange(40), 2)
    for draw, times in enumerate(weights.astype(int)):
        one, two = np.repeat(first, times), np.repeat(second, times)
        assert kappa(weights, first, second, weighted="linear")[draw] == pytest.approx(
            cohen_kappa_score(one, two, weights="linear"), abs=1e-9
        )
        assert spearman(weights, first, second)[draw] == pytest.approx(spearmanr(one, two)[0], abs=1e-9)
        assert mean_difference(weights, first, second)[draw] == pytest.approx(np.mean(one - two))
        for level in LEVELS:
            theirs = krippendorff.alpha(np.stack([one, two]), level_of_measurement=level)
            ours = alpha(weights, unit, np.concatenate([first, second]), level=level)[draw]
            assert ours == pytest.approx(theirs, abs=1e-9)


def test_degenerate_cases_are_undefined() -> None:
    ones, twice = np.ones(6), np.tile(np.arange(6), 2)
    rising = np.arange(6.0)
    for weighted in ("none", "linear", "quadratic"):
        assert math.isnan(kappa(ones, ones, ones, weighted=weighted))  # no disagreement is expected
        assert kappa(ones, ones, rising, weighted=weighted) == pytest.approx(0)  # one rater never varies
        assert kappa(ones, rising, rising, weighted=weighted) == 1.0
        assert math.isnan(kappa(np.zeros(6), rising, rising, weighted=weighted))
    for level in LEVELS:
        assert math.isnan(alpha(ones, twice, np.full(12, 70.1), level=level))
        assert math.isnan(alpha(ones, np.arange(6), rising, level=level))  # nothing is paired
        assert math.isnan(alpha(np.zeros(0), np.zeros(0, int), np.zeros(0), level=level))
        assert alpha(ones, twice, np.tile(rising, 2), level=level) == 1.0
    assert math.isnan(spearman(ones, np.full(6, 0.1), rising))
    assert math.isnan(accuracy(np.zeros(0), np.zeros(0), np.zeros(0)))
    assert math.isnan(difference_of_means(ones, rising, np.ones(6, bool)))
    assert difference_of_means(ones, rising, rising > 3) == pytest.approx(3.0)
    # A rater whose scores are large and almost equal still has ranks.
    assert spearman(ones, 1e6 + 1e-6 * rising, rising) == pytest.approx(1.0)
