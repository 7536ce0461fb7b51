"""A model that reads volumes, through `harness run`: masks of NIfTI files on their own grids, boxes, words, vectors."""

import json
from pathlib import Path
from typing import Any

import nibabel
import pytest
import torch

from harness.data.phantoms.writers.m3d_refseg import write_m3d_volumes
from harness.data.phantoms.writers.m3d_vqa import write_m3d_family
from harness.imaging import masks
from harness.records.codec import mask_from_json
from reference_model.checkpoints.checkpoint import About, save_model
from reference_model.inputs.conversation import VOLUME_SEG
from tests.unit.reference_model.small_volumes import TOKENIZER, small_config, small_model


@pytest.fixture(scope="module")
def marker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model whose every word is `[SEG]`: its layers add nothing, and all words share an embedding."""
    config = small_config()
    model = small_model(config)
    with torch.no_grad():
        for name, parameter in model.language.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                parameter.zero_()
        model.language.embed_tokens.weight.fill_(1.0)
        model.language.lm_head.weight.zero_()
        model.language.lm_head.weight[TOKENIZER.special.id(VOLUME_SEG)] = 1.0
    folder = tmp_path_factory.mktemp("marker") / "model"
    save_model(folder, model, About(config=config, words=TOKENIZER.words, experts=False))
    return folder


def run(command: Any, root: Path, out: Path, model: Path, tasks: str) -> tuple[Any, list[dict[str, Any]]]:
    result = command(
        "run", "--data-root", root, "--out", out, "--ray", "off", "--tasks", tasks, "--model", f"reference:{model}",
        "--limit", 3,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    lines = (out / "predictions" / "predictions.jsonl").read_text().splitlines()
    return json.loads((out / "results.json").read_text()), [json.loads(line) for line in lines]


@pytest.mark.slow
def test_masks_of_nifti_volumes_have_the_grid_of_the_file(command: Any, marker: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_m3d_volumes(root, 3, patients=8, prepared=False)
    results, lines = run(command, root, tmp_path / "run", marker, "m3d_refseg")
    assert results["unsupported"] == {}
    assert results["tasks"]["m3d_refseg"]["coverage"] == 1.0
    files = root.glob("M3D_RefSeg/*/ct.nii.gz")
    shapes = {nibabel.nifti1.Nifti1Image.from_filename(path).shape[::-1] for path in files}
    assert len(lines) == 3
    for line in lines:
        assert line.get("error") is None
        (found,) = line["masks"]
        mask = mask_from_json(found)
        assert mask.size in shapes
        assert 0 < masks.area(mask) < masks.decode(mask).size


@pytest.mark.slow
def test_every_kind_of_task_is_answered(command: Any, marker: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_m3d_volumes(root, 3, patients=8)
    write_m3d_family(root, 3, patients=8)
    tasks = (
        "m3d_report_generation", "m3d_closed_vqa", "m3d_open_vqa", "m3d_image_to_text_retrieval",
        "m3d_text_to_image_retrieval", "m3d_rec", "m3d_reg", "m3d_reg_name", "m3d_semantic_segmentation", "m3d_res",
        "m3d_refseg",
    )  # fmt: skip
    results, lines = run(command, root, tmp_path / "run", marker, ",".join(tasks))
    assert results["unsupported"] == {}
    assert {name: task["coverage"] for name, task in results["tasks"].items()} == dict.fromkeys(tasks, 1.0)
    assert all(line.get("error") is None for line in lines)
