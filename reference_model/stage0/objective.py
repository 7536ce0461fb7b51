"""Stage 0 pre-trains image tower, language model and pixel encoder of a preset without public checkpoints.

As in CLIP, the tower learns to match captions to images and, with the features that later stages use, words to regions
and to cells. MIMO's aligner learns to read what a visual prompt marks. The language model learns to answer questions
about images that are described in words. As in SAM, pixel encoder and mask decoder learn to segment the structure that
a point, a box or a name refers to.

Shape suffixes: B images, R regions, M masks, U distinct texts, C width of the tower, E width of the comparison,
T positions, S side of an image, G cells.
"""

from collections.abc import Mapping, Sequence
from math import log
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from harness.imaging import masks
from reference_model.config import EntityModelConfig, ImageModelConfig, ModelConfig
from reference_model.inputs.images import Bools, mask_in_square
from reference_model.inputs.requests import grid_of_prompt, grids
from reference_model.inputs.visual_prompts import prompt_tensors
from reference_model.modeling.build import build_entity_model, build_image_model
from reference_model.modeling.input_aligner import IMAGE_KIND, PROMPT_KIND
from reference_model.modeling.language import LanguageModel, init_matching_heads
from reference_model.modeling.mask_decoder import PromptProjector, resized
from reference_model.modeling.model import EntityGroundingModel, PixelGroundingModel
from reference_model.modeling.region_encoder import sample_mean
from reference_model.stage0.patch_captions import PatchCaption, patch_captions
from reference_model.stage0.patch_text_head import TEMPERATURE, PatchTextHead
from reference_model.stage0.text_comparison import TextComparison
from reference_model.stage0.verbalised_images import reading_loss, verbalise
from reference_model.training.collating.images import Collator
from reference_model.training.losses import bce_loss, dice_loss
from reference_model.training.mixing import Row
from reference_model.training.objectives import Measured, measured

# Most masks per image and step: an image is encoded once, but each mask takes a pass of the decoder.
MASKS_PER_IMAGE = 4
# How many rows of a part of a step are described to the language model in words.
READ = 12
# Two thirds of the heads of two layers, see `init_matching_heads`: accuracy on the side of a structure was 0.81 after
# 300 steps, and 0.67 after 400 without them. In all heads and at four times the strength every word attends to itself,
# and nothing is learnt.
MATCHING_LAYERS, MATCHING_SHARE, MATCHING_STRENGTH = 2, 2 / 3, 0.7

# A boolean mask (S, S), and the name of the structure in it.
Wanted = tuple[Bools, str]


class PatchCaptions(NamedTuple):
    """The captions of an image's patches, as the tower cuts it and as the pixel encoder does."""

    tower: tuple[PatchCaption, ...]
    pixels: tuple[PatchCaption, ...]


NOTHING = PatchCaptions((), ())


class Heads(nn.Module):
    """Layers that compare images and regions with texts; they are dropped when the stage ends."""

    def __init__(self, config: ImageModelConfig) -> None:
        """Build the heads: as wide as the tower and, for the cells of the pixel encoder, as its features."""
        super().__init__()
        vision_width, language_width = config.vision.width, config.language.width
        channels = config.pixel_encoder.channels
        self.picture = nn.Linear(vision_width, vision_width)
        self.region = nn.Linear(vision_width, vision_width)
        self.text = nn.Linear(language_width, vision_width)
        self.cells = PatchTextHead(
            channels=vision_width, language_width=language_width, width=vision_width, kinds=len(PatchCaption._fields)
        )
        self.pixels = PatchTextHead(channels=channels, language_width=language_width, width=channels, kinds=1)
        self.prompt = PromptProjector(language_width=language_width, channels=channels)
        if isinstance(config, EntityModelConfig):
            self.aligned = nn.Linear(language_width, vision_width)
        # As in CLIP, the logarithm is trained: of one scale for captions and one for regions.
        self.scale = nn.Parameter(torch.full((2,), -log(TEMPERATURE)))


def build_untrained(config: ImageModelConfig) -> PixelGroundingModel | EntityGroundingModel:
    """Return a randomly initialised model with the matching attention heads of stage 0; uses torch's generator."""
    model: PixelGroundingModel | EntityGroundingModel
    if isinstance(config, EntityModelConfig):
        model = build_entity_model(config)
    else:
        model = build_image_model(config, experts=False)
    init_matching(model.language)
    return model


def init_matching(language: LanguageModel) -> None:
    """Give a language model the matching attention heads of stage 0; uses torch's generator."""
    init_matching_heads(language, layers=MATCHING_LAYERS, share=MATCHING_SHARE, strength=MATCHING_STRENGTH)


