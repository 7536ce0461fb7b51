"""Which slices a rule chooses; the rules that M3D's numbers rest on are in tests/golden and in requests."""

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.imaging.views.slice_places import bin_centres, every_millimetres, filled, up_to_the_last


@pytest.mark.parametrize("depth", [1, 84, 85, 86, 87, 170, 613])
def test_the_rule_of_the_notebook_ends_with_the_last_slice(depth: int) -> None:
    found = up_to_the_last(depth, 85)
    assert len(found) == min(depth, 85) == len(set(found))
    assert found == sorted(found)
    assert found[-1] == depth - 1
    # As the notebook writes it.
    assert depth <= 85 or found == [round(i / 85 * (depth - 1)) for i in range(1, 86)]


@pytest.mark.parametrize(
    ("depth", "spacing_mm", "wanted_mm", "expected"),
    [(20, 2.5, 5.0, 10), (20, 5.0, 5.0, 20), (20, 10.0, 5.0, 20), (3, 1.0, 50.0, 1), (7, 3.0, 10.0, 2)],
)
def test_slices_by_distance_are_as_many_as_fit(depth: int, spacing_mm: float, wanted_mm: float, expected: int) -> None:
    assert every_millimetres(depth, spacing_mm, wanted_mm) == bin_centres(depth, expected)


def volume(depth: int, first: int, last: int, spread: int = 200) -> list[NDArray[np.uint8]]:
    """Return faintly noisy slices of which those from `first` to before `last` hold a bright square."""
    random = np.random.default_rng(0)
    slices = [random.integers(0, 5, (16, 16)).astype(np.uint8) for _ in range(depth)]
    for place in range(first, last):
        slices[place][4:12, 4:12] = spread
    return slices


def test_empty_ends_are_passed_over() -> None:
    assert filled(volume(40, 20, 30), 5) == [21, 23, 25, 27, 29]


def test_a_gap_within_the_body_is_shown() -> None:
    slices = volume(40, 10, 15)
    slices[25:30] = volume(5, 0, 5)
    assert filled(slices, 4) == [10 + place for place in bin_centres(20, 4)]


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [(0, 1, [0, 1, 2, 3]), (9, 10, [6, 7, 8, 9]), (4, 6, [3, 4, 5, 6]), (0, 10, [1, 3, 6, 8])],
)
def test_a_short_part_grows_until_it_has_enough_slices(first: int, last: int, expected: list[int]) -> None:
    assert filled(volume(10, first, last), 4) == expected


def test_a_volume_of_one_value_is_spread_over_as_a_whole() -> None:
    assert filled([np.zeros((4, 4), dtype=np.uint8)] * 10, 4) == bin_centres(10, 4)
    assert filled([np.zeros((4, 4), dtype=np.uint8)] * 3, 4) == [0, 1, 2]
