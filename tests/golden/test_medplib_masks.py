"""Dice and IoU as MedPLIB's and SAM-Med2D's released scoring code computed them.

The numbers come from running model/eval/vqa_infer.py (`calculate_iou`, `validate_seg`) and SAM-Med2D's metrics.py on
these masks; null is where the released code raises.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.imaging import mask_files
from harness.metrics.masks import overlap
from harness.metrics.metric import Metric, sample_values
from harness.records import Entity, Prediction, Sample, Target

CASES = json.loads(Path(__file__).with_name("medplib_masks.json").read_text(encoding="utf-8"))["cases"]
COLUMNS = {"medplib": "medplib", "sam-med2d": "sammed2d"}
RELEASED = [row for row in overlap.METRICS if row.protocol in COLUMNS]


@pytest.mark.parametrize("row", RELEASED, ids=lambda row: f"{row.protocol}-{row.name}")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["note"])
def test_released_value_is_met(row: Metric, case: dict[str, Any]) -> None:
    target, predicted = (mask_files.from_json(case[side], where=case["note"]) for side in ("reference", "prediction"))
    sample = Sample(id="golden", target=Target(entities=(Entity(name="target", mask=target),)))
    outcome = row.score(sample, Prediction(key="golden", status="ok", masks=(predicted,)))
    expected = case[f"{COLUMNS[row.protocol]}_{row.name}"]
    if expected is None:
        assert outcome.status == "undefined"
    else:
        assert outcome.status == "ok"
        assert sample_values(row, outcome.stats)[0] == pytest.approx(expected, abs=1e-6)