class Stage0Objective:
    """The objective of stage 0."""

    def __init__(
        self, model: PixelGroundingModel | EntityGroundingModel, collator: Collator, weights: Mapping[str, float]
    ) -> None:
        """Build the objective; its heads are initialised with torch's generator.

        Args:
            model: The model to train; its feed-forward parts are dense.
            collator: Provides configuration, tokenizer and images.
            weights: Weight of each loss by name.
        """
        self.model = model
        self._collator = collator
        self._weights = weights
        self._shown: dict[tuple[str, tuple[str, ...]], PatchCaptions] = {}
        self.heads = Heads(collator.config)
        self._texts = TextComparison(model.language, collator.tokenizer, self.heads)

    def modules_trained_beside(self) -> Mapping[str, nn.Module]:
        """Return the heads."""
        return {"heads": self.heads}

    def measure(self, rows: Sequence[Row], random: Generator, *, drop_seed: int, progress: float) -> Measured:
        """Return the losses of some rows; see `Objective.measure`."""
        del drop_seed  # dense parts drop no token
        device = self.heads.scale.device
        made = [self._collator.images.of(row[0]) for row in rows]
        vision_B3SS, pixels_B3SS = (torch.stack(images).to(device) for images in zip(*made, strict=True))
        features_BPC, class_BC = self.model.vision.whole(vision_B3SS)
        shown = [self._patch_captions(row) for row in rows]
        found = [index for index, one in enumerate(shown) if one.tower]
        pixels_RKGG = self.model.pixel_encoder(pixels_B3SS[found]) if found else pixels_B3SS[:0]
        bce, dice = self._mask_losses([rows[index] for index in found], pixels_RKGG, random)
        verbalised = verbalise(rows[:READ], [one.tower for one in shown[:READ]], random, progress=progress)
        losses = {
            "language": reading_loss(self.model.language, verbalised, self._collator),
            "caption": self._texts.caption_loss(rows, class_BC),
            "region": self._region_loss(rows, features_BPC),
            "prompt": self._prompt_loss(rows, features_BPC),
            "cell": self._cell_loss(self.heads.cells, features_BPC[found], [shown[index].tower for index in found]),
            "pixel": self._cell_loss(
                self.heads.pixels, pixels_RKGG.flatten(2).transpose(1, 2), [shown[index].pixels for index in found]
            ),
            "bce": bce,
            "dice": dice,
        }
        return measured(losses, self._weights)

    def _region_loss(self, rows: Sequence[Row], features_BPC: Tensor) -> Tensor:
        config = self._collator.config
        found = [
            (index, grid_of_prompt(example.prompts[0], example.size, config), example.answer)
            for index, row in enumerate(rows)
            for example in row
            if len(example.prompts) == 1
        ]
        if not found:
            return features_BPC.sum() * 0.0
        cells = config.vision.cells
        map_BCGG = features_BPC.transpose(1, 2).reshape(len(features_BPC), -1, cells, cells)
        mean_RC = sample_mean(
            map_BCGG[[index for index, _, _ in found]],
            grids([grid for _, grid, _ in found], cells).to(map_BCGG.device),
            alignment=config.region.alignment if isinstance(config, ModelConfig) else "centre",
        )
        return self._texts.loss(self.heads.region(mean_RC), [text for _, _, text in found], self.heads.scale[1])

    def _prompt_loss(self, rows: Sequence[Row], features_BPC: Tensor) -> Tensor:
        """Return CLIP's loss between what an aligner reads at visual prompts and the answers about them, a scalar."""
        model, collator = self.model, self._collator
        found = [(index, one) for index, row in enumerate(rows) for one in row if len(one.prompts) == 1]
        if not found or not isinstance(model, EntityGroundingModel) or model.aligner is None:
            return features_BPC.sum() * 0.0
        device = features_BPC.device
        prompts = [collator.places(example)[0] for _, example in found]
        place_N2, kind_N = (tensor.to(device) for tensor in prompt_tensors(prompts))
        embedded = model.prompt_encoder(place_N2, kind_N).split([len(one.kinds) for one in prompts])
        prompt_QND = pad_sequence(embedded, batch_first=True)
        image_QPD = model.image_embeddings(features_BPC)[[index for index, _ in found]]
        context_QTD = torch.cat((image_QPD, prompt_QND.to(image_QPD.dtype)), dim=1)
        count_Q = torch.tensor([len(one.kinds) for one in prompts], device=device)
        place_T = torch.arange(context_QTD.shape[1], device=device)
        valid_QT = place_T < image_QPD.shape[1] + count_Q[:, None]
        kind_T = torch.where(place_T < image_QPD.shape[1], IMAGE_KIND, PROMPT_KIND)
        aligned_QLD = model.aligner(context_QTD, kind_T.expand(len(found), -1), valid_QT)
        item_QE = self.heads.aligned(aligned_QLD.mean(dim=1))
        return self._texts.loss(item_QE, [one.answer for _, one in found], self.heads.scale[1])

    def _patch_captions(self, row: Row) -> PatchCaptions:
        """Return the captions of an image's patches, computed once per image; none without masks."""
        names = tuple(sorted(name for example in row for name, _ in example.named_masks))
        if not names:
            return NOTHING
        known, config = (row[0].media_key, names), self._collator.config
        if known not in self._shown:
            self._shown[known] = PatchCaptions(
                tower=patch_captions(row, side=config.vision.image_size, cells=config.vision.cells),
                pixels=patch_captions(row, side=config.pixel_encoder.image_size, cells=config.pixel_encoder.cells),
            )
        return self._shown[known]

    def _cell_loss(self, head: PatchTextHead, features_RPC: Tensor, shown: Sequence[Sequence[PatchCaption]]) -> Tensor:
        if not shown:
            return features_RPC.sum() * 0.0
        loss: Tensor = head(features_RPC, shown, self._texts.read)
        return loss

    def _mask_losses(self, rows: Sequence[Row], pixels_RKGG: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
        """Return BCE and Dice loss of masks prompted by a point, a box or a name, scalars, in the padded square.

        Args:
            rows: R rows, each with masks.
            pixels_RKGG: Floating point, the pixel encoder's features of their images.
            random: Chooses between point, box and name for each mask, and the points.
        """
        side = self.model.pixel_side
        found: list[tuple[int, Bools, str]] = []
        for index, row in enumerate(rows):
            marked = list(dict.fromkeys(one for example in row for one in example.named_masks))
            for name, mask in marked[:MASKS_PER_IMAGE]:
                mask_SS = mask_in_square(masks.decode(mask), side)
                if mask_SS.any():  # resizing may have left nothing of a small structure
                    found.append((index, mask_SS, name))
        if not found:
            zero = pixels_RKGG.sum() * 0.0
            return zero, zero
        device = pixels_RKGG.device
        kind_M = random.choice(len(PROMPTS), size=len(found), p=PROMPT_SHARES)
        logits, targets = [], []
        for kind, prompt in enumerate(PROMPTS):
            chosen = np.flatnonzero(kind_M == kind)
            if len(chosen):
                sparse_MNK = prompt(self, [found[index][1:] for index in chosen], random)
                row_M = torch.tensor([found[index][0] for index in chosen], device=device)
                logits.append(self.model.mask_decoder(pixels_RKGG[row_M], sparse_MNK)[0])
                targets += [found[index][1] for index in chosen]
        square_MSS = resized(torch.cat(logits)[:, None].float(), (side, side))[:, 0]
        target_MSS = torch.from_numpy(np.stack(targets)).to(device).float()
        return bce_loss(square_MSS, target_MSS), dice_loss(square_MSS, target_MSS)

    def points(self, wanted: Sequence[Wanted], random: Generator) -> Tensor:
        """Return prompts, floating point (M, 2, K): a random pixel of each mask, and SAM's padding point."""
        points = [random.choice(np.argwhere(mask_SS))[::-1] for mask_SS, _ in wanted]
        points_M12 = torch.from_numpy(np.stack(points)).to(self.heads.scale.device).float()[:, None]
        inside_M1 = torch.ones(points_M12.shape[:2], dtype=torch.long, device=points_M12.device)
        return self.model.mask_decoder.embed_points(points_M12, inside_M1)

    def boxes(self, wanted: Sequence[Wanted], random: Generator) -> Tensor:
        """Return prompts, floating point (M, 2, K): the tight box of each mask; `random` is not used."""
        del random
        boxes = []
        for mask_SS, _ in wanted:
            rows, columns = np.flatnonzero(mask_SS.any(axis=1)), np.flatnonzero(mask_SS.any(axis=0))
            boxes.append((int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))
        return self.model.mask_decoder.embed_boxes(torch.tensor(boxes, device=self.heads.scale.device).float())

    def names(self, wanted: Sequence[Wanted], random: Generator) -> Tensor:
        """Return prompts, floating point (M, 1, K): the encoding of each name; `random` is not used."""
        del random
        unique = list(dict.fromkeys(name for _, name in wanted))
        prompt_UK: Tensor = self.heads.prompt(self._texts.read(unique))
        return prompt_UK[[unique.index(name) for _, name in wanted], None]


# The kinds of prompts for a mask.
PROMPTS = (Stage0Objective.points, Stage0Objective.boxes, Stage0Objective.names)
# Their shares; half are names, since later stages ask by name.
PROMPT_SHARES = (0.25, 0.25, 0.5)
