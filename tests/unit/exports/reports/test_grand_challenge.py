"""The metrics.json of grand-challenge.org."""

import json
from functools import reduce

import pytest

from harness.api import load_scores
from harness.exports.reports.grand_challenge import metrics_json
from tests.support.exported_runs import NAMES, ExportedCase


def test_numbers_are_found_by_a_path_of_keys_and_cases_by_their_ids(image_case: ExportedCase) -> None:
    text, notes = metrics_json(image_case.run, task_paths=image_case.task_paths)
    assert notes == []
    content = json.loads(text, parse_constant=pytest.fail)  # no NaN, which the platform refuses
    for row in image_case.rows:
        stratum = "".join(f" {key}={value}" for key, value in (row["stratum"] or {}).items())
        path = f"aggregates.organs2d.{row['metric']}.{row['protocol']}.{row['name']}.{row['mean']}{stratum}"
        # As the platform follows a path: split at dots, one key after the other.
        found = reduce(lambda place, key: place[key], path.split("."), content)
        assert {key: found[key] for key in ("value", "ci", "n", "failed", "protocol_version")} == {
            key: row[key] for key in ("value", "ci", "n", "failed", "protocol_version")
        }
        assert found["coverage"] == 1.0
    assert [one["case"] for one in content["results"]] == [f"organs2d/all/{name}" for name in NAMES]
    values = load_scores(image_case.run)["iou.standard"].tolist()
    assert [one["metrics"]["iou"]["standard"]["iou"] for one in content["results"]] == pytest.approx(values, abs=1e-12)
    assert [one["status"] for one in content["results"][-4:]] == ["refused", "empty", "model_error", "timeout"]
    assert content["medground"]["model"]["weights"]
