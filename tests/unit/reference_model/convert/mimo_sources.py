"""Checkpoints that training of MIMO starts from, as their authors publish them, for a model of any size.

The names are those that OpenCLIP, SAM and their ports to transformers give their modules.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from reference_model.config import EntityModelConfig
from tests.unit.reference_model.convert.convert_sources import (
    Shapes,
    Tensors,
    drawn,
    linear,
    llama,
    norm,
    pieces,
    sam_med2d,
    write_shards,
    write_tokenizer,
)
from tests.unit.reference_model.small_entities import small_config


def small(**changes: object) -> EntityModelConfig:
    """Return a configuration of a few thousand parameters with a vocabulary of 400 pieces and two layers a tower."""
    config = small_config(**changes)
    pixels = replace(config.pixel_encoder, layers=2, global_every=2)
    return replace(config, prompt=replace(config.prompt, base_vocabulary=400), pixel_encoder=pixels)


def open_clip(config: EntityModelConfig, *, texts: bool = True) -> Shapes:
    """Return OpenCLIP, with its tower for texts or the image tower alone."""
    vision = config.vision
    width, patch = vision.width, vision.patch_size
    shapes: Shapes = {
        "visual.class_embedding": (width,),
        "visual.positional_embedding": (vision.tokens + 1, width),
        "visual.proj": (width, 8),
        "visual.conv1.weight": (width, 3, patch, patch),
    }
    shapes |= norm("visual.ln_pre", width) | norm("visual.ln_post", width)
    for index in range(vision.layers):
        shapes |= _block(f"visual.transformer.resblocks.{index}", width, vision.ffn_width)
    if texts:
        shapes |= {"positional_embedding": (77, 8), "text_projection": (8, 8), "logit_scale": ()}
        shapes |= {"token_embedding.weight": (16, 8)} | norm("ln_final", 8) | _block("transformer.resblocks.0", 8, 16)
    return shapes


def _block(name: str, width: int, inner: int) -> Shapes:
    shapes = norm(f"{name}.ln_1", width) | norm(f"{name}.ln_2", width)
    shapes |= {f"{name}.attn.in_proj_weight": (3 * width, width), f"{name}.attn.in_proj_bias": (3 * width,)}
    shapes |= linear(f"{name}.attn.out_proj", width, width)
    return shapes | linear(f"{name}.mlp.c_fc", inner, width) | linear(f"{name}.mlp.c_proj", width, inner)


def sam(config: EntityModelConfig) -> Shapes:
    """Return SAM, which is SAM-Med2D without its adapters."""
    with_adapters = replace(config, pixel_encoder=replace(config.pixel_encoder, adapter_width=1))
    return {name: shape for name, shape in sam_med2d(with_adapters).items() if ".Adapter." not in name}


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedParents:
    """Checkpoints on disk, by the names of `Files`, and the tensors that they hold."""

    files: dict[str, Path]
    tensors: Tensors


def publish(folder: Path, config: EntityModelConfig) -> PublishedParents:
    """Write Vicuna in two shards, OpenCLIP with its numbers, and SAM, in the files of their releases."""
    language = drawn(llama(config, config.prompt.base_vocabulary), 1, torch.float16)
    images, masks = drawn(open_clip(config), 2), drawn(sam(config), 3)
    for name, value in masks.items():
        value += float("norm" in name and name.endswith("weight"))
    write_shards(folder / "vicuna", language)
    write_tokenizer(folder / "vicuna", pieces(config.prompt.base_vocabulary))
    (folder / "clip").mkdir()
    torch.save(images, folder / "clip" / "open_clip_pytorch_model.bin")
    numbers = {"head_width": config.vision.width // config.vision.heads, "layers": config.vision.layers}
    (folder / "clip" / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"vision_cfg": numbers}}))
    torch.save(masks, folder / "sam_vit_h_4b8939.pth")
    files = {"llm": folder / "vicuna", "clip": folder / "clip", "sam": folder / "sam_vit_h_4b8939.pth"}
    return PublishedParents(files=files, tensors=language | images | masks)
