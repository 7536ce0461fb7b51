"""What the tests of MIMO's architecture share: numbers of a small model, questions and examples."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from harness.imaging import masks
from harness.records import Box, Entity, Points
from reference_model.config import EntityModelConfig
from reference_model.inputs.conversation import PROMPT_PAIR, SpecialTokens
from reference_model.inputs.tokenizers import WordTokenizer, words_of
from reference_model.modeling.build import build_entity_model
from reference_model.modeling.model import EntityGroundingModel
from reference_model.preset_files import load_preset
from reference_model.training.collating.images import Collator, EncoderImages
from reference_model.training.data import Example
from tests.unit.reference_model.small_training import example

SIZE = (20, 24)
LIVER, SPLEEN = np.zeros(SIZE, dtype=bool), np.zeros(SIZE, dtype=bool)
LIVER[2:14, 2:12] = True
SPLEEN[8:18, 14:22] = True
BOX, POINT = Box(corners=(14, 8, 22, 18)), Points(points=((5.0, 6.0),), labels=(1,))
BOTH = "I see the <p>liver<SEG></p> and the <p>spleen<SEG></p>."
TEXTS = ("USER: ASSISTANT:\n", "What is in this image, at and ? Where is it", BOTH, "It is dark. yes no")
TOKENIZER = WordTokenizer(words_of(TEXTS), special=SpecialTokens.mimo(40))


def small_config(**changes: Any) -> EntityModelConfig:
    """Return the numbers of a model with 16 positions for an image and two for queries."""
    tiny = load_preset("mimo-tiny")
    assert isinstance(tiny, EntityModelConfig)
    small = replace(
        tiny,
        prompt=replace(tiny.prompt, base_vocabulary=TOKENIZER.special.base, max_length=64),
        vision=replace(tiny.vision, image_size=32, width=16, ffn_width=32, layers=2, heads=2),
        aligner=replace(tiny.aligner, queries=2, width=16, ffn_width=32, layers=2, heads=2),
        language=replace(tiny.language, width=32, ffn_width=48, layers=2, heads=2),
        pixel_encoder=replace(
            tiny.pixel_encoder, image_size=32, patch_size=4, width=16, ffn_width=32, layers=1, heads=2, window=2,
            global_every=1, channels=16,
        ),
        mask_decoder=replace(tiny.mask_decoder, heads=2, ffn_width=32, iou_width=16, mask_prompt_channels=4),
    )  # fmt: skip
    return replace(small, **changes)


def small_model(config: EntityModelConfig, *, scale: float = 10.0) -> EntityGroundingModel:
    """Return a model whose language model has weights `scale` times as large as usual, so that differences show."""
    torch.manual_seed(1)
    built = build_entity_model(config).eval()
    for parameter in built.language.parameters():
        if parameter.ndim > 1:
            parameter.data.mul_(scale)
    return built


def without_aligner(config: EntityModelConfig) -> EntityModelConfig:
    """Return the numbers of the model of the ablation."""
    return replace(config, aligner=replace(config.aligner, queries=0))


def collator(config: EntityModelConfig) -> Collator:
    """Return what turns questions into batches."""
    return Collator(config=config, tokenizer=TOKENIZER, images=EncoderImages(config))


def grounded(picture: int, answer: str, *named: tuple[str, Any], **fields: Any) -> Example:
    """Return a question whose answer binds names to masks."""
    entities = tuple(Entity(name=name, mask=masks.encode(mask)) for name, mask in named)
    fields = {"question": "What is in this image?", "entities": entities} | fields
    return example(picture, size=SIZE, answer=answer, **fields)


ABOUT_BOTH = grounded(0, BOTH, ("liver", LIVER), ("spleen", SPLEEN))
ABOUT_BOX = grounded(
    0, "It is the <p>spleen<SEG></p>.", ("spleen", SPLEEN), question=f"What is in {PROMPT_PAIR}?", prompts=(BOX,)
)
ABOUT_POINT = grounded(
    1, "It is the <p>liver<SEG></p>.", ("liver", LIVER), question=f"What is at {PROMPT_PAIR}?", prompts=(POINT,)
)
PLAIN = example(1, size=SIZE, question="Is it dark?", answer="yes")
