"""Checkpoints as their authors publish them, in names and shapes, for a model of any size; numbers are drawn."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from torch import Tensor, nn

from reference_model.config import ModelConfig

Shapes = dict[str, tuple[int, ...]]
Tensors = dict[str, Tensor]


def linear(name: str, out: int, into: int, *, bias: bool = True) -> Shapes:
    """Return weight and bias of a linear layer."""
    return {f"{name}.weight": (out, into)} | ({f"{name}.bias": (out,)} if bias else {})


def norm(name: str, width: int) -> Shapes:
    """Return weight and bias of a norm."""
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def convolution(name: str, *shape: int, bias: int = 0) -> Shapes:
    """Return weight and, of length `bias`, bias of a convolution."""
    return {f"{name}.weight": shape} | ({f"{name}.bias": (bias,)} if bias else {})


def attention(name: str, width: int, inner: int, out: str = "out_proj") -> Shapes:
    """Return the four projections of an attention."""
    shapes: Shapes = {}
    for part in "qkv":
        shapes |= linear(f"{name}.{part}_proj", inner, width)
    return shapes | linear(f"{name}.{out}", width, inner)


def llama(config: ModelConfig, vocabulary: int, *, model: str = "model", head: str = "lm_head") -> Shapes:
    """Return LLaMA as `transformers` 4.31 saved it, buffers included."""
    language = config.language
    width, inner = language.width, language.ffn_width
    shapes: Shapes = {f"{model}.embed_tokens.weight": (vocabulary, width)}
    for index in range(language.layers):
        layer = f"{model}.layers.{index}"
        shapes |= {f"{layer}.self_attn.{part}_proj.weight": (width, width) for part in "qkvo"}
        shapes[f"{layer}.self_attn.rotary_emb.inv_freq"] = (width // language.heads // 2,)
        shapes |= {f"{layer}.mlp.{part}_proj.weight": (inner, width) for part in ("gate", "up")}
        shapes[f"{layer}.mlp.down_proj.weight"] = (width, inner)
        shapes |= {f"{layer}.{part}_layernorm.weight": (width,) for part in ("input", "post_attention")}
    return shapes | {f"{model}.norm.weight": (width,), f"{head}.weight": (vocabulary, width)}


def projector(config: ModelConfig, name: str = "model.mm_projector", parts: tuple[str, str] = (".0", ".2")) -> Shapes:
    """Return LLaVA's projector."""
    width = config.language.width
    return linear(name + parts[0], width, config.vision.width) | linear(name + parts[1], width, width)


def llava(config: ModelConfig) -> Shapes:
    """Return LLaVA-1.5 as published."""
    return llama(config, config.prompt.base_vocabulary) | projector(config)


def llava_in_transformers(config: ModelConfig, *, newer: bool = False) -> Shapes:
    """Return LLaVA-1.5 in its port, whose vocabulary is filled up, with its tower; `newer`: names since 4.52."""
    rows = config.prompt.base_vocabulary + 64
    prefix = "model." if newer else ""
    head = "lm_head" if newer else "language_model.lm_head"
    model = "model.language_model" if newer else "language_model.model"
    language = llama(config, rows, model=model, head=head)
    shapes = {name: shape for name, shape in language.items() if not name.endswith("inv_freq")}
    shapes |= projector(config, f"{prefix}multi_modal_projector.linear", ("_1", "_2"))
    return shapes | tower(config, f"{prefix}vision_tower.vision_model")


