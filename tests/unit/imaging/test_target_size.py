"""The bounds of small, medium and large targets."""

import pytest

from harness.imaging.target_size import target_size


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
