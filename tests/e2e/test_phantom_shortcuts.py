"""No shortcut answers the questions on drawn patients: not the train split, not brightness, not place, not a threshold.

The numbers are those of the baselines, run in this process through `harness.evaluate`.
"""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import harness
from harness.data.phantoms.families import write_phantoms

CHANCE, MARGIN = 0.5, 0.10
DICE = 0.35


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The releases as `--data-root phantom` draws them."""
    folder = tmp_path_factory.mktemp("phantom")
    write_phantoms(folder, seed=0)
    return folder


def rows(root: Path, out: Path, task: str, model: str, **model_args: Any) -> list[dict[str, Any]]:
    """Return the rows of a task's headline metric under the protocol `standard`."""
    evaluation = harness.evaluate(
        [task], model, data_roots=[root], model_args=model_args, out=out, ray="off", max_failures="100%"
    )
    block = evaluation.results["tasks"][task]
    found = [row for row in block["metrics"] if row["protocol"] == "standard"]
    return [row for row in found if row["metric"] in ("vqa_accuracy", "dice")]


@pytest.mark.parametrize("model_args", [{}, {"by": "question"}], ids=["plain", "by question"])
def test_what_train_answers_is_worth_chance(root: Path, tmp_path: Path, model_args: dict[str, str]) -> None:
    found = rows(root, tmp_path / "run", "vqa_rad", "baseline:majority", **model_args)
    [closed] = [row for row in found if row["stratum"] == {"answer_type": "closed"}]
    assert closed["n"] > 300
    assert closed["value"] <= CHANCE + MARGIN
    if model_args:
        assert closed["value"] >= CHANCE - MARGIN
    by_type = [row for row in found if row["stratum"] and "question_type" in row["stratum"]]
    assert len(by_type) == 7
    assert all(row["value"] <= CHANCE + MARGIN for row in by_type), by_type


@pytest.mark.parametrize("model", ["baseline:otsu", "baseline:center-box", "baseline:random"])
@pytest.mark.parametrize("task", ["samed2d_seg", "mecovqa_g"])
def test_a_threshold_or_a_rectangle_segments_nothing(root: Path, tmp_path: Path, task: str, model: str) -> None:
    found = rows(root, tmp_path / "run", task, model)
    by_modality = [row for row in found if row["stratum"] and set(row["stratum"]) == {"modality"}]
    assert len(by_modality) >= 4
    means = [row for row in found if row["stratum"] is None and row["mean"] in ("micro", "macro")]
    assert len(means) == 2
    for row in (*means, *by_modality):
        assert row["value"] <= DICE, row


def test_where_masks_mostly_lie_segments_nothing(root: Path, tmp_path: Path) -> None:
    found = rows(root, tmp_path / "run", "mecovqa_g", "baseline:majority")
    [micro] = [row for row in found if row["stratum"] is None and row["mean"] == "micro"]
    assert micro["value"] <= DICE


@pytest.mark.parametrize("task", ["samed2d_seg", "mecovqa_g"])
def test_the_oracle_reaches_the_ceiling(root: Path, tmp_path: Path, task: str) -> None:
    found = rows(root, tmp_path / "run", task, "baseline:oracle")
    assert {row["value"] for row in found if row["stratum"] is None} == {1.0}


def _brightness(root: Path) -> dict[str, float]:
    paths = (root / "vqa_rad" / "images").iterdir()
    return {path.name: float(np.asarray(Image.open(path), dtype=float).mean()) for path in paths}


def _closed(root: Path, split: str) -> dict[str, list[tuple[str, str]]]:
    """Return closed question -> (image, answer); what modality it is can be told by brightness, and may be."""
    found = defaultdict(list)
    for record in json.loads((root / f"vqa_rad/{split}set.json").read_text()):
        if record["answer_type"] == "CLOSED" and record["question_type"] != "MODALITY":
            found[record["question"]].append((record["image_name"], record["answer"]))
    return found


def _best_rule(values: list[float], answers: list[str]) -> tuple[float, str, str]:
    """Return (threshold, answer at or below it, answer above it) with the fewest errors."""
    names = sorted(set(answers))
    rules = [(at, low, high) for at in values for low, high in ((names[0], names[-1]), (names[-1], names[0]))]
    cases = list(zip(values, answers, strict=True))
    return max(rules, key=lambda rule: sum(_apply(rule, value) == answer for value, answer in cases))


def _apply(rule: tuple[float, str, str], value: float) -> str:
    return rule[1] if value <= rule[0] else rule[2]


def test_mean_brightness_does_not_tell_the_answer(root: Path) -> None:
    """The best threshold of each question, found on train, is worth chance on test."""
    brightness, train = _brightness(root), _closed(root, "train")
    right = asked = 0
    for question, cases in _closed(root, "test").items():
        if question in train:
            rule = _best_rule([brightness[image] for image, _ in train[question]], [a for _, a in train[question]])
            right += sum(_apply(rule, brightness[image]) == answer for image, answer in cases)
            asked += len(cases)
    assert asked > 200
    assert right / asked <= CHANCE + MARGIN
