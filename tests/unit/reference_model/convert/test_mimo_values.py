"""A model made of Vicuna, OpenCLIP and SAM computes what they compute, against transformers' own classes."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import SamModel

from harness.data.phantoms.writers.mimoseg import write_mimoseg
from reference_model.checkpoints.checkpoint import load_model
from reference_model.config import EntityModelConfig
from reference_model.convert.conversion import prepare
from reference_model.convert.parents import Files
from reference_model.modeling.input_aligner import InputAligner
from reference_model.modeling.model import EntityGroundingModel
from reference_model.training.recipe_files import load_recipe
from tests.unit.reference_model import transformers_peers as peers
from tests.unit.reference_model.convert import mimo_sources as published
from tests.unit.reference_model.convert.convert_sources import llama
from tests.unit.reference_model.convert.mimo_sources import PublishedParents
from tests.unit.reference_model.small_training import small_run
from tests.unit.reference_model.transformers_peers import assert_close


@pytest.fixture(scope="module")
def numbers() -> EntityModelConfig:
    return published.small()


@pytest.fixture(scope="module")
def parents(numbers: EntityModelConfig, tmp_path_factory: pytest.TempPathFactory) -> PublishedParents:
    return published.publish(tmp_path_factory.mktemp("published"), numbers)


@pytest.fixture(scope="module")
def converted(numbers: EntityModelConfig, parents: PublishedParents, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("converted") / "model"
    prepare(numbers, Files(**parents.files)).write(out, lambda _: None)
    return out


@pytest.fixture(scope="module")
def model(converted: Path) -> EntityGroundingModel:
    return load_model(converted)[0]


def open_clip_in_transformers(tensors: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """Return OpenCLIP's tower under the names of its port: every matrix of an attention cut into three."""
    ends = ("weight", "bias")
    names = {
        "visual.class_embedding": "embeddings.class_embedding",
        "visual.positional_embedding": "embeddings.position_embedding.weight",
        "visual.conv1.weight": "embeddings.patch_embedding.weight",
        **{f"visual.ln_pre.{end}": f"pre_layrnorm.{end}" for end in ends},
        **{f"visual.ln_post.{end}": f"post_layernorm.{end}" for end in ends},
    }
    found = {}
    for index in range(layers):
        theirs, ours = f"visual.transformer.resblocks.{index}", f"encoder.layers.{index}"
        for end in ends:
            names[f"{theirs}.ln_1.{end}"] = f"{ours}.layer_norm1.{end}"
            names[f"{theirs}.ln_2.{end}"] = f"{ours}.layer_norm2.{end}"
            names[f"{theirs}.attn.out_proj.{end}"] = f"{ours}.self_attn.out_proj.{end}"
            names[f"{theirs}.mlp.c_fc.{end}"] = f"{ours}.mlp.fc1.{end}"
            names[f"{theirs}.mlp.c_proj.{end}"] = f"{ours}.mlp.fc2.{end}"
            for part, value in zip("qkv", tensors[f"{theirs}.attn.in_proj_{end}"].chunk(3), strict=True):
                found[f"{ours}.self_attn.{part}_proj.{end}"] = value
    return found | {ours: tensors[theirs] for theirs, ours in names.items()}


@torch.no_grad()
def test_the_tower_computes_what_open_clip_computes_in_transformers(
    model: EntityGroundingModel, parents: PublishedParents, numbers: EntityModelConfig
) -> None:
    vision = numbers.vision
    tower = peers.clip_tower(vision, "gelu")
    tower.load_state_dict(open_clip_in_transformers(parents.tensors, vision.layers))
    image = torch.randn(2, 3, vision.image_size, vision.image_size)
    wanted = tower(image, output_hidden_states=True)
    assert_close(model.vision(image), wanted.hidden_states[-2][:, 1:])
    assert_close(model.vision.whole(image)[1], wanted.pooler_output)


@torch.no_grad()
def test_the_language_model_says_what_vicuna_says_and_new_tokens_are_the_mean_of_the_others(
    model: EntityGroundingModel, parents: PublishedParents, numbers: EntityModelConfig
) -> None:
    language, base = numbers.language, numbers.prompt.base_vocabulary
    vicuna = peers.llama(language, base)
    names = [name for name in llama(numbers, base) if not name.endswith("inv_freq")]
    vicuna.load_state_dict({name: parents.tensors[name].float() for name in names})
    ids = torch.randint(base, (2, 9))
    x_BTD = model.language.embed_tokens(ids)
    logits = model.language.logits(model.language(x_BTD, valid_BK=torch.ones(2, 9, dtype=torch.bool)).hidden_BTD)
    assert_close(logits[..., :base], vicuna(ids).logits)
    mean = parents.tensors["lm_head.weight"].float().mean(dim=0).half().float()
    assert_close(model.language.lm_head.weight[base:], mean.expand(3, -1))


