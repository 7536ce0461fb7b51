"""Real images: the same bytes on Ray and in process, and Dice equal to a recomputation that shares no code."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


def _run(command: Any, data: Path, out: Path, *words: object) -> Any:
    roots = ("--data-root", data, "--data-root", data / "samed2d_mini")
    result = command("run", "--tasks", "vqa_rad,samed2d_seg", "--model", "baseline:otsu", *roots, "--out", out, *words)
    assert result.exit_code == 0, result.stderr
    return json.loads((out / "results.json").read_text())


@pytest.mark.ray
def test_ray_and_process_give_the_same_bytes_and_the_reason_of_the_unsupported_cell(
    command: Any, test_data: Path, tmp_path: Path, ray_local: Any
) -> None:
    assert ray_local.is_initialized()
    results = _run(command, test_data, tmp_path / "ray", "--ray", "local", "--workers", "2")
    _run(command, test_data, tmp_path / "process", "--ray", "off")
    assert (tmp_path / "ray" / "results.json").read_bytes() == (tmp_path / "process" / "results.json").read_bytes()
    assert "gives text (451 of 451 samples)" in results["unsupported"]["vqa_rad"]
    assert results["tasks"]["samed2d_seg"]["wanted"] == 241


def _otsu_threshold(grey: np.ndarray) -> int:
    """Return the threshold that maximises the variance between the classes, by trying all 256."""
    values = grey.ravel().astype(float)
    best, found = -1.0, 0
    for threshold in range(int(grey.min()), int(grey.max())):
        low, high = values[values <= threshold], values[values > threshold]
        between = low.size * high.size * (low.mean() - high.mean()) ** 2
        if between > best * (1 + 1e-12):
            best, found = between, threshold
    return found


def test_dice_equals_a_recomputation_from_the_files(command: Any, test_data: Path, tmp_path: Path) -> None:
    results = _run(command, test_data, tmp_path / "run", "--ray", "off", "--limit", "12")
    folder = test_data / "samed2d_mini" / "SAMed2Dv1"
    import pyarrow.parquet as pq

    rows = pq.read_table(tmp_path / "run" / "scores" / "samed2d_seg.dice.standard.parquet").to_pylist()
    assert len(rows) == 12
    for row in rows:
        key = row["sample_id"].removeprefix("samed2d/all/")
        stem = key.rpartition("--")[0]
        grey = np.rint(np.asarray(Image.open(folder / "images" / f"{stem}.png").convert("RGB")) @ [0.299, 0.587, 0.114])
        bright = grey > _otsu_threshold(grey)
        prediction = ~bright if 2 * bright.sum() > bright.size else bright
        target = np.zeros(grey.shape, dtype=bool)
        for path in (folder / "masks").glob(f"{key}_*.png"):
            target |= np.asarray(Image.open(path)) > 0
        expected = 2 * (prediction & target).sum() / (prediction.sum() + target.sum())
        assert row["values"][0] == pytest.approx(expected, abs=1e-6)
    micro = results["tasks"]["samed2d_seg"]["metrics"][0]
    assert micro["value"] == pytest.approx(np.mean([row["values"][0] for row in rows]), abs=1e-12)
