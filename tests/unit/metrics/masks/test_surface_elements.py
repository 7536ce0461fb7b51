"""Boundaries of masks: their pixels, the elements of a contour or surface, and the distances between them."""

import numpy as np
import pytest
from scipy import ndimage

from harness.imaging import masks
from harness.metrics.masks import surface_elements as surface_elements_module
from harness.metrics.masks.surface_elements import boundary_pixels, cropped, element_weights, surface_elements
from harness.records import Box, Mask


def box(*corners: float, size: tuple[int, ...]) -> Mask:
    return masks.from_box(Box(corners=corners), size)


def test_mask_at_the_edge_of_the_image_has_a_boundary_there() -> None:
    full = np.ones((4, 5), dtype=bool)
    assert len(boundary_pixels(full, full, (1.0, 1.0))[0].distances) == 14


def test_cropping_leaves_no_more_than_the_box_around_both() -> None:
    size = (20, 40, 30)
    first, second = (box(z, 5, 5, z + 2, 15, 10, size=size) for z in (3, 9))
    found = cropped(first, second)
    assert found[0].shape == found[1].shape == (8, 10, 5)
    assert [part.any(axis=(1, 2)).tolist() for part in found] == [[True] * 2 + [False] * 6, [False] * 6 + [True] * 2]
    assert cropped(None, second)[0].shape == (2, 10, 5)


def test_distances_of_a_crop_are_those_of_the_whole_volume() -> None:
    generator = np.random.default_rng(0)
    whole = np.zeros((2, 30, 30, 30), dtype=bool)
    whole[:, 12:20, 5:12, 17:25] = generator.random((2, 8, 7, 8)) < 0.3
    spacing = (3.0, 1.0, 0.7)
    expected = boundary_pixels(whole[0], whole[1], spacing)
    found = boundary_pixels(*cropped(masks.encode(whole[0]), masks.encode(whole[1])), spacing)
    for side, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(side.distances, other.distances, rtol=1e-12)


def test_contour_elements_are_as_long_as_marching_squares_draws_them() -> None:
    lengths = element_weights((3.0, 4.0))
    assert lengths.tolist() == [0, 2.5, 2.5, 4, 2.5, 3, 5, 2.5, 2.5, 5, 3, 2.5, 4, 2.5, 2.5, 0]


def test_surface_elements_are_as_large_as_marching_cubes_draws_them() -> None:
    areas = element_weights((1.0, 1.0, 1.0))
    assert areas[0] == areas[255] == 0
    assert areas[0b00001111] == areas[0b00110011] == areas[0b01010101] == pytest.approx(1.0)
    corner = np.sqrt(3) / 8
    np.testing.assert_allclose(areas[[1 << bit for bit in range(8)]], corner)
    np.testing.assert_allclose(areas, areas[::-1])
    assert element_weights((2.0, 3.0, 5.0))[0b00001111] == pytest.approx(15.0)
    assert element_weights((2.0, 3.0, 5.0))[0b01010101] == pytest.approx(6.0)


def test_without_another_boundary_every_distance_is_infinite() -> None:
    mask, nothing = np.zeros((4, 5), dtype=bool), np.zeros((4, 5), dtype=bool)
    mask[1:3, 1:3] = True
    for measure in (boundary_pixels, surface_elements):
        found, none = measure(mask, nothing, (1.0, 1.0))
        assert np.isinf(found.distances).all()
        assert len(found.distances) == len(found.weights) > 0
        assert len(none.distances) == len(none.weights) == 0


def test_one_pixel_has_four_corners_a_quarter_of_a_contour_each() -> None:
    mask = np.zeros((3, 3), dtype=bool)
    mask[1, 1] = True
    found, other = surface_elements(mask, mask, (3.0, 4.0))
    assert found.weights.tolist() == [2.5] * 4
    assert found.distances.tolist() == other.distances.tolist() == [0.0] * 4


@pytest.mark.parametrize("shape", [(40, 30), (1, 30), (12, 14, 9)])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_a_tree_of_the_boundary_gives_the_distances_of_a_distance_transform(
    shape: tuple[int, ...], share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = np.random.default_rng(5)
    first = draw.random(shape) < share
    second = ndimage.binary_dilation(draw.random(shape) < 0.01, iterations=2)
    grid = (0.7, 0.3000000119, 2.5)[: len(shape)]
    expected = [mask & ~ndimage.binary_erosion(mask) for mask in (first, second)]
    found = []
    for pixels in (0, 10**9):
        monkeypatch.setattr(surface_elements_module, "PIXELS_PER_ELEMENT", pixels)
        found.append(boundary_pixels(first, second, grid))
    for by_tree, by_transform, boundary in zip(*found, expected, strict=True):
        assert len(by_tree.distances) == np.count_nonzero(boundary)
        assert by_tree.distances == pytest.approx(by_transform.distances, abs=1e-12, rel=1e-15)
