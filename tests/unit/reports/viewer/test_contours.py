"""Masks as SVG paths: exact, closed and bounded."""

import re

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.reports.viewer.contours import MOST_CORNERS, TRACED_SIDE, path_of


def _filled(path: str, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels whose centre a path encloses by the even-odd rule."""
    inside = np.zeros(shape, dtype=np.bool_)
    for part in path.split("z")[:-1]:
        x, y = map(int, re.match(r"M(\d+) (\d+)", part).groups())  # type: ignore[union-attr]
        first = x, y
        for letter, number in re.findall(r"([hv])(-?\d+)", part):
            step = int(number)
            if letter == "v":
                inside[min(y, y + step) : max(y, y + step), x:] ^= True
                y += step
            else:
                x += step
        inside[min(y, first[1]) : max(y, first[1]), first[0] :] ^= True
    return inside


@pytest.mark.parametrize("seed", range(6))
def test_a_path_encloses_exactly_the_pixels_of_its_mask(seed: int) -> None:
    generator = np.random.default_rng(seed)
    dense = generator.random((23, 17)) < generator.uniform(0.05, 0.95)
    assert np.array_equal(_filled(path_of(dense), dense.shape), dense)


def test_a_square_is_four_lines_and_an_empty_mask_no_path() -> None:
    dense = np.zeros((8, 9), dtype=np.bool_)
    assert path_of(dense) == ""
    dense[2:5, 3:6] = True
    assert path_of(dense) == "M3 2h3v3h-3z"


def test_a_full_mask_ends_at_the_border() -> None:
    assert path_of(np.ones((4, 6), dtype=np.bool_)) == "M0 0h6v4h-6z"


def test_noise_is_traced_on_a_coarser_grid() -> None:
    noise = np.random.default_rng(0).random((512, 640)) < 0.5
    path = path_of(noise)
    assert 0 < path.count("h") <= MOST_CORNERS / 2
    assert len(path) < 6 * MOST_CORNERS


def test_a_single_pixel_of_a_large_image_does_not_vanish_and_stays_inside() -> None:
    dense = np.zeros((3 * TRACED_SIDE + 1, 50), dtype=np.bool_)
    dense[-1, -1] = True
    assert path_of(dense) == f"M48 {3 * TRACED_SIDE}h2v1h-2z"
