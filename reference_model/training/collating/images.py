"""Turns rows of questions into the tensors of a batch.

Shape suffixes: as in `batch`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from harness.imaging import masks
from reference_model.config import EntityModelConfig, ImageModelConfig
from reference_model.inputs.batch import Batch, pad
from reference_model.inputs.conversation import (
    IGNORE,
    IMAGE,
    IMAGE_END,
    REGION,
    SEG,
    Encoded,
    Tokenizer,
    Turn,
    encode_conversation,
    expand_image,
)
from reference_model.inputs.images import Bools, for_pixel_encoder, for_vision_tower
from reference_model.inputs.regions import random_part
from reference_model.inputs.requests import grid_of_prompt, grids, in_words
from reference_model.inputs.visual_prompts import (
    PromptPlaces,
    encode_question,
    first_places,
    places_of,
    prompt_tensors,
)
from reference_model.training.collating.prepared_media import PreparedMedia
from reference_model.training.data import Example
from reference_model.training.mixing import Row

# Bytes of preprocessed images kept in memory.
CACHE_BYTES = 1 << 30
NO_PLACES = PromptPlaces()


@dataclass(slots=True)
class EncoderImages:
    """A cache of images preprocessed for the two encoders."""

    config: ImageModelConfig
    most_bytes: int = CACHE_BYTES
    _kept: PreparedMedia[tuple[Tensor, Tensor]] = field(default_factory=PreparedMedia)

    def of(self, example: Example) -> tuple[Tensor, Tensor]:
        """Return an image for the image tower and for the pixel encoder, float32 (3, S, S) each."""

        def prepare() -> tuple[Tensor, Tensor]:
            pixels = example.media.image()
            vision_3SS = for_vision_tower(pixels, self.config.vision.image_size)
            return vision_3SS, for_pixel_encoder(pixels, self.config.pixel_encoder.image_size)

        return self._kept.of(example.media_key, prepare, most_bytes=self.most_bytes)


@dataclass(frozen=True, slots=True)
class Question:
    """One encoded question of a row.

    Attributes:
        encoded: Question and answer.
        masks: Boolean, one (H, W) for each `<SEG>`.
        regions: Boolean, the cells (G, G) of its visual prompts, as MedPLIB reads them.
        places: The points and corners of its visual prompts, as MIMO reads them.
    """

    encoded: Encoded
    masks: tuple[Bools, ...]
    regions: tuple[Bools, ...] = ()
    places: PromptPlaces = NO_PLACES


@dataclass(frozen=True, slots=True, kw_only=True)
class Collator:
    """Turns rows into batches.

    Attributes:
        config: The numbers of the model.
        tokenizer: The tokenizer of the model.
        images: The cache of preprocessed images.
        answer_weight: Each of the n labels of an answer has weight n ** -answer_weight: with 0 all labels weigh the
            same, as in the paper; with 1 all answers do, so that long answers do not outweigh short ones.
        region_parts: Whether a random connected part takes the place of each region, see `inputs.regions.random_part`.
    """

    config: ImageModelConfig
    tokenizer: Tokenizer
    images: EncoderImages
    answer_weight: float = 0.0
    region_parts: bool = False

    def batch(self, rows: Sequence[Row], random: Generator) -> Batch:
        """Return the batch of these rows, padded on the right.

        Args:
            rows: At least one row, each about one image.
            random: Chooses the parts of regions.
        """
        asked = [[self._question(example, random) for example in row] for row in rows]
        patches = self.config.vision.tokens
        joined = [self.packed([question.encoded for question in questions], patches) for questions in asked]
        ids_BT, valid_BT, labels_BT = pad([one.encoded for one in joined], side="right")
        made = [self.images.of(row[0]) for row in rows]
        wanted = any(question.masks for questions in asked for question in questions)
        regions = [grid for questions in asked for question in questions for grid in question.regions]
        targets = [_masks(questions, row[0].size) for questions, row in zip(asked, rows, strict=True)]
        place_N2, kind_N = prompt_tensors([question.places for questions in asked for question in questions])
        return Batch(
            ids_BT=ids_BT,
            valid_BT=valid_BT,
            labels_BT=labels_BT,
            weight_BT=filled([one.weights for one in joined], ids_BT, torch.float32),
            segment_BT=filled([one.segments for one in joined], ids_BT, torch.long),
            vision_B3SS=torch.stack([vision_3SS for vision_3SS, _ in made]),
            pixels_B3SS=torch.stack([pixels_3SS for _, pixels_3SS in made]) if wanted else None,
            sizes=tuple(row[0].size for row in rows),
            grid_RGG=grids(regions, self.config.vision.cells),
            prompt_place_N2=place_N2,
            prompt_kind_N=kind_N,
            masks=tuple(targets) if wanted else (),
        )

    def _question(self, example: Example, random: Generator) -> Question:
        """Return an encoded question with the regions and the masks whose tokens were not truncated."""
        encoded = self.encode(example)
        asked_for = example.named_masks[: encoded.ids.count(self.tokenizer.special.id(SEG))]
        wanted = tuple(masks.decode(mask) for _, mask in asked_for)
        if isinstance(self.config, EntityModelConfig):
            return Question(encoded, wanted, places=first_places(self.places(example), encoded.ids.count(REGION)))
        found = [grid_of_prompt(one, example.size, self.config) for one in example.prompts]
        regions = found[: encoded.ids.count(REGION)]
        if self.region_parts:
            smallest = self.config.region.smallest_part
            # An empty region has no cell to grow a part from.
            regions = [random_part(grid, smallest=smallest, random=random) if grid.any() else grid for grid in regions]
        # With `released`, a region may vanish on the grid; its question is then not trained.
        if not all(grid.any() for grid in regions):
            encoded = Encoded(encoded.ids, (IGNORE,) * len(encoded.ids))
        return Question(encoded, wanted, regions=tuple(regions))

    def encode(self, example: Example) -> Encoded:
        """Return a question and its answer in the layout of the model, with one position for the image."""
        scored = self.config.prompt.options == "scored"
        turn = Turn(example.question, in_words(example.question, example.answer) if scored else example.answer)
        if isinstance(self.config, EntityModelConfig):
            return encode_question(turn, self.places(example), self.config, self.tokenizer)
        prompt = self.config.prompt
        return encode_conversation([turn], self.tokenizer, system=prompt.system, max_length=prompt.max_length)

    def places(self, example: Example) -> tuple[PromptPlaces, ...]:
        """Return the points and corners of the visual prompts of a question, as MIMO reads them."""
        side = self.config.vision.image_size
        return tuple(places_of(prompt, example.size, side=side) for prompt in example.prompts)

    def packed(self, questions: Sequence[Encoded], patches: int) -> "PackedRow":
        """Return a row of questions about one image, which share the tokens up to the end of the image.

        Args:
            questions: At least one, all about the same image.
            patches: The number of positions that the image takes.
        """
        expanded = [expand_image(question, patches) for question in questions]
        end = expanded[0].ids.index(IMAGE) + patches + (IMAGE_END in self.tokenizer.special.names)
        return packed(expanded, shared=end, answer_weight=self.answer_weight)


@dataclass(frozen=True, slots=True)
class PackedRow:
    """Several questions in one row: ids and labels, the segment of each position, and the weight of each label."""

    encoded: Encoded
    segments: list[int]
    weights: list[float]


def packed(questions: Sequence[Encoded], *, shared: int, answer_weight: float) -> PackedRow:
    """Return the row of some questions; what they share comes once and is segment 0, the questions are 1, 2, ....

    Args:
        questions: At least one; all begin with the same tokens.
        shared: How many tokens they begin with.
        answer_weight: See `Collator`.
    """
    ids, labels = [*questions[0].ids[:shared]], [*questions[0].labels[:shared]]
    segments, weights = [0] * shared, [0.0] * shared
    for number, question in enumerate(questions, start=1):
        own = question.labels[shared:]
        trained = sum(label != IGNORE for label in own)
        ids += question.ids[shared:]
        labels += own
        segments += [number] * len(own)
        weights += [max(1, trained) ** -answer_weight] * len(own)
    return PackedRow(Encoded(tuple(ids), tuple(labels)), segments, weights)


def filled(rows: Sequence[Sequence[float]], ids_BT: Tensor, dtype: torch.dtype) -> Tensor:
    """Return one number per position, (B, T) of `dtype`, on the device of the ids; padding on the right is 0."""
    filled_BT = torch.zeros(ids_BT.shape, dtype=dtype)
    for row, values in enumerate(rows):
        filled_BT[row, : len(values)] = torch.tensor(values, dtype=dtype)
    return filled_BT.to(ids_BT.device)


def _masks(questions: Sequence[Question], size: tuple[int, int]) -> Tensor:
    found = [mask for question in questions for mask in question.masks]
    stacked = np.stack(found) if found else np.zeros((0, *size), dtype=np.bool_)
    return torch.from_numpy(stacked).float()
