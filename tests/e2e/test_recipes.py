"""`harness run` with a recipe for volumes in `--model-args`: what results and pages say of it, and masks."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from harness.imaging import masks
from harness.records.codec import mask_from_json

MODEL = """\
import numpy as np
from harness import Answer, Capabilities


class Eyes:
    \"\"\"Marks what is bright; in words it says what it was shown.\"\"\"

    def __init__(self, *, most=99):
        self.most = most

    def capabilities(self):
        return Capabilities(
            takes=frozenset({"text", "images"}), gives=frozenset({"text", "masks"}), max_images=self.most, max_batch=8
        )

    def load(self, device):
        pass

    def predict(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        pixels = [image.image() for image in request.images]
        if request.wants == ("masks",):
            (shown,) = pixels
            return Answer(masks=[shown[:, :, 0] > 128])
        return Answer(text=f"{len(pixels)} images of {pixels[0].shape}")
"""


def run(command: Any, folder: Path, name: str, *words: object) -> Any:
    """Run the model above and return the content of `results.json`."""
    (folder / "eyes.py").write_text(MODEL)
    model = ("--model", f"{folder / 'eyes.py'}:Eyes", "--limit", 1, "--ray", "off", "--data-root", "phantom")
    result = command("run", *model, "--out", folder / name, *words)
    assert result.exit_code == 0, result.stderr
    return json.loads((folder / name / "results.json").read_text())


def answers(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / "predictions/predictions.jsonl").read_text().splitlines()]


def test_any_model_that_takes_images_is_shown_a_volume_by_recipe(command: Any, tmp_path: Path) -> None:
    words = ("--tasks", "m3d_closed_vqa", "--model-args")
    results = run(command, tmp_path, "montage", *words, "volume=montage-9")
    used = "volume: montage-9 (version 1, together)"
    assert results["tasks"]["m3d_closed_vqa"]["fallbacks"] == [used]
    assert results["model"]["volume"] == "montage-9/1"
    assert [line["text"] for line in answers(tmp_path / "montage")] == ["1 images of (192, 192, 3)"]
    assert used in (tmp_path / "montage/report.html").read_text()

    few = run(command, tmp_path, "few", *words, "volume=axial-10,most=9")
    reason = "takes volume (volume: axial-10 shows 10 images at once, and the model takes 9 (max_images))"
    assert reason in few["unsupported"]["m3d_closed_vqa"]


def test_masks_of_every_plane_are_those_of_the_volume(command: Any, tmp_path: Path) -> None:
    marked = {}
    for plane in ("axial", "coronal", "sagittal"):
        results = run(command, tmp_path, plane, "--tasks", "nifti_seg", "--model-args", f"volume={plane}-all")
        used = f"volume: {plane}-all (version 1, one by one)"
        assert results["tasks"]["nifti_seg"]["fallbacks"] == [used]
        (line,) = answers(tmp_path / plane)
        marked[plane] = masks.decode(mask_from_json(line["masks"][0]))
    for plane in ("coronal", "sagittal"):
        shared = (marked[plane] & marked["axial"]).sum() / (marked[plane] | marked["axial"]).sum()
        assert shared > 0.99, (plane, float(shared))
    assert 0.01 < float(np.mean(marked["axial"])) < 0.9
