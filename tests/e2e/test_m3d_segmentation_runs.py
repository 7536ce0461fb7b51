"""M3D's segmentation and positioning on drawn volumes: validated, run, shown, and scored as a recomputation scores."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TASKS = ("m3d_semantic_segmentation", "m3d_res", "m3d_rec", "m3d_reg", "m3d_reg_name", "m3d_refseg")


def run(command: Any, out: Path, *words: object) -> Any:
    result = command("run", "--data-root", "phantom", "--out", out, "--ray", "off", *words)
    assert result.exit_code == 0, result.stderr
    return json.loads((out / "results.json").read_text())


def rows(results: Any, task: str, metric: str, protocol: str) -> dict[str | None, float]:
    """Return the micro values of one metric by stratum, as `kind=category`; None for the whole task."""
    found = {}
    for row in results["tasks"][task]["metrics"]:
        if (row["metric"], row["protocol"], row["mean"]) == (metric, protocol, "micro"):
            stratum = row["stratum"]
            found[None if stratum is None else "=".join(*stratum.items())] = row["value"]
    return found


def test_every_task_is_valid_on_drawn_volumes(command: Any) -> None:
    result = command("validate", *TASKS, "--data-root", "phantom", "--json")
    assert result.exit_code == 0, result.stderr
    reports = {report["task"]: report for report in json.loads(result.stdout)}
    assert set(reports) == set(TASKS)
    # An absent class is worth 0 under M3D's rule however right the answer, and nothing under ours.
    scores = reports["m3d_res"]["scores"]
    assert scores["dice (m3d)"]["oracle"] < 0.95
    assert scores["dice (standard)"]["oracle"] == 1.0
    assert scores["no_target_accuracy (standard)"]["empty"] == 1.0
    assert reports["m3d_rec"]["scores"]["rec_iou (m3d)"]["empty"] == -1.0
    assert reports["m3d_rec"]["scores"]["rec_iou (standard)"]["oracle"] == 1.0


def test_a_model_that_draws_runs_them_all(command: Any, tmp_path: Path) -> None:
    results = run(command, tmp_path / "run", "--tasks", ",".join(TASKS), "--model", "baseline:random", "--limit", 8)
    assert {name: task["wanted"] for name, task in results["tasks"].items()} == dict.fromkeys(TASKS, 8)
    assert {task["coverage"] for task in results["tasks"].values()} == {1.0}
    assert results["unsupported"] == {}
    assert "wording=ours" in rows(results, "m3d_rec", "rec_accuracy", "m3d")
    assert "question_type=reasoning" in rows(results, "m3d_refseg", "dice", "m3d")
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Slice " in page
    assert "data:image/png;base64," in page
    # One answer serves the sentence and the name of what fills a box.
    lines = (tmp_path / "run" / "predictions" / "predictions.jsonl").read_text().splitlines()
    assert len(lines) == 8 * (len(TASKS) - 1)


def test_boxes_score_as_a_recomputation_from_the_mask_files(command: Any, tmp_path: Path) -> None:
    results = run(command, tmp_path / "run", "--tasks", "m3d_rec", "--model", "baseline:center-box")
    (folder,) = Path(_cache()).glob("phantoms/*-m3d_seg/M3D_Seg_npy")
    entries = json.loads((folder / "0003/0003.json").read_text())["test"]
    middle = [(8, 24), (16, 48), (16, 48)]
    ious, quotients = [], []
    for entry in entries:
        mask = np.load(folder / entry["label"])[0]
        if mask.size == 1:  # a box where there is nothing to find
            ious.append(0.0)
            quotients.append(-1.0)
            continue
        inside = np.argwhere(mask)
        target = list(zip(inside.min(axis=0), inside.max(axis=0) + 1, strict=True))
        both = list(zip(middle, target, strict=True))
        shared = np.prod([max(0, min(one[1], two[1]) - max(one[0], two[0])) for one, two in both])
        joined = np.prod([max(one[1], two[1]) - min(one[0], two[0]) for one, two in both])
        volumes = [np.prod([end - start for start, end in box]) for box in (middle, target)]
        ious.append(shared / (sum(volumes) - shared))
        quotients.append(shared / (joined + 1e-6))
    assert rows(results, "m3d_rec", "rec_iou", "standard")[None] == pytest.approx(np.mean(ious), abs=1e-9)
    assert rows(results, "m3d_rec", "rec_iou", "m3d")[None] == pytest.approx(np.mean(quotients), abs=1e-9)


def _cache() -> str:
    import os

    return os.environ["MEDGROUND_CACHE"]


def test_a_task_shows_what_it_asks(command: Any) -> None:
    shown = command("show", "m3d_rec").stdout
    for words in ("M3D", "m3d_seg", "rec_accuracy", "source: AbdomenCT-1k", "text_frame m3d", "samples: 1600"):
        assert words in shown
