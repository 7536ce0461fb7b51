"""Dice and IoU: which masks count, what empty means, and what a failed prediction weighs."""

import numpy as np
import pytest

from harness import masks
from harness.errors import DataError
from harness.metrics import overlap
from harness.metrics.row import Metric, Outcome, sample_values
from harness.records import Box, Entity, Mask, Prediction, Sample, Target

SIZE = (10, 10)
ROWS = {(metric.name, metric.protocol): metric for metric in overlap.METRICS}
ALL_ROWS = pytest.mark.parametrize("row", overlap.METRICS, ids=lambda row: f"{row.name}-{row.protocol}")


def box(x1: float, y1: float, x2: float, y2: float) -> Mask:
    return masks.from_box(Box(corners=(x1, y1, x2, y2)), SIZE)


def sample(*targets: Mask | None, absent: bool = False) -> Sample:
    entities = tuple(Entity(name=f"entity {index}", mask=mask) for index, mask in enumerate(targets))
    return Sample(id="d/test/1", target=Target(entities=entities, absent=absent))


def prediction(*predicted: Mask) -> Prediction:
    return Prediction(key="k", status="ok", masks=predicted)


def value(row: Metric, outcome: Outcome) -> float | None:
    return sample_values(row, outcome.stats)[0]


LEFT, RIGHT, MIDDLE, NOTHING = box(0, 0, 5, 10), box(5, 0, 10, 10), box(3, 0, 7, 10), masks.empty(SIZE)


def test_table_holds_two_metrics_under_three_protocols() -> None:
    assert set(ROWS) == {
        (name, protocol) for name in ("dice", "iou") for protocol in ("standard", "medplib", "sam-med2d")
    }
    assert len(overlap.METRICS) == 6


@ALL_ROWS
def test_every_row_suits_masks_and_grounded_text(row: Metric) -> None:
    assert row.suits == {"masks", "grounded_text"}
    assert row.line == "masks"


@ALL_ROWS
def test_perfect_mask_reaches_the_ceiling(row: Metric) -> None:
    outcome = row.score(sample(LEFT), prediction(LEFT))
    assert outcome.status == "ok"
    assert value(row, outcome) == row.ceiling(sample(LEFT)) == 1.0


def test_standard_compares_unions() -> None:
    both = sample(LEFT, RIGHT)
    assert ROWS["dice", "standard"].score(both, prediction(MIDDLE, LEFT)).stats == (140.0, 170.0)
    assert ROWS["iou", "standard"].score(both, prediction(MIDDLE, LEFT)).stats == (70.0, 100.0)


@pytest.mark.parametrize("protocol", ["medplib", "sam-med2d"])
def test_released_protocols_compare_first_masks(protocol: str) -> None:
    outcome = ROWS["iou", protocol].score(sample(LEFT, RIGHT), prediction(MIDDLE, LEFT))
    assert outcome.stats == (20.0, 70.0)


def test_entity_without_mask_is_passed_over() -> None:
    for protocol in ("standard", "medplib", "sam-med2d"):
        assert ROWS["iou", protocol].score(sample(None, LEFT), prediction(LEFT)).stats == (50.0, 50.0)


@pytest.mark.parametrize("target", [sample(NOTHING), sample(absent=True)])
@pytest.mark.parametrize("predicted", [prediction(), prediction(NOTHING)])
def test_nothing_against_nothing(target: Sample, predicted: Prediction) -> None:
    for row in overlap.METRICS:
        outcome = row.score(target, predicted)
        if row.protocol == "sam-med2d":
            assert (outcome.status, value(row, outcome)) == ("ok", 1.0)
        else:
            assert outcome == Outcome("undefined")


@ALL_ROWS
@pytest.mark.parametrize(
    ("target", "predicted"),
    [
        (sample(LEFT), prediction()),
        (sample(LEFT), prediction(NOTHING)),
        (sample(NOTHING), prediction(LEFT)),
        (sample(absent=True), prediction(LEFT)),
        (sample(LEFT), prediction(RIGHT)),
    ],
)
def test_one_empty_side_or_no_common_pixel_scores_zero(row: Metric, target: Sample, predicted: Prediction) -> None:
    outcome = row.score(target, predicted)
    assert outcome.status == "ok"
    assert value(row, outcome) == pytest.approx(0.0, abs=1e-8)


@ALL_ROWS
def test_failed_prediction_weighs_as_much_as_its_target(row: Metric) -> None:
    assert row.worst(sample(LEFT)) == (0.0, 50.0)
    assert row.worst(sample(absent=True)) == (0.0, 1.0)
    assert row.worst(sample(LEFT, RIGHT)) == (0.0, 100.0 if row.protocol == "standard" else 50.0)
    assert sample_values(row, row.worst(sample(LEFT)))[0] == pytest.approx(row.floor, abs=1e-8)


def test_ceiling_is_undefined_without_target_but_for_sam_med2d() -> None:
    for row in overlap.METRICS:
        expected = 1.0 if row.protocol == "sam-med2d" else None
        assert row.ceiling(sample(absent=True)) == row.ceiling(sample(NOTHING)) == expected


@ALL_ROWS
def test_combine_works_on_leading_axes(row: Metric) -> None:
    stats = np.array([[[20.0, 70.0], [0.0, 50.0]], [[50.0, 50.0], [0.0, 0.0]]])
    combined = row.combine(stats)
    assert combined.shape == (2, 2, 1)
    assert combined.dtype == np.float64
    single = [[row.combine(stats[i, j]) for j in range(2)] for i in range(2)]
    np.testing.assert_array_equal(combined, single)
    assert np.isnan(combined[1, 1, 0]) == (row.protocol != "sam-med2d")


def test_medplib_divides_in_single_precision() -> None:
    third = np.array([1.0, 3.0])
    iou = float(np.float32(1) / np.float32(3))
    assert ROWS["iou", "medplib"].combine(third)[0] == iou != 1 / 3
    assert ROWS["dice", "medplib"].combine(third)[0] == 2 * iou / (1 + iou)
    assert ROWS["iou", "standard"].combine(third)[0] == 1 / 3


@ALL_ROWS
def test_mask_of_another_size_is_an_error_that_names_the_sample(row: Metric) -> None:
    target = sample(masks.full((10, 20)))
    with pytest.raises(
        DataError, match=r"^d/test/1: predicted mask is \(20, 10\), image is \(10, 20\) as \(H, W\); the"
    ):
        row.score(target, prediction(masks.full((20, 10))))


def test_volumes_are_scored_like_images() -> None:
    first = masks.from_box(Box(corners=(0.0, 0.0, 0.0, 2.0, 4.0, 4.0)), (4, 4, 4))
    second = masks.from_box(Box(corners=(1.0, 0.0, 0.0, 4.0, 4.0, 4.0)), (4, 4, 4))
    assert ROWS["dice", "standard"].score(sample(first), prediction(second)).stats == (32.0, 80.0)
    assert ROWS["iou", "standard"].score(sample(first), prediction(second)).stats == (16.0, 64.0)
