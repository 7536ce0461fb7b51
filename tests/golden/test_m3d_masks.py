"""Soft and hard Dice, and the cut of probabilities, as the released code of M3D, SegVol and MedPLIB computed them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.imaging import masks, soft_masks
from harness.metrics.masks import overlap
from harness.metrics.metric import sample_values
from harness.records import Entity, Prediction, Sample, SoftMask, Target

GOLDEN = json.loads(Path(__file__).with_name("m3d_masks.json").read_text(encoding="utf-8"))
ROWS = {row.protocol: row for row in overlap.METRICS if row.name == "dice"}
EVERY_CASE = pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["name"])


def found(case: dict[str, Any]) -> NDArray[np.float32]:
    logits = np.array([float(value) for value in case["logits"]], dtype=np.float32)
    return soft_masks.probabilities(logits).reshape(case["shape"])


def score(protocol: str, case: dict[str, Any], soft: tuple[SoftMask, ...] = ()) -> float | None:
    """Return the value of one case; its hard prediction is what lies above 0.5."""
    target = masks.encode((np.array(case["target"]) == 1).reshape(case["shape"]))
    sample = Sample(id="golden", target=Target(entities=(Entity(name="target", mask=target),)))
    predicted = masks.encode(found(case) > 0.5)
    assert masks.area(predicted) == case["pred_voxels"]
    outcome = ROWS[protocol].score(sample, Prediction(key="", status="ok", masks=(predicted,), soft_masks=soft))
    return sample_values(ROWS[protocol], outcome.stats)[0] if outcome.status == "ok" else None


@EVERY_CASE
def test_soft_dice_of_exact_probabilities_is_the_released_one(case: dict[str, Any]) -> None:
    value = score("m3d", case, (soft_masks.exact(found(case)),))
    assert value == pytest.approx(case["m3d_script_soft_dice"], abs=1e-6)


@EVERY_CASE
def test_soft_dice_of_stored_probabilities_is_close(case: dict[str, Any]) -> None:
    value = score("m3d", case, (soft_masks.encode(found(case)),))
    assert value == pytest.approx(case["m3d_script_soft_dice"], abs=0.002)


@EVERY_CASE
def test_hard_dice_is_the_released_one(case: dict[str, Any]) -> None:
    assert score("segvol", case) == pytest.approx(case["hard_dice_segvol_style"], abs=1e-6)
    standard = case["hard_dice_standard"]
    assert score("standard", case) == (None if standard is None else pytest.approx(standard, abs=1e-6))


@pytest.mark.parametrize(("logit", "expected"), [(0.0, "m3d_script_soft_dice"), (-np.inf, "logits_all_minus_inf")])
def test_an_absent_class_scores_nothing_whatever_is_predicted(logit: float, expected: str) -> None:
    """The release stores an absent class as one zero, which the released metric stretches over the volume."""
    case = GOLDEN["negative_sample_shape"]
    soft = soft_masks.encode(soft_masks.probabilities(np.full(case["shape"], logit)))
    sample = Sample(id="golden", target=Target(absent=True))
    outcome = ROWS["m3d"].score(sample, Prediction(key="", status="ok", soft_masks=(soft,)))
    assert (outcome.status, sample_values(ROWS["m3d"], outcome.stats)[0]) == ("ok", case[expected])


def test_logits_are_cut_as_medplib_cuts_them() -> None:
    golden = GOLDEN["logit_threshold"]
    logits = np.array(golden["logits"])
    found = soft_masks.probabilities(logits)
    np.testing.assert_allclose(found, golden["sigmoid_float32"], rtol=1e-6)
    assert soft_masks.above(found, soft_masks.MEDPLIB_CUT).astype(int).tolist() == golden["foreground"]
    rounded = soft_masks.probabilities(bfloat16(logits))
    assert soft_masks.above(rounded, soft_masks.MEDPLIB_CUT).astype(int).tolist() == golden["foreground_if_bf16_logits"]


@pytest.mark.parametrize("store", [soft_masks.exact, soft_masks.encode])
def test_medplib_cuts_stored_probabilities_as_released(store: Any) -> None:
    golden = GOLDEN["logit_threshold"]
    soft = store(soft_masks.probabilities(np.array(golden["logits"])).reshape(1, -1))
    assert masks.decode(soft_masks.cut(soft, soft_masks.MEDPLIB_CUT)).astype(int).tolist() == [golden["foreground"]]


def bfloat16(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the values rounded to 8 bits of fraction, ties to even."""
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
