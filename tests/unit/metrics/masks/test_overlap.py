"""Dice and IoU: which masks count, what empty means, and what a failed prediction weighs."""

from dataclasses import replace

import numpy as np
import pytest

from harness.errors import DataError
from harness.imaging import masks
from harness.metrics.masks import overlap
from harness.metrics.metric import Metric, Outcome, sample_values
from harness.records import Box, Entity, Mask, Media, Prediction, Sample, Target

SIZE = (10, 10)
ROWS = {(metric.name, metric.protocol): metric for metric in overlap.METRICS}
SHARES = [row for row in overlap.METRICS if row.name in ("dice", "iou", "ciou")]
FIRST_ONLY = {"medplib", "sam-med2d", "m3d", "segvol"}
PLUS_ONE = {"m3d", "segvol"}


def rows(metrics: list[Metric]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", metrics, ids=lambda row: f"{row.name}-{row.protocol}")


ALL_ROWS, SHARE_ROWS = rows(list(overlap.METRICS)), rows(SHARES)


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


def test_table_holds_every_protocol() -> None:
    dice = ["standard", "medplib", "sam-med2d", "m3d", "segvol", "monai-ignore-empty", "surface-distance"]
    iou = ["standard", "medplib", "sam-med2d", "monai-ignore-empty"]
    assert list(ROWS) == [
        *(("dice", protocol) for protocol in dice),
        *(("iou", protocol) for protocol in iou),
        ("ciou", "standard"),
        ("no_target_accuracy", "standard"),
        ("volume_error", "standard"),
    ]
    assert len(overlap.METRICS) == len(ROWS)


@ALL_ROWS
def test_every_row_suits_masks_and_grounded_text(row: Metric) -> None:
    assert row.suits == {"masks", "grounded_text"}
    assert row.line == ("soft_masks" if row.protocol in {"medplib", "m3d", "segvol"} else "masks")
    assert row.corpus == (row.name == "ciou")


@ALL_ROWS
def test_perfect_mask_reaches_the_ceiling(row: Metric) -> None:
    target = sample(NOTHING) if row.name == "no_target_accuracy" else sample(LEFT)
    outcome = row.score(target, prediction(*masks_of(target)))
    assert outcome.status == "ok"
    expected = 0.0 if row.name == "volume_error" else 100 / 101 if row.protocol in PLUS_ONE else 1.0
    assert value(row, outcome) == row.ceiling(target) == expected


def masks_of(target: Sample) -> tuple[Mask, ...]:
    return tuple(entity.mask for entity in target.target.entities if entity.mask is not None)


def test_standard_compares_unions() -> None:
    both = sample(LEFT, RIGHT)
    assert ROWS["dice", "standard"].score(both, prediction(MIDDLE, LEFT)).stats == (140.0, 170.0)
    assert ROWS["iou", "standard"].score(both, prediction(MIDDLE, LEFT)).stats == (70.0, 100.0)


@SHARE_ROWS
def test_released_models_compare_first_masks_all_others_unions(row: Metric) -> None:
    outcome = row.score(sample(LEFT, RIGHT), prediction(MIDDLE, LEFT))
    intersection, predicted, target = (20, 40, 50) if row.protocol in FIRST_ONLY else (70, 70, 100)
    if row.name == "dice" and row.protocol != "medplib":
        expected = (2 * intersection, predicted + target + (row.protocol in PLUS_ONE))
    else:
        expected = (intersection, predicted + target - intersection)
    assert outcome.stats == expected


@SHARE_ROWS
def test_entity_without_mask_is_passed_over(row: Metric) -> None:
    assert row.score(sample(None, LEFT), prediction(LEFT)) == row.score(sample(LEFT), prediction(LEFT))


@SHARE_ROWS
@pytest.mark.parametrize("target", [sample(NOTHING), sample(absent=True)])
@pytest.mark.parametrize("predicted", [prediction(), prediction(NOTHING)])
def test_nothing_against_nothing(row: Metric, target: Sample, predicted: Prediction) -> None:
    outcome = row.score(target, predicted)
    if row.protocol in PLUS_ONE:
        assert (outcome.status, value(row, outcome)) == ("ok", 0.0)
    elif row.protocol == "sam-med2d":
        assert (outcome.status, value(row, outcome)) == ("ok", 1.0)
    else:
        assert outcome == Outcome("undefined")


@SHARE_ROWS
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
    if row.protocol == "monai-ignore-empty" and target != sample(LEFT):
        assert outcome == Outcome("undefined")
    else:
        assert outcome.status == "ok"
        assert value(row, outcome) == pytest.approx(0.0, abs=1e-8)


@SHARE_ROWS
def test_failed_prediction_weighs_as_much_as_its_target(row: Metric) -> None:
    more = 1.0 if row.protocol in PLUS_ONE else 50.0 if row.name == "ciou" else 0.0  # of cIoU as much as the image
    assert row.worst(sample(LEFT)) == (0.0, 50.0 + more)
    both = 50.0 if row.protocol in FIRST_ONLY or row.name == "ciou" else 100.0
    assert row.worst(sample(LEFT, RIGHT)) == (0.0, both + more)
    assert row.floor(sample(LEFT)) == pytest.approx(0.0, abs=1e-8)


@SHARE_ROWS
def test_failed_prediction_without_target_scores_zero_unless_the_target_makes_it_undefined(row: Metric) -> None:
    expected = None if row.protocol == "monai-ignore-empty" else pytest.approx(0.0, abs=1e-6)
    assert row.floor(sample(absent=True)) == expected


@SHARE_ROWS
def test_ceiling_without_target(row: Metric) -> None:
    expected = {"sam-med2d": 1.0, "m3d": 0.0, "segvol": 0.0}.get(row.protocol)
    assert row.ceiling(sample(absent=True)) == row.ceiling(sample(NOTHING)) == expected


@SHARE_ROWS
def test_combine_works_on_leading_axes(row: Metric) -> None:
    stats = np.array([[[20.0, 70.0], [0.0, 50.0]], [[50.0, 50.0], [0.0, 0.0]]])
    combined = row.combine(stats)
    assert combined.shape == (2, 2, 1)
    assert combined.dtype == np.float64
    single = [[row.combine(stats[i, j]) for j in range(2)] for i in range(2)]
    np.testing.assert_array_equal(combined, single)
    assert np.isnan(combined[1, 1, 0]) == (row.protocol != "sam-med2d")


@SHARE_ROWS
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


def test_ciou_weighs_every_pixel_alike() -> None:
    row = ROWS["ciou", "standard"]
    large = row.score(sample(masks.full(SIZE)), prediction(masks.full(SIZE)))
    small = row.score(sample(box(0, 0, 1, 1)), prediction(box(9, 9, 10, 10)))
    false_positive = row.score(sample(absent=True), prediction(box(0, 0, 3, 1)))
    pooled = row.combine(np.sum([large.stats, small.stats, false_positive.stats], axis=0))
    assert pooled[0] == 100 / 105


@pytest.mark.parametrize(
    ("target", "predicted", "right"),
    [
        (sample(absent=True), prediction(), 1.0),
        (sample(absent=True), prediction(NOTHING), 1.0),
        (sample(NOTHING), prediction(NOTHING, NOTHING), 1.0),
        (sample(absent=True), prediction(NOTHING, box(0, 0, 1, 1)), 0.0),
        (sample(NOTHING), prediction(LEFT), 0.0),
    ],
)
def test_nothing_is_rightly_found_only_without_a_pixel(target: Sample, predicted: Prediction, right: float) -> None:
    row = ROWS["no_target_accuracy", "standard"]
    assert value(row, row.score(target, predicted)) == right
    assert (row.ceiling(target), row.floor(target)) == (1.0, 0.0)


@pytest.mark.parametrize("target", [sample(LEFT), sample(None)])
def test_no_target_accuracy_is_undefined_where_something_may_be_found(target: Sample) -> None:
    row = ROWS["no_target_accuracy", "standard"]
    assert row.score(target, prediction()) == Outcome("undefined")
    assert row.ceiling(target) is row.floor(target) is None


def volume(spacing_mm: tuple[float, ...] | None, size: tuple[int, ...] = (4, 5, 6)) -> Sample:
    kind = Media(path="v", sha256=None, kind="volume", size=size, spacing_mm=spacing_mm)
    target = masks.from_box(Box(corners=(0.0, 0.0, 0.0, 2.0, 5.0, 6.0)), (4, 5, 6))
    return Sample(id="d/test/1", media=(kind,), target=Target(entities=(Entity(name="tumour", mask=target),)))


def test_volume_error_is_relative_and_in_millilitres() -> None:
    row = ROWS["volume_error", "standard"]
    half = masks.from_box(Box(corners=(3.0, 0.0, 0.0, 4.0, 5.0, 6.0)), (4, 5, 6))
    known = row.score(volume((5.0, 2.0, 2.0)), prediction(half))
    assert sample_values(row, known.stats) == (0.5, pytest.approx(-0.6))
    assert sample_values(row, row.score(volume(None), prediction(half)).stats) == (0.5, None)
    other_grid = volume((5.0, 2.0, 2.0), size=(8, 5, 6))
    assert sample_values(row, row.score(other_grid, prediction(half)).stats) == (0.5, None)
    assert sample_values(row, row.score(sample(LEFT), prediction(box(0, 0, 10, 10))).stats) == (1.0, None)


def test_a_failed_prediction_weighs_as_much_as_the_image_in_a_pooled_iou() -> None:
    row = ROWS["ciou", "standard"]
    for item in (sample(LEFT), sample(NOTHING, absent=True), sample(NOTHING)):
        assert row.worst(item) == (0.0, row.score(item, prediction(box(0, 0, 10, 10))).stats[1])


def test_volume_error_of_an_empty_mask_is_one_and_without_a_mask_the_largest_there_is() -> None:
    row = ROWS["volume_error", "standard"]
    small = volume((1.0, 10.0, 10.0))
    empty = row.score(small, prediction(masks.empty((4, 5, 6))))
    assert sample_values(row, empty.stats) == (1.0, -6.0)
    assert sample_values(row, row.worst(small)) == (1.0, -6.0)  # half of the volume: all of it is as wrong as nothing
    tenth = sample(box(0, 0, 5, 2))
    assert row.worst(tenth) == row.score(tenth, prediction()).stats == (9.0, 1.0, 0.0, 0.0)
    assert row.score(sample(NOTHING), prediction(LEFT)) == Outcome("undefined")
    assert row.floor(sample(absent=True)) is row.ceiling(sample(absent=True)) is None


def test_volume_errors_are_averaged_over_the_samples_that_have_them() -> None:
    row = ROWS["volume_error", "standard"]
    assert row.combine(np.array([3.0, 4.0, -6.0, 2.0])).tolist() == [0.75, -3.0]
    assert row.combine(np.array([[3.0, 4.0, 0.0, 0.0]])).tolist()[0][0] == 0.75


def test_a_2d_file_and_a_sheared_volume_have_their_own_millilitres() -> None:
    row, size = ROWS["volume_error", "standard"], (1, 10, 10)
    target, predicted = masks.encode(np.ones(size, dtype=bool)), masks.empty(size)
    sheared = (10.0, 0, 5.0, 0, 0, 10.0, 0, 0, 0, 0, 10.0, 0, 0, 0, 0, 1.0)
    sides = (float(np.hypot(10, 5)), 10.0, 10.0)
    media = Media(path="a", sha256=None, kind="volume", size=size, spacing_mm=sides, affine=sheared)
    entities = (Entity(name="target", mask=target),)
    volume = Sample(id="x", media=(media,), target=Target(entities=entities))
    assert row.score(volume, prediction(predicted)).stats == pytest.approx((1.0, 1.0, -100.0, 1.0))
    flat = replace(volume, media=(replace(media, flat=True),))
    assert row.score(flat, prediction(predicted)).stats == (1.0, 1.0, 0.0, 0.0)
