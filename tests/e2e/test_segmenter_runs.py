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


@pytest.mark.slow
def test_sam_3_segments_what_a_task_names_in_images_and_volumes(command: Any, tmp_path: Path) -> None:
    from tests.support import tiny_segmenters as tiny

    folder = tiny.make("sam3", tmp_path / "sam3")
    arguments = 'threshold=0.2,concept="the ([^.?]+?)( in |[.?])"'
    tasks = ("samed2d_seg", "m3d_semantic_segmentation")
    words = ("--model", f"sam:{folder}", "--model-args", arguments, "--data-root", "phantom", "--limit", 8)
    found = []
    for batch in (1, 8):
        out = tmp_path / str(batch)
        more = ("--tasks", ",".join(tasks), "--batch-size", batch, "--ray", "off", "--out", out)
        result = command("run", *words, *more)
        assert result.exit_code == 0, result.stderr
        results = json.loads((out / "results.json").read_text())
        assert results["unsupported"] == {}
        lines = map(json.loads, (out / "predictions" / "predictions.jsonl").read_text().splitlines())
        found.append({line["key"]: (line["status"], line.get("rendered"), line.get("masks")) for line in lines})
    assert found[0] == found[1]
    assert len(found[0]) == 16
    assert {status for status, _, _ in found[0].values()} == {"ok"}
    assert len({rendered for _, rendered, _ in found[0].values()}) > 4
    assert len({json.dumps(masks) for _, _, masks in found[0].values()}) >= 8
