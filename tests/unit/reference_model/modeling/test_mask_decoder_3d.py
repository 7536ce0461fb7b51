"""SegVol's masks are those of a plain formula, and its parameters those of the released files."""

import math
import re
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from reference_model.config import MaskDecoder3dConfig, Vision3dConfig
from reference_model.modeling.mask_decoder_3d import SegVol, build_segvol
from reference_model.training.losses import bce_loss_3d, soft_dice_loss_3d

ENCODER = Vision3dConfig(depth=4, side=8, patch_depth=2, patch_side=2, width=16, ffn_width=24, layers=2, heads=2)
DECODER = MaskDecoder3dConfig(layers=2, heads=2, ffn_width=20, iou_layers=3, iou_width=12, threshold=0.5)
PUBLISHED = (
    Vision3dConfig(
        depth=32, side=256, patch_depth=4, patch_side=16, width=768, ffn_width=3072, layers=12, heads=12
    ),
    MaskDecoder3dConfig(layers=2, heads=8, ffn_width=2048, iou_layers=3, iou_width=256, threshold=0.5),
)  # fmt: skip


@pytest.fixture
def segvol() -> SegVol:
    """Weights larger than at the start of training, and norms that are not the identity, so that differences show."""
    built = build_segvol(ENCODER, DECODER).eval()
    for parameter in built.parameters():
        parameter.data.mul_(2).add_(torch.randn_like(parameter), alpha=0.05)
    return built


def with_bias(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def normed(state: dict[str, Tensor], name: str, x: Tensor, axes: int = 1) -> Tensor:
    over = tuple(range(-axes, 0))
    centred = x - x.mean(dim=over, keepdim=True)
    scaled = centred / (centred.square().mean(dim=over, keepdim=True) + 1e-5).sqrt()
    return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]


def gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def attended(state: dict[str, Tensor], name: str, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of two heads over rows, (T, C) and (P, C)."""
    query, key, value = (
        with_bias(state, f"{name}.{part}_proj", x)
        for part, x in (("q", query), ("k", key), ("v", value))
    )  # fmt: skip
    heads = []
    for q, k, v in zip(query.chunk(2, dim=1), key.chunk(2, dim=1), value.chunk(2, dim=1), strict=True):
        heads.append((q @ k.T / math.sqrt(k.shape[1])).softmax(dim=1) @ v)
    return with_bias(state, f"{name}.out_proj", torch.cat(heads, dim=1))


def doubled(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """A transposed convolution of stride and size 2, (C, d, h, w) to (K, 2 d, 2 h, 2 w)."""
    weight = state[f"{name}.weight"]
    y = torch.zeros(weight.shape[1], *(2 * number for number in x.shape[1:]))
    for a, b, c in product(range(2), repeat=3):
        y[:, a::2, b::2, c::2] = torch.einsum("cdhw,ck->kdhw", x, weight[:, :, a, b, c])
    return y + state[f"{name}.bias"][:, None, None, None]


def mlp(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    for layer in range(2):
        x = with_bias(state, f"{name}.layers.{layer}", x).relu()
    return with_bias(state, f"{name}.layers.2", x)


def linear_weights(size: int, low: int) -> Tensor:
    """Return the matrix (size, low) of linear interpolation between centres, constant beyond the outermost."""
    places = np.clip((np.arange(size) + 0.5) * low / size - 0.5, 0, low - 1)
    return torch.tensor(np.stack([np.interp(places, np.arange(low), row) for row in np.eye(low)], axis=1)).float()


def plain_mask(
    segvol: SegVol, features_Cdhw: Tensor, sparse_NC: Tensor, text_C: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the logits (D, H, W) and the estimates (4,) of one mask, without any module."""
    state = {name.removeprefix("mask_decoder."): value for name, value in segvol.state_dict().items()}
    dense = state["prompt_encoder.no_mask_embed.weight"][0][:, None, None, None]
    cells = (features_Cdhw + dense).flatten(1).T
    places = segvol.prompt_encoder.positions()[0].flatten(1).T
    prompts = torch.cat((state["iou_token.weight"], state["mask_tokens.weight"], sparse_NC))
    tokens = prompts
    for layer in range(2):
        name = f"transformer.layers.{layer}"
        placed = tokens if layer == 0 else tokens + prompts
        own = attended(state, f"{name}.self_attn", placed, placed, tokens)
        tokens = normed(state, f"{name}.norm1", own if layer == 0 else tokens + own)
        found = attended(state, f"{name}.cross_attn_token_to_image", tokens + prompts, cells + places, cells)
        tokens = normed(state, f"{name}.norm2", tokens + found)
        hidden = with_bias(state, f"{name}.mlp.lin1", tokens).relu()
        tokens = normed(state, f"{name}.norm3", tokens + with_bias(state, f"{name}.mlp.lin2", hidden))
        found = attended(state, f"{name}.cross_attn_image_to_token", cells + places, tokens + prompts, tokens)
        cells = normed(state, f"{name}.norm4", cells + found)
    found = attended(state, "transformer.final_attn_token_to_image", tokens + prompts, cells + places, cells)
    tokens = normed(state, "transformer.norm_final_attn", tokens + found)
    enlarged = doubled(state, "output_upscaling.0", cells.T.reshape(features_Cdhw.shape))
    enlarged = gelu(doubled(state, "output_upscaling.3", gelu(normed(state, "output_upscaling.1", enlarged, axes=4))))
    low = torch.einsum("k,kdhw->dhw", mlp(state, "output_hypernetworks_mlps.0", tokens[1]), enlarged)
    if text_C is not None:
        low = low + torch.einsum("k,kdhw->dhw", with_bias(state, "txt_align_upscaled_embedding", text_C), enlarged)
    axes = [linear_weights(size, number) for size, number in zip(ENCODER.size, low.shape, strict=True)]
    logits = torch.einsum("dhw,Dd,Hh,Ww->DHW", low, *axes)
    return logits, mlp(state, "iou_prediction_head", tokens[0])


@pytest.mark.parametrize(("text", "points"), [(True, False), (False, True), (True, True)])
def test_masks_are_those_of_a_plain_formula(segvol: SegVol, text: bool, points: bool) -> None:
    features = torch.randn(3, 16, *ENCODER.cells)
    text_MC = torch.randn(3, 16) if text else None
    sparse_MNC = torch.randn(3, 2, 16) if points else None
    logits, iou = segvol.decode(features, text_MC, sparse_MNC=sparse_MNC)
    assert (logits.shape, iou.shape) == ((3, *ENCODER.size), (3, 4))
    for index in range(3):
        parts = [part[index].reshape(-1, 16) for part in (sparse_MNC, text_MC) if part is not None]
        text_C = None if text_MC is None else text_MC[index]
        expected, estimate = plain_mask(segvol, features[index], torch.cat(parts), text_C)
        torch.testing.assert_close(logits[index], expected, atol=2e-5, rtol=1e-5)
        torch.testing.assert_close(iou[index], estimate, atol=2e-5, rtol=1e-5)
    assert logits.std() > 0.1


def test_published_sizes_have_the_published_numbers_of_parameters() -> None:
    with torch.device("meta"):
        segvol = build_segvol(*PUBLISHED)
        features = segvol.encode(torch.zeros(1, 1, 32, 256, 256))
        logits, iou = segvol.decode(features.expand(2, -1, -1, -1, -1), torch.zeros(2, 768))
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in segvol.named_children()}
    assert counts == {"image_encoder": 87_388_416, "prompt_encoder": 17_996, "mask_decoder": 29_923_716}
    assert sum(counts.values()) == 117_330_128
    assert (features.shape, logits.shape, iou.shape) == ((1, 768, 8, 16, 16), (2, 32, 256, 256), (2, 4))


