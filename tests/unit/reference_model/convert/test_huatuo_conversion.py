"""Checkpoints in the layouts of HuatuoGPT-Vision and LLaVA-1.5 become a model that computes what transformers' does."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlavaConfig, LlavaForConditionalGeneration

from harness.errors import DataError, SpecError
from reference_model.checkpoints.checkpoint import load_model
from reference_model.config import LlavaModelConfig
from reference_model.convert.conversion import prepare
from reference_model.convert.parents import Files
from reference_model.inputs.batch import Batch
from reference_model.inputs.conversation import IGNORE, IMAGE
from reference_model.preset_files import load_preset
from tests.unit.reference_model.convert import m3d_sources
from tests.unit.reference_model.convert.convert_sources import Shapes, drawn, projector, tower, write_shards

ROWS = 400


@pytest.fixture(scope="module")
def config() -> LlavaModelConfig:
    tiny = load_preset("huatuo-vision-tiny")
    assert isinstance(tiny, LlavaModelConfig)
    return replace(
        tiny,
        prompt=replace(tiny.prompt, base_vocabulary=ROWS),
        vision=replace(tiny.vision, image_size=16, width=16, ffn_width=24, layers=2, heads=2),
        language=replace(tiny.language, width=32, ffn_width=48, layers=2, heads=4, key_value_heads=2),
    )


def released(config: LlavaModelConfig) -> Shapes:
    """Return the tensors of HuatuoGPT-Vision, whose image tower is in a folder beside them."""
    return m3d_sources.llm(_as_volumes(config), ROWS) | projector(_as_volumes(config))


def _as_volumes(config: LlavaModelConfig) -> Any:
    # What these functions read of a configuration is the same in all architectures.
    return SimpleNamespace(language=config.language, vision=config.vision)


@pytest.fixture(scope="module")
def tensors(config: LlavaModelConfig) -> Mapping[str, Tensor]:
    """The numbers of all tensors, in the names of the release and of CLIP."""
    return drawn(released(config) | tower(_as_volumes(config)), 1)


@pytest.fixture(scope="module")
def folder(config: LlavaModelConfig, tensors: Mapping[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a release."""
    place = tmp_path_factory.mktemp("huatuo")
    write_shards(place, {name: tensors[name] for name in released(config)}, safe=True)
    m3d_sources.write_llama_3(place)
    (place / "vit/clip_vit_large_patch14_336").mkdir(parents=True)
    beside = {name: tensors[name] for name in tower(_as_volumes(config))}
    torch.save(beside, place / "vit/clip_vit_large_patch14_336/pytorch_model.bin")
    return place


def in_transformers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors in the names that LLaVA's port to transformers has since version 5."""
    renames = {
        "model.mm_projector.0": "model.multi_modal_projector.linear_1",
        "model.mm_projector.2": "model.multi_modal_projector.linear_2",
        "vision_model": "model.vision_tower",
        "lm_head": "lm_head",
        "model": "model.language_model",
    }
    found = {}
    for name, value in tensors.items():
        ours = next(start for start in renames if name.startswith(f"{start}."))
        found[renames[ours] + name.removeprefix(ours)] = value
    return found


@torch.no_grad()
def test_the_release_says_what_llava_says_in_transformers(
    config: LlavaModelConfig, tensors: Mapping[str, Tensor], folder: Path, tmp_path: Path
) -> None:
    made = prepare(config, Files(llava=folder))
    assert (made.plan.drawn, made.plan.left) == ({}, {})
    made.write(tmp_path / "model", lambda _: None)
    model: Any = load_model(tmp_path / "model")[0]
    language, vision = config.language, config.vision
    peer = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config={
                "model_type": "clip_vision_model", "hidden_size": vision.width, "intermediate_size": vision.ffn_width,
                "num_hidden_layers": vision.layers, "num_attention_heads": vision.heads,
                "image_size": vision.image_size, "patch_size": vision.patch_size,
            },
            text_config={
                "model_type": "llama", "vocab_size": ROWS, "hidden_size": language.width,
                "intermediate_size": language.ffn_width, "num_hidden_layers": language.layers,
                "num_attention_heads": language.heads, "num_key_value_heads": language.key_value_heads,
                "rms_norm_eps": language.norm_epsilon, "tie_word_embeddings": False,
                "rope_parameters": {"rope_type": "default", "rope_theta": language.rope_theta},
            },
            image_token_id=ROWS - 1, vision_feature_layer=-2, vision_feature_select_strategy="default",
            tie_word_embeddings=False,
        )
    ).eval()  # fmt: skip
    peer.load_state_dict(in_transformers(tensors))
    image = torch.randn(1, 3, vision.image_size, vision.image_size)
    ids = torch.tensor([[5, *[IMAGE] * vision.tokens, 9, 7, 300]])
    batch = Batch(
        ids_BT=ids,
        valid_BT=ids != IGNORE,
        labels_BT=torch.full_like(ids, IGNORE),
        vision_B3SS=image,
        sizes=((16, 16),),
        grid_RGG=torch.zeros((0, 2, 2), dtype=torch.bool),
    )
    found = model.language.logits(model.language(model.embed(batch), valid_BK=batch.valid_BT).hidden_BTD)
    theirs = ids.masked_fill(ids == IMAGE, ROWS - 1)
    wanted = peer(input_ids=theirs, pixel_values=image, attention_mask=torch.ones_like(theirs)).logits
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_a_language_model_alone_starts_with_a_connector_at_random(
    config: LlavaModelConfig, tensors: Mapping[str, Tensor], folder: Path, tmp_path: Path
) -> None:
    names = m3d_sources.llm(_as_volumes(config), ROWS)
    write_shards(tmp_path / "llm", {name: tensors[name] for name in names}, safe=True)
    files = Files(llm=tmp_path / "llm", clip=folder / "vit/clip_vit_large_patch14_336", tokenizer=folder)
    made = prepare(config, files)
    assert {name.partition(".")[0] for name in made.plan.drawn} == {"connector"}
    torch.save({name: tensors[name] for name in projector(_as_volumes(config))}, tmp_path / "mm_projector.bin")
    made = prepare(config, replace(files, projector=tmp_path / "mm_projector.bin"))
    assert made.plan.drawn == {}
    assert made.plan.moves["connector.0.weight"].option == "--projector"
    with pytest.raises(DataError, match=r"vision: expected a file for every tensor of the model.*; --clip brings them"):
        prepare(config, Files(llm=tmp_path / "llm", tokenizer=folder))


@pytest.mark.parametrize(("given", "found"), [((), "neither"), (("llava", "llm"), "both")])
def test_files_that_make_no_model_are_refused(
    config: LlavaModelConfig, given: tuple[str, ...], found: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=f"convert: expected either --llava or --llm, .*; found {found}"):
        prepare(config, Files(**dict.fromkeys(given, tmp_path)))


def test_adapters_have_to_be_merged(config: LlavaModelConfig, tensors: Mapping[str, Tensor], tmp_path: Path) -> None:
    adapter = {"model.layers.0.self_attn.q_proj.lora_A.weight": torch.zeros(2, 2)}
    write_shards(tmp_path, dict(tensors) | adapter, safe=True)
    with pytest.raises(DataError, match="--llava: expected adapters merged into the weights, found 1 tensors"):
        prepare(config, Files(llava=tmp_path))
