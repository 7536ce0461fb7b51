"""Records of Every Eval Ever, against its published schemas."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from harness.api import load_scores
from harness.errors import SpecError
from harness.exports.reports.every_eval_ever import write_records
from tests.support.exported_runs import ExportedCase

jsonschema = pytest.importorskip("jsonschema")


def check(name: str, repository: Path) -> Any:
    schema = json.loads((repository / "tests" / "golden" / "schemas" / name).read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def test_numbers_and_records_fit_the_schemas_and_hold_every_value(
    image_case: ExportedCase, word_case: ExportedCase, repository: Path, tmp_path: Path
) -> None:
    aggregate = check("every_eval_ever.eval.schema.json", repository)
    instance = check("every_eval_ever.instance_level_eval.schema.json", repository)
    for case in (image_case, word_case):
        out = tmp_path / case.task
        (file,), _ = write_records(case.run, out, organization="us", task_paths=case.task_paths)
        content = json.loads(file.read_text())
        aggregate.validate(content)
        found = {one["evaluation_result_id"]: one for one in content["evaluation_results"]}
        wanted = [row for row in case.rows if row["value"] is not None]
        assert len(found) == len(wanted) > 1
        assert [one["score_details"]["score"] for one in found.values()] == [row["value"] for row in wanted]
        for one, row in zip(found.values(), wanted, strict=True):
            interval = one["score_details"].get("uncertainty", {}).get("confidence_interval")
            assert ([interval["lower"], interval["upper"]] if interval else None) == row["ci"]
            assert one["score_details"]["details"]["n"] == str(row["n"])
            assert one["metric_config"]["metric_parameters"]["protocol_version"] == row["protocol_version"]
        assert "coverage" in one["score_details"]["details"]
        assert content["model_info"]["additional_details"]["medground_weights"].startswith('["')
        detailed = content["detailed_evaluation_results"]
        samples = out / detailed["file_path"]
        assert hashlib.sha256(samples.read_bytes()).hexdigest() == detailed["checksum"]
        records = [json.loads(line) for line in samples.read_text().splitlines()]
        assert len(records) == detailed["total_rows"]
        scores = load_scores(case.run, long=True)
        values = {
            (row.sample_id, f"{'.'.join(dict.fromkeys((row.metric, row.protocol, row.name)))}"): row.value
            for row in scores.itertuples()
        }
        for record in records:
            instance.validate(record)
            assert record["evaluation_result_id"] in found
            name = record["evaluation_result_id"].rpartition("/")[0]
            assert record["evaluation"]["score"] == values[record["sample_id"], name]
        assert len({(record["sample_id"], record["evaluation_result_id"]) for record in records}) == len(records)


def test_geometry_is_in_the_first_record_of_a_sample(image_case: ExportedCase, tmp_path: Path) -> None:
    (file,), _ = write_records(image_case.run, tmp_path / "eee", task_paths=image_case.task_paths)
    content = json.loads(file.read_text())
    samples = tmp_path / "eee" / content["detailed_evaluation_results"]["file_path"]
    records = [json.loads(line) for line in samples.read_text().splitlines()]
    with_masks = [record for record in records if "geometry" in record["metadata"]]
    geometry = [json.loads(record["metadata"]["geometry"]) for record in with_masks]
    assert len({record["sample_id"] for record in with_masks}) == len(with_masks) == 6
    assert [len(one["masks"]) for one in geometry] == [1, 2, 2, 2, 2, 2]
    assert "COCO run lengths" in content["evaluation_results"][0]["metric_config"]["additional_details"]["geometry"]
    assert re.fullmatch(
        r"data/organs2d/unknown/model-of-ours/[0-9a-f-]{36}\.json", file.relative_to(tmp_path / "eee").as_posix()
    )


def test_a_folder_with_files_is_refused(image_case: ExportedCase, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    with pytest.raises(SpecError, match="expected a new or an empty folder, found files in it"):
        write_records(image_case.run, tmp_path, task_paths=image_case.task_paths)