def tower(config: ModelConfig, name: str = "vision_model") -> Shapes:
    """Return CLIP's tower for images."""
    vision = config.vision
    width, patch = vision.width, vision.patch_size
    shapes: Shapes = {
        f"{name}.embeddings.class_embedding": (width,),
        f"{name}.embeddings.patch_embedding.weight": (width, 3, patch, patch),
        f"{name}.embeddings.position_embedding.weight": (vision.tokens + 1, width),
    }
    for index in range(vision.layers):
        layer = f"{name}.encoder.layers.{index}"
        shapes |= attention(f"{layer}.self_attn", width, width)
        shapes |= norm(f"{layer}.layer_norm1", width) | norm(f"{layer}.layer_norm2", width)
        shapes |= linear(f"{layer}.mlp.fc1", vision.ffn_width, width)
        shapes |= linear(f"{layer}.mlp.fc2", width, vision.ffn_width)
    return shapes | norm(f"{name}.pre_layrnorm", width) | norm(f"{name}.post_layernorm", width)


def clip(config: ModelConfig) -> Shapes:
    """Return CLIP with what MedPLIB does not take of it."""
    width = config.vision.width
    beside: Shapes = {
        "logit_scale": (),
        "text_projection.weight": (width, 8),
        "visual_projection.weight": (width, width),
        "vision_model.embeddings.position_ids": (1, config.vision.tokens + 1),
        "text_model.embeddings.position_ids": (1, 77),
        "text_model.embeddings.token_embedding.weight": (16, 8),
        "text_model.encoder.layers.0.self_attn.q_proj.weight": (8, 8),
        "text_model.final_layer_norm.weight": (8,),
    }
    return tower(config) | beside


def sam_med2d(config: ModelConfig, prefix: str = "") -> Shapes:
    """Return SAM-Med2D."""
    shapes = _image_encoder(config) | _prompt_encoder(config) | _mask_decoder(config)
    return {prefix + name: shape for name, shape in shapes.items()}


def _image_encoder(config: ModelConfig) -> Shapes:
    pixels = config.pixel_encoder
    width, channels, cells, head = pixels.width, pixels.channels, pixels.cells, pixels.width // pixels.heads
    shapes: Shapes = {"image_encoder.pos_embed": (1, cells, cells, width)}
    patch = (width, 3, pixels.patch_size, pixels.patch_size)
    shapes |= convolution("image_encoder.patch_embed.proj", *patch, bias=width)
    for index in range(pixels.layers):
        block, everywhere = f"image_encoder.blocks.{index}", (index + 1) % pixels.global_every == 0
        reach = 2 * (cells if everywhere else pixels.window) - 1
        shapes |= norm(f"{block}.norm1", width) | norm(f"{block}.norm2", width)
        shapes |= {f"{block}.attn.rel_pos_{axis}": (reach, head) for axis in "hw"}
        shapes |= linear(f"{block}.attn.qkv", 3 * width, width) | linear(f"{block}.attn.proj", width, width)
        shapes |= linear(f"{block}.mlp.lin1", pixels.ffn_width, width)
        shapes |= linear(f"{block}.mlp.lin2", width, pixels.ffn_width)
        shapes |= norm(f"{block}.Adapter.norm", width)
        shapes |= linear(f"{block}.Adapter.channel.0", pixels.adapter_width, width, bias=False)
        shapes |= linear(f"{block}.Adapter.channel.2", width, pixels.adapter_width, bias=False)
        shapes |= convolution(f"{block}.Adapter.spatial.0", width, width, 3, 3)
        shapes |= convolution(f"{block}.Adapter.spatial.2", width, width, 4, 4)
    shapes |= convolution("image_encoder.neck.0", channels, width, 1, 1)
    shapes |= convolution("image_encoder.neck.2", channels, channels, 3, 3)
    return shapes | norm("image_encoder.neck.1", channels) | norm("image_encoder.neck.3", channels)


