"""Every preset has, part by part, the tensors of transformers' own classes at its size, and the published counts."""

from collections import Counter
from math import prod
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    BertConfig,
    BertModel,
    LlavaConfig,
    Phi3Config,
    Phi3ForCausalLM,
)
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

from reference_model.config import AnyConfig, EntityModelConfig, ModelConfig, VolumeModelConfig
from reference_model.info import describe
from reference_model.modeling.build import special_tokens
from reference_model.preset_files import load_preset, preset_names
from tests.unit.reference_model import transformers_peers
from tests.unit.reference_model.convert import m3d_sources

Shapes = Counter[tuple[int, ...]]
# What is published, or counted from the published weights; see the specifications.
COUNTS = {
    "medplib-7b": {"vision": 303_507_456, "connector": 20_979_712, "region": 4_198_400, "projector": 17_830_144},
    "mimo-7b": {"vision": 630_766_080, "language": 6_738_415_616 + 2 * 3 * 4096, "pixel_encoder": 637_026_048},
    "m3d-lamed-7b": {"vision": 87_389_184, "segvol": 117_330_128, "perceiver": 19_931_136, "seg_projector": 19_927_808},
    "huatuo-vision-8b": {"vision": 303_507_456, "connector": 20_979_712, "language": 8_030_261_248},
}


def of(*modules: nn.Module) -> Shapes:
    return Counter(tuple(value.shape) for module in modules for value in module.parameters())


def layers(*sizes: tuple[int, ...]) -> Shapes:
    """Return the weights and biases of linear layers of (out, in)."""
    return Counter([shape for size in sizes for shape in (size, size[:1])])


def image_tower(config: Any) -> Shapes:
    return of(transformers_peers.clip_tower(config.vision))


def connector(config: Any) -> Shapes:
    whole = LlavaConfig(
        vision_config={
            "model_type": "clip_vision_model", "hidden_size": config.vision.width,
            "num_attention_heads": config.vision.heads,
        },
        text_config={
            "model_type": "llama", "hidden_size": config.language.width, "num_attention_heads": config.language.heads,
        },
    )  # fmt: skip
    return of(LlavaMultiModalProjector(whole))


def llama(config: AnyConfig) -> Shapes:
    return of(transformers_peers.llama(config.language, special_tokens(config).total))


def llama_with_experts(config: ModelConfig) -> Shapes:
    """Return LLaMA whose feed-forward layers are there once for every expert, each with a router before them."""
    language, experts = config.language, config.moe.experts
    peer = transformers_peers.llama(language, special_tokens(config).total)
    again = [tuple(value.shape) for name, value in peer.named_parameters() if ".mlp." in name]
    return of(peer) + Counter(again * (experts - 1) + [(experts, language.width)] * language.layers)


def masks(config: ModelConfig | EntityModelConfig) -> dict[str, Shapes]:
    """Return the parts for masks; SAM-Med2D's adapters have a gate, two convolutions and a norm in every layer."""
    peer, width, gate = transformers_peers.sam(config), config.pixel_encoder.width, config.pixel_encoder.adapter_width
    adapter = [(gate, width), (width, gate), (width, width, 3, 3), (width, width, 4, 4), (width,), (width,)]
    adapters = Counter(adapter * config.pixel_encoder.layers if gate else [])
    # The matrix of positions is a constant in SAM, which transformers counts as a parameter.
    constant = Counter([(2, config.pixel_encoder.channels // 2)])
    return {
        "pixel_encoder": of(peer.vision_encoder) + adapters,
        "mask_decoder": of(peer.prompt_encoder, peer.mask_decoder) - constant,
        "projector": layers((config.language.width,) * 2, (config.pixel_encoder.channels, config.language.width)),
    }


def aligner(config: EntityModelConfig) -> Shapes:
    """Return torch's decoder layers, and what is around them."""
    width, language = config.aligner.width, config.language.width
    layer = nn.TransformerDecoderLayer(width, config.aligner.heads, config.aligner.ffn_width)
    ends = Counter([(config.aligner.queries, width), (3, width), (width,), (width,)])
    return of(*[layer] * config.aligner.layers) + ends + layers((width, language), (language, width))


def volumes(config: VolumeModelConfig) -> dict[str, Shapes]:
    """Return M3D's parts: BERT is transformers', the towers for volumes have the shapes of the released modules."""
    clip, width, language = config.clip, config.vision.width, config.language.width
    tower = Counter(m3d_sources.vision(config.vision).values())
    texts = BertModel(
        BertConfig(
            vocab_size=clip.vocabulary, hidden_size=clip.width, intermediate_size=clip.ffn_width,
            num_hidden_layers=clip.layers, num_attention_heads=clip.heads, max_position_embeddings=clip.max_length,
        ),
        add_pooling_layer=False,
    )  # fmt: skip
    heads = layers((width, width), (width, clip.width))
    segmented = Counter(m3d_sources.segvol(config).values()) - Counter([(3, config.segmentation.width // 2)])
    return {
        "vision": tower,
        "clip": tower + of(texts) + heads + Counter([()]),
        "perceiver": layers((language, width), *[(language, language)] * (config.perceiver.layers - 1)),
        "language": llama(config),
        "seg_projector": layers((language, language), (config.segmentation.width, language)),
        "segvol": segmented,
    }


def peers(config: AnyConfig) -> dict[str, Shapes]:
    if isinstance(config, VolumeModelConfig):
        return volumes(config)
    found = {"vision": image_tower(config), "connector": connector(config)}
    if isinstance(config, ModelConfig):
        found |= {
            "language": llama_with_experts(config),
            "region": layers((config.language.width, config.vision.width)),
        }
        return found | masks(config)
    found["language"] = llama(config)
    if isinstance(config, EntityModelConfig):
        channels = config.pixel_encoder.channels
        found["prompt_encoder"] = Counter([(4, channels)]) + layers((config.language.width, channels))
        found |= {"aligner": aligner(config)} if config.aligner.queries else {}
        found |= masks(config)
    return found


# The large presets are slow: transformers' classes take seconds to build.
PRESETS = [pytest.param(name, marks=() if "tiny" in name else pytest.mark.slow) for name in preset_names()]


@pytest.mark.parametrize("name", PRESETS)
def test_info_equals_transformers_part_by_part(name: str) -> None:
    config = load_preset(name)
    info = describe(config)
    with torch.device("meta"):
        wanted = peers(config)
    found: dict[str, Shapes] = {part.name: Counter() for part in info.modules}
    for part in info.modules:
        for tensor in part.tensors:
            found[part.name][tensor.shape] += tensor.count
    assert found == wanted
    counted = {part.name: part.parameters for part in info.modules}
    assert counted == {
        part: sum(prod(shape) * times for shape, times in shapes.items()) for part, shapes in wanted.items()
    }
    assert info.parameters == sum(counted.values())
    assert counted | COUNTS.get(name, {}) == counted


@pytest.mark.slow
def test_the_language_model_of_phi_3_has_as_many_parameters_as_in_transformers() -> None:
    config = load_preset("m3d-lamed-phi3")
    with torch.device("meta"):
        phi = Phi3ForCausalLM(
            transformers_peers.decoder_config(config.language, special_tokens(config).total, Phi3Config)
        )
    counted = {part.name: part.parameters for part in describe(config).modules}
    assert counted["language"] == sum(prod(shape) * times for shape, times in of(phi).items())
