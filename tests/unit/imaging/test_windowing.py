"""Which grey values become black and white."""

import numpy as np
import pytest

from harness.errors import SpecError
from harness.imaging.windowing import MIN_MAX, Percentiles, limits, windowed


def test_given_limits_stand_whatever_the_values() -> None:
    assert limits((-160.0, 240.0), np.array([0.0]), "a") == (-160.0, 240.0)


def test_percentiles_are_those_of_the_values() -> None:
    values = np.arange(101, dtype=np.int16)
    assert limits(Percentiles((1.0, 99.0)), values, "a") == (1.0, 99.0)
    assert limits(MIN_MAX, values, "a") == (0.0, 100.0)


def test_values_that_are_not_finite_do_not_count() -> None:
    assert limits(MIN_MAX, np.array([np.nan, -2.0, np.inf, 5.0]), "a") == (-2.0, 5.0)
    assert limits(MIN_MAX, np.array([np.nan]), "a") == (0.0, 1.0)


def test_a_flat_image_has_a_window_all_the_same() -> None:
    assert limits(MIN_MAX, np.full((2, 2), 7), "a") == (7.0, 8.0)


def test_limits_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(SpecError, match=r"a.png: window: expected \[low, high\] with low < high, found \[2, 1\]"):
        limits((2, 1), np.array([0]), "a.png")


def test_values_are_cut_at_both_ends_and_rounded() -> None:
    found = windowed(np.array([-5.0, 0.0, 50.0, 100.0, 900.0, np.nan]), (0.0, 100.0))
    assert (found.dtype, found.tolist()) == (np.uint8, [0, 0, 128, 255, 255, 0])
