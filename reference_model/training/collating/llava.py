"""Turns rows of questions about several images into the tensors of a batch.

Shape suffixes: as in `batch`, N images of a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from numpy.random import Generator
from torch import Tensor

from reference_model.config import LlavaModelConfig
from reference_model.inputs.batch import Batch, pad
from reference_model.inputs.conversation import IMAGE, Encoded, Tokenizer, Turn, encode_about_images, expand_image
from reference_model.inputs.images import for_vision_tower
from reference_model.inputs.requests import in_words
from reference_model.training.collating.images import CACHE_BYTES, PackedRow, filled, packed
from reference_model.training.collating.prepared_media import PreparedMedia
from reference_model.training.data import Example
from reference_model.training.mixing import Row


@dataclass(slots=True)
class TowerImages:
    """A cache of the images of a question as the image tower reads them."""

    config: LlavaModelConfig
    most_bytes: int = CACHE_BYTES
    _kept: PreparedMedia[tuple[Tensor]] = field(default_factory=PreparedMedia)

    def of(self, example: Example) -> Tensor:
        """Return the images of a question in their order, float32 (N, 3, S, S)."""

        def prepare() -> tuple[Tensor]:
            media, side = (example.media, *example.further), self.config.vision.image_size
            return (torch.stack([for_vision_tower(one.image(), side) for one in media]),)

        return self._kept.of(example.media_key, prepare, most_bytes=self.most_bytes)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class LlavaCollator:
    """Turns rows about one or several images into batches.

    Attributes:
        config: The numbers of the model.
        tokenizer: The tokenizer of the model.
        images: The cache of preprocessed images.
        answer_weight: As for `images.Collator`.
    """

    config: LlavaModelConfig
    tokenizer: Tokenizer
    images: TowerImages
    answer_weight: float = 0.0

    def batch(self, rows: Sequence[Row], random: Generator) -> Batch:
        """Return the batch of these rows, padded on the right.

        Args:
            rows: At least one row; all questions of a row are about the same images.
            random: Not used.
        """
        del random
        patches = self.config.vision.tokens
        joined = [self.packed([self.encode(example) for example in row], patches) for row in rows]
        ids_BT, valid_BT, labels_BT = pad([one.encoded for one in joined], side="right")
        return Batch(
            ids_BT=ids_BT,
            valid_BT=valid_BT,
            labels_BT=labels_BT,
            weight_BT=filled([one.weights for one in joined], ids_BT, torch.float32),
            segment_BT=filled([one.segments for one in joined], ids_BT, torch.long),
            vision_B3SS=torch.cat([self.images.of(row[0]) for row in rows]),
            sizes=(),
            grid_RGG=torch.zeros(0),
        )

    def encode(self, example: Example) -> Encoded:
        """Return a question and its answer in the layout of the model, with one position for each image."""
        prompt, answer = self.config.prompt, example.answer
        if prompt.options == "scored":
            answer = in_words(example.question, answer)
        return encode_about_images(
            [Turn(example.question, answer)],
            self.tokenizer,
            images=1 + len(example.further),
            max_length=prompt.max_length,
        )

    def packed(self, questions: Sequence[Encoded], patches: int) -> PackedRow:
        """Return a row of questions about the same images, which share the tokens up to the end of the last image.

        Args:
            questions: At least one.
            patches: The number of positions that an image takes.
        """
        expanded = [expand_image(question, patches) for question in questions]
        ids = expanded[0].ids
        return packed(expanded, shared=len(ids) - ids[::-1].index(IMAGE), answer_weight=self.answer_weight)