def test_parameters_have_the_names_of_the_released_files(segvol: SegVol) -> None:
    attention = [f"{part}_proj" for part in ("q", "k", "v", "out")]
    layers = [
        "patch_embedding.patch_embeddings.1", "blocks.#.norm1", "blocks.#.attn.out_proj", "blocks.#.norm2",
        "blocks.#.mlp.linear1", "blocks.#.mlp.linear2", "norm",
    ]  # fmt: skip
    expected = {f"image_encoder.{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    expected |= {"image_encoder.patch_embedding.position_embeddings", "image_encoder.blocks.#.attn.qkv.weight"}
    expected |= {
        f"prompt_encoder.{name}"
        for name in (
            "pe_layer.positional_encoding_gaussian_matrix", "point_embeddings.#.weight", "not_a_point_embed.weight",
            "no_mask_embed.weight", "mask_downscaling.#.weight", "mask_downscaling.#.bias",
        )
    }  # fmt: skip
    blocks = [f"layers.#.{name}" for name in ("norm1", "norm2", "norm3", "norm4", "mlp.lin1", "mlp.lin2")]
    blocks += [
        f"{name}.{part}"
        for name in (
            "layers.#.self_attn", "layers.#.cross_attn_token_to_image", "layers.#.cross_attn_image_to_token",
            "final_attn_token_to_image",
        )
        for part in attention
    ]  # fmt: skip
    heads = [f"transformer.{name}" for name in (*blocks, "norm_final_attn")]
    heads += ["output_upscaling.#", "output_hypernetworks_mlps.#.layers.#", "iou_prediction_head.layers.#"]
    heads += ["txt_align_upscaled_embedding"]
    expected |= {f"mask_decoder.{name}.{kind}" for name in heads for kind in ("weight", "bias")}
    expected |= {"mask_decoder.iou_token.weight", "mask_decoder.mask_tokens.weight"}
    expected = {name.replace("patch_embeddings.1", "patch_embeddings.#") for name in expected}
    assert {re.sub(r"\.\d+(?=\.)", ".#", name) for name in segvol.state_dict()} == expected


def test_features_have_the_order_of_patches(segvol: SegVol) -> None:
    volume = torch.rand(2, 1, *ENCODER.size)
    features, tokens = segvol.encode(volume), segvol.image_encoder(volume)
    assert features.shape == (2, 16, 2, 4, 4)
    torch.testing.assert_close(features[1, :, 1, 2, 3], tokens[1, 1 * 16 + 2 * 4 + 3])


def test_no_mask_is_an_empty_batch(segvol: SegVol) -> None:
    logits, iou = segvol.decode(torch.zeros(0, 16, *ENCODER.cells), torch.zeros(0, 16))
    assert (logits.shape, iou.shape) == ((0, *ENCODER.size), (0, 4))


def test_logits_are_in_single_precision_under_autocast(segvol: SegVol) -> None:
    features, text = torch.randn(1, 16, *ENCODER.cells), torch.randn(1, 16)
    exact = segvol.decode(features, text)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = segvol.decode(features, text)[0]
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, atol=0.1 * exact.std().item() + 0.1, rtol=0.1)


def test_gradients_reach_every_parameter_that_trains(segvol: SegVol) -> None:
    """The filters of masks 1 to 3 get zeros, because only mask 0 is used; a bias of keys shifts all scores alike."""
    prompts = segvol.prompt_encoder
    points = prompts.embed_points(torch.rand(2, 3, 3) * 4, torch.tensor([[0, 1, -1]] * 2), with_box=True)
    boxes = prompts.embed_boxes(torch.rand(2, 6) * 4)
    features = segvol.encode(torch.rand(2, 1, *ENCODER.size))
    logits, iou = segvol.decode(features, torch.randn(2, 16), sparse_MNC=torch.cat((points, boxes), dim=1))
    (logits.square().sum() + iou.square().sum()).backward()
    silent = {
        name
        for name, parameter in segvol.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.any())
    }
    unused = {
        f"mask_decoder.output_hypernetworks_mlps.{index}.layers.{layer}.{kind}"
        for index in (1, 2, 3)
        for layer in range(3)
        for kind in ("weight", "bias")
    }
    assert {name for name in silent if not name.endswith("k_proj.bias")} == unused
    assert all(p.grad is not None and p.grad.isfinite().all() for p in segvol.parameters() if p.requires_grad)


def test_one_seed_gives_one_model_and_one_mask() -> None:
    masks = []
    for _ in range(2):
        torch.manual_seed(7)
        segvol = build_segvol(ENCODER, DECODER).eval()
        masks.append(segvol.decode(segvol.encode(torch.rand(1, 1, *ENCODER.size)), torch.randn(1, 16))[0])
    torch.testing.assert_close(masks[0], masks[1], atol=0, rtol=0)


def test_points_learn_to_choose_between_two_organs() -> None:
    torch.manual_seed(1)
    segvol = build_segvol(ENCODER, DECODER)
    target = torch.zeros(2, *ENCODER.size)
    target[0, :2, :4, :4], target[1, 2:, 4:, 2:] = 1, 1
    features = torch.randn(1, 16, *ENCODER.cells).expand(2, -1, -1, -1, -1)
    place, label = torch.tensor([[[1, 2, 1]], [[3, 6, 5]]]), torch.ones(2, 1, dtype=torch.long)
    optimizer = torch.optim.Adam(segvol.mask_decoder.parameters(), lr=0.01)
    for _ in range(40):
        logits, _ = segvol.decode(features, sparse_MNC=segvol.prompt_encoder.embed_points(place, label))
        optimizer.zero_grad()
        (soft_dice_loss_3d(logits, target) + bce_loss_3d(logits, target)).backward()
        optimizer.step()
    found = logits > 0
    assert 2 * (found & (target > 0)).sum() / (found.sum() + target.sum()) > 0.9
