"""The parts of M3D-LaMed that need no weights against its released code; `m3d_model.json` says which."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from harness.imaging import masks
from harness.records import Media
from harness.text import boxes
from reference_model.inputs.batch import VolumeBatch
from reference_model.inputs.volume_boxes import box_text, read_boxes
from reference_model.inputs.volumes import prepare_volume
from reference_model.modeling.m3d_model import mask_states, seg_steps
from reference_model.modeling.vision_3d import pooled

FOLDER = Path(__file__).parent
CASES = json.loads((FOLDER / "m3d_model.json").read_text(encoding="utf-8"))
BOXES = json.loads((FOLDER / "m3d_boxes.json").read_text(encoding="utf-8"))
SEG_ID = 99  # of the cases


def of_case(name: str) -> NDArray[np.float32]:
    """Return the array (D, H, W) of the preprocessing case."""
    array: NDArray[np.float32] = np.array(CASES["preprocess"][name], dtype=np.float32)[0]
    return array


@pytest.mark.parametrize("path", ["M3D_Seg/0003/case/image.npy", "M3D_Cap/ct_case/000001/Axial"])
def test_a_volume_and_its_mask_reach_the_grid_as_released(path: str) -> None:
    expected = of_case("image_out")
    size = (expected.shape[0], expected.shape[1], expected.shape[2])
    media = Media(path=path, sha256=None, kind="volume")
    found, frame = prepare_volume((of_case("raw_image"), media), size=size, preprocessing="released")
    # The tolerance that comes with the case, whose grey values are rounded.
    assert np.abs(found[0].numpy() - expected).max() < 1e-5
    assert [end - start for start, end in zip(frame.crop[:3], frame.crop[3:], strict=True)] == (
        CASES["preprocess"]["cropped_shape"]
    )
    assert np.array_equal(frame.mask_to_grid(of_case("label") > 0), of_case("label_out") > 0)


@pytest.mark.parametrize("case", BOXES["mask_to_box"], ids=lambda case: str(case["text"]))
def test_a_mask_is_written_as_released_and_read_as_its_box(case: dict[str, Any]) -> None:
    depth, height, width = case["shape"]
    size = (depth, height, width)
    dense = np.zeros(size, dtype=np.bool_)
    for voxel in case["nonzero_voxels"]:
        dense[tuple(voxel)] = True
    box = masks.bounding_box(masks.encode(dense))
    assert box is not None
    assert box_text(box, size) == case["text"]
    assert list(boxes.to_m3d(box, size)) == pytest.approx(case["box"], abs=1e-6)
    assert read_boxes(box_text(box, size, wrapped=True), size) == [box]


@pytest.mark.parametrize("case", BOXES["box_text"], ids=lambda case: str(case["text"]))
def test_boxes_are_read_from_a_text_where_the_release_finds_one(case: dict[str, Any]) -> None:
    size = (1000, 1000, 1000)
    first = next(boxes.m3d_boxes(case["text"]), None)
    assert (None if first is None else list(first)) == case["box"]
    found = read_boxes(case["text"], size)
    if case["box"] is None:
        assert found == []
    elif all(start <= end <= 1 for start, end in zip(case["box"][:3], case["box"][3:], strict=True)):
        # On axes of 1,000 voxels each decimal that is written is the number of a voxel.
        ends = [min(1000 * end + 1, 1000) for end in case["box"][3:]]
        assert found[0].corners == pytest.approx([max(1000 * start, 0) for start in case["box"][:3]] + ends)


@pytest.mark.parametrize("pooling", ["spatial", "sequence"])
def test_patches_are_averaged_as_released(pooling: str) -> None:
    features = torch.arange(128.0).reshape(1, 64, 2)
    found = pooled(features, pooling, 2, (4, 4, 4))[0]
    assert found.numpy() == pytest.approx(np.array(CASES["spatial_pooling"][pooling]), abs=1e-6)


SEG_TOKENS = CASES["seg_token_selection"]["cases"]


@pytest.mark.parametrize("case", [case for case in SEG_TOKENS if case["mode"] == "train"])
def test_a_trained_mask_gets_the_states_before_its_tokens(case: dict[str, Any]) -> None:
    ids = torch.tensor([case["input_ids"]])
    length = ids.shape[1]
    batch = VolumeBatch(
        ids_BT=ids,
        valid_BT=torch.ones_like(ids, dtype=torch.bool),
        labels_BT=ids,
        volume_B1DHW=torch.zeros(1, 1, 1, 1, 1),
        mask_row_M=torch.zeros(1, dtype=torch.long),
        mask_segment_M=torch.zeros(1, dtype=torch.long),
        mask_MDHW=torch.ones(1, 1, 1, 1),
    )
    # The state of each position is a unit vector of its own.
    expected = torch.zeros(length)
    expected[case["positions"]] = 1 / max(len(case["positions"]), 1)
    assert torch.allclose(mask_states(torch.eye(length)[None], batch, SEG_ID)[0], expected, atol=1e-6)


@pytest.mark.parametrize("case", [case for case in SEG_TOKENS if case["mode"] == "generate"])
def test_a_generated_mask_misses_a_token_that_comes_first(case: dict[str, Any]) -> None:
    steps = seg_steps(case["output_ids"], SEG_ID, first_token_counts=False)
    # The case names the step before each token, ours is the step of the token itself.
    assert [step - 1 for step in steps] == case["positions"]
    assert bool(steps) != case.get("mask_is_all_minus_inf", False)
