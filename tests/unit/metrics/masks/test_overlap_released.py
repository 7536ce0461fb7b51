"""Dice and IoU as released code computes them: precision, probabilities, smoothing.

Cases that all protocols share are in `test_overlap`.
"""

import numpy as np
import pytest

from harness.errors import DataError
from harness.imaging import masks, soft_masks
from harness.metrics.masks import overlap
from harness.metrics.metric import Outcome
from harness.records import Box, Entity, Mask, Prediction, Sample, Target

SIZE = (10, 10)
ROWS = {(metric.name, metric.protocol): metric for metric in overlap.METRICS}
LEFT, NOTHING = masks.from_box(Box(corners=(0, 0, 5, 10)), SIZE), masks.empty(SIZE)


def sample(target: Mask) -> Sample:
    return Sample(id="d/test/1", target=Target(entities=(Entity(name="entity 0", mask=target),)))


def prediction(*predicted: Mask) -> Prediction:
    return Prediction(key="k", status="ok", masks=predicted)


def test_medplib_divides_in_single_precision() -> None:
    third = np.array([1.0, 3.0])
    iou = float(np.float32(1) / np.float32(3))
    assert ROWS["iou", "medplib"].combine(third)[0] == iou != 1 / 3
    assert ROWS["dice", "medplib"].combine(third)[0] == 2 * iou / (1 + iou)
    assert ROWS["iou", "standard"].combine(third)[0] == 1 / 3


def test_probabilities_are_used_by_m3d_and_cut_by_medplib() -> None:
    low = np.where(masks.decode(LEFT), 0.2, 0.0)
    soft = Prediction(key="k", status="ok", masks=(NOTHING,), soft_masks=(soft_masks.encode(low),))
    found = ROWS["dice", "m3d"].score(sample(LEFT), soft)
    assert found.stats == pytest.approx((20.0, 61.0))
    assert found.detail == {"probabilities": "8-bit"}
    cut = ROWS["iou", "medplib"].score(sample(LEFT), soft)
    assert (cut.stats, cut.detail) == ((50.0, 50.0), {"threshold": 0.1})
    assert ROWS["dice", "segvol"].score(sample(LEFT), soft).stats == (0.0, 51.0)


def test_m3d_says_which_probabilities_it_used() -> None:
    exact = Prediction(key="k", status="ok", soft_masks=(soft_masks.exact(np.full(SIZE, 0.25)),))
    assert ROWS["dice", "m3d"].score(sample(LEFT), exact) == Outcome("ok", (25.0, 76.0), {"probabilities": "exact"})
    binary = ROWS["dice", "m3d"].score(sample(LEFT), prediction(LEFT))
    assert binary == Outcome("ok", (100.0, 101.0), {"probabilities": "binary"})


@pytest.mark.parametrize("protocol", ["m3d", "medplib"])
def test_soft_mask_of_another_size_is_an_error_that_names_the_sample(protocol: str) -> None:
    soft = Prediction(key="k", status="ok", soft_masks=(soft_masks.exact(np.zeros((20, 10))),))
    with pytest.raises(DataError, match=r"^d/test/1: predicted (soft )?mask is \(20, 10\), image is \(10, 20\)"):
        ROWS["dice", protocol].score(sample(masks.full((10, 20))), soft)


def test_sam_med2d_adds_epsilon_above_and_below_in_single_precision() -> None:
    epsilon = np.float32(1e-7)
    for name in ("dice", "iou"):
        expected = float((np.float32(3) + epsilon) / (np.float32(7) + epsilon))
        assert ROWS[name, "sam-med2d"].combine(np.array([3.0, 7.0])).tolist() == [expected]
    assert ROWS["dice", "sam-med2d"].combine(np.array([0.0, 50.0]))[0] > 0.0
