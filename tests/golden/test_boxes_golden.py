"""Boxes and their text against M3D's released code; `m3d_boxes.json` says which."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.imaging import masks
from harness.metrics.grounding.rec import METRICS
from harness.metrics.metric import sample_values
from harness.records import Box, Prediction, Sample, Target
from harness.text import boxes

CASES = json.loads((Path(__file__).parent / "m3d_boxes.json").read_text(encoding="utf-8"))
ROWS = {(row.name, row.protocol): row for row in METRICS}


def value(name: str, protocol: str, answer: Any, target: Any) -> float | None:
    row = ROWS[name, protocol]
    if isinstance(answer, str):
        sample, prediction = Target(answers=(target,)), Prediction(key="k", status="ok", text=answer)
    else:
        sample = Target(boxes=(Box(corners=tuple(target)),))
        prediction = Prediction(key="k", status="ok", boxes=(Box(corners=tuple(answer)),))
    return sample_values(row, row.score(Sample(id="golden/1", target=sample), prediction).stats)[0]


@pytest.mark.parametrize("case", CASES["boxes"], ids=lambda case: str(case["name"]))
def test_iou_and_accuracy_are_those_of_the_released_code(case: dict[str, Any]) -> None:
    sides = case["pred"], case["ref"]
    assert value("rec_iou", "m3d", *sides) == pytest.approx(case["m3d_script"], abs=1e-6)
    assert value("rec_iou", "standard", *sides) == pytest.approx(case["true_iou"], abs=1e-6)
    assert value("rec_accuracy", "m3d", *sides) == float(case["m3d_hit"])
    assert value("rec_accuracy", "standard", *sides) == float(case["true_hit"])


@pytest.mark.parametrize("case", CASES["rec_rows"], ids=lambda case: str(case["pred"]))
def test_texts_are_compared_as_released(case: dict[str, Any]) -> None:
    assert value("rec_iou", "m3d", case["pred"], case["ref"]) == pytest.approx(case["iou_written"], abs=1e-6)


@pytest.mark.parametrize("case", CASES["box_text"], ids=lambda case: str(case["text"]))
def test_the_first_box_of_a_text_is_found_as_released(case: dict[str, Any]) -> None:
    found = boxes.read_m3d(case["text"])
    assert (None if found is None else list(found)) == case["box"]


@pytest.mark.parametrize("case", CASES["mask_to_box"], ids=lambda case: str(case["text"]))
def test_a_mask_has_the_box_and_text_of_the_released_code(case: dict[str, Any]) -> None:
    dense = np.zeros(case["shape"], dtype=np.bool_)
    for voxel in case["nonzero_voxels"]:
        dense[tuple(voxel)] = True
    corners = boxes.m3d_corners(masks.encode(dense))
    assert list(corners) == pytest.approx(case["box"], abs=1e-6)
    assert boxes.m3d_text(corners) == case["text"]
