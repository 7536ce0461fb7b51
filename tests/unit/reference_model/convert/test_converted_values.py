"""A converted model computes what the published one does: against transformers, and against SAM's formulas by hand."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from reference_model.checkpoints.checkpoint import load_about, load_model
from reference_model.config import ModelConfig
from reference_model.convert.conversion import prepare
from reference_model.convert.parents import Files
from reference_model.modeling.model import PixelGroundingModel
from tests.unit.reference_model import transformers_peers as peers
from tests.unit.reference_model.convert import convert_sources as published
from tests.unit.reference_model.convert.convert_sources import Published, Tensors, publish, with_pieces
from tests.unit.reference_model.transformers_peers import assert_close


@pytest.fixture(scope="module")
def numbers(config: ModelConfig) -> ModelConfig:
    return with_pieces(config)


@pytest.fixture(scope="module")
def parents(numbers: ModelConfig, tmp_path_factory: pytest.TempPathFactory) -> Published:
    return publish(tmp_path_factory.mktemp("published"), numbers)


@pytest.fixture(scope="module")
def converted(numbers: ModelConfig, parents: Published, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("converted") / "model"
    files = Files(llava=parents.llava, clip=parents.clip, sam_med2d=parents.sam_med2d)
    prepare(numbers, files).write(out, lambda _: None)
    return out


@pytest.fixture(scope="module")
def model(converted: Path) -> PixelGroundingModel:
    return load_model(converted)[0]


def part(tensors: Mapping[str, Tensor], prefix: str) -> Tensors:
    """Return the tensors below a name, in single precision."""
    found = {name.removeprefix(prefix): value.float() for name, value in tensors.items() if name.startswith(prefix)}
    assert found, prefix
    return found


def linear(x: Tensor, weights: Mapping[str, Tensor], name: str) -> Tensor:
    return F.linear(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"))


def norm(x: Tensor, weights: Mapping[str, Tensor], name: str, epsilon: float) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], epsilon)


def perceptron(x: Tensor, weights: Mapping[str, Tensor], layers: int) -> Tensor:
    """Return what SAM's small networks give: a rectifier between their layers."""
    for number in range(layers - 1):
        x = linear(x, weights, f"layers.{number}").relu()
    return linear(x, weights, f"layers.{layers - 1}")


