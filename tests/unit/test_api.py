"""The numbers of a run as a table."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.api import load_run
from harness.errors import SpecError


def row(**changed: Any) -> dict[str, Any]:
    return {"metric": "dice", "name": "dice", "stratum": None, "value": 0.5, "ci": [0.25, 0.75]} | changed


def test_every_number_is_a_row_with_its_task_stratum_and_interval(tmp_path: Path) -> None:
    tasks = {"a": {"metrics": [row(), row(stratum={"modality": "ct"}, ci=None)]}, "b": {"metrics": [row(value=1.0)]}}
    (tmp_path / "results.json").write_text(json.dumps({"tasks": tasks}))
    table = load_run(tmp_path)
    assert table["task"].tolist() == ["a", "a", "b"]
    assert table["value"].tolist() == [0.5, 0.5, 1.0]
    assert table["stratum"].dropna().to_dict() == {1: "modality=ct"}
    assert table["ci_low"].tolist()[::2] == [0.25, 0.25]
    assert table["ci_high"].isna().tolist() == [False, True, False]


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"has no results\.json; expected a finished run directory"):
        load_run(tmp_path)
