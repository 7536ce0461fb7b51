"""Text metrics against the released MedPLIB code; the JSON files beside this one say where the numbers come from."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.metrics.answers.short_answer import METRICS
from harness.metrics.metric import sample_values
from harness.records import Prediction, Sample, Target
from harness.text.normalisers import medplib_normalise

ROWS = {(metric.name, metric.protocol): metric for metric in METRICS}


def cases(name: str) -> list[dict[str, Any]]:
    text = (Path(__file__).parent / name).read_text(encoding="utf-8")
    found: list[dict[str, Any]] = json.loads(text)["cases"]
    return found


def values(name: str, reply: str, reference: str) -> tuple[float | None, ...]:
    metric = ROWS[name, "medplib"]
    sample = Sample(id="golden/1", target=Target(answers=(reference,)))
    return sample_values(metric, metric.score(sample, Prediction(key="k", status="ok", text=reply)).stats)


@pytest.mark.parametrize("case", cases("medplib_text.json"), ids=lambda case: str(case["note"]))
def test_medplib_normaliser_and_metrics_match_the_released_code(case: dict[str, Any]) -> None:
    for side in ("prediction", "reference"):
        once = medplib_normalise(case[side])
        assert once == case[f"norm_{side}"]
        assert medplib_normalise(once) == case[f"norm_{side}_pass2"]
    expected = (case["f1"], case["precision"], case["recall"])
    assert values("token_prf", case["prediction"], case["reference"]) == pytest.approx(expected, abs=1e-6)
    assert values("vqa_accuracy", case["prediction"], case["reference"]) == (case["closed_hit"],)


@pytest.mark.parametrize("case", cases("vqa_closed.json"), ids=lambda case: str(case["response"]))
def test_medplib_accuracy_of_closed_questions_matches_the_released_code(case: dict[str, Any]) -> None:
    assert values("vqa_accuracy", case["response"], case["gold"]) == (float(case["medplib_exact_match"]),)