def attention(x_SSC: Tensor, weights: Mapping[str, Tensor], heads: int) -> Tensor:
    """Return SAM's attention over a square, cell by cell: scores of content, of rows apart and of columns apart."""
    side, width = x_SSC.shape[1:]
    query, key, value = linear(x_SSC, weights, "attn.qkv").view(side, side, 3, heads, -1).unbind(2)
    y_SSC = torch.zeros(side, side, width)
    cells = [(row, column) for row in range(side) for column in range(side)]
    for head in range(heads):
        for row, column in cells:
            own = query[row, column, head]
            scores = [
                own @ key[other_row, other_column, head] * own.shape[0] ** -0.5
                + own @ weights["attn.rel_pos_h"][row - other_row + side - 1]
                + own @ weights["attn.rel_pos_w"][column - other_column + side - 1]
                for other_row, other_column in cells
            ]
            shares = torch.stack(scores).softmax(dim=0)
            mixed = sum(share * value[place][head] for share, place in zip(shares, cells, strict=True))
            y_SSC[row, column, head * width // heads : (head + 1) * width // heads] = mixed
    return linear(y_SSC, weights, "attn.proj")


def adapter(x_GGC: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    """Return SAM-Med2D's adapter: a gate per channel, a detour over half the resolution, a norm."""
    gate_C = linear(x_GGC.mean(dim=(0, 1)), weights, "Adapter.channel.0").relu()
    gated = (x_GGC * linear(gate_C, weights, "Adapter.channel.2").sigmoid()).permute(2, 0, 1)[None]
    down = F.conv2d(gated, weights["Adapter.spatial.0.weight"], stride=2, padding=1).relu()
    up = F.conv_transpose2d(down, weights["Adapter.spatial.2.weight"], stride=2, padding=1).relu()
    return norm(x_GGC + up[0].permute(1, 2, 0), weights, "Adapter.norm", 1e-5)


def block(x_GGC: Tensor, weights: Mapping[str, Tensor], heads: int, window: int) -> Tensor:
    """Return a block of SAM-Med2D's image encoder, whose attention stays inside windows that divide the square."""
    cells = x_GGC.shape[0]
    normed = norm(x_GGC, weights, "norm1", 1e-6)
    attended = torch.zeros_like(x_GGC)
    for row in range(0, cells, window):
        for column in range(0, cells, window):
            place = slice(row, row + window), slice(column, column + window)
            attended[place] = attention(normed[place], weights, heads)
    x_GGC = x_GGC + attended
    normed = norm(x_GGC, weights, "norm2", 1e-6)
    return x_GGC + linear(F.gelu(linear(normed, weights, "mlp.lin1")), weights, "mlp.lin2") + adapter(normed, weights)


@torch.no_grad()
def test_blocks_of_sam_med2d_compute_their_formula(
    model: PixelGroundingModel, parents: Published, numbers: ModelConfig
) -> None:
    pixels = numbers.pixel_encoder
    x_GGC = torch.randn(pixels.cells, pixels.cells, pixels.width)
    for index, window in ((0, pixels.window), (1, pixels.cells)):
        weights = part(parents.tensors, f"image_encoder.blocks.{index}.")
        wanted = block(x_GGC, weights, pixels.heads, window)
        found = model.pixel_encoder.backbone.layers[index](x_GGC[None])
        assert_close(found[0], wanted)


@torch.no_grad()
def test_the_ends_of_the_image_encoder_compute_their_formula(model: PixelGroundingModel, parents: Published) -> None:
    weights = part(parents.tensors, "image_encoder.")
    backbone = model.pixel_encoder.backbone
    image = torch.randn(1, 3, 32, 32)
    patches = F.conv2d(image, weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"], stride=8)
    assert_close(backbone.patch_embed(image), patches.permute(0, 2, 3, 1))
    assert_close(backbone.pos_embed.detach(), weights["pos_embed"])
    x_BGGC = torch.randn(1, 4, 4, 16)
    first = F.conv2d(x_BGGC.permute(0, 3, 1, 2), weights["neck.0.weight"]).permute(0, 2, 3, 1)
    first = norm(first, weights, "neck.1", 1e-6).permute(0, 3, 1, 2)
    second = F.conv2d(first, weights["neck.2.weight"], padding=1).permute(0, 2, 3, 1)
    wanted = norm(second, weights, "neck.3", 1e-6).permute(0, 3, 1, 2)
    assert_close(backbone.neck(x_BGGC), wanted)


@torch.no_grad()
def test_the_networks_of_the_mask_decoder_compute_their_formula(
    model: PixelGroundingModel, parents: Published, numbers: ModelConfig
) -> None:
    decoder = model.mask_decoder.decoder
    x = torch.randn(3, 16)
    for number in range(4):
        weights = part(parents.tensors, f"mask_decoder.output_hypernetworks_mlps.{number}.")
        assert_close(decoder.output_hypernetworks_mlps[number](x), perceptron(x, weights, 3))
    weights = part(parents.tensors, "mask_decoder.iou_prediction_head.")
    wanted = perceptron(x, weights, numbers.mask_decoder.iou_layers)
    assert_close(decoder.iou_prediction_head(x), wanted)
    weights = part(parents.tensors, "mask_decoder.output_upscaling.")
    y = torch.randn(1, 16, 4, 4)
    wanted = F.conv_transpose2d(y, weights["0.weight"], weights["0.bias"], stride=2)
    assert_close(decoder.upscale_conv1(y), wanted)
    wanted = F.conv_transpose2d(wanted, weights["3.weight"], weights["3.bias"], stride=2)
    assert_close(decoder.upscale_conv2(decoder.upscale_conv1(y)), wanted)


@torch.no_grad()
def test_attention_and_norms_of_the_mask_decoder_are_those_published(
    model: PixelGroundingModel, parents: Published
) -> None:
    transformer = model.mask_decoder.decoder.transformer
    theirs = part(parents.tensors, "mask_decoder.transformer.")
    for index, layer in enumerate(transformer.layers):
        for number in range(1, 5):
            mine = layer.get_submodule(f"layer_norm{number}")
            assert torch.equal(mine.weight, theirs[f"layers.{index}.norm{number}.weight"])
            assert torch.equal(mine.bias, theirs[f"layers.{index}.norm{number}.bias"])
        for name in ("self_attn", "cross_attn_token_to_image", "cross_attn_image_to_token"):
            for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
                mine = layer.get_submodule(f"{name}.{projection}")
                assert torch.equal(mine.weight, theirs[f"layers.{index}.{name}.{projection}.weight"])
    assert torch.equal(transformer.layer_norm_final_attn.weight, theirs["norm_final_attn.weight"])
    assert torch.equal(
        transformer.final_attn_token_to_image.v_proj.bias, theirs["final_attn_token_to_image.v_proj.bias"]
    )


@torch.no_grad()
def test_prompts_are_encoded_as_published(model: PixelGroundingModel, parents: Published) -> None:
    theirs, side = part(parents.tensors, "prompt_encoder."), model.pixel_side
    point = torch.tensor([5.0, 9.0])
    angles = 2 * torch.pi * (2 * (point + 0.5) / side - 1) @ theirs["pe_layer.positional_encoding_gaussian_matrix"]
    wanted = torch.cat((angles.sin(), angles.cos())) + theirs["point_embeddings.1.weight"][0]
    found = model.mask_decoder.embed_points(point[None, None], torch.ones(1, 1, dtype=torch.long))
    assert_close(found[0, 0], wanted)
    assert_close(found[0, 1], theirs["not_a_point_embed.weight"][0])
    prompts = model.mask_decoder.prompt_encoder
    assert torch.equal(prompts.no_mask_embed.weight, theirs["no_mask_embed.weight"])
    for number, name in ((0, "conv1"), (1, "layer_norm1"), (3, "conv2"), (4, "layer_norm2"), (6, "conv3")):
        assert torch.equal(prompts.mask_embed.get_submodule(name).weight, theirs[f"mask_downscaling.{number}.weight"])


@torch.no_grad()
def test_the_language_model_says_what_llama_says(
    model: PixelGroundingModel, parents: Published, numbers: ModelConfig
) -> None:
    language, base = numbers.language, numbers.prompt.base_vocabulary
    llama = peers.llama(language, base)
    shapes = published.llama(numbers, base)
    theirs = {name: parents.tensors[name].float() for name in shapes if not name.endswith("inv_freq")}
    llama.load_state_dict(theirs)
    ids = torch.randint(base, (2, 9))
    x_BTD = model.language.embed_tokens(ids)
    logits = model.language.logits(model.language(x_BTD, valid_BK=torch.ones(2, 9, dtype=torch.bool)).hidden_BTD)
    assert_close(logits[..., :base], llama(ids).logits)


@torch.no_grad()
def test_new_words_are_the_mean_of_the_old_ones(
    model: PixelGroundingModel, parents: Published, numbers: ModelConfig
) -> None:
    base = numbers.prompt.base_vocabulary
    pairs = {"model.embed_tokens.weight": model.language.embed_tokens, "lm_head.weight": model.language.lm_head}
    for name, layer in pairs.items():
        assert len(layer.weight) == base + 11 + numbers.prompt.fillers
        mean = parents.tensors[name].float().mean(dim=0).half().float()
        torch.testing.assert_close(layer.weight[base:], mean.expand(13, -1), rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_the_tower_and_the_projector_give_what_they_gave(
    model: PixelGroundingModel, parents: Published, numbers: ModelConfig
) -> None:
    vision = numbers.vision
    tower = peers.clip_tower(vision)
    names = published.tower(numbers)
    tower.load_state_dict({name.removeprefix("vision_model."): parents.tensors[name] for name in names})
    image = torch.randn(2, 3, 32, 32)
    wanted = tower(image, output_hidden_states=True).hidden_states[-2][:, 1:]
    found = model.vision(image)
    assert_close(found, wanted)
    weights = part(parents.tensors, "model.mm_projector.")
    projected = linear(F.gelu(linear(wanted, weights, "0")), weights, "2")
    assert_close(model.connector(found), projected)


def test_experts_router_and_what_medplib_adds_keep_their_places(numbers: ModelConfig, tmp_path: Path) -> None:
    tensors = published.drawn(published.medplib(numbers), 5, torch.bfloat16)
    published.write_shards(tmp_path / "medplib", tensors)
    published.write_tokenizer(tmp_path / "medplib", published.pieces(400), {"<SEG>": 400, "<im_end>": 412})
    prepare(numbers, Files(medplib=tmp_path / "medplib")).write(tmp_path / "model", lambda _: None)
    model = load_model(tmp_path / "model")[0]
    about = load_about(tmp_path / "model")
    assert (about.experts, about.config.released) == (True, True)
    for index, layer in enumerate(model.language.layers):
        moe = f"model.layers.{index}.mlp.deepspeed_moe"
        assert torch.equal(layer.mlp.router.weight, tensors[f"{moe}.gate.wg.weight"].float())
        for number, expert in enumerate(layer.mlp.experts):
            for name in ("gate_proj", "up_proj", "down_proj"):
                wanted = tensors[f"{moe}.experts.deepspeed_experts.{number}.{name}.weight"]
                assert torch.equal(expert.get_submodule(name).weight, wanted.float())
    assert torch.equal(model.region.adapter.weight, tensors["model.region_fea_adapter.weight"].float())
    assert torch.equal(model.projector[2].bias, tensors["model.text_hidden_fcs.0.2.bias"].float())
    assert torch.equal(model.language.lm_head.weight, tensors["lm_head.weight"].float())
    wanted = tensors["model.visual_model.mask_decoder.mask_tokens.weight"]
    assert torch.equal(model.mask_decoder.decoder.mask_tokens.weight, wanted.float())
    wanted = tensors["model.vision_tower.vision_tower.vision_model.pre_layrnorm.weight"]
    assert torch.equal(model.vision.backbone.get_submodule("pre_layrnorm").weight, wanted.float())