def _prompt_encoder(config: ModelConfig) -> Shapes:
    width, inner = config.pixel_encoder.channels, config.mask_decoder.mask_prompt_channels
    name = "prompt_encoder"
    shapes: Shapes = {f"{name}.pe_layer.positional_encoding_gaussian_matrix": (2, width // 2)}
    shapes |= {f"{name}.point_embeddings.{index}.weight": (1, width) for index in range(4)}
    shapes |= {f"{name}.{part}.weight": (1, width) for part in ("not_a_point_embed", "no_mask_embed")}
    shapes |= convolution(f"{name}.mask_downscaling.0", inner // 4, 1, 2, 2, bias=inner // 4)
    shapes |= norm(f"{name}.mask_downscaling.1", inner // 4)
    shapes |= convolution(f"{name}.mask_downscaling.3", inner, inner // 4, 2, 2, bias=inner)
    shapes |= norm(f"{name}.mask_downscaling.4", inner)
    return shapes | convolution(f"{name}.mask_downscaling.6", width, inner, 1, 1, bias=width)


def _mask_decoder(config: ModelConfig) -> Shapes:
    decoder, width, name = config.mask_decoder, config.pixel_encoder.channels, "mask_decoder"
    shapes: Shapes = {f"{name}.iou_token.weight": (1, width), f"{name}.mask_tokens.weight": (4, width)}
    for index in range(decoder.layers):
        layer = f"{name}.transformer.layers.{index}"
        shapes |= attention(f"{layer}.self_attn", width, width)
        for part in ("cross_attn_token_to_image", "cross_attn_image_to_token"):
            shapes |= attention(f"{layer}.{part}", width, width // 2)
        for number in range(1, 5):
            shapes |= norm(f"{layer}.norm{number}", width)
        shapes |= linear(f"{layer}.mlp.lin1", decoder.ffn_width, width)
        shapes |= linear(f"{layer}.mlp.lin2", width, decoder.ffn_width)
    shapes |= attention(f"{name}.transformer.final_attn_token_to_image", width, width // 2)
    shapes |= norm(f"{name}.transformer.norm_final_attn", width)
    shapes |= convolution(f"{name}.output_upscaling.0", width, width // 4, 2, 2, bias=width // 4)
    shapes |= norm(f"{name}.output_upscaling.1", width // 4)
    shapes |= convolution(f"{name}.output_upscaling.3", width // 4, width // 8, 2, 2, bias=width // 8)
    for number in range(4):
        mlp = f"{name}.output_hypernetworks_mlps.{number}.layers"
        shapes |= linear(f"{mlp}.0", width, width) | linear(f"{mlp}.1", width, width)
        shapes |= linear(f"{mlp}.2", width // 8, width)
    head, inner, last = f"{name}.iou_prediction_head.layers", decoder.iou_width, decoder.iou_layers - 1
    shapes |= linear(f"{head}.0", inner, width)
    for number in range(1, last):
        shapes |= linear(f"{head}.{number}", inner, inner)
    return shapes | linear(f"{head}.{last}", 4, inner)


def medplib(config: ModelConfig, *, experts: bool = True) -> Shapes:
    """Return MedPLIB after stage IV, adapters merged; without experts: after stages II and III."""
    width, channels = config.language.width, config.pixel_encoder.channels
    shapes = llama(config, config.prompt.base_vocabulary + config.prompt.fillers + 11)
    if experts:
        shapes = _with_experts(shapes, config)
    shapes |= tower(config, "model.vision_tower.vision_tower.vision_model") | projector(config)
    shapes |= linear("model.region_fea_adapter", width, config.vision.width)
    shapes |= linear("model.text_hidden_fcs.0.0", width, width) | linear("model.text_hidden_fcs.0.2", channels, width)
    return shapes | sam_med2d(config, "model.visual_model.")


def _with_experts(dense: Shapes, config: ModelConfig) -> Shapes:
    shapes: Shapes = {}
    for name, shape in dense.items():
        before, between, after = name.partition(".mlp.")
        for expert in range(config.moe.experts if between else 0):
            shapes[f"{before}.mlp.deepspeed_moe.experts.deepspeed_experts.{expert}.{after}"] = shape
        shapes |= {} if between else {name: shape}
    gate = "model.layers.{}.mlp.deepspeed_moe.gate.wg.weight"
    width = config.language.width
    return shapes | {gate.format(index): (config.moe.experts, width) for index in range(config.language.layers)}


def drawn(shapes: Shapes, seed: int, dtype: torch.dtype = torch.float32) -> Tensors:
    """Return tensors of these shapes, their numbers drawn; positions are counted."""
    random = torch.Generator().manual_seed(seed)
    return {
        name: torch.arange(shape[1])[None]
        if name.endswith("position_ids")
        else (torch.randn(shape, generator=random) * 0.1).to(dtype)
        for name, shape in shapes.items()
    }


def write_shards(folder: Path, tensors: Mapping[str, Tensor], *, safe: bool = False, files: int = 2) -> None:
    """Write a checkpoint as `save_pretrained` does: several files and their index."""
    folder.mkdir(parents=True, exist_ok=True)
    stem, end = ("model", "safetensors") if safe else ("pytorch_model", "bin")
    names = list(tensors)
    index: dict[str, str] = {}
    for number in range(files):
        file = f"{stem}-{number + 1:05}-of-{files:05}.{end}"
        part = {name: tensors[name] for name in names[number::files]}
        (save_file if safe else torch.save)(part, folder / file)
        index |= dict.fromkeys(part, file)
    (folder / f"{stem}.{end}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


TEXTS = (
    "what is this?",
    "the liver and the spleen",
    "is there a lesion in the left kidney? yes, no",
    "USER: ASSISTANT:",
)


def pieces(size: int, *, spelt: bool = True) -> Tokenizer:
    """Return a byte pair encoding of `size` pieces as LLaMA's: special ones, bytes if `spelt`, then what it learns."""
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256 if spelt else 0))]
    tokenizer = Tokenizer(BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    trainer = BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    more = [f"{first}{second}{third}" for first in "bdlnrst" for second in "aeiou" for third in "klmnrst"]
    tokenizer.train_from_iterator(["▁" + text.replace(" ", "▁") for text in [*TEXTS * 3, *more * 2]], trainer)
    return tokenizer


def write_tokenizer(folder: Path, tokenizer: Tokenizer, added: Mapping[str, int] | None = None) -> None:
    """Write a `tokenizer.json`, its merges as one string each, with tokens added behind it."""
    document: dict[str, Any] = json.loads(tokenizer.to_str())
    document["added_tokens"] = [{"id": id, "content": name} for name, id in (added or {}).items()]
    document["model"]["merges"] = [" ".join(pair) for pair in document["model"]["merges"]]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Checkpoints on disk, and the tensors they hold."""

    llava: Path
    clip: Path
    sam_med2d: Path
    tensors: Tensors


def publish(folder: Path, config: ModelConfig, *, spelt: bool = True) -> Published:
    """Write LLaVA-1.5, CLIP and SAM-Med2D for a model of any size, the last with an optimizer as its script does."""
    parts = [drawn(llava(config), 1, torch.float16), drawn(clip(config), 2), drawn(sam_med2d(config), 3)]
    for name, value in parts[2].items():
        value += float("norm" in name and name.endswith("weight"))
    write_shards(folder / "llava", parts[0])
    write_tokenizer(folder / "llava", pieces(config.prompt.base_vocabulary, spelt=spelt), {"<image>": 9999})
    (folder / "clip").mkdir()
    torch.save(parts[1], folder / "clip" / "pytorch_model.bin")
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([weight])
    weight.grad = torch.ones(2)
    optimizer.step()
    torch.save({"model": parts[2], "optimizer": optimizer}, folder / "sam-med2d.pth")
    return Published(
        llava=folder / "llava",
        clip=folder / "clip",
        sam_med2d=folder / "sam-med2d.pth",
        tensors=parts[0] | parts[1] | parts[2],
    )


def with_pieces(config: ModelConfig) -> ModelConfig:
    """Return a configuration whose vocabulary holds LLaMA's special pieces, every byte, and some words."""
    return replace(config, prompt=replace(config.prompt, base_vocabulary=400, fillers=2))
