"""Stage 0 of a model that answers in words alone: image tower and language model without public checkpoints.

The losses are those of `objective` that need no masks in an answer; masks of the data only tell what an image shows.

Shape suffixes: B images, C width of the tower, S side of an image.
"""

from collections.abc import Mapping, Sequence
from math import log

import torch
from numpy.random import Generator
from torch import nn

from reference_model.config import LlavaModelConfig
from reference_model.modeling.build import build_llava
from reference_model.modeling.llava import LlavaModel
from reference_model.stage0.objective import READ, init_matching
from reference_model.stage0.patch_captions import PatchCaption, patch_captions
from reference_model.stage0.patch_text_head import TEMPERATURE, PatchTextHead
from reference_model.stage0.text_comparison import TextComparison
from reference_model.stage0.verbalised_images import reading_loss, verbalise
from reference_model.training.collating.llava import LlavaCollator
from reference_model.training.mixing import Row
from reference_model.training.objectives import Measured, measured


class LlavaHeads(nn.Module):
    """Layers that compare images and patches with texts; they are dropped when the stage ends."""

    def __init__(self, config: LlavaModelConfig) -> None:
        """Build the heads, as wide as the tower."""
        super().__init__()
        width, language_width = config.vision.width, config.language.width
        self.picture = nn.Linear(width, width)
        self.text = nn.Linear(language_width, width)
        self.cells = PatchTextHead(
            channels=width, language_width=language_width, width=width, kinds=len(PatchCaption._fields)
        )
        self.scale = nn.Parameter(torch.full((1,), -log(TEMPERATURE)))


def build_untrained_llava(config: LlavaModelConfig) -> LlavaModel:
    """Return a randomly initialised model with the matching attention heads of stage 0; uses torch's generator."""
    model = build_llava(config)
    init_matching(model.language)
    return model


class LlavaParents:
    """The objective of stage 0."""

    def __init__(self, model: LlavaModel, collator: LlavaCollator, weights: Mapping[str, float]) -> None:
        """Build the objective; its heads are initialised with torch's generator.

        Args:
            model: The model to train.
            collator: Provides configuration, tokenizer and images.
            weights: Weight of each loss by name: `language`, `caption`, `cell`.
        """
        self.model = model
        self._collator = collator
        self._weights = weights
        self._shown: dict[tuple[str, tuple[str, ...]], tuple[PatchCaption, ...]] = {}
        self.heads = LlavaHeads(collator.config)
        self._texts = TextComparison(model.language, collator.tokenizer, self.heads)

    def modules_trained_beside(self) -> Mapping[str, nn.Module]:
        """Return the heads."""
        return {"heads": self.heads}

    def measure(self, rows: Sequence[Row], random: Generator, *, drop_seed: int, progress: float) -> Measured:
        """Return the losses of some rows; see `Objective.measure`. Of several images only the first is read."""
        del drop_seed
        vision_B3SS = torch.stack([self._collator.images.of(row[0])[0] for row in rows]).to(self.heads.scale.device)
        features_BPC, class_BC = self.model.vision.whole(vision_B3SS)
        shown = [self._patch_captions(row) for row in rows]
        found = [index for index, one in enumerate(shown) if one]
        # A question for a mask has no answer in words.
        asked = [tuple(one for one in row if one.mask is None) for row in rows[:READ]]
        verbalised = verbalise(asked, shown[:READ], random, progress=progress)
        cell = features_BPC.sum() * 0.0
        if found:
            cell = self.heads.cells(features_BPC[found], [shown[index] for index in found], self._texts.read)
        losses = {
            "language": reading_loss(self.model.language, verbalised, self._collator),
            "caption": self._texts.caption_loss(rows, class_BC),
            "cell": cell,
        }
        return measured(losses, self._weights)

    def _patch_captions(self, row: Row) -> tuple[PatchCaption, ...]:
        """Return the captions of an image's patches, computed once per image; none without masks."""
        names = tuple(sorted(name for example in row for name, _ in example.named_masks))
        known, vision = (row[0].media_key, names), self._collator.config.vision
        if names and known not in self._shown:
            self._shown[known] = patch_captions(row, side=vision.image_size, cells=vision.cells)
        return self._shown.get(known, ())
