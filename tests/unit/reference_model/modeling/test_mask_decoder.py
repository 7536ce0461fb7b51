"""Prompts become masks, and masks find their way back to the original image."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers.models.sam.modeling_sam import SamModel

from reference_model.config import ModelConfig
from reference_model.inputs.images import mask_in_square
from reference_model.modeling.mask_decoder import (
    PromptProjector,
    above,
    build_mask_decoder,
    released_cut,
    resized,
    to_original,
)
from reference_model.preset_files import load_preset

SIZES = ((40, 40), (30, 40), (40, 23), (10, 40), (40, 3), (97, 61))


def columns(low: int) -> Tensor:
    """Return a map whose value is its own column."""
    return torch.arange(float(low)).expand(1, low, low)


def test_published_sizes_give_masks_of_64_pixels() -> None:
    config = load_preset("medplib-7b")
    with torch.device("meta"):
        decoder = build_mask_decoder(config.mask_decoder, config.pixel_encoder)
        logits, iou = decoder(torch.randn(2, 256, 16, 16), torch.randn(2, 1, 256))
    assert logits.shape == (2, 64, 64)
    assert iou.shape == (2,)


def test_masks_are_those_of_sam(config: ModelConfig) -> None:
    decoder = build_mask_decoder(config.mask_decoder, config.pixel_encoder).eval()
    features, prompts = torch.randn(3, 16, 4, 4), torch.randn(3, 1, 16)
    dense = decoder.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(1, -1, 4, 4)
    logits, iou = decoder(features, prompts)
    for index in range(3):
        expected, estimate = decoder.decoder(
            image_embeddings=features[index : index + 1],
            image_positional_embeddings=decoder.positions(),
            sparse_prompt_embeddings=prompts[None, index : index + 1],
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        torch.testing.assert_close(logits[index], expected[0, 0, 0])
        torch.testing.assert_close(iou[index], estimate[0, 0, 0])


def test_positions_are_those_of_sam(config: ModelConfig) -> None:
    decoder = build_mask_decoder(config.mask_decoder, config.pixel_encoder)

    class Sam:
        shared_image_embedding = decoder.prompt_encoder.shared_embedding

        class config:  # noqa: N801 - what SamModel reads
            class prompt_encoder_config:  # noqa: N801
                image_embedding_size = 4

    torch.testing.assert_close(decoder.positions(), SamModel.get_image_wide_positional_embeddings(Sam()))
    assert 0.7 < decoder.prompt_encoder.shared_embedding.positional_embedding.std() < 1.3


def test_points_and_boxes_are_prompts_too(config: ModelConfig) -> None:
    decoder = build_mask_decoder(config.mask_decoder, config.pixel_encoder)
    points = decoder.embed_points(torch.tensor([[[3.0, 4.0]]]), torch.tensor([[1]]))
    boxes = decoder.embed_boxes(torch.tensor([[3.0, 4.0, 9.0, 9.0]]))
    assert (points.shape, boxes.shape) == ((1, 2, 16), (1, 2, 16))
    features = torch.randn(1, 16, 4, 4)
    assert not torch.allclose(decoder(features, points)[0], decoder(features, boxes)[0])


def test_the_projector_is_linear_relu_linear() -> None:
    projector = PromptProjector(language_width=4, channels=3)
    state = torch.randn(5, 4)
    torch.testing.assert_close(projector(state), projector[2](torch.relu(projector[0](state))))


@pytest.mark.parametrize("size", SIZES)
def test_a_mask_returns_to_where_it_lies_in_the_image(size: tuple[int, int]) -> None:
    mask = np.zeros(size, dtype=np.bool_)
    mask[size[0] // 4 : size[0] // 2 + 1, : size[1] // 2 + 1] = True
    square = torch.from_numpy(mask_in_square(mask, 256).astype(np.float32))[None]
    low = torch.nn.functional.avg_pool2d(square, 4) * 2 - 1
    found = above(to_original(low, size, side=256), 0.5)[0].numpy()
    assert (found & mask).sum() / (found | mask).sum() > 0.9


@pytest.mark.parametrize("size", [(40, 40), (40, 20), (40, 10)])
def test_columns_of_the_map_that_hold_the_image_fill_it(size: tuple[int, int]) -> None:
    low = 16 * size[1] / 40
    found = to_original(columns(16), size, side=64)[0, 0]
    expected = (16 - low) / 2 + (torch.arange(size[1]) + 0.5) * low / size[1] - 0.5
    inner = slice(2, -2)
    torch.testing.assert_close(found[inner], expected[inner].clamp(0, 15), atol=0.2, rtol=0)


def test_released_geometry_is_the_released_one(golden: dict[str, Any]) -> None:
    for case in golden["postprocess_masks"]["cases"]:
        rows, cut = (released_cut(length, 64) for length in case["resized_hw"])
        assert [cut.start, cut.stop] == case["slice_start_stop"]
        kept = torch.arange(64)[cut]
        assert [kept[0], kept[-1]] == case["columns_kept"]
        found = resized(columns(64)[None][..., rows, cut], (8, 8))[0, 0, 0]
        torch.testing.assert_close(found[[0, -1]], torch.tensor(case["out_first_last"]), atol=1e-6, rtol=0)


def test_released_geometry_is_a_switch() -> None:
    found = to_original(columns(64), (256, 96), side=256, geometry="released")
    kept = columns(64)[None][..., 48:64].expand(1, 1, 64, 16)
    torch.testing.assert_close(found, resized(kept, (256, 96))[0])
    assert not torch.allclose(found, to_original(columns(64), (256, 96), side=256), atol=1.0)


def test_square_images_are_the_same_in_both_geometries() -> None:
    logits = torch.randn(2, 16, 16)
    correct = to_original(logits, (64, 64), side=64)
    torch.testing.assert_close(correct, to_original(logits, (64, 64), side=64, geometry="released"))


def test_thresholds_are_the_released_ones(golden: dict[str, Any]) -> None:
    case = golden["logit_threshold"]
    logits = torch.tensor(case["logits"])
    torch.testing.assert_close(logits.sigmoid(), torch.tensor(case["sigmoid_float32"]), rtol=1e-6, atol=1e-6)
    assert above(logits, 0.1).int().tolist() == case["foreground"]
    assert above(logits.bfloat16(), 0.1).int().tolist() == case["foreground_if_bf16_logits"]
