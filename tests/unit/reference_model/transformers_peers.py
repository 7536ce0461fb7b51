"""Transformers' own classes at the sizes of a preset, against which parts of the reference model are compared."""

from typing import Any

import torch
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM, SamConfig, SamModel

from reference_model.config import EntityModelConfig, LanguageConfig, ModelConfig, VisionConfig


def assert_close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def clip_tower(vision: VisionConfig, activation: str = "quick_gelu") -> CLIPVisionModel:
    config = CLIPVisionConfig(
        hidden_size=vision.width, intermediate_size=vision.ffn_width, num_hidden_layers=vision.layers,
        num_attention_heads=vision.heads, image_size=vision.image_size, patch_size=vision.patch_size,
        hidden_act=activation,
    )  # fmt: skip
    return CLIPVisionModel(config).eval()


def decoder_config(language: LanguageConfig, vocabulary: int, kind: Any = LlamaConfig) -> Any:
    return kind(
        vocab_size=vocabulary, hidden_size=language.width, intermediate_size=language.ffn_width,
        num_hidden_layers=language.layers, num_attention_heads=language.heads,
        num_key_value_heads=language.key_value_heads or language.heads, rms_norm_eps=language.norm_epsilon,
        rope_parameters={"rope_type": "default", "rope_theta": language.rope_theta}, pad_token_id=0,
    )  # fmt: skip


def llama(language: LanguageConfig, vocabulary: int) -> LlamaForCausalLM:
    return LlamaForCausalLM(decoder_config(language, vocabulary)).eval()


def sam(config: ModelConfig | EntityModelConfig) -> SamModel:
    pixels, decoder = config.pixel_encoder, config.mask_decoder
    whole = SamConfig(
        vision_config={
            "hidden_size": pixels.width, "output_channels": pixels.channels, "num_hidden_layers": pixels.layers,
            "num_attention_heads": pixels.heads, "image_size": pixels.image_size, "patch_size": pixels.patch_size,
            "mlp_dim": pixels.ffn_width, "window_size": pixels.window, "num_pos_feats": pixels.channels // 2,
            "global_attn_indexes": list(range(pixels.global_every - 1, pixels.layers, pixels.global_every)),
        },
        prompt_encoder_config={
            "hidden_size": pixels.channels, "image_size": pixels.image_size, "patch_size": pixels.patch_size,
            "mask_input_channels": decoder.mask_prompt_channels,
        },
        mask_decoder_config={
            "hidden_size": pixels.channels, "mlp_dim": decoder.ffn_width, "num_hidden_layers": decoder.layers,
            "num_attention_heads": decoder.heads, "iou_head_depth": decoder.iou_layers,
            "iou_head_hidden_dim": decoder.iou_width,
        },
    )  # fmt: skip
    return SamModel(whole).eval()
