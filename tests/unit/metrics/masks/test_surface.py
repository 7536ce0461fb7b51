"""NSD and HD95: what a boundary is, what a millimetre is, and what empty means."""

import itertools
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import distance
from skimage.measure import find_contours, marching_cubes, mesh_surface_area

from harness.errors import DataError
from harness.imaging import masks
from harness.metrics.masks import surface
from harness.metrics.masks.surface_elements import boundary_pixels, element_weights, surface_elements
from harness.metrics.metric import Metric, Outcome, bind, sample_values
from harness.records import Box, Entity, Mask, Media, Prediction, Sample, Target

SIZE = (40, 30)
ROWS = {(row.name, row.protocol): row for row in surface.METRICS}
ALL_ROWS = pytest.mark.parametrize("row", surface.METRICS, ids=lambda row: f"{row.name}-{row.protocol}")


def box(*corners: float, size: tuple[int, ...] = SIZE) -> Mask:
    return masks.from_box(Box(corners=corners), size)


def sample(*targets: Mask, spacing: tuple[float, ...] | None = (1.0, 1.0), size: tuple[int, ...] = SIZE) -> Sample:
    media = Media(path="a", sha256=None, size=size, spacing_mm=spacing)
    entities = tuple(Entity(name="target", mask=mask) for mask in targets)
    return Sample(id="d/test/1", media=(media,), target=Target(entities=entities, absent=not targets))


def prediction(*predicted: Mask) -> Prediction:
    return Prediction(key="k", status="ok", masks=predicted)


def value(row: Metric, target: Sample, *predicted: Mask, **parameters: Any) -> float | None:
    outcome = row.score(target, prediction(*predicted), **parameters)
    return sample_values(row, outcome.stats)[0] if outcome.status == "ok" else None


SQUARE, MOVED, NOTHING = box(5, 5, 15, 15), box(8, 5, 18, 15), masks.empty(SIZE)


def test_table_holds_two_metrics_under_two_protocols() -> None:
    assert list(ROWS) == [(name, protocol) for name in ("nsd", "hd95") for protocol in ("standard", "surface-distance")]
    assert [(row.unit, row.higher_is_better) for row in surface.METRICS] == [("share", True)] * 2 + [("mm", False)] * 2


@ALL_ROWS
def test_perfect_mask_reaches_the_ceiling(row: Metric) -> None:
    assert value(row, sample(SQUARE), SQUARE) == row.ceiling(sample(SQUARE)) == (1.0 if row.name == "nsd" else 0.0)


@ALL_ROWS
@pytest.mark.parametrize("target", [sample(NOTHING), sample()])
@pytest.mark.parametrize("predicted", [(), (NOTHING,)])
def test_nothing_against_nothing_is_undefined(row: Metric, target: Sample, predicted: tuple[Mask, ...]) -> None:
    assert row.score(target, prediction(*predicted)) == Outcome("undefined")
    assert row.ceiling(target) is None


@ALL_ROWS
@pytest.mark.parametrize(
    ("target", "predicted"), [(sample(SQUARE), ()), (sample(SQUARE), (NOTHING,)), (sample(), (SQUARE,))]
)
def test_one_empty_side_is_worst(row: Metric, target: Sample, predicted: tuple[Mask, ...]) -> None:
    assert row.floor(target) == (0.0 if row.name == "nsd" else 50.0)
    infinite = (row.name, row.protocol) == ("hd95", "surface-distance")
    assert value(row, target, *predicted) == (None if infinite else row.floor(target))


@pytest.mark.parametrize("protocol", ["standard", "surface-distance"])
def test_worst_distance_is_the_diagonal_in_millimetres(protocol: str) -> None:
    row = ROWS["hd95", protocol]
    assert row.worst(sample(SQUARE, spacing=(0.5, 2.0)))[:2] == (np.hypot(20, 60), 1.0)
    assert row.score(sample(SQUARE), prediction()).detail == {"empty": "one side"}


def test_worst_distance_is_undefined_where_the_image_is_unknown() -> None:
    unknown = Sample(id="x", target=Target(absent=True))
    assert ROWS["hd95", "standard"].floor(unknown) is None
    assert ROWS["nsd", "standard"].floor(unknown) == 0.0


def test_failed_prediction_weighs_as_much_as_the_targets_boundary() -> None:
    assert ROWS["nsd", "standard"].worst(sample(SQUARE)) == (0.0, 36.0)
    contour = 4 * 9 + 4 * 0.5 * np.sqrt(2)
    assert ROWS["nsd", "surface-distance"].worst(sample(SQUARE)) == (0.0, pytest.approx(contour))


def test_boundary_within_the_tolerance_counts() -> None:
    row = ROWS["nsd", "standard"]
    far = 10 + 4  # the side that sticks out, and the middle of the opposite one
    assert row.score(sample(SQUARE), prediction(MOVED), tolerance_mm=2.9).stats == (72.0 - 2 * far, 72.0)
    assert value(row, sample(SQUARE), MOVED, tolerance_mm=3.0) == 1.0
    wide = sample(SQUARE, spacing=(1.0, 0.1))
    assert value(row, wide, MOVED, tolerance_mm=0.3) == 1.0  # 3 steps of 0.1 are more than 0.3 in binary


