"""Slices as images: what is up, how large they become, the colours of windows, and masks brought back."""

from typing import Any

import numpy as np
import pytest

from harness.errors import DataError
from harness.imaging.views.volume_views import check_hounsfield, render, tile_size, to_stored
from harness.records import Size, View

SIZE = (4, 6, 5)


def view(**changes: Any) -> View:
    given: dict[str, Any] = {"plane": "axial", "slices": (1,), "original": SIZE, "tile": (6, 5), "turned": True}
    return View(recipe="r/1", **given | changes)


@pytest.mark.parametrize(
    ("plane", "spacing_mm", "grid", "expected"),
    [
        ("axial", None, (1, 1), (6, 5)),
        ("axial", (3.0, 1.0, 1.0), (1, 1), (6, 5)),
        ("axial", (3.0, 1.0, 1.009), (1, 1), (6, 5)),
        ("axial", (3.0, 1.0, 2.0), (1, 1), (6, 10)),
        ("coronal", (3.0, 1.0, 1.0), (1, 1), (12, 5)),
        ("sagittal", (0.5, 1.0, 1.0), (1, 1), (4, 12)),
        ("coronal", (1e6, 1.0, 1.0), (1, 1), (4096, 5)),
        ("axial", None, (2, 2), (6, 5)),
    ],
)
def test_pixels_become_square_by_stretching(
    plane: str, spacing_mm: tuple[float, ...] | None, grid: Size, expected: Size
) -> None:
    assert tile_size(SIZE, spacing_mm, plane, grid) == expected


def test_a_montage_is_shrunk_to_what_models_take() -> None:
    assert tile_size((30, 512, 512), None, "axial", (4, 4)) == (256, 256)
    assert tile_size((30, 512, 300), None, "axial", (2, 4)) == (436, 256)


def test_three_windows_are_red_green_and_blue_as_by_numpy() -> None:
    voxels = np.random.default_rng(1).uniform(-1500, 1500, SIZE).astype(np.float32)
    windows = ((-1350.0, 150.0), (-150.0, 250.0), (-500.0, 1300.0))
    image = render(view(windows=windows), voxels, (1,))
    for channel, (low, high) in enumerate(windows):
        expected = np.rint((np.clip(voxels[1].astype(np.float64), low, high) - low) / (high - low) * 255)
        assert np.array_equal(image[:, :, channel], expected[::-1, ::-1])
    grey = render(view(windows=windows[:1]), voxels, (1,))
    assert all(np.array_equal(grey[:, :, channel], image[:, :, 0]) for channel in range(3))


def test_tiles_follow_in_reading_order_and_missing_ones_are_black() -> None:
    volume = np.stack([np.full(SIZE[1:], 10 * (place + 1), dtype=np.uint8) for place in range(4)])
    image = render(view(slices=(0, 1, 3), grid=(2, 2)), volume, (0, 1, 3))
    assert image.shape == (12, 10, 3)
    assert [int(image[row, column, 0]) for row in (0, 6) for column in (0, 5)] == [10, 20, 40, 0]


@pytest.mark.parametrize("turned", [True, False])
@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_a_mask_on_a_stretched_slice_comes_back_as_it_was(plane: str, turned: bool, factor: int) -> None:
    axis = ("axial", "coronal", "sagittal").index(plane)
    wanted = np.random.default_rng(2).integers(0, 2, SIZE).astype(bool).take(1, axis=axis)
    shown = wanted[::-1, ::-1] if turned else wanted
    back = to_stored(view(plane=plane, turned=turned), np.repeat(shown, factor, axis=0))
    assert np.array_equal(back, wanted)


def test_voxels_without_air_or_fat_are_no_hounsfield_units() -> None:
    check_hounsfield(np.array([-1000.0, 40.0, np.nan], dtype=np.float32), "a.nii.gz")
    with pytest.raises(DataError) as caught:
        check_hounsfield(np.array([0.0, 255.0], dtype=np.float32), "a.nii.gz")
    assert str(caught.value) == (
        "a.nii.gz: a window in Hounsfield units needs a CT, where air is -1000 and fat -100, found 0 to 255; choose a "
        "recipe without windows (`harness list recipes`)"
    )
    with pytest.raises(DataError, match="found no finite number"):
        check_hounsfield(np.array([np.nan], dtype=np.float32), "a.nii.gz")
