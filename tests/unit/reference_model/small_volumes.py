"""What the tests of models that read volumes share: numbers of a model of a few thousand parameters, and examples."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from harness.imaging import masks
from harness.imaging.media_store import LocalMedia
from harness.records import Media, MediaPart, Request, TextPart, Turn
from reference_model.config import VolumeModelConfig
from reference_model.inputs.conversation import SpecialTokens
from reference_model.inputs.tokenizers import WordTokenizer, words_of
from reference_model.modeling.build import build_volume_model
from reference_model.modeling.m3d_model import VolumeGroundingModel
from reference_model.preset_files import load_preset
from reference_model.training.data import Example

SIZE = (8, 16, 16)
REPORT = (
    "The liver is large. It holds a cyst of 12 mm in its upper half. The spleen is small, the rest is normal. "
    "No tumor is seen."
)
TEXTS = (
    REPORT,
    "The spleen is absent. The liver is normal, and so is the rest. No cyst is seen in any slice of the volume. "
    "No tumor is seen.",
    "Where is it? What is this? Mark the liver. Which organ is A. B. C. D.? Yes. No.",
    "It is at [0.25, 0.125, 0.375, 0.625, 0.812, 0.938] 3456789",
)
TOKENIZER = WordTokenizer(words_of(TEXTS, exact=True), special=SpecialTokens.m3d(80), exact=True)


def small_config(**changes: Any) -> VolumeModelConfig:
    """Return the numbers of a model on a grid of `SIZE`, with eight positions for a volume."""
    tiny = load_preset("m3d-lamed-tiny")
    assert isinstance(tiny, VolumeModelConfig)
    grid = {"depth": SIZE[0], "side": SIZE[1], "patch_depth": 2, "patch_side": 4}
    small = replace(
        tiny,
        prompt=replace(tiny.prompt, base_vocabulary=TOKENIZER.special.base, max_length=96),
        vision=replace(tiny.vision, **grid, width=16, ffn_width=32, layers=2, heads=2),
        clip=replace(tiny.clip, width=16, ffn_width=32, layers=1, heads=2, vocabulary=84, max_length=40),
        language=replace(tiny.language, width=32, ffn_width=48, layers=2, heads=2),
        segmentation=replace(tiny.segmentation, **grid, width=16, ffn_width=32, layers=1, heads=2),
        mask_decoder=replace(tiny.mask_decoder, heads=2, ffn_width=32, iou_width=16),
    )
    return replace(small, **changes)


def small_model(config: VolumeModelConfig) -> VolumeGroundingModel:
    """Return a model whose language model has weights ten times as large as usual, so that differences show."""
    torch.manual_seed(1)
    built = build_volume_model(config).eval()
    for parameter in built.language.parameters():
        if parameter.ndim > 1:
            parameter.data.mul_(10)
    return built


class NoiseVolume(LocalMedia):
    """A volume of noise that depends on its digest."""

    def volume(self) -> Any:
        return np.random.default_rng(int(str(self.record.sha256))).random(self.record.size, dtype=np.float32)


def volume_example(number: int = 0, *, mask: Any = None, size: tuple[int, int, int] = SIZE, **fields: Any) -> Example:
    """Return a question about a volume of noise."""
    media = Media(path=f"{number}.npy", sha256=str(number), kind="volume", size=size)
    encoded = None if mask is None else masks.encode(mask)
    fields = {"question": "What is this?", "answer": "the liver.", "mask": encoded} | fields
    return Example(media=NoiseVolume(media, None), **fields)  # type: ignore[arg-type]


def cube(start: int = 2, *, size: tuple[int, int, int] = SIZE) -> Any:
    """Return a boolean mask of `size` with a block of foreground."""
    mask = np.zeros(size, dtype=np.bool_)
    mask[start : start + 4, 4:12, start : start + 8] = True
    return mask


def volume_request(words: str, number: int = 0, *, size: tuple[int, int, int] = SIZE, **fields: Any) -> Request:
    """Return a request about a volume of noise."""
    shown = MediaPart(media=volume_example(number, size=size).media)
    turn = Turn(role="user", parts=(shown, TextPart(text=words)))
    fields = {"decoding": {"max_new_tokens": 6, "temperature": 0}, "key": f"k{number}"} | fields
    return Request(messages=(turn,), **fields)


embed_request = partial(volume_request, "", kind="embed", wants=("embedding",))