def sam_in_transformers(tensors: Mapping[str, Tensor], peer: nn.Module, numbers: EntityModelConfig) -> None:
    """Give transformers' SAM the values of the released names."""
    renamed: dict[str, Tensor] = {}
    neck = {"0": "conv1", "1": "layer_norm1", "2": "conv2", "3": "layer_norm2"}
    down = {"0": "conv1", "1": "layer_norm1", "3": "conv2", "4": "layer_norm2", "6": "conv3"}
    up = {"0": "upscale_conv1", "1": "upscale_layer_norm", "3": "upscale_conv2"}
    last = str(numbers.mask_decoder.iou_layers - 1)
    for name in published.sam(numbers):
        part, _, rest = name.partition(".")
        words = rest.split(".")
        if words[0] == "neck":
            words[1] = neck[words[1]]
        elif words[0] == "mask_downscaling":
            words[:2] = ["mask_embed", down[words[1]]]
        elif words[0] == "output_upscaling":
            words[:2] = [up[words[1]]]
        elif "iou_prediction_head" in words or "output_hypernetworks_mlps" in words:
            number, end = words[-2], "2" if "output_hypernetworks_mlps" in words else last
            place = {"0": ["proj_in"], end: ["proj_out"]}.get(number, ["layers", str(int(number) - 1)])
            words[-3:-1] = place
        renames = {"blocks": "layers", "point_embeddings": "point_embed", "proj": "projection"}
        renames |= {f"norm{number}": f"layer_norm{number}" for number in "1234"}
        renames |= {"norm_final_attn": "layer_norm_final_attn", "pe_layer": "shared_embedding"}
        renames["positional_encoding_gaussian_matrix"] = "positional_embedding"
        kept = "attn" in words  # whose `proj` keeps its name
        words = [word if kept and word == "proj" else renames.get(word, word) for word in words]
        renamed[".".join(["vision_encoder" if part == "image_encoder" else part, *words])] = tensors[name]
    renamed["shared_image_embedding.positional_embedding"] = tensors[
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
    ]
    peer.load_state_dict(renamed)


@pytest.fixture(scope="module")
def sam(parents: PublishedParents, numbers: EntityModelConfig) -> SamModel:
    peer = peers.sam(numbers)
    sam_in_transformers(parents.tensors, peer, numbers)
    return peer


@torch.no_grad()
def test_masks_of_points_and_boxes_are_those_of_sam_in_transformers(
    model: EntityGroundingModel, sam: SamModel, numbers: EntityModelConfig
) -> None:
    side = numbers.pixel_encoder.image_size
    image = torch.randn(1, 3, side, side)
    features = model.pixel_encoder(image)
    assert_close(features, sam.vision_encoder(image).last_hidden_state)
    points, labels = torch.tensor([[[5.0, 9.0], [20.0, 3.0]]]), torch.tensor([[1, 0]])
    box = torch.tensor([[3.0, 4.0, 21.0, 30.0]])
    asked = (
        (model.mask_decoder.embed_points(points, labels), {"input_points": points[None], "input_labels": labels[None]}),
        (model.mask_decoder.embed_boxes(box), {"input_boxes": box[None]}),
    )
    for sparse, prompt in asked:
        wanted = sam(pixel_values=image, multimask_output=True, **prompt)
        logits, iou = model.mask_decoder.proposals(features, sparse, several=True)
        assert_close(logits[None], wanted.pred_masks)
        assert_close(iou[None], wanted.iou_scores)


@torch.no_grad()
def test_the_language_model_reads_points_and_boxes_in_the_encoding_of_sam(
    model: EntityGroundingModel, sam: SamModel, numbers: EntityModelConfig
) -> None:
    side = numbers.pixel_encoder.image_size
    points, labels = torch.tensor([[[5.0, 9.0], [20.0, 3.0]]]), torch.tensor([[1, 0]])
    box = torch.tensor([[3.0, 4.0, 21.0, 30.0]])
    by_points, _ = sam.prompt_encoder(points[None], labels[None], None, None)
    by_box, _ = sam.prompt_encoder(None, None, box[None], None)
    wanted = torch.cat((by_points[0, 0, :2], by_box[0, 0]))
    # SAM encodes the centre of the pixel that a point is in.
    places = (torch.cat((points[0], box.view(2, 2))) + 0.5) / side
    assert_close(
        model.prompt_encoder(places, torch.tensor([1, 0, 2, 3])),
        nn.functional.linear(wanted, model.prompt_encoder.projection.weight, model.prompt_encoder.projection.bias),
    )


def test_the_aligner_starts_as_a_new_one_does(model: EntityGroundingModel, numbers: EntityModelConfig) -> None:
    made = dict(model.aligner.named_parameters())
    new = dict(InputAligner(numbers.aligner, language_width=numbers.language.width).named_parameters())
    assert made.keys() == new.keys()
    for name, value in new.items():
        constant = bool((value == value.flatten()[0]).all())
        if constant or value.numel() < 100:
            assert constant == bool((made[name] == made[name].flatten()[0]).all()), name
        else:
            assert made[name].std().item() == pytest.approx(value.std().item(), rel=0.3), name


@pytest.mark.slow
def test_a_stage_of_the_recipe_starts_from_it(
    converted: Path, model: EntityGroundingModel, numbers: EntityModelConfig, tmp_path: Path
) -> None:
    write_mimoseg(tmp_path / "data", seed=0, patients=8)
    recipe = load_recipe("mimo-7b")
    sets = tuple(one for one in recipe.stage(1).data if one.task.startswith("mimoseg"))
    stages = (replace(recipe.stage(1), data=sets, batch=4, rows=4), *recipe.stages[1:])
    recipe = replace(
        recipe,
        config=numbers,
        stages=stages,
        data_roots=(str(tmp_path / "data"),),
        precision="fp32",
        checkpointing=False,
    )
    small_run(recipe, tmp_path / "out", tmp_path / "cache", start=converted, steps=2).stages([1])
    trained: Any = load_model(tmp_path / "out" / "stage-1" / "model")[0]
    assert not torch.equal(trained.aligner.query_embed, model.aligner.query_embed)
    assert torch.equal(trained.vision.backbone.pre_layrnorm.weight, model.vision.backbone.pre_layrnorm.weight)
