"""Label maps: counts by class, and the summaries of MONAI and nnU-Net over them."""

import numpy as np
import pytest

from harness.imaging import masks
from harness.metrics.masks.label_maps import (
    Counts,
    LabelMapPrediction,
    LabelMapSample,
    class_counts,
    monai_dice,
    monai_report,
    nnunet,
    nnunet_report,
)
from harness.metrics.masks.overlap_summaries import METRICS
from harness.metrics.metric import Outcome
from harness.records import Entity, Prediction, Sample, Target

FOUND, WANTED = np.array([[1, 1, 2, 0]]), np.array([[1, 3, 2, 2]])


def pair(*classes: tuple[int, ...], ignore: int | None = None) -> tuple[LabelMapSample, LabelMapPrediction]:
    sample = LabelMapSample(id="x", label_map=WANTED, classes=classes, ignore_label=ignore)
    return sample, LabelMapPrediction(key="", status="ok", label_map=FOUND)


def test_pixels_whose_target_is_ignored_do_not_count_and_a_region_is_any_of_its_labels() -> None:
    assert class_counts(*pair((1,), (1, 2))) == {"1": Counts(1, 1, 0, 2), "(1, 2)": Counts(2, 1, 1, 0)}
    assert class_counts(*pair((1,), ignore=3)) == {"1": Counts(1, 0, 0, 2)}


def test_an_absent_class_leaves_the_mean_of_monai_or_is_worth_1() -> None:
    assert monai_dice(*pair((1,), (5,)), ignore_empty=True).stats == pytest.approx((2 / 3, 1.0))
    assert monai_dice(*pair((1,), (5,)), ignore_empty=False).stats == pytest.approx((5 / 6, 1.0))
    assert monai_dice(*pair((5,)), ignore_empty=True) == Outcome("undefined", detail={"classes": [None]})


def test_a_corpus_without_a_value_is_0_as_in_monai() -> None:
    assert monai_report("dice")([Outcome("undefined")]) == {"dice": 0.0}
    assert monai_report("dice")([Outcome("ok", (0.5, 1.0))]) == {}


def test_the_foreground_mean_leaves_out_class_0_and_is_undefined_with_a_class_that_is_nowhere() -> None:
    assert nnunet(*pair((0,), (1,)), name="IoU").stats == (0.5, 1.0)
    assert nnunet(*pair((1,), (5,)), name="Dice").status == "undefined"
    cases = [nnunet(*pair((0,), (1,)), name="Dice") for _ in range(2)]
    found = nnunet_report("Dice")(cases)
    assert found["dice"] == pytest.approx(2 / 3)
    assert list(found) == ["dice", "foreground_mean", "mean", "per_case"]
    assert nnunet_report("Dice")([Outcome("ok", (1.0, 1.0))]) == {}


def test_masks_of_a_sample_are_one_class() -> None:
    one = masks.encode(np.array([[True, True, False]]))
    other = masks.encode(np.array([[False, True, False]]))
    sample = Sample(id="x", target=Target(entities=(Entity(name="a", mask=one), Entity(name="b", mask=other))))
    prediction = Prediction(key="", status="ok", masks=(other,))
    assert [row.score(sample, prediction).stats for row in METRICS] == [
        (pytest.approx(2 / 3), 1.0),
        (pytest.approx(2 / 3), 1.0),
        (0.5, 1.0),
    ]
    assert [row.worst(sample) for row in METRICS] == [(0.0, 1.0)] * 3
    assert [row.ceiling(sample) for row in METRICS] == [1.0] * 3
