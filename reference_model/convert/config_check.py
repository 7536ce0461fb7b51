"""Compares a checkpoint's `config.json` with a preset in values that shapes do not show: heads, activations, norms."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import DataError, together
from harness.records import Json
from reference_model.config import (
    EntityModelConfig,
    LanguageConfig,
    LlavaModelConfig,
    ModelConfig,
    VisionConfig,
    VolumeModelConfig,
)
from reference_model.convert.checkpoint_files import read_object
from reference_model.modeling.vision import Activation

CONFIG, OPEN_CLIP_CONFIG = "config.json", "open_clip_config.json"


@dataclass(frozen=True, slots=True)
class ConfigNumber:
    """The expected value of a key; a file that lacks the key is not compared.

    Attributes:
        key: The key.
        expected: The value.
        section: The keys of the objects around it, from the outermost, with dots between them.
        default: What a file means that has the section and lacks the key; None: it is not compared.
    """

    key: str
    expected: Json
    section: str = ""
    default: Json = None


def language_numbers(config: ModelConfig | LlavaModelConfig) -> tuple[ConfigNumber, ...]:
    """Return LLaVA-1.5's numbers, at the top level or in `text_config`, where its port to transformers has them."""
    # LLaVA-1.5's own keys and those of its port to transformers, which renames some of them.
    numbers = _llama(config.language) | {
        "mm_vision_select_layer": -1 - config.vision.skipped_layers,
        "vision_feature_layer": -1 - config.vision.skipped_layers,
        "mm_projector_type": "mlp2x_gelu",
        "projector_hidden_act": "gelu",
    }
    return _in_either(numbers, "text_config")


def vicuna_numbers(config: EntityModelConfig) -> tuple[ConfigNumber, ...]:
    """Return LLaMA's numbers alone, in the same places."""
    return _in_either(_llama(config.language), "text_config")


def expert_numbers(config: ModelConfig) -> tuple[ConfigNumber, ...]:
    """Return the numbers of MedPLIB's experts."""
    moe, layers = config.moe, config.language.layers
    return (
        ConfigNumber("num_experts", [moe.experts] * layers, "moe"),
        ConfigNumber("top_k_experts", moe.top_k, "moe"),
        ConfigNumber("use_residual", False, "moe"),
        ConfigNumber("moe_layers_idx", list(range(layers)), "moe"),
    )


def tower_numbers(vision: VisionConfig, activation: Activation) -> tuple[ConfigNumber, ...]:
    """Return the numbers of CLIP's image tower, at the top level or in `vision_config`."""
    numbers = {"num_attention_heads": vision.heads, "hidden_act": activation, "layer_norm_eps": 1e-5}
    return _in_either(numbers, "vision_config")


