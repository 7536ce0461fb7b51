"""The place of a mask compared with that of its volume."""

import numpy as np
import pytest

from harness.imaging.mask_files.frame import displacement
from harness.records import Grid

SIZE = (5, 4, 6)
OWN = np.diag((2.0, 2.0, 3.0, 1.0))
OWN[:3, 3] = (5, 5, 5)


def grid(affine: np.ndarray | None, size: tuple[int, ...] = SIZE) -> Grid:
    return Grid(size=size, affine=None if affine is None else tuple(affine.ravel().tolist()))


def test_a_tenth_of_the_smallest_side_is_allowed() -> None:
    for off, fits in ((0.19, True), (0.21, False)):
        moved = OWN.copy()
        moved[2, 3] += off
        assert (displacement(grid(moved), grid(OWN)) is None) is fits


def test_without_two_affines_in_space_nothing_is_compared() -> None:
    other = np.eye(4)
    assert displacement(grid(None), grid(OWN)) is None
    assert displacement(grid(other), grid(None)) is None
    assert displacement(grid(other, (4, 6)), grid(OWN, (4, 6))) is None


@pytest.mark.parametrize(("scale", "fits"), [(1.0, True), (1000.0, True), (0.001, True), (10.0, False)])
def test_a_mask_that_names_no_unit_is_in_that_of_its_volume(scale: float, fits: bool) -> None:
    stored = np.diag([scale, scale, scale, 1.0]) @ OWN
    assert (displacement(grid(stored), grid(OWN), unit="unknown") is None) is fits
    assert (displacement(grid(stored), grid(OWN), unit="mm") is None) is (scale == 1)
    beside = stored + np.diag([0, 0, 1.0], 1)[:4] * scale  # a shear of a voxel is seen in any unit
    assert displacement(grid(beside), grid(OWN), unit="unknown") is not None


def moved_and_sized(mm: float, size: float) -> np.ndarray:
    changed = OWN.copy()
    changed[:3, 3] += mm
    changed[2, 2] *= size
    return changed


@pytest.mark.parametrize(
    ("affine", "words"),
    [
        (np.eye(4), "corners lie up to 18.2 mm apart; the mask's affine is the identity, so it was saved without the "),
        (moved_and_sized(0, 1.5), "corners lie up to 6 mm apart; voxels of the mask are 2 x 2 x 4.5 mm, those of the "),
        (moved_and_sized(5, 1), "corners lie up to 8.66 mm apart"),
    ],
)
def test_the_message_says_how_far_and_why(affine: np.ndarray, words: str) -> None:
    found = displacement(grid(affine), grid(OWN))
    assert found is not None
    assert str(found).startswith(words)
    assert bool(found.hint) is (";" in words)
