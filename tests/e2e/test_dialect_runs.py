"""Runs on synthetic patients: a model that answers in a dialect has the numbers of one that gives typed answers."""

import json
from pathlib import Path
from typing import Any

import pytest

# It knows the target and answers beside it, so that the numbers lie between 0 and 1.
MODEL = '''
import json

import numpy as np

from harness import Answer, Box, Capabilities
from harness.imaging import mask_files, masks


class Beside:
    """Answers near the target: typed, or in words of a dialect (`says`)."""

    def __init__(self, *, says=None):
        self.says = says

    def capabilities(self):
        gives = {"text", "masks", "boxes"} if self.says in (None, "seg_phrase") else {"text"}
        return Capabilities(
            takes=frozenset({"text", "image", "images", "volume", "box", "point", "region", "target"}),
            gives=frozenset(gives),
            max_batch=8,
            per_sample=True,
            batch_invariant=True,
        )

    def load(self, device):
        pass

    def predict(self, requests):
        return [self.box(r) if r.target.boxes else self.mask(r) for r in requests]

    def box(self, request):
        depth, height, width = request.media[0].record.size
        corners = request.target.boxes[0].corners
        lengths = (depth, height, width) * 2
        shares = [round(value / length, 2) for value, length in zip(corners, lengths)]
        if self.says == "m3d":
            shares = [*shares[:3], *(round(end - 1 / length, 6) for end, length in zip(shares[3:], lengths))]
            return Answer(text=f"<think>[0, 0, 0, 1, 1, 1]</think><bx_start>{shares}<bx_end>")
        if self.says == "bare":
            return Answer(text=f"It is at {shares}.")
        if self.says == "json":
            return Answer(text=json.dumps([{"label": "it", "box": shares}]))
        numbers = tuple(share * length for share, length in zip(shares, lengths))
        return Answer(text="", boxes=[Box(corners=numbers)])

    def mask(self, request):
        size = request.media[0].record.size
        found = masks.bounding_box(request.target.entities[0].mask)
        plane = np.zeros(size, dtype=bool)
        x1, y1, x2, y2 = map(int, found.corners)
        plane[y1:y2, x1:x2] = True
        lengths = mask_files.to_json(masks.encode(plane))
        corners = [x1, y1, x2, y1, x2, y2, x1, y2]
        said = {
            "coco": [{"category": "it", "segmentation": lengths, "score": 0.5}],
            "json": {"label": "it", "polygon": corners},
            "saco_json": {"masks": [lengths], "boxes": [], "scores": [0.5]},
        }
        if self.says in said:
            return Answer(text="```json\\n" + json.dumps(said[self.says]) + "\\n```")
        return Answer(text="<p> it </p> [SEG]" if self.says else "", masks=[plane])
'''


def numbers(
    command: Any, folder: Path, task: str, dialect: str | None, frame: str = "none"
) -> dict[tuple[str, str], Any]:
    """Return value and counts by metric and protocol."""
    (folder / "beside.py").write_text(MODEL)
    out = folder / f"{task}-{dialect}"
    words = ["run", "--tasks", task, "--limit", 6, "--model", f"{folder / 'beside.py'}:Beside"]
    if dialect is not None:
        words += ["--model-args", f"says={dialect},reply={dialect},frame={frame}"]
    result = command(*words, "--data-root", "phantom", "--out", out, "--ray", "off")
    assert result.exit_code == 0, result.stderr
    results = json.loads((out / "results.json").read_text())
    if dialect is not None:
        assert results["model"]["reply"]["dialect"] == dialect
        assert dialect in (out / "report.html").read_text()
    rows = [row for row in results["tasks"][task]["metrics"] if row["stratum"] is None and row["mean"] == "micro"]
    return {(row["name"], row["protocol"]): (row["value"], row["n"], row["failed"]) for row in rows}


@pytest.mark.slow
@pytest.mark.parametrize(("dialect", "frame"), [("m3d", "unit"), ("bare", "unit"), ("json", "unit")])
def test_boxes_of_volumes(command: Any, tmp_path: Path, dialect: str, frame: str) -> None:
    typed = numbers(command, tmp_path, "m3d_rec", None)
    said = numbers(command, tmp_path, "m3d_rec", dialect, frame)
    for metric in ("rec_iou", "rec_accuracy"):
        assert said[metric, "standard"] == pytest.approx(typed[metric, "standard"], abs=1e-9)
    assert 0 < typed["rec_iou", "standard"][0] < 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dialect", "frame"), [("coco", "pixels"), ("json", "pixels"), ("saco_json", "unit"), ("seg_phrase", "none")]
)
def test_masks_of_images(command: Any, tmp_path: Path, dialect: str, frame: str) -> None:
    typed = numbers(command, tmp_path, "mecovqa_g", None)
    assert numbers(command, tmp_path, "mecovqa_g", dialect, frame) == typed
    assert 0 < typed["dice", "standard"][0] < 1


@pytest.mark.slow
def test_a_reply_in_another_dialect_counts_as_failed(command: Any, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text(MODEL)
    words = ["run", "--tasks", "m3d_rec", "--model", f"{tmp_path / 'beside.py'}:Beside", "--data-root", "phantom"]
    arguments = "says=bare,reply=json,frame=unit"
    result = command(
        *words, "--limit", 6, "--model-args", arguments, "--out", tmp_path / "run", "--ray", "off", "--json"
    )
    rows = json.loads(result.stdout)["tasks"]["m3d_rec"]["metrics"]
    (row,) = [r for r in rows if (r["metric"], r["protocol"], r["stratum"]) == ("rec_iou", "standard", None)]
    assert (row["value"], row["n"], row["unparsed"]) == (0.0, 6, 6)
