"""The bounds of small, medium and large targets, and the volume of a voxel."""

import numpy as np
import pytest

from harness.imaging.target_size import skewed_steps, target_size, voxel_mm3


@pytest.mark.parametrize(
    ("area", "size"),
    [(0, "small"), (99, "small"), (100, "medium"), (1000, "medium"), (1001, "large"), (10_000, "large")],
)
@pytest.mark.parametrize("spacing", [None, (9.0, 9.0)])
def test_target_sizes_are_shares_of_the_image(area: int, size: str, spacing: tuple[float, ...] | None) -> None:
    assert target_size(area, (100, 100), spacing) == size


@pytest.mark.parametrize(
    ("voxels", "size"), [(0, "small"), (99, "small"), (100, "medium"), (1000, "medium"), (1001, "large")]
)
def test_target_sizes_are_volumes_where_the_spacing_is_known(voxels: int, size: str) -> None:
    assert target_size(voxels, (50, 100, 100), (2.5, 2.0, 2.0)) == size


@pytest.mark.parametrize(
    ("voxels", "size"), [(0, "small"), (49, "small"), (50, "medium"), (500, "medium"), (501, "large")]
)
def test_target_sizes_are_shares_of_a_volume_without_spacing(voxels: int, size: str) -> None:
    assert target_size(voxels, (50, 100, 100)) == size


def affine(*columns: tuple[float, float, float]) -> tuple[float, ...]:
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(columns).T
    return tuple(matrix.ravel().tolist())


@pytest.mark.parametrize(("area", "size"), [(99, "small"), (100, "medium"), (1001, "large")])
def test_a_2d_file_has_the_sizes_of_an_image(area: int, size: str) -> None:
    assert target_size(area, (1, 100, 100), (9.0, 9.0, 9.0), flat=True) == size
    assert target_size(area, (1, 100, 100), (9.0, 9.0, 9.0)) == "large"


# A gantry tilted by 30 degrees: slices 4 mm apart along the table shift sideways, so each step is longer.
TILTED = affine((0.5, 0, 0), (0, 0.5, 0), (0, -4 * np.tan(np.pi / 6), 4))


def test_a_voxel_of_a_tilted_gantry_has_the_volume_of_the_determinant() -> None:
    sides = tuple(np.linalg.norm(np.array(TILTED).reshape(4, 4)[:3, :3], axis=0)[::-1].tolist())
    assert voxel_mm3(sides, TILTED) == pytest.approx(0.5 * 0.5 * 4)
    assert voxel_mm3(sides) == pytest.approx(0.5 * 0.5 * 4 / np.cos(np.pi / 6))
    assert skewed_steps(TILTED) == ((0, pytest.approx(-2.309401), 4), (0, 0.5, 0), (0.5, 0, 0))
    # 1,000 voxels are 1 ml; by the sides they would be 1.15 ml.
    assert target_size(999, (50, 100, 100), sides, TILTED) == "small"
    assert target_size(999, (50, 100, 100), sides) == "medium"


@pytest.mark.parametrize(("shift", "skewed"), [(0.0, False), (0.0009, False), (0.0011, True), (-0.0011, True)])
def test_axes_are_at_right_angles_up_to_the_rounding_of_headers(shift: float, skewed: bool) -> None:
    turned = affine((0, 2.0, 0), (-2.0, 0, 2 * shift), (0, 0, 5.0))
    assert (skewed_steps(turned) is not None) is skewed
    assert skewed_steps(None) is None
