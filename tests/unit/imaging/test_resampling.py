"""Masks on a model's own grid land where they lie in the original."""

from typing import Any

import numpy as np
import pytest

from harness.imaging import masks, soft_masks
from harness.models.answer_check import to_prediction
from harness.records import Answer, Grid, Media, MediaPart, Request, Turn
from harness.records.codec import prediction_from_json, to_json

SIZE = (4, 6, 8)
AFFINE = (2.0, 0, 0, -10, 0, 3.0, 0, 5, 0, 0, 4.0, 0, 0, 0, 0, 1)
VOLUME = Media(path="a.nii", sha256="0", kind="volume", size=SIZE, affine=tuple(map(float, AFFINE)))
IMAGE = Media(path="a.png", sha256="0", size=(6, 8))


def predicted(media: Media, **answer: Any) -> Any:
    request = Request(key="k", wants=("masks",), messages=(Turn(role="user", parts=(MediaPart(media=media),)),))
    return to_prediction(request, Answer(**answer), 0.0)


def test_a_resized_image_gives_each_pixel_the_cell_under_its_centre() -> None:
    small = np.zeros((3, 2), dtype=bool)
    small[1, 1] = True
    found = predicted(IMAGE, masks=[small], grid=Grid(size=(3, 2)))
    expected = np.zeros((6, 8), dtype=bool)
    expected[2:4, 4:] = True
    np.testing.assert_array_equal(masks.decode(found.masks[0]), expected)
    assert found.grid == Grid(size=(3, 2))


def test_a_finer_grid_is_sampled() -> None:
    fine = np.zeros((12, 16), dtype=bool)
    fine[1::2, 1::2] = True
    found = predicted(IMAGE, masks=[fine], grid=Grid(size=(12, 16)))
    assert masks.area(found.masks[0]) == 48


def test_a_grid_of_the_same_size_changes_nothing() -> None:
    volume = np.random.default_rng(0).random(SIZE) > 0.5
    for grid in (Grid(size=SIZE), Grid(size=SIZE, affine=VOLUME.affine)):
        np.testing.assert_array_equal(masks.decode(predicted(VOLUME, masks=[volume], grid=grid).masks[0]), volume)


def test_an_affine_places_the_grid_in_space() -> None:
    volume = np.random.default_rng(1).random(SIZE) > 0.5
    part = volume[1:3, 2:5, ::-1]  # a part of the volume, x the other way round
    affine = np.array(AFFINE, dtype=float).reshape(4, 4) @ np.array(
        [[-1, 0, 0, 7], [0, 1, 0, 2], [0, 0, 1, 1], [0, 0, 0, 1]]
    )
    grid = Grid(size=part.shape, affine=tuple(affine.ravel()))
    expected = np.zeros(SIZE, dtype=bool)
    expected[1:3, 2:5] = volume[1:3, 2:5]
    np.testing.assert_array_equal(masks.decode(predicted(VOLUME, masks=[part], grid=grid).masks[0]), expected)


def test_soft_masks_follow_and_are_0_outside() -> None:
    part = np.full((1, 6, 8), 0.75)
    affine = np.array(AFFINE, dtype=float)
    affine[11] = 8.0  # two slices up
    found = predicted(VOLUME, soft_masks=[part], grid=Grid(size=(1, 6, 8), affine=tuple(affine)))
    soft = soft_masks.decode(found.soft_masks[0])
    np.testing.assert_allclose(soft[2], 0.75, atol=0.01)
    assert soft[[0, 1, 3]].max() < 0.01


def test_the_grid_is_stored_with_the_prediction() -> None:
    found = predicted(VOLUME, masks=[np.ones(SIZE, dtype=bool)], grid=Grid(size=SIZE, affine=VOLUME.affine))
    assert prediction_from_json(to_json(found)) == found


@pytest.mark.parametrize(
    ("media", "grid", "mask", "message"),
    [
        (IMAGE, {"size": (3, 2)}, (3, 2), "grid: expected Grid(size=...), found dict"),
        (IMAGE, Grid(size=(3, 2, 2)), (3, 2), "grid.size: expected (H, W) as whole numbers of at least 1, found (3, 2"),
        (VOLUME, Grid(size=(3, 2, 0)), (3, 2, 1), "grid.size: expected (D, H, W) as whole numbers of at least 1"),
        (IMAGE, Grid(size=(3, 2)), (2, 3), "masks[0]: predicted mask is (2, 3), the grid that the answer names is (3"),
        (IMAGE, Grid(size=(3, 2), affine=(1.0,) * 16), (3, 2), "grid.affine: the image or volume that was shown has"),
        (VOLUME, Grid(size=SIZE, affine=(1.0,) * 16), SIZE, "grid.affine: expected 16 numbers of a 4 x 4 matrix with"),
        (VOLUME, Grid(size=SIZE, affine=(1.0, 2.0)), SIZE, "grid.affine: expected 16 numbers of a 4 x 4 matrix with"),
    ],
)
def test_a_grid_that_does_not_suit_is_a_model_error(media: Media, grid: Any, mask: Any, message: str) -> None:
    found = predicted(media, masks=[np.ones(mask, dtype=bool)], grid=grid)
    assert found.status == "model_error"
    assert message in found.error.message


def test_a_soft_mask_of_another_size_than_its_grid_is_a_model_error() -> None:
    found = predicted(IMAGE, soft_masks=[np.ones((2, 2))], grid=Grid(size=(3, 2)))
    assert "soft_masks[0]: predicted mask is (2, 2), the grid that the answer names is (3, 2)" in found.error.message
