"""A session's record holds versions and hardware, and neither a secret nor a home folder."""

import json
from pathlib import Path

from harness.runs.provenance import session_record


def test_secrets_in_model_arguments_are_masked() -> None:
    record = session_record(["harness", "run", "--model-args", "api_key=not-to-be-kept,temperature=0"], gpus=0)
    assert record["command"][-1] == "api_key=***,temperature=0"
    assert "not-to-be-kept" not in json.dumps(record)  # no word that a commit hash may hold


def test_the_home_folder_is_not_named() -> None:
    record = session_record(["harness", "run", "--out", str(Path.home() / "runs" / "one")], gpus=0)
    assert record["command"][-1] == "~/runs/one"


def test_versions_and_hardware_stand_in_the_record() -> None:
    record = session_record([], gpus=2)
    assert record["packages"]["medground"]
    assert record["packages"]["numpy"]
    assert record["hardware"]["gpus"] == 2
    assert record["hardware"]["cpus"] >= 1
