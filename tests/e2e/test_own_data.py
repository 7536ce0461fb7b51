"""A hospital's own data: one YAML as the documentation shows it, and the packaged tasks from end to end."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.own_data import LAYOUTS, write_images_and_masks

MOST_LINES = 15


def results_of(command: Any, out: Path, *words: object) -> Any:
    result = command("run", "--out", out, "--ray", "off", *words)
    assert result.exit_code == 0, result.stderr
    return json.loads((out / "results.json").read_text())


def shown_task(page: Path) -> str:
    """Return the first whole task of the page."""
    return next(text for text in re.findall(r"```yaml\n(.*?)```", page.read_text(), flags=re.DOTALL) if "task:" in text)


def test_a_folder_becomes_a_task_with_the_yaml_of_the_page(
    command: Any, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = repository / "docs" / "your-own-data.md"
    task = shown_task(page)
    assert len(task.splitlines()) <= MOST_LINES
    monkeypatch.chdir(tmp_path)
    write_images_and_masks(tmp_path / "hospital/polyps/test")
    (tmp_path / "my-tasks/polyps").mkdir(parents=True)
    (tmp_path / "my-tasks/polyps/our_polyps.yaml").write_text(task)
    commands = re.findall(r"^harness ((?:validate|prepare|run) .*our_polyps.*)$", page.read_text(), flags=re.MULTILINE)
    assert len(commands) == 3
    for words in commands[:2]:
        result = command(*words.split())
        assert result.exit_code == 0, result.stderr
    results = results_of(command, tmp_path / "run", *commands[2].split()[1:])
    block = results["tasks"]["our_polyps"]
    assert (block["wanted"], block["coverage"], block["counts"]) == (3, 1.0, {"ok": 3})
    dice = next(row for row in block["metrics"] if row["metric"] == "dice" and row["stratum"] is None)
    assert (dice["value"], dice["clusters"]) == (1.0, 2)  # Otsu finds a bright disc on a dark ground
    assert sorted(path.name for path in (tmp_path / "hospital/polyps/test").rglob("*.*")) == sorted(
        f"{name}.png" for name in ("p01_a", "p01_b", "p02_a") for _ in range(2)
    )


def test_wrong_options_are_named_with_file_and_line(command: Any, repository: Path, tmp_path: Path) -> None:
    task = shown_task(repository / "docs" / "your-own-data.md")
    path = tmp_path / "wrong.yaml"
    path.write_text(task.replace("{patient}_{case}.*", "{patent}_{case}.*").replace("dice}", "dise}", 1))
    result = command("validate", path)
    assert result.exit_code == 2
    known = "'{split}', '{patient}', '{case}', '{session}', '{group}'"
    assert f"7: release.options.images: expected names among {known}, found '{{patent}}'" in (
        result.stdout + result.stderr
    )
    path.write_text(task.replace("{polyp: 255}", "{polyp: big}"))
    result = command("validate", path)
    assert "release.options: labels.polyp: expected values, because masks holds no '{label}', found 'big'" in (
        result.stdout + result.stderr
    )


def test_the_packaged_tasks_are_valid_on_phantoms(command: Any) -> None:
    pytest.importorskip("nibabel")
    pytest.importorskip("pydicom")
    result = command("validate", "segmentation", "nifti_seg", "dicom_seg", "--data-root", "phantom", "--json")
    assert result.exit_code == 0, result.stdout
    for report in json.loads(result.stdout):
        assert report["samples"] >= 20
        dice = report["scores"]["dice (standard)"]
        assert (dice["oracle"], dice["empty"]) == (1.0, 0.0)
        assert dice["shuffled"] < 0.2


@pytest.mark.parametrize("task", ["segmentation", "nifti_seg", "dicom_seg"])
def test_a_packaged_task_runs_and_is_shown(command: Any, tmp_path: Path, task: str) -> None:
    pytest.importorskip("nibabel")
    pytest.importorskip("pydicom")
    words = ("--tasks", task, "--model", "baseline:random", "--data-root", "phantom", "--limit", 8)
    block = results_of(command, tmp_path / "run", *words)["tasks"][task]
    assert (block["wanted"], block["coverage"]) == (8, 1.0)
    assert {row["metric"] for row in block["metrics"]} >= {"dice", "iou", "nsd", "hd95", "no_target_accuracy"}
    shown = command("show", task, "--json")
    assert json.loads(shown.stdout)["release"]["reader"] == task


def test_neither_run_nor_cache_names_a_patient(command: Any, tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    from harness.data.phantoms.writers.dicom import PRIVATE

    words = ("--tasks", "dicom_seg", "--model", "baseline:empty", "--data-root", "phantom", "--limit", 4)
    results_of(command, tmp_path / "run", *words)
    prepared = json.loads(command("prepare", "dicom_seg", "--data-root", "phantom", "--json").stdout)[0]
    folders = (tmp_path / "run", Path(prepared["manifest"]).parent)
    told = b"".join(path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file())
    assert b"patient_000" in told
    assert [value for value in PRIVATE.values() if value.encode() in told] == []


def test_masks_in_model_space_score_as_those_in_the_original(command: Any, tmp_path: Path) -> None:
    pytest.importorskip("nibabel")
    prepared = json.loads(command("prepare", "nifti_seg", "--data-root", "phantom", "--json").stdout)[0]
    lines = Path(prepared["manifest"]).read_text().splitlines()[1:]
    depth, height, width = json.loads(lines[0])["media"][0]["size"]
    answered = 4  # the others count as missing
    whole = {"size": [1, 1, 1], "slices": {"0": "01"}}
    for name, extra in (("small", {"masks": [whole], "grid": {"size": [1, 1, 1]}}), ("full", None)):
        with (tmp_path / f"{name}.jsonl").open("w") as file:
            for line in lines[:answered]:
                slices = {str(index): _covered(height * width) for index in range(depth)}
                answer = extra or {"masks": [{"size": [depth, height, width], "slices": slices}]}
                file.write(json.dumps({"sample_id": json.loads(line)["id"], **answer}) + "\n")
    values = []
    for name in ("small", "full"):
        out = tmp_path / name
        words = ("--tasks", "nifti_seg", "--predictions", tmp_path / f"{name}.jsonl", "--data-root", "phantom")
        result = command("score", *words, "--out", out, "--max-failures", "100%")
        assert result.exit_code == 0, result.stderr
        rows = json.loads((out / "results.json").read_text())["tasks"]["nifti_seg"]["metrics"]
        values.append([row["value"] for row in rows])
    assert values[0] == values[1]
    assert any(value for value in values[0])
    stored = (tmp_path / "small/predictions/predictions.jsonl").read_text().splitlines()
    grids = [line["grid"] for line in map(json.loads, stored) if "masks" in line]
    assert grids == [{"size": [1, 1, 1]}] * answered


def _covered(pixels: int) -> str:
    from pycocotools import mask as coco

    return str(coco.encode(np.ones((pixels, 1), dtype=np.uint8, order="F"))["counts"].decode())


def shown_lines(page: Path, layout: str) -> list[list[str]]:
    """Return the words of each line of the code block that makes a task of a layout."""
    blocks = re.findall(r"^```\n(harness new-task .*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    (block,) = (block for block in blocks if f" hospital/{layout}" in block.splitlines()[0])
    return [line.split()[1:] for line in block.splitlines()]


# Page, task and the first number of a threshold on grey values, which for the discs is right everywhere. A guess has no
# number of its own.
FIRST_NUMBERS = {
    "polyps": ("your-own-data", "polyps", 1.0),
    "Dataset042_Liver": ("your-own-data", "dataset042_liver", 0.5514),
    "brains": ("your-own-data", "brains", 0.5514),
    "export": ("your-own-data", "export", 0.96),
    "quiz": ("your-own-questions", "questions", None),
    "chat": ("your-own-questions", "chat", None),
    "benchmark": ("your-own-questions", "benchmark", None),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_lines_of_the_page_lead_from_data_to_a_first_number(
    command: Any, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    pytest.importorskip("nibabel")
    pytest.importorskip("pydicom")
    page, task, value = FIRST_NUMBERS[layout]
    monkeypatch.chdir(tmp_path)
    LAYOUTS[layout](tmp_path / "hospital" / layout)
    lines = shown_lines(repository / "docs" / f"{page}.md", layout)
    assert len(lines) == 2
    made = command(*lines[0])
    assert made.exit_code == 0, made.stderr
    # The command that is printed is the one of the page.
    assert made.stdout.split() == ["harness", *lines[1]]
    block = results_of(command, tmp_path / "run", *lines[1][1:])["tasks"][task]
    assert block["counts"] == {"ok": block["wanted"]}
    assert block["coverage"] == 1.0
    first = block["metrics"][0]
    headline = next(row for row in block["metrics"] if row["mean"] == "macro") if value == 0.5514 else first
    assert 0 <= headline["value"] <= 1
    if value is not None:
        assert headline["value"] == pytest.approx(value, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["polyps", "quiz"])
def test_real_processes_lead_to_a_first_number_within_a_minute(repository: Path, tmp_path: Path, layout: str) -> None:
    LAYOUTS[layout](tmp_path / "hospital" / layout)
    begun = time.monotonic()
    for words in shown_lines(repository / "docs" / f"{FIRST_NUMBERS[layout][0]}.md", layout):
        line = [sys.executable, "-m", "harness.cli", *words]
        subprocess.run(line, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    assert time.monotonic() - begun < 60
    assert list(tmp_path.glob("runs/*/results.json"))
