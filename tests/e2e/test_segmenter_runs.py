"""What docs/segmenters.md shows runs: a segmenter without words on a task with boxes, and what its cell says."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")


@pytest.mark.slow
def test_the_command_for_the_model_that_comes_along_runs(
    command: Any, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (repository / "docs" / "segmenters.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^harness (.*--data-root phantom.*)$", page, flags=re.MULTILINE)
    monkeypatch.chdir(repository)
    result = command(*shlex.split(shown), "--ray", "off", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.stderr
    block = json.loads((tmp_path / "run" / "results.json").read_text())["tasks"]["samed2d_seg_box"]
    assert block["fallbacks"] == ["text_left_out: where_pointed"]
    assert block["counts"] == {"ok": 20}
    value = next(row["value"] for row in block["metrics"] if row["metric"] == "dice" and row["stratum"] is None)
    assert value > 0.3  # the box alone, all of it foreground, would be a guess; the model was trained on such boxes
