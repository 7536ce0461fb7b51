"""`harness demo`: three baselines and the reference model on drawn patients, on Ray."""

import json
from pathlib import Path
from typing import Any

import pytest

MASKS = {"samed2d_seg", "samed2d_seg_box", "mecovqa_g", "m3d_semantic_segmentation"}
WITH_TRAIN_SPLIT = {"vqa_rad", "mecovqa_c", "mecovqa_r", "mecovqa_g", "m3d_closed_vqa", "m3d_semantic_segmentation"}
PLANE = {"vqa_rad", "mecovqa_c", "mecovqa_r", "mecovqa_g", "samed2d_seg", "samed2d_seg_box", "omnimedvqa_letter"}
ALL = MASKS | WITH_TRAIN_SPLIT | PLANE
SERVED = {
    "baseline:majority": WITH_TRAIN_SPLIT,
    "baseline:center-box": MASKS,
    "baseline:otsu": MASKS,
    "reference:tiny": PLANE,
}


@pytest.mark.ray
def test_demo_prints_numbers_and_where_the_reports_lie(command: Any, tmp_path: Path, ray_local: Any) -> None:
    assert ray_local.is_initialized()
    result = command("demo", "--out", tmp_path / "demo")
    assert result.exit_code == 0, result.stderr
    for model, served in SERVED.items():
        out = tmp_path / "demo" / model.replace(":", "-")
        assert f"model {model}   data phantom" in result.stdout
        assert f"report: {out / 'report.html'}" in result.stdout
        assert (out / "report.html").is_file()
        results = json.loads((out / "results.json").read_text())
        assert set(results["tasks"]) == served
        assert set(results["tasks"]) | set(results["unsupported"]) == served | ALL
        runners = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
        assert {"ray"} == {event["runner"] for event in runners if event["event"] == "session"}