def test_tolerance_is_a_parameter_in_millimetres() -> None:
    strict, default = (bind(ROWS["nsd", "standard"], given, "task") for given in ({"tolerance_mm": 0.5}, {}))
    assert (strict.bound, default.bound) == ({"tolerance_mm": 0.5}, {"tolerance_mm": 1.0})
    shifted = box(6, 5, 16, 15)
    assert value(default, sample(SQUARE), shifted) == 1.0
    assert value(strict, sample(SQUARE), shifted) == pytest.approx(36 / 72)


def test_distances_follow_the_spacing_of_each_axis() -> None:
    down = box(5, 8, 15, 18)
    row = ROWS["hd95", "standard"]
    assert value(row, sample(SQUARE, spacing=(2.0, 0.5)), down) == 6.0
    assert value(row, sample(SQUARE, spacing=(2.0, 0.5)), MOVED) == 1.5


def test_percentile_forgives_a_few_far_pixels() -> None:
    square, speck = box(0, 0, 26, 26), box(29, 39, 30, 40)
    assert value(ROWS["hd95", "standard"], sample(square), square, speck) == 0.0
    assert value(ROWS["hd95", "standard"], sample(square), speck) == pytest.approx(
        max(np.hypot(4, 14), np.percentile(distances_to(square, (39, 29)), 95))
    )


def distances_to(mask: Mask, place: tuple[int, int]) -> list[float]:
    dense = masks.decode(mask)
    (edge, _) = boundary_pixels(dense, masks.decode(box(29, 39, 30, 40)), (1.0, 1.0))
    assert len(edge.distances) == 4 * 25
    assert edge.distances.max() == np.hypot(*place)
    return list(edge.distances)


@ALL_ROWS
def test_without_spacing_the_unit_is_the_pixel(row: Metric) -> None:
    unknown = row.score(sample(SQUARE, spacing=None), prediction(MOVED))
    assert unknown.detail == {"unit": "pixel"}
    assert unknown.stats == row.score(sample(SQUARE), prediction(MOVED)).stats
    assert row.score(sample(SQUARE), prediction(MOVED)).detail == {}


@ALL_ROWS
def test_spacing_of_another_grid_is_not_used(row: Metric) -> None:
    other = sample(SQUARE, spacing=(3.0, 3.0), size=(80, 60))
    assert row.score(other, prediction(MOVED)).detail == {"unit": "pixel"}


@ALL_ROWS
def test_all_masks_of_a_side_are_taken_together(row: Metric) -> None:
    assert value(row, sample(SQUARE, MOVED), box(5, 5, 18, 15)) == row.ceiling(sample(SQUARE))


@ALL_ROWS
def test_mask_of_another_size_is_an_error_that_names_the_sample(row: Metric) -> None:
    with pytest.raises(DataError, match=r"^d/test/1: predicted mask is \(30, 40\), image is \(40, 30\) as \(H, W\)"):
        row.score(sample(SQUARE), prediction(masks.full((30, 40))))


def test_rows_without_parameters_refuse_a_tolerance() -> None:
    with pytest.raises(TypeError):
        ROWS["hd95", "standard"].score(sample(SQUARE), prediction(SQUARE), tolerance_mm=1.0)
    assert isinstance(ROWS["nsd", "standard"].score, partial)


# Steps in mm along z, y and x of a CT with a tilted gantry, and of a volume under a general shear.
TILTED = ((0.0, -1.5, 3.0), (0.0, 0.7, 0.0), (0.7, 0.0, 0.0))
SHEARED = ((0.2, 0.1, 2.0), (0.5, 1.0, 0.0), (1.5, -0.3, 0.1))


def skewed_sample(steps: tuple[tuple[float, ...], ...], target: Mask) -> Sample:
    affine = np.eye(4)
    affine[:3, :3] = np.array(steps[::-1]).T  # columns are the steps along x, y and z
    affine[:3, 3] = (-40.0, 7.0, 3.0)
    media = Media(
        path="a",
        sha256=None,
        kind="volume",
        size=target.size,
        spacing_mm=tuple(np.linalg.norm(steps, axis=1).tolist()),
        affine=tuple(affine.ravel().tolist()),
    )
    return Sample(id="d/test/1", media=(media,), target=Target(entities=(Entity(name="target", mask=target),)))