def open_clip_numbers(vision: VisionConfig, activation: Activation) -> tuple[ConfigNumber, ...]:
    """Return the numbers of the image tower in OpenCLIP's own file, which names the width of a head."""
    quick = ConfigNumber("quick_gelu", activation == "quick_gelu", "model_cfg", default=False)
    # OpenCLIP's default is 64.
    return quick, ConfigNumber("head_width", vision.width // vision.heads, "model_cfg.vision_cfg", default=64)


def sam_numbers(config: EntityModelConfig) -> tuple[ConfigNumber, ...]:
    """Return the numbers of SAM's port to transformers."""
    pixels, decoder = config.pixel_encoder, config.mask_decoder
    encoder = {
        "num_attention_heads": pixels.heads,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-6,
        "window_size": pixels.window,
        "global_attn_indexes": list(range(pixels.global_every - 1, pixels.layers, pixels.global_every)),
    }
    heads = ConfigNumber("num_attention_heads", decoder.heads, "mask_decoder_config")
    return (*(ConfigNumber(key, value, "vision_config") for key, value in encoder.items()), heads)


def llm_numbers(config: VolumeModelConfig) -> tuple[ConfigNumber, ...]:
    """Return the numbers of M3D-LaMed's language model: LLaMA's, and that Phi-3 turns whole heads."""
    # Neither the size of the vocabulary, which the release changes in the weights only, nor Phi-3's sliding window of
    # 2,047 positions, which is longer than a conversation.
    numbers = _llama(config.language) | {"partial_rotary_factor": 1.0}
    # transformers has the rotary base in a section of its own since version 5.
    rotary = ConfigNumber("rope_theta", config.language.rope_theta, "rope_parameters")
    return (*(ConfigNumber(key, value) for key, value in numbers.items()), rotary)


def lamed_numbers(config: VolumeModelConfig, seg_id: int) -> tuple[ConfigNumber, ...]:
    """Return the numbers of M3D-LaMed; `seg_id` is the id of `[SEG]`."""
    perceiver, pooled = config.perceiver, config.perceiver.pooling != "none"
    numbers = _volumes(config, "image_size", "patch_size") | {
        "image_channel": 1,
        "vision_select_layer": -1,
        "vision_select_feature": "patch",
        "mm_projector_type": "spp" if pooled else "linear",
        "seg_token_id": seg_id,
    }
    if pooled:
        numbers |= {
            "proj_layer_num": perceiver.layers,
            "proj_pooling_type": perceiver.pooling,
            "proj_pooling_size": perceiver.pool,
        }
    if pooled and perceiver.layers > 1:  # one layer is the same for both types
        numbers["proj_layer_type"] = "mlp"
    return (*llm_numbers(config), *(ConfigNumber(key, value) for key, value in numbers.items()))


def m3d_clip_numbers(config: VolumeModelConfig) -> tuple[ConfigNumber, ...]:
    """Return the numbers of M3D-CLIP."""
    own = {"in_channels": 1, "num_heads": config.vision.heads, "pos_embed": "perceptron"}
    numbers = _volumes(config, "img_size", "patch_size") | own
    return tuple(ConfigNumber(key, value) for key, value in numbers.items())


def segvol_numbers(config: VolumeModelConfig) -> tuple[ConfigNumber, ...]:
    """Return the numbers of SegVol."""
    return tuple(ConfigNumber(key, value) for key, value in _volumes(config, "spatial_size", "patch_size").items())


def _volumes(config: VolumeModelConfig, size: str, patch: str) -> dict[str, Json]:
    """Return the sizes of volumes and patches by their keys; both image towers of a model have the same."""
    vision = config.vision
    return {size: list(vision.size), patch: [vision.patch_depth, vision.patch_side, vision.patch_side]}


def _in_either(numbers: Mapping[str, Json], section: str) -> tuple[ConfigNumber, ...]:
    """Return numbers as expected at the top level or in a section: a file that lacks one of them is not compared."""
    return tuple(ConfigNumber(key, value, place) for key, value in numbers.items() for place in ("", section))


def _llama(language: LanguageConfig) -> dict[str, Json]:
    return {
        "num_attention_heads": language.heads,
        "num_key_value_heads": language.key_value_heads or language.heads,
        "rms_norm_eps": language.norm_epsilon,
        "rope_theta": language.rope_theta,
        "rope_scaling": None,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
    }


def check_numbers(place: Path, numbers: Sequence[ConfigNumber], preset: str, *, name: str = CONFIG) -> None:
    """Compare the `config.json` of a folder, or a file of another name, with a preset; without it nothing is compared.

    Raises:
        DataError: The file cannot be read, or differs from the preset; every difference is named.
    """
    file = place / name
    if not file.is_file():
        return
    if faults := list(_faults(file, read_object(file), numbers, preset)):
        raise together(faults, DataError)


def _faults(file: Path, document: Mapping[str, Json], numbers: Sequence[ConfigNumber], preset: str) -> Iterator[str]:
    for number in numbers:
        section: Json = document
        for part in filter(None, number.section.split(".")):
            section = section.get(part) if isinstance(section, Mapping) else None
        if not isinstance(section, Mapping):
            continue
        found = section.get(number.key, number.default)
        if found != number.expected and found is not None:
            name = f"{number.section}.{number.key}".lstrip(".")
            yield f"{file}: {name}: expected {number.expected} as in preset {preset}, found {found}"
