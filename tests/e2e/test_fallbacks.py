"""A box that a model does not take is painted or cropped to, the same in process and on Ray, and its number says so."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.data.phantoms.writers.samed2d import write_samed2d
from harness.imaging import masks
from harness.records import Box
from harness.records.codec import mask_from_json, sample_from_json

SAMPLES = 6
MODEL = """\
import numpy as np
from PIL import Image
from harness import Answer, Capabilities


class Sighted:
    \"\"\"Marks what the green box encloses, else all that it sees.\"\"\"

    def capabilities(self):
        takes, gives = frozenset({"text", "image"}), frozenset({"masks"})
        return Capabilities(takes=takes, gives=gives, max_batch=4, batch_invariant=True)

    def load(self, device):
        pass

    def predict(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        handle = request.images[0]
        pixels = handle.image()
        assert not request.visual_prompts and handle.size == pixels.shape[:2]
        with Image.open(handle.path) as written:
            assert (np.asarray(written.convert("RGB")) == pixels).all()
        if "inside (the green box)" not in request.prompt:
            assert "inside (the part shown in this image)" in request.prompt
            return Answer(masks=[np.ones(pixels.shape[:2], dtype=bool)])
        green = (pixels == (0, 255, 0)).all(axis=2)
        sides = [np.logical_or.accumulate(green, axis=axis) for axis in (0, 1)]
        sides += [np.flip(np.logical_or.accumulate(np.flip(green, axis), axis=axis), axis) for axis in (0, 1)]
        return Answer(masks=[np.logical_and.reduce(sides) & ~green])
"""
TASK = """\
task: {name}
dataset: samed2d
version: 1
title: Structures in a box, {name}
release: {{reader: samed2d, split: all}}
gives: masks
oracle: "<SEG>"
visual_prompt: box
prompt: "Outline the {{class}} inside <box> with a mask."
fallbacks: [{{{first}}}, {{box_as_text: unit}}]
metrics: [{{metric: dice}}]
headline: {{metric: dice}}
cluster: patient
"""
FIRST = {"painted": "box_as_overlay: outline", "cropped": "box_as_crop: 0.25"}


@pytest.fixture
def words(tmp_path: Path) -> list[object]:
    """`harness run` of the same box task with its two fallbacks, by a model that takes no box."""
    family = tmp_path / "tasks" / "boxes"
    family.mkdir(parents=True)
    for name, first in FIRST.items():
        (family / f"{name}.yaml").write_text(TASK.format(name=name, first=first))
    (tmp_path / "sighted.py").write_text(MODEL)
    model = f"{tmp_path / 'sighted.py'}:Sighted"
    return [
        *("run", "--tasks", "painted,cropped", "--task-path", tmp_path / "tasks", "--model", model),
        *("--data-root", "phantom", "--limit", SAMPLES),
    ]


def pairs(out: Path, task: str) -> list[tuple[Box, Any]]:
    """Return for every sample the tight box of its target, and the mask that was stored."""
    import pyarrow.parquet as pq

    lines = map(json.loads, (out / "predictions" / "predictions.jsonl").read_text().splitlines())
    stored = {line["key"]: line.get("masks", []) for line in lines}
    found = []
    for row in pq.read_table(out / "plan" / f"{task}.parquet").to_pylist():
        (entity,) = sample_from_json(json.loads(row["sample"])).target.entities
        assert entity.mask is not None
        box = masks.bounding_box(entity.mask)
        assert box is not None
        (mask,) = stored[row["key"]]
        found.append((box, mask_from_json(mask)))
    return found


def test_painted_and_cropped_boxes_come_back_in_the_frame_of_the_image(
    command: Any, words: list[object], tmp_path: Path
) -> None:
    result = command(*words, "--ray", "off", "--out", tmp_path / "off")
    assert result.exit_code == 0, result.stderr
    results = json.loads((tmp_path / "off" / "results.json").read_text())
    for task, first in FIRST.items():
        assert results["tasks"][task]["fallbacks"] == [first]
        assert results["tasks"][task]["counts"] == {"ok": SAMPLES}
    painted, cropped = pairs(tmp_path / "off", "painted"), pairs(tmp_path / "off", "cropped")
    assert len(painted) == len(cropped) == SAMPLES
    for box, mask in painted:
        assert mask == masks.from_box(box, mask.size)
    for box, mask in cropped:
        window = masks.bounding_box(mask)
        assert window is not None
        assert mask == masks.from_box(window, mask.size)
        assert masks.intersection(mask, masks.from_box(box, mask.size)) == masks.area(masks.from_box(box, mask.size))
        assert masks.area(mask) < mask.size[0] * mask.size[1]


def test_a_cropped_sample_is_explained_and_drawn_in_the_frame_of_the_whole_image(
    command: Any, words: list[object], tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    out, picture = tmp_path / "off", tmp_path / "sample.png"
    assert command(*words, "--ray", "off", "--out", out).exit_code == 0
    (row,) = pq.read_table(out / "plan" / "cropped.parquet").slice(0, 1).to_pylist()
    asked = ("explain", out, row["sample_id"], "--task", "cropped", "--task-path", tmp_path / "tasks")
    result = command(*asked, "--png", picture)
    assert result.exit_code == 0, result.stderr
    assert "cropped to" in result.stdout
    with Image.open(picture) as drawn:
        height, width = sample_from_json(json.loads(row["sample"])).media[0].size
        assert drawn.width * height == pytest.approx(drawn.height * width, rel=0.02)


@pytest.mark.ray
@pytest.mark.usefixtures("ray_local")
def test_on_ray_the_results_are_the_same_bytes(command: Any, words: list[object], tmp_path: Path) -> None:
    for runner in ("off", "local"):
        result = command(*words, "--ray", runner, "--out", tmp_path / runner)
        assert result.exit_code == 0, result.stderr
    assert (tmp_path / "local" / "results.json").read_bytes() == (tmp_path / "off" / "results.json").read_bytes()


def test_an_image_that_cannot_be_read_is_a_data_error_and_the_others_stand(
    command: Any, words: list[object], tmp_path: Path
) -> None:
    root, out = tmp_path / "root", tmp_path / "run"
    write_samed2d(root, seed=3, patients=3)
    victim = sorted((root / "SAMed2Dv1" / "images").iterdir())[0]
    victim.write_bytes(victim.read_bytes()[:100])
    words = [root if word == "phantom" else word for word in words[:-2]]
    result = command(*words, "--ray", "off", "--out", out)
    assert result.exit_code == 3
    assert victim.name in result.stderr
    blocks = json.loads((out / "results.json").read_text())["tasks"]
    for task in FIRST:
        counts = blocks[task]["counts"]
        assert set(counts) == {"ok", "data_error"}
        assert blocks[task]["coverage"] == pytest.approx(1 - counts["data_error"] / blocks[task]["wanted"])