@pytest.mark.parametrize("steps", [TILTED, SHEARED])
def test_distances_in_a_skewed_volume_are_those_in_space(steps: tuple[tuple[float, ...], ...]) -> None:
    size = (9, 14, 15)
    target, predicted = box(2, 3, 4, 7, 9, 10, size=size), box(1, 5, 4, 6, 11, 12, size=size)
    points = []
    for mask in (predicted, target):
        dense = masks.decode(mask)
        edge = dense & ~ndimage.binary_erosion(dense)
        affine = np.array(skewed_sample(steps, target).media[0].affine).reshape(4, 4)
        z, y, x = np.nonzero(edge)
        points.append((affine @ np.stack([x, y, z, np.ones_like(x)]))[:3].T)
    between = distance.cdist(*points)
    both = between.min(axis=1), between.min(axis=0)
    expected = max(np.percentile(one, 95) for one in both)
    volume = skewed_sample(steps, target)
    assert value(ROWS["hd95", "standard"], volume, predicted) == pytest.approx(expected, rel=1e-9)
    within = np.concatenate(both) <= 1.6
    assert value(ROWS["nsd", "standard"], volume, predicted, tolerance_mm=1.6) == pytest.approx(within.mean())
    flat = replace(volume, media=(replace(volume.media[0], affine=None),))
    assert value(ROWS["hd95", "standard"], flat, predicted) != pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("steps", [TILTED, SHEARED])
def test_surface_elements_of_a_skewed_volume_have_the_area_of_its_mesh(steps: tuple[tuple[float, ...], ...]) -> None:
    target = box(2, 3, 4, 7, 9, 10, size=(9, 14, 15))
    points, triangles, _, _ = marching_cubes(np.pad(masks.decode(target), 1).astype(float), 0.5, method="lorensen")
    area = mesh_surface_area(points @ np.array(steps), triangles)
    worst = ROWS["nsd", "surface-distance"].worst(skewed_sample(steps, target))
    assert worst == (0.0, pytest.approx(area, rel=1e-5))
    volume, moved = skewed_sample(steps, target), box(2, 3, 5, 7, 9, 11, size=(9, 14, 15))
    step = float(np.linalg.norm(steps[2]))
    for row in (ROWS["nsd", "standard"], ROWS["nsd", "surface-distance"]):
        assert value(row, volume, moved, tolerance_mm=step) == 1.0  # whatever the last bit of a distance says


def test_the_worst_distance_in_a_skewed_volume_is_its_longest_diagonal() -> None:
    target = box(2, 3, 4, 7, 9, 10, size=(9, 14, 15))
    corners = [np.array(corner) * (9, 14, 15) @ np.array(TILTED) for corner in itertools.product((0, 1), repeat=3)]
    expected = distance.pdist(corners).max()
    assert ROWS["hd95", "standard"].floor(skewed_sample(TILTED, target)) == pytest.approx(expected)


def test_a_tolerance_counts_in_the_float32_of_a_header() -> None:
    spacing = float(np.float32(0.3))  # 0.3000000119
    assert (
        value(ROWS["nsd", "standard"], sample(SQUARE, spacing=(spacing,) * 2), box(6, 5, 16, 15), tolerance_mm=0.3) == 1
    )


@ALL_ROWS
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_2d_file_is_measured_as_the_image_that_it_is(row: Metric, axis: int) -> None:
    def thick(mask: Mask) -> Mask:
        return masks.encode(np.expand_dims(masks.decode(mask), axis))

    spacing = (0.5, 2.0)
    sides = tuple(np.insert(np.array(spacing), axis, 9.0).tolist())
    affine = tuple(np.diag([*sides[::-1], 1.0]).ravel().tolist())
    size = thick(SQUARE).size
    media = Media(path="a", sha256=None, kind="volume", size=size, spacing_mm=sides, affine=affine, flat=True)
    target = Target(entities=(Entity(name="target", mask=thick(SQUARE)),))
    flat, image = Sample(id="d/test/1", media=(media,), target=target), sample(SQUARE, spacing=spacing)
    for predicted in (MOVED, NOTHING):
        found, expected = row.score(flat, prediction(thick(predicted))), row.score(image, prediction(predicted))
        assert (found.stats, found.detail) == (expected.stats, expected.detail)
    assert row.worst(flat) == row.worst(image)
    # A volume that happens to have one slice is measured as one, as MONAI and surface-distance do.
    volume = replace(flat, media=(replace(media, flat=False),))
    if row.name == "nsd":
        assert row.score(volume, prediction(thick(MOVED))).stats[1] > row.score(image, prediction(MOVED)).stats[1]


def test_elements_of_a_skewed_image_have_the_length_of_its_contour() -> None:
    steps = ((0.3, 2.0, 0.1), (1.5, 0.4, 0.0))
    square = np.zeros((12, 14), dtype=bool)
    square[3:8, 4:11] = True
    square[8, 4] = square[9, 5] = True  # a step, and a diagonal
    contour, _ = surface_elements(square, square, steps)
    lines = find_contours(np.pad(square, 1).astype(float), 0.5, fully_connected="low")
    length = sum(np.linalg.norm(np.diff(line @ np.array(steps), axis=0), axis=1).sum() for line in lines)
    assert contour.weights.sum() == pytest.approx(length)
    assert len(set(np.round(element_weights(steps), 9))) == 7  # 0, both axes, both diagonals, both twice
