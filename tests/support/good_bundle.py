"""The bundle below tests/golden/bundle, and the data that it was made from.

A task or protocol that changes its version is another one: `python -m tests.support.good_bundle` makes the bundle anew.
"""

import json
import os
import tempfile
from pathlib import Path
from unittest.mock import patch

import numpy as np
from PIL import Image

FOLDER = Path(__file__).resolve().parents[1] / "golden" / "bundle"
DATA = FOLDER / "data"
BUNDLE = FOLDER / "good.zip"
SIZE = (24, 32)
MODALITIES = ("ct", "mr", "ct", "mr", "xray", "xray")
QUESTIONS = 12


def write_data(root: Path) -> None:
    """Write VQA-RAD with 12 questions and SA-Med2D with 6 masks, in the layouts of the releases."""
    from tests.support.tiny_vqa_rad import write_release

    write_release(root, QUESTIONS)
    listing = {}
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    for number, modality in enumerate(MODALITIES):
        name = f"{modality}_00--Demo--case_{number}--z_0007"
        disc = (y - 10 - number) ** 2 + (x - 14) ** 2 < 30
        image, mask = f"images/{name}.png", f"masks/{name}--0001_000.png"
        for path, pixels in ((image, np.where(disc, 220, 40)), (mask, disc * 255)):
            (root / "SAMed2Dv1" / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(root / "SAMed2Dv1" / path)
        listing[image] = [mask]
    (root / "SAMed2Dv1" / "SAMed2D_v1.json").write_text(json.dumps(listing, indent=1) + "\n")
    classes = {"Demo": {"disc": "0001"}}
    (root / "SAMed2Dv1" / "SAMed2D_v1_class_mapping_id.json").write_text(json.dumps(classes) + "\n")


def write_answers(path: Path) -> None:
    """Write answers of every kind: right, wrong, empty, refused, failed; masks that fit, that do not, and none."""
    from harness.imaging import masks
    from harness.imaging.mask_files.json_masks import to_json

    lines = []
    for number in range(QUESTIONS):
        line = {"sample_id": f"vqa_rad/test/{number}", "text": "no" if number % 2 else "Yes, it is."}
        if number == 4:
            line |= {"text": "", "status": "refused"}
        if number == 5:
            line = {"sample_id": line["sample_id"], "status": "model_error", "error": "out of memory"}
        lines.append(line)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    noise = np.random.default_rng(7).random(SIZE) < 0.5
    for number, modality in enumerate(MODALITIES):
        sample = f"samed2d/all/{modality}_00--Demo--case_{number}--z_0007--0001"
        if number == 3:
            lines.append({"sample_id": sample, "status": "empty"})
            continue
        found = noise if number == 2 else (y - 11 - number) ** 2 + (x - 15) ** 2 < 25
        lines.append({"sample_id": sample, "masks": [to_json(masks.encode(found))], "mask_scores": [0.5]})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def make_bundle(out: Path, work: Path, *, model: str = "Good Model") -> Path:
    """Evaluate the answers, judge them, and write the bundle; return the run directory.

    Args:
        out: The file to write.
        work: An empty folder.
        model: Name of the model.
    """
    from harness.evaluation.evaluate import evaluate
    from harness.evaluation.judging.judge import JudgeSpec, judge
    from harness.evaluation.setup import RunSpec
    from harness.exports.bundles.writing import write_bundle
    from harness.models.description import ModelDescription

    write_answers(work / "answers.jsonl")
    description = ModelDescription.read(
        name=model, url="https://example.org/good", paper="Good et al., 2026", params="7B", licence="Apache-2.0"
    )
    # The noisy mask is to be in a file of its own, as the masks of large volumes are.
    with patch("harness.runs.store.BLOB_ABOVE_BYTES", 300):
        done = evaluate(
            RunSpec(
                tasks=("vqa_rad", "samed2d_seg"),
                model=f"predictions:{work / 'answers.jsonl'}",
                data_roots=(str(DATA),),
                out=work / "run",
                ray="off",
                max_failures="100%",
                description=description,
            )
        )
    judge(JudgeSpec(run=done.out, judges=(("judge:rules", {}),)))
    write_bundle(done.out, out)
    return done.out


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["MEDGROUND_CACHE"] = f"{scratch}/cache"
        if not DATA.is_dir():
            write_data(DATA)
        Path(scratch, "work").mkdir()
        make_bundle(BUNDLE, Path(scratch, "work"))
