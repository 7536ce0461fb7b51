"""`harness demo`: three baselines and four reference models on synthetic patients, on Ray."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from harness.cli import demo
from harness.cli.progress_bar import ProgressBar
from harness.paths import default_cache

VOLUMES = {"m3d_closed_vqa", "m3d_semantic_segmentation"}
MASKS = {"samed2d_seg", "samed2d_seg_box", "mecovqa_g"}
WITH_TRAIN_SPLIT = {"vqa_rad", "mecovqa_c", "mecovqa_r", "mecovqa_g", "mimoseg_p3"}
WORDS = {"vqa_rad", "mecovqa_c", "mecovqa_r", "omnimedvqa_letter"}
IMAGE = MASKS | WORDS | {"mimoseg_p3"}
ALL = IMAGE | VOLUMES | {"mmmu_hm_validation"}
SERVED = {
    "baseline:majority": WITH_TRAIN_SPLIT | VOLUMES,
    "baseline:center-box": MASKS | {"m3d_semantic_segmentation"},
    "baseline:otsu": MASKS | {"m3d_semantic_segmentation"},
    "reference:tiny": IMAGE,
    "reference:mimo-tiny": IMAGE,
    "reference:huatuo-tiny": WORDS | {"mmmu_hm_validation"},
    "reference:m3d-tiny": VOLUMES,
}


def _check(out: Path, printed: str, models: Iterable[str] = SERVED) -> None:
    for model in models:
        served = SERVED[model]
        run = out / model.replace(":", "-")
        assert f"model {model}   data phantom" in printed
        assert f"report: {run / 'report.html'}" in printed
        assert (run / "report.html").is_file()
        results = json.loads((run / "results.json").read_text())
        assert set(results["tasks"]) == served
        assert set(results["tasks"]) | set(results["unsupported"]) == served | ALL
        runners = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
        assert {"ray"} == {event["runner"] for event in runners if event["event"] == "session"}


@pytest.mark.ray
def test_the_demo_on_a_few_samples_of_each_task(
    tmp_path: Path, ray_local: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ray_local.is_initialized()
    # One baseline stands for the three, and of the reference models one for images and one for volumes: each model
    # starts workers of its own, which takes most of the time. The slow test has them all.
    monkeypatch.setattr(demo, "BASELINES", ("baseline:otsu",))
    monkeypatch.setattr(demo, "REFERENCES", ("reference:tiny", "reference:m3d-tiny"))
    with ProgressBar() as bar:
        runs = demo.run(tmp_path / "demo", default_cache(), bar, limit=4)
    _check(tmp_path / "demo", demo.text(runs, 80), ("baseline:otsu", *demo.REFERENCES))


@pytest.mark.slow
@pytest.mark.ray
def test_demo_prints_numbers_and_where_the_reports_lie(command: Any, tmp_path: Path, ray_local: Any) -> None:
    assert ray_local.is_initialized()
    result = command("demo", "--out", tmp_path / "demo")
    assert result.exit_code == 0, result.stderr
    _check(tmp_path / "demo", result.stdout)
