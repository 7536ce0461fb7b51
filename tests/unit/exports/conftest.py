"""Two finished runs that the exports read: one of masks with a failure, one of words."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.evaluation.evaluate import evaluate
from harness.evaluation.setup import RunSpec
from harness.imaging import mask_files, masks
from tests.support.exported_runs import ExportedCase, exported_case
from tests.support.tiny_vqa_rad import write_release

TASK = """
task: organs
title: Organs of three images
version: 1
release:
  reader: segmentation
  split: all
  options: {labels: {liver: 1, lesion: 2}}
gives: masks
oracle: "<SEG>"
prompt: "Segment the {class}."
metrics: [{metric: dice}, {metric: iou}, {metric: dice, protocol: medplib}]
headline: {metric: dice}
strata: [class]
"""


@pytest.fixture(scope="session")
def mask_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on three 4 x 4 images: the liver half found, the lesion absent in `b` and rightly not found there.

    The lesion of `c` was not answered. Liver: rows 0 and 1. Answers: row 0. Lesion: pixel (3, 3) of `a` and `c`.
    """
    folder = tmp_path_factory.mktemp("mask_run")
    data, tasks = folder / "data" / "segmentation", folder / "tasks" / "organs"
    for part in (data / "images", data / "masks", tasks):
        part.mkdir(parents=True)
    (tasks / "organs.yaml").write_text(TASK)
    for name in ("a", "b", "c"):
        labels = np.zeros((4, 4), dtype=np.uint8)
        labels[:2] = 1
        labels[3, 3] = 0 if name == "b" else 2
        Image.fromarray(labels).save(data / "masks" / f"{name}.png")
        Image.fromarray(np.full((4, 4, 3), 9, dtype=np.uint8)).save(data / "images" / f"{name}.png")
    row = np.zeros((4, 4), dtype=bool)
    row[0] = True
    found = {"liver": [row], "lesion": []}
    lines = [
        {
            "sample_id": f"organs/all/images/{name}.png:{label}",
            "masks": [mask_files.to_json(masks.encode(mask)) for mask in predicted],
        }
        for name in ("a", "b", "c")
        for label, predicted in found.items()
        if (name, label) != ("c", "lesion")
    ]
    (folder / "mine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    spec = RunSpec(
        tasks=("organs",),
        model=f"predictions:{folder / 'mine.jsonl'}",
        data_roots=(str(folder / "data"),),
        task_paths=(folder / "tasks",),
        out=folder / "run",
        cache=folder / "cache",
        ray="off",
        max_failures="100%",
    )
    return evaluate(spec).out


@pytest.fixture(scope="session")
def text_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a model that answers nothing but "yes" on four questions of VQA-RAD."""
    folder = tmp_path_factory.mktemp("text_run")
    spec = RunSpec(
        tasks=("vqa_rad",),
        model="scripted",
        model_args={"text": "yes"},
        data_roots=(str(write_release(folder / "data", 4)),),
        out=folder / "run",
        cache=folder / "cache",
        ray="off",
    )
    return evaluate(spec).out


@pytest.fixture(scope="session")
def image_case(tmp_path_factory: pytest.TempPathFactory) -> ExportedCase:
    """Masks of images, two per answer with scores."""
    metrics = "[{metric: dice}, {metric: iou}]"
    folder = tmp_path_factory.mktemp("images")
    return exported_case(folder, "organs2d", "masks", "dice", "standard", metrics, "masks")


@pytest.fixture(scope="session")
def detection_case(tmp_path_factory: pytest.TempPathFactory) -> ExportedCase:
    """The same, scored as detections."""
    folder = tmp_path_factory.mktemp("detections")
    metrics = "[{metric: ap, protocol: glamm}]"
    return exported_case(folder, "organs", "masks", "ap", "glamm", metrics, "masks", clusters=False)


@pytest.fixture(scope="session")
def volume_case(tmp_path_factory: pytest.TempPathFactory) -> ExportedCase:
    """Masks of volumes."""
    folder = tmp_path_factory.mktemp("volumes")
    metrics = "[{metric: dice}, {metric: hd95}]"
    return exported_case(folder, "organs3d", "masks", "dice", "standard", metrics, "volumes")


@pytest.fixture(scope="session")
def box_case(tmp_path_factory: pytest.TempPathFactory) -> ExportedCase:
    """Boxes in images."""
    folder = tmp_path_factory.mktemp("boxes")
    metrics = "[{metric: rec_iou}, {metric: rec_accuracy}]"
    return exported_case(folder, "boxes2d", "boxes", "rec_iou", "standard", metrics, "boxes")


@pytest.fixture(scope="session")
def word_case(tmp_path_factory: pytest.TempPathFactory) -> ExportedCase:
    """Answers in words."""
    folder = tmp_path_factory.mktemp("words")
    return exported_case(folder, "lobes", "text", "token_prf", "standard", "[{metric: token_prf}]", "words")
