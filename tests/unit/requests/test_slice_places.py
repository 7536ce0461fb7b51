"""Which slices a 2-D model is shown: none twice, none outside, and as many as each rule promises."""

from collections.abc import Callable

import pytest

from harness.requests import volume_slices

RULES = pytest.mark.parametrize(
    "rule", [volume_slices.every_nth, volume_slices.evenly_spaced, volume_slices.bin_centres]
)


@RULES
@pytest.mark.parametrize("depth", [1, 2, 9, 10, 19, 20, 33, 155])
@pytest.mark.parametrize("wanted", [1, 5, 10])
def test_slices_ascend_inside_the_volume(rule: Callable[[int, int], list[int]], depth: int, wanted: int) -> None:
    found = rule(depth, wanted)
    assert found == sorted(set(found))
    assert 0 <= found[0] <= found[-1] < depth
    most = 2 * wanted - 1 if rule is volume_slices.every_nth else wanted
    assert min(depth, wanted) <= len(found) <= most


def test_even_spacing_shows_both_ends_and_bins_show_neither() -> None:
    assert volume_slices.evenly_spaced(100, 3) == [0, 50, 99]
    assert volume_slices.bin_centres(100, 3) == [16, 50, 83]


def test_the_released_rule_leaves_out_the_end() -> None:
    assert volume_slices.every_nth(19, 10) == list(range(19))
    assert volume_slices.every_nth(29, 10)[-1] == 28
    assert volume_slices.every_nth(39, 10) == list(range(0, 39, 3))
