"""Checkpoints around M3D-LaMed as their authors publish them, in names and shapes, for a model of any size.

The names are those that the modules of M3D's repository have under MONAI 1.3.0 and transformers 4.39.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from reference_model.config import Vision3dConfig, VolumeModelConfig
from tests.unit.reference_model.convert.convert_sources import (
    Shapes,
    Tensors,
    attention,
    convolution,
    drawn,
    linear,
    norm,
    pieces,
    write_shards,
    write_tokenizer,
)

# Phi-3's own tokens behind its 32,000 pieces, some of them.
PHI_TOKENS = ("<|endoftext|>", "<|assistant|>", "<|end|>", "<|user|>")
OWN_TOKENS = ("<im_patch>", "<bx_start>", "<bx_end>", "[SEG]")
# Rows that Phi-3's vocabulary is filled up with.
PHI_PADDING = 53


def vision(config: Vision3dConfig, name: str = "", *, class_token: bool = True) -> Shapes:
    """Return MONAI's vision transformer."""
    width, voxels = config.width, config.patch_depth * config.patch_side**2
    shapes: Shapes = {f"{name}cls_token": (1, 1, width)} if class_token else {}
    shapes[f"{name}patch_embedding.position_embeddings"] = (1, config.tokens, width)
    shapes |= linear(f"{name}patch_embedding.patch_embeddings.1", width, voxels)
    for index in range(config.layers):
        block = f"{name}blocks.{index}"
        shapes |= linear(f"{block}.mlp.linear1", config.ffn_width, width)
        shapes |= linear(f"{block}.mlp.linear2", width, config.ffn_width)
        shapes |= norm(f"{block}.norm1", width) | norm(f"{block}.norm2", width)
        shapes |= linear(f"{block}.attn.out_proj", width, width)
        shapes |= linear(f"{block}.attn.qkv", 3 * width, width, bias=False)
    return shapes | norm(f"{name}norm", width)


def m3d_clip(config: VolumeModelConfig) -> Shapes:
    """Return M3D-CLIP."""
    clip, width = config.clip, config.vision.width
    shapes: Shapes = {"logit_scale": ()} | vision(config.vision, "vision_encoder.")
    embeddings = "language_encoder.embeddings"
    shapes[f"{embeddings}.word_embeddings.weight"] = (clip.vocabulary, clip.width)
    shapes[f"{embeddings}.position_embeddings.weight"] = (clip.max_length, clip.width)
    shapes[f"{embeddings}.token_type_embeddings.weight"] = (2, clip.width)
    shapes |= norm(f"{embeddings}.LayerNorm", clip.width)
    for index in range(clip.layers):
        layer = f"language_encoder.encoder.layer.{index}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            shapes |= linear(f"{layer}.attention.{part}", clip.width, clip.width)
        shapes |= norm(f"{layer}.attention.output.LayerNorm", clip.width)
        shapes |= linear(f"{layer}.intermediate.dense", clip.ffn_width, clip.width)
        shapes |= linear(f"{layer}.output.dense", clip.width, clip.ffn_width)
        shapes |= norm(f"{layer}.output.LayerNorm", clip.width)
    shapes |= linear("language_encoder.pooler.dense", clip.width, clip.width)
    return shapes | linear("mm_vision_proj", width, width) | linear("mm_language_proj", width, clip.width)


