"""MeCoVQA on real images: counts, repairs, Dice against a recomputation that shares no code, regions as box text."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

SYMBOLS = 48  # a COCO run length is written in symbols from "0" on, 5 bits each, the sixth says that more follow
ECHO = """\
from harness import Answer, Capabilities

class Echo:
    def capabilities(self):
        return Capabilities(takes=frozenset({"text", "image"}), gives=frozenset({"text"}), batch_invariant=True)

    def load(self, device):
        pass

    def predict(self, requests):
        return [Answer(text=request.prompt) for request in requests]
"""


@pytest.fixture
def mini(test_data: Path) -> Path:
    """The small real MeCoVQA: grounding and region questions of the test split."""
    folder = test_data / "samed2d_mini"
    if not (folder / "MeCoVQA").is_dir():
        pytest.skip(f"no MeCoVQA at {folder}")
    return folder


def run(command: Any, mini: Path, out: Path, *words: object) -> Any:
    result = command("run", "--data-root", mini, "--out", out, "--ray", "off", *words)
    assert result.exit_code == 0, result.stderr
    return json.loads((out / "results.json").read_text())


def test_the_group_runs_on_what_is_there_and_says_what_is_not(command: Any, mini: Path, tmp_path: Path) -> None:
    results = run(command, mini, tmp_path / "run", "--tasks", "mecovqa", "--model", "baseline:otsu")
    grounding = results["tasks"]["mecovqa_g"]
    assert (grounding["wanted"], grounding["coverage"]) == (241, 1.0)
    assert "gives text (241 of 241 samples)" in results["unsupported"]["mecovqa_r"]
    (absent,) = results["unavailable"]
    assert absent["task"] == "mecovqa_c"
    assert "expected MeCoVQA/test/MeCoVQA_Complex_VQA_test.json below the data root, found none" in absent["reason"]
    modalities = {row["stratum"]["modality"] for row in grounding["metrics"] if "modality" in (row["stratum"] or {})}
    assert modalities == {"mr", "ct", "endo", "fundus"}


def test_a_task_asked_for_by_name_without_its_file_ends_with_2(command: Any, mini: Path, tmp_path: Path) -> None:
    words = ("--tasks", "mecovqa_c", "--model", "baseline:empty", "--data-root", mini, "--out", tmp_path / "run")
    result = command("run", *words)
    assert result.exit_code == 2
    assert "MeCoVQA_Complex_VQA_test.json" in result.stderr


def test_preparation_lists_the_repairs_and_leaves_the_data_alone(command: Any, mini: Path) -> None:
    before = sorted((str(path), path.stat().st_mtime_ns) for path in mini.rglob("*"))
    result = command("prepare", "mecovqa_g", "mecovqa_r", "--data-root", mini)
    assert result.exit_code == 0
    assert re.findall(r"mecovqa_[gr]: \d+ samples", result.stdout + result.stderr) == [
        "mecovqa_g: 241 samples",
        "mecovqa_r: 241 samples",
    ]
    assert "masks_merged_built: 241" in result.stdout + result.stderr
    assert sorted((str(path), path.stat().st_mtime_ns) for path in mini.rglob("*")) == before


def test_both_tasks_are_valid(command: Any, mini: Path) -> None:
    result = command("validate", "mecovqa_g", "mecovqa_r", "--data-root", mini)
    assert result.exit_code == 0, result.stderr
    assert "prompt: 'What is the object about this <region>?'" in result.stdout


def pixels(stored: Any) -> np.ndarray:
    """Return the (H, W) pixels of COCO run lengths: column by column, background first, 3rd run on as differences."""
    runs: list[int] = []
    value = shift = 0
    for symbol in stored["counts"]:
        bits = ord(symbol) - SYMBOLS
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= 1 << shift if bits & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    height, width = stored["size"]
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def test_dice_equals_a_recomputation_from_run_lengths_and_mask_files(command: Any, mini: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    out = tmp_path / "run"
    words = ("--tasks", "mecovqa_g", "--model", "baseline:otsu", "--limit", "20")
    metrics = run(command, mini, out, *words)["tasks"]["mecovqa_g"]["metrics"]
    lines = (out / "predictions" / "predictions.jsonl").read_text().splitlines()
    predictions = {line["key"]: line["masks"][0] for line in map(json.loads, lines)}
    rows = pq.read_table(out / "plan" / "mecovqa_g.parquet").to_pylist()
    questions = {
        f"mecovqa_g/test/{record['id']}#{count}": record
        for count, record in _counted(mini / "MeCoVQA/test/MeCoVQA_Grounding_test.json")
    }
    found: dict[str, float] = {}
    by_modality: dict[str, list[float]] = {}
    for row in rows:
        name = questions[row["sample_id"]]["conversations"][1]["value"].split("masks_merged/")[1].split("_merged")[0]
        files = list((mini / "SAMed2Dv1/masks").glob(f"{name}_*.png"))
        target = np.any([np.asarray(Image.open(file)) > 0 for file in files], axis=0)
        predicted = pixels(predictions[row["key"]])
        dice = 2 * (predicted & target).sum() / (predicted.sum() + target.sum())
        found[row["sample_id"]] = dice
        by_modality.setdefault(name.split("_")[0], []).append(dice)
    scores = pq.read_table(out / "scores" / "mecovqa_g.dice.medplib.parquet").to_pylist()
    assert {row["sample_id"]: row["values"][0] for row in scores} == pytest.approx(found, abs=1e-6)
    assert len(found) == 20
    means = {
        row["mean"]: row["value"] for row in metrics[:4] if row["stratum"] is None and row["protocol"] == "medplib"
    }
    assert means["micro"] == pytest.approx(np.mean(list(found.values())), abs=1e-6)
    assert means["macro"] == pytest.approx(np.mean([np.mean(values) for values in by_modality.values()]), abs=1e-6)


def _counted(file: Path) -> Any:
    """Yield (how often its id has come by now, record)."""
    seen: dict[str, int] = {}
    for record in json.loads(file.read_text()):
        seen[record["id"]] = seen.get(record["id"], 0) + 1
        yield seen[record["id"]], record


def test_a_model_without_regions_gets_the_box_in_its_words(command: Any, mini: Path, tmp_path: Path) -> None:
    (tmp_path / "echo.py").write_text(ECHO)
    words = ("--tasks", "mecovqa_r", "--model", f"{tmp_path / 'echo.py'}:Echo", "--limit", "5")
    results = run(command, mini, tmp_path / "run", *words)
    assert results["tasks"]["mecovqa_r"]["fallbacks"] == ["region_as_box_text: per_mille"]
    lines = (tmp_path / "run" / "predictions" / "predictions.jsonl").read_text().splitlines()
    replies = [json.loads(line)["text"] for line in lines]
    assert len(replies) == 5
    for reply in replies:
        assert re.search(r"\[\d+, \d+, \d+, \d+\]", reply)
        assert "<region>" not in reply
        assert "<image>" not in reply
