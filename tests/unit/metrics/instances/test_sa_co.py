"""cgF1 of SA-Co beyond the values that `harness metric` shows."""

import json
from pathlib import Path

import numpy as np
import pytest

from harness.cli.metric.input import read_pair
from harness.imaging import masks
from harness.metrics.instances.sa_co import METRICS, STATS, VALUES, summary
from harness.records import Entity, Prediction, Sample, Target

(ROW,) = METRICS
CASES = json.loads((Path(__file__).parents[3] / "golden" / "peers.json").read_text(encoding="utf-8"))["sa_co"]["cases"]
DOT, NONE = masks.encode(np.array([[True, False]])), masks.encode(np.zeros((1, 2), dtype=bool))


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["input"]["name"]))
def test_the_whole_summary_is_that_of_the_package(case: dict[str, dict[str, dict[str, float]]]) -> None:
    pairs = [read_pair(line, "line", "detections") for line in case["input"]["lines"]]  # type: ignore[arg-type]
    found = summary(np.sum([ROW.score(*pair).stats for pair in pairs], axis=0))
    assert found.keys() == case["output"].keys()
    for name, value in case["output"].items():
        assert found[name] == pytest.approx(value, abs=1e-9), name


def test_a_failed_answer_is_wrong_about_the_image() -> None:
    present = Sample(id="x", target=Target(entities=(Entity(name="dot", mask=DOT),)))
    absent = Sample(id="x", target=Target(absent=True))
    cells = [dict(zip(STATS, ROW.worst(sample), strict=True)) for sample in (present, absent)]
    assert [(cell["image_fn"], cell["image_fp"]) for cell in cells] == [(1.0, 0.0), (0.0, 1.0)]
    spurious = ROW.score(absent, Prediction(key="", status="ok", masks=(DOT,)))
    assert spurious.stats == ROW.worst(absent)


def test_of_a_task_an_empty_mask_is_no_answer_and_masks_without_scores_count() -> None:
    absent = Sample(id="x", target=Target(absent=True))
    cells = dict(zip(STATS, ROW.score(absent, Prediction(key="", status="ok", masks=(NONE,))).stats, strict=True))
    assert cells["image_tn"] == 1.0
    present = Sample(id="x", target=Target(entities=(Entity(name="dot", mask=DOT),)))
    found = np.add(ROW.score(present, Prediction(key="", status="ok", masks=(DOT,))).stats, list(cells.values()))
    assert ROW.combine(found)[VALUES.index("cgF1")] == pytest.approx(1.0, abs=1e-3)
    assert ROW.ceiling(present) is None
