"""What the tests of HuatuoGPT-Vision's architecture share: numbers of a small model, and questions about images."""

from dataclasses import replace
from typing import Any

import torch

from harness.records import MediaPart, Part, Request, TextPart, Turn
from reference_model.config import LlavaModelConfig
from reference_model.inputs.conversation import ASSISTANT, USER, SpecialTokens
from reference_model.inputs.tokenizers import WordTokenizer, words_of
from reference_model.modeling.build import build_llava
from reference_model.modeling.llava import LlavaModel
from reference_model.preset_files import load_preset
from reference_model.training.collating.llava import LlavaCollator, TowerImages
from tests.unit.reference_model.small_training import example

LETTERED = "Which is it?\nA. the liver\nB. the spleen\nReply with the letter."
TEXTS = (LETTERED, "Is it A or B? yes no\n", "What is this?", "<image 1 2 3>")
TOKENIZER = WordTokenizer((USER, ASSISTANT, *words_of(TEXTS, exact=True)), special=SpecialTokens(48, ()), exact=True)


def small_config(**prompt: Any) -> LlavaModelConfig:
    """Return the numbers of a model with 16 positions for an image."""
    tiny = load_preset("huatuo-vision-tiny")
    assert isinstance(tiny, LlavaModelConfig)
    numbers = {"base_vocabulary": TOKENIZER.special.base, "max_length": 64, "options": "written"} | prompt
    return replace(
        tiny,
        prompt=replace(tiny.prompt, **numbers),
        vision=replace(tiny.vision, image_size=32, width=16, ffn_width=32, layers=2, heads=2),
        language=replace(tiny.language, width=32, ffn_width=48, layers=2, heads=2),
    )


def small_model(config: LlavaModelConfig, *, scale: float = 10.0) -> LlavaModel:
    """Return a model whose weights are `scale` times as large as usual, so that differences show."""
    torch.manual_seed(1)
    built = build_llava(config).eval()
    for parameter in (*built.language.parameters(), *built.connector.parameters()):
        if parameter.ndim > 1:
            parameter.data.mul_(scale)
    return built


def collator(config: LlavaModelConfig) -> LlavaCollator:
    """Return what turns questions into batches."""
    return LlavaCollator(config=config, tokenizer=TOKENIZER, images=TowerImages(config))


def about(*numbers: int, **fields: Any) -> Any:
    """Return a question about images of noise."""
    first, *others = numbers
    return example(first, further=tuple(example(other).media for other in others), **fields)


def request(*parts: int | str, **fields: Any) -> Request:
    """Return a request whose parts are texts and the numbers of images of noise."""
    made: list[Part] = [
        TextPart(text=part) if isinstance(part, str) else MediaPart(media=example(part).media) for part in parts
    ]
    fields = {"decoding": {"max_new_tokens": 8, "temperature": 0}, "key": str(parts)} | fields
    return Request(messages=(Turn(role="user", parts=tuple(made)),), **fields)
