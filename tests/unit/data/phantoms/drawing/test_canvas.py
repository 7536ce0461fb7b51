"""The drawing board: fields of shapes, noise, and the masks of what was painted."""

import numpy as np
import pytest

from harness.data.phantoms.drawing.canvas import Canvas, blob, clouds, speckle, tube


def test_a_blob_is_positive_inside_and_far_outside() -> None:
    field = blob(np.random.default_rng(0), (40, 60), (0.2, -0.1), (0.3, 0.2), rough=0.0)
    inside = np.argwhere(field > 0)
    assert inside.mean(axis=0) == pytest.approx([40 / 2 * 0.9 - 0.5, 30 + 0.2 * 20 - 0.5], abs=0.6)
    assert (field > 0).sum() == pytest.approx(np.pi * 0.3 * 0.2 * 20 * 20, rel=0.1)
    assert field[0, 0] < 0


def test_a_tube_is_as_wide_as_its_radius() -> None:
    field = tube((100, 100), [(0.0, step / 50) for step in range(-50, 51)], [0.1] * 101)
    assert (field > 0).sum(axis=1)[50] == 10


def test_clouds_have_unit_height_and_no_seams() -> None:
    values = clouds(np.random.default_rng(0), (200, 260), 20)
    assert abs(values.mean()) < 0.15
    assert 0.6 < values.std() < 1.2
    assert np.abs(np.diff(values, axis=1)).max() < 0.7


def test_paint_cuts_a_later_structure_out_of_the_earlier_ones() -> None:
    canvas = Canvas.blank(20, 20)
    whole, half = np.ones((20, 20)), np.where(np.arange(20) < 10, 1.0, -1.0) * np.ones((20, 1))
    canvas.paint(whole, 100, name="liver")
    canvas.paint(half, 200, name="cyst")
    canvas.paint(half, 210, name="stone", within=("cyst",))
    assert {name: int(found[0].sum()) for name, found in canvas.masks.items()} == {
        "liver": 200,
        "cyst": 200,
        "stone": 200,
    }
    assert canvas.finished()[0, [0, 19]].tolist() == [210, 100]


def test_exposure_sets_the_mean() -> None:
    canvas = Canvas(np.random.default_rng(0).uniform(0, 90, (30, 30, 1)))
    canvas.expose(70)
    assert canvas.pixels.mean() == pytest.approx(70)


def test_a_shape_without_a_name_covers_masks_only_at_full_strength() -> None:
    canvas = Canvas.blank(20, 20)
    half = np.where(np.arange(20) < 10, 1.0, -1.0) * np.ones((20, 1))
    canvas.paint(np.ones((20, 20)), 100, name="lung")
    canvas.paint(half, 200, strength=0.5)
    assert canvas.masks["lung"][0].all()
    canvas.paint(half, 200)
    assert int(canvas.masks["lung"][0].sum()) == 200


def test_beyond_the_field_of_view_are_one_colour_and_no_masks() -> None:
    canvas = Canvas.blank(20, 20, 100.0)
    canvas.paint(np.ones((20, 20)), 150, name="retina")
    inside = np.arange(20) < 5 * np.ones((20, 1))
    canvas.keep(inside, 7.0)
    assert np.array_equal(canvas.masks["retina"][0], inside)
    assert set(canvas.finished()[~inside].tolist()) == {7}


def test_speckle_keeps_the_mean_brightness() -> None:
    values = speckle(np.random.default_rng(0), (60, 80), 2)
    assert values.mean() == pytest.approx(1.0)
    assert values.min() >= 0
    assert values.std() > 0.3