def segvol(config: VolumeModelConfig, name: str = "model.") -> Shapes:
    """Return SegVol in its port to transformers, without its tower for texts."""
    width, cells, decoder = config.segmentation.width, config.segmentation.cells, config.mask_decoder
    shapes = vision(config.segmentation, "image_encoder.", class_token=False)
    shapes["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"] = (3, width // 2)
    shapes |= {f"prompt_encoder.point_embeddings.{index}.weight": (1, width) for index in range(4)}
    shapes |= {f"prompt_encoder.{part}.weight": (1, width) for part in ("not_a_point_embed", "no_mask_embed")}
    shapes |= convolution("prompt_encoder.mask_downscaling.0", 4, 1, 2, 2, bias=4)
    shapes |= convolution("prompt_encoder.mask_downscaling.3", 16, 4, 2, 2, bias=16)
    shapes |= convolution("prompt_encoder.mask_downscaling.6", width, 16, 1, 1, bias=width)
    shapes |= norm("prompt_encoder.mask_downscaling.1", 4) | norm("prompt_encoder.mask_downscaling.4", 16)
    transformer = "mask_decoder.transformer"
    for index in range(decoder.layers):
        layer = f"{transformer}.layers.{index}"
        shapes |= attention(f"{layer}.self_attn", width, width)
        for part in ("cross_attn_token_to_image", "cross_attn_image_to_token"):
            shapes |= attention(f"{layer}.{part}", width, width // 2)
        for number in range(1, 5):
            shapes |= norm(f"{layer}.norm{number}", width)
        shapes |= linear(f"{layer}.mlp.lin1", decoder.ffn_width, width)
        shapes |= linear(f"{layer}.mlp.lin2", width, decoder.ffn_width)
    shapes |= attention(f"{transformer}.final_attn_token_to_image", width, width // 2)
    shapes |= norm(f"{transformer}.norm_final_attn", width)
    shapes |= {"mask_decoder.iou_token.weight": (1, width), "mask_decoder.mask_tokens.weight": (4, width)}
    quarter, eighth, doubled = width // 4, width // 8, [2 * cell for cell in cells]
    shapes |= convolution("mask_decoder.output_upscaling.0", width, quarter, 2, 2, 2, bias=quarter)
    shapes |= dict.fromkeys(
        (f"mask_decoder.output_upscaling.1.{end}" for end in ("weight", "bias")), (quarter, *doubled)
    )
    shapes |= convolution("mask_decoder.output_upscaling.3", quarter, eighth, 2, 2, 2, bias=eighth)
    for number in range(4):
        mlp = f"mask_decoder.output_hypernetworks_mlps.{number}.layers"
        shapes |= linear(f"{mlp}.0", width, width) | linear(f"{mlp}.1", width, width)
        shapes |= linear(f"{mlp}.2", eighth, width)
    head, widths = (
        "mask_decoder.iou_prediction_head.layers",
        [width, *[decoder.iou_width] * (decoder.iou_layers - 1), 4],
    )
    for number in range(decoder.iou_layers):
        shapes |= linear(f"{head}.{number}", widths[number + 1], widths[number])
    shapes |= linear("mask_decoder.txt_align_upscaled_embedding", eighth, width)
    return {name + key: shape for key, shape in shapes.items()}


def segvol_text_tower(name: str = "model.") -> Shapes:
    """Return a part of SegVol's tower for texts."""
    model = f"{name}text_encoder.clip_text_model.text_model"
    return {f"{model}.embeddings.token_embedding.weight": (16, 8)} | linear(f"{name}text_encoder.dim_align", 16, 8)


def llm(config: VolumeModelConfig, rows: int, *, fused: bool = False) -> Shapes:
    """Return LLaMA-2, LLaMA-3 or, `fused`, Phi-3 with a vocabulary of `rows` rows."""
    language = config.language
    width, inner = language.width, language.ffn_width
    shared = width // language.heads * (language.key_value_heads or language.heads)
    shapes: Shapes = {"model.embed_tokens.weight": (rows, width)}
    for index in range(language.layers):
        layer = f"model.layers.{index}"
        if fused:
            shapes[f"{layer}.self_attn.qkv_proj.weight"] = (width + 2 * shared, width)
            shapes[f"{layer}.mlp.gate_up_proj.weight"] = (2 * inner, width)
        else:
            shapes |= {f"{layer}.self_attn.{part}_proj.weight": (shared, width) for part in "kv"}
            shapes |= {f"{layer}.mlp.{part}_proj.weight": (inner, width) for part in ("gate", "up")}
            shapes[f"{layer}.self_attn.q_proj.weight"] = (width, width)
        shapes |= {f"{layer}.self_attn.o_proj.weight": (width, width), f"{layer}.mlp.down_proj.weight": (width, inner)}
        shapes |= {f"{layer}.{part}_layernorm.weight": (width,) for part in ("input", "post_attention")}
    return shapes | {"model.norm.weight": (width,), "lm_head.weight": (rows, width)}


def perceiver(config: VolumeModelConfig) -> Shapes:
    """Return the perceiver with an MLP of two layers."""
    width, name = config.language.width, "model.mm_projector.projector"
    return linear(f"{name}.0", width, config.vision.width) | linear(f"{name}.2", width, width)


def lamed(config: VolumeModelConfig, *, fused: bool = False, segmenter: bool = True) -> Shapes:
    """Return M3D-LaMed, adapters merged; without `segmenter`: trained on texts only."""
    width = config.language.width
    shapes = llm(config, config.prompt.base_vocabulary + len(OWN_TOKENS), fused=fused) | perceiver(config)
    shapes |= vision(config.vision, "model.vision_tower.vision_tower.")
    if segmenter:
        shapes |= segvol(config, "model.seg_module.") | linear("model.seg_projector.0", width, width)
        shapes |= linear("model.seg_projector.2", config.segmentation.width, width)
    return shapes


def small(config: VolumeModelConfig, added: int = 0, *, key_value_heads: int = 0) -> VolumeModelConfig:
    """Return a configuration of a few thousand parameters with a vocabulary of 400 pieces and `added` tokens."""
    tower = Vision3dConfig(depth=8, side=32, patch_depth=4, patch_side=8, width=16, ffn_width=24, layers=2, heads=2)
    return replace(
        config,
        prompt=replace(config.prompt, base_vocabulary=400 + added),
        vision=tower,
        segmentation=replace(tower, ffn_width=32),
        clip=replace(config.clip, width=16, ffn_width=24, heads=2, vocabulary=len(BERT)),
        language=replace(config.language, width=32, ffn_width=48, layers=3, heads=2, key_value_heads=key_value_heads),
        mask_decoder=replace(config.mask_decoder, heads=2, ffn_width=40, iou_width=12),
    )


def write_llama(folder: Path, *, added: Mapping[str, int] | None = None, **settings: object) -> None:
    """Write LLaMA-2's tokenizer of 400 pieces with its settings and `added_tokens.json`."""
    write_tokenizer(folder, pieces(400))
    (folder / "added_tokens.json").write_text(json.dumps(added or {}))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def write_phi(folder: Path, *, own: bool = False) -> None:
    """Write Phi-3's tokenizer, with M3D's tokens behind it if `own`."""
    names = (*PHI_TOKENS, *(OWN_TOKENS if own else ()))
    described = {
        str(400 + index): {"content": name, "special": name != "[SEG]", "rstrip": name in PHI_TOKENS[1:]}
        for index, name in enumerate(names)
    }
    write_llama(
        folder,
        added={name: 400 + index for index, name in enumerate(names)},
        legacy=False,
        bos_token="<s>",
        eos_token={"content": "<|endoftext|>"},
        added_tokens_decoder=described,
    )


def write_llama_3(folder: Path, *, own: bool = False) -> None:
    """Write a tokenizer as LLaMA-3's: 398 pieces of bytes, then two tokens, with the end that instructions have."""
    pieces_of_bytes = sorted(pre_tokenizers.ByteLevel.alphabet())
    ids = {piece: index for index, piece in enumerate(pieces_of_bytes)}
    merges: list[tuple[str, str]] = []
    for first in pieces_of_bytes[60:90]:
        for second in pieces_of_bytes[60:65]:
            if len(ids) < 398 and first + second not in ids:
                merges.append((first, second))
                ids[first + second] = len(ids)
    tokenizer = Tokenizer(BPE(vocab=ids, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>", *(OWN_TOKENS if own else ())])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.enable_padding(length=512)
    tokenizer.enable_truncation(512)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "liver", "has", "a", "cyst", "##s", ".", "no")


def write_bert(folder: Path, names: tuple[str, ...] = BERT) -> None:
    """Write BERT's list of pieces."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(names), encoding="utf-8")


def numbers(config: VolumeModelConfig) -> dict[str, Any]:
    """Return the `config.json` of M3D-LaMed."""
    language, perceiver_config, tower = config.language, config.perceiver, config.vision
    return {
        "image_channel": 1,
        "image_size": list(tower.size),
        "patch_size": [tower.patch_depth, tower.patch_side, tower.patch_side],
        "mm_projector_type": "spp",
        "proj_layer_num": perceiver_config.layers,
        "proj_layer_type": "mlp",
        "proj_pooling_size": perceiver_config.pool,
        "proj_pooling_type": perceiver_config.pooling,
        "vision_select_feature": "patch",
        "vision_select_layer": -1,
        "seg_token_id": config.prompt.base_vocabulary + 3,
        "num_attention_heads": language.heads,
        "num_key_value_heads": language.key_value_heads or language.heads,
        "rms_norm_eps": language.norm_epsilon,
        "rope_theta": language.rope_theta,
        "rope_scaling": None,
        "sliding_window": 2047,
        "vocab_size": 32064,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedM3d:
    """Checkpoints on disk, and their tensors by option."""

    folder: Path
    tensors: Mapping[str, Tensors]

    @property
    def start(self) -> dict[str, Path]:
        """The files that training starts from, by the names of `Files`."""
        names = {"llm": "llm", "vision": "m3d-clip/pretrained_ViT.bin", "segvol": "segvol", "m3d_clip": "m3d-clip"}
        return {key: self.folder / name for key, name in names.items()}


def publish(folder: Path, config: VolumeModelConfig) -> PublishedM3d:
    """Write Phi-3, M3D-CLIP with its image tower alone, and SegVol, in the files of their releases."""
    rows = config.prompt.base_vocabulary + PHI_PADDING
    tensors = {
        "llm": drawn(llm(config, rows, fused=True), 1, torch.bfloat16),
        "m3d_clip": drawn(m3d_clip(config), 2),
        "segvol": drawn(segvol(config), 3),
    }
    tensors["m3d_clip"]["logit_scale"] = torch.tensor(4.5)
    prefix = "vision_encoder."
    tensors["vision"] = {
        name.removeprefix(prefix): value for name, value in tensors["m3d_clip"].items() if name.startswith(prefix)
    }
    write_shards(folder / "llm", tensors["llm"], safe=True)
    write_phi(folder / "llm")
    (folder / "m3d-clip").mkdir()
    save_file(tensors["m3d_clip"], folder / "m3d-clip" / "model.safetensors")
    torch.save(tensors["vision"], folder / "m3d-clip" / "pretrained_ViT.bin")
    write_bert(folder / "m3d-clip")
    (folder / "segvol").mkdir()
    torch.save(tensors["segvol"] | drawn(segvol_text_tower(), 4), folder / "segvol" / "pytorch_model.bin")
    return PublishedM3d(folder=folder, tensors=tensors)
