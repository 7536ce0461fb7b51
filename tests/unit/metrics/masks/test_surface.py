"""NSD and HD95: what a boundary is, what a millimetre is, and what empty means."""

from functools import partial
from typing import Any

import numpy as np
import pytest

from harness.errors import DataError
from harness.imaging import masks
from harness.metrics.masks import surface
from harness.metrics.masks.surface_elements import boundary_pixels
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
    assert value(row, target, *predicted) == row.floor(target) == (0.0 if row.name == "nsd" else 50.0)


@pytest.mark.parametrize("protocol", ["standard", "surface-distance"])
def test_worst_distance_is_the_diagonal_in_millimetres(protocol: str) -> None:
    row = ROWS["hd95", protocol]
    assert row.worst(sample(SQUARE, spacing=(0.5, 2.0))) == (np.hypot(20, 60), 1.0)
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
