"""Stage 0: an image tower, a language model and a pixel encoder for a preset that has no public ones to begin with.

The tower learns as CLIP does, which caption belongs to which picture and, from the features that are used later, which
words belong to which region and which to which cell. The language model learns to answer from pictures that are
told in words. Pixel encoder and mask decoder learn as SAM does, to mark what a point, a box or a name means.

Shape suffixes: B pictures, R regions, M masks, U texts that differ, C width of the tower, E width of the comparison,
T positions, S side of a picture, G cells.
"""

from collections.abc import Mapping, Sequence
from math import log
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from numpy.random import Generator
from torch import Tensor, nn

from harness.imaging import masks
from reference_model.config import ModelConfig
from reference_model.inputs.batch import PADDING, pad
from reference_model.inputs.conversation import Encoded
from reference_model.inputs.images import mask_in_square
from reference_model.inputs.regions import Bools
from reference_model.inputs.requests import grid_of_prompt, grids
from reference_model.modeling.build import build_model
from reference_model.modeling.language import init_matching_heads
from reference_model.modeling.mask_decoder import PromptProjector, resized
from reference_model.modeling.model import PixelGroundingModel
from reference_model.modeling.region_encoder import sample_mean
from reference_model.stage0.patch_captions import PatchCaption, patch_captions
from reference_model.stage0.patch_text_head import TEMPERATURE, PatchTextHead
from reference_model.stage0.verbalised_images import reading_loss, verbalise
from reference_model.training.collate import Collator
from reference_model.training.losses import bce_loss, dice_loss
from reference_model.training.mixing import Row
from reference_model.training.objectives import Measured, measured

CAPTION_WORDS = 5
"""Words from which on an answer about a whole picture is a caption."""
MASKS_PER_PICTURE = 4
"""Of those a row asks for: one picture is encoded once, its masks each take a pass of the decoder."""
READ = 12
"""Rows of a step whose pictures are told to the language model."""
EQUAL_LAYERS, EQUAL_SHARE, EQUAL_STRENGTH = 2, 2 / 3, 0.7
"""How the language model begins, see `attend_to_equals`."""

Wanted = tuple[Bools, str]
"""A mask, and the name of what it marks."""


class PatchCaptions(NamedTuple):
    """What the cells of a picture show, as the tower cuts it and as the pixel encoder does."""

    tower: tuple[PatchCaption, ...]
    pixels: tuple[PatchCaption, ...]


NOTHING = PatchCaptions((), ())


class Heads(nn.Module):
    """What compares pictures and regions with texts; not needed once the tower has learnt."""

    def __init__(self, config: ModelConfig) -> None:
        """Compare in the width of the tower, cells of the pixel encoder in theirs."""
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
        self.scale = nn.Parameter(torch.full((2,), -log(TEMPERATURE)))


def build_untrained(config: ModelConfig) -> PixelGroundingModel:
    """Return a model of random weights, drawn with torch's generator, with the heads that stage 0 begins with."""
    model = build_model(config, experts=False)
    init_matching_heads(model.language, layers=EQUAL_LAYERS, share=EQUAL_SHARE, strength=EQUAL_STRENGTH)
    return model


class Stage0Objective:
    """The objective of stage 0."""

    def __init__(self, model: PixelGroundingModel, collator: Collator, weights: Mapping[str, float]) -> None:
        """Weigh the losses; the heads are drawn with torch's generator."""
        self.model = model
        self._collator = collator
        self._weights = weights
        self._shown: dict[tuple[str, tuple[str, ...]], PatchCaptions] = {}
        self.heads = Heads(collator.config)

    def modules_trained_beside(self) -> Mapping[str, nn.Module]:
        """Return the heads."""
        return {"heads": self.heads}

    def measure(self, rows: Sequence[Row], random: Generator, *, drop_seed: int, progress: float) -> Measured:
        """Return the losses of some rows; nothing is dropped in dense parts."""
        del drop_seed
        device = self.heads.scale.device
        made = [self._collator.pictures.of(row[0]) for row in rows]
        vision_B3SS, pixels_B3SS = (torch.stack(pictures).to(device) for pictures in zip(*made, strict=True))
        features_BPC, class_BC = self.model.vision.whole(vision_B3SS)
        shown = [self._patch_captions(row) for row in rows]
        found = [index for index, one in enumerate(shown) if one.tower]
        pixels_RKGG = self.model.pixel_encoder(pixels_B3SS[found]) if found else pixels_B3SS[:0]
        bce, dice = self._mask_losses([rows[index] for index in found], pixels_RKGG, random)
        told = verbalise(rows[:READ], [one.tower for one in shown[:READ]], random, progress=progress)
        losses = {
            "language": reading_loss(self.model.language, told, self._collator),
            "caption": self._caption_loss(rows, class_BC),
            "region": self._region_loss(rows, features_BPC),
            "cell": self._cell_loss(self.heads.cells, features_BPC[found], [shown[index].tower for index in found]),
            "pixel": self._cell_loss(
                self.heads.pixels, pixels_RKGG.flatten(2).transpose(1, 2), [shown[index].pixels for index in found]
            ),
            "bce": bce,
            "dice": dice,
        }
        return measured(losses, self._weights)

    def _caption_loss(self, rows: Sequence[Row], class_BC: Tensor) -> Tensor:
        found = [(index, caption) for index, row in enumerate(rows) if (caption := _caption(row))]
        if not found:
            return class_BC.sum() * 0.0
        picture_BE = self.heads.picture(class_BC[[index for index, _ in found]])
        return self._compared(picture_BE, [caption for _, caption in found], self.heads.scale[0])

    def _region_loss(self, rows: Sequence[Row], features_BPC: Tensor) -> Tensor:
        found = [(index, *one) for index, row in enumerate(rows) for one in self._regions(row)]
        if not found:
            return features_BPC.sum() * 0.0
        cells = self._collator.config.vision.cells
        map_BCGG = features_BPC.transpose(1, 2).reshape(len(features_BPC), -1, cells, cells)
        mean_RC = sample_mean(
            map_BCGG[[index for index, _, _ in found]],
            grids([grid for _, grid, _ in found], cells).to(map_BCGG.device),
            alignment=self._collator.config.region.alignment,
        )
        return self._compared(self.heads.region(mean_RC), [text for _, _, text in found], self.heads.scale[1])

    def _regions(self, row: Row) -> list[tuple[Bools, str]]:
        """Return the cells of what is pointed at, each with the words that say what it is."""
        pointing = [example for example in row if len(example.prompts) == 1]
        return [
            (grid_of_prompt(example.prompts[0], example.size, self._collator.config), example.answer)
            for example in pointing
        ]

    def _patch_captions(self, row: Row) -> PatchCaptions:
        """Return what the cells of a picture show, looked up where it was asked before; nothing without masks."""
        names = tuple(sorted(example.name for example in row if example.mask))
        if not names:
            return NOTHING
        known, config = (row[0].image_key, names), self._collator.config
        if known not in self._shown:
            self._shown[known] = PatchCaptions(
                tower=patch_captions(row, side=config.vision.image_size, cells=config.vision.cells),
                pixels=patch_captions(row, side=config.pixel_encoder.image_size, cells=config.pixel_encoder.cells),
            )
        return self._shown[known]

    def _cell_loss(self, head: PatchTextHead, features_RPC: Tensor, shown: Sequence[Sequence[PatchCaption]]) -> Tensor:
        if not shown:
            return features_RPC.sum() * 0.0
        loss: Tensor = head(features_RPC, shown, self._read)
        return loss

    def _compared(self, item_BE: Tensor, texts: Sequence[str], scale: Tensor) -> Tensor:
        """Return how badly items and texts find each other; equal texts are one, and any of its items is right."""
        unique = list(dict.fromkeys(texts))
        target_B = torch.tensor([unique.index(text) for text in texts], device=item_BE.device)
        text_UE = F.normalize(self.heads.text(self._read(unique)), dim=-1)
        logits_BU = F.normalize(item_BE, dim=-1) @ text_UE.T * scale.exp().clamp_max(100.0)
        own_BU = F.one_hot(target_B, len(unique)).to(logits_BU.dtype)
        by_text_UB = own_BU.T / own_BU.sum(dim=0)[:, None]
        return (F.cross_entropy(logits_BU, target_B) + F.cross_entropy(logits_BU.T, by_text_UB)) / 2

    def _read(self, texts: Sequence[str]) -> Tensor:
        """Return the language model's state (U, D) behind each text."""
        tokenizer = self._collator.tokenizer
        ids = [(tokenizer.start_id, *tokenizer.encode(text), tokenizer.end_id) for text in texts]
        padded = pad([Encoded(one, one) for one in ids], side="left")
        ids_BT, valid_BT, _ = (tensor.to(self.heads.scale.device) for tensor in padded)
        ids_BT = ids_BT.masked_fill(~valid_BT, PADDING)
        hidden_BTD = self.model.language(self.model.language.embed_tokens(ids_BT), valid_BK=valid_BT).hidden_BTD
        last_UD: Tensor = hidden_BTD[:, -1]
        return last_UD

    def _mask_losses(self, rows: Sequence[Row], pixels_RKGG: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
        """Return BCE and Dice of masks that are asked for by a point, a box or a name, in the padded square.

        Args:
            rows: R, each with masks.
            pixels_RKGG: The pixel encoder's features of their pictures.
            random: Decides on what they are asked for by.
        """
        side = self.model.pixel_side
        found = [
            (index, mask_SS, name)
            for index, row in enumerate(rows)
            for mask_HW, name in _marked(row)[:MASKS_PER_PICTURE]
            if (mask_SS := mask_in_square(mask_HW, side)).any()
        ]
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
        """Return prompts (M, 2, K): a pixel drawn out of each mask."""
        points = [random.choice(np.argwhere(mask_SS))[::-1] for mask_SS, _ in wanted]
        points_M12 = torch.from_numpy(np.stack(points)).to(self.heads.scale.device).float()[:, None]
        inside_M1 = torch.ones(points_M12.shape[:2], dtype=torch.long, device=points_M12.device)
        return self.model.mask_decoder.embed_points(points_M12, inside_M1)

    def boxes(self, wanted: Sequence[Wanted], random: Generator) -> Tensor:
        """Return prompts (M, 2, K): the tight box of each mask; nothing is drawn."""
        del random
        boxes_M4 = torch.tensor([_box(mask_SS) for mask_SS, _ in wanted], device=self.heads.scale.device).float()
        return self.model.mask_decoder.embed_boxes(boxes_M4)

    def names(self, wanted: Sequence[Wanted], random: Generator) -> Tensor:
        """Return prompts (M, 1, K): what the language model reads each name as; nothing is drawn."""
        del random
        unique = list(dict.fromkeys(name for _, name in wanted))
        prompt_UK: Tensor = self.heads.prompt(self._read(unique))
        return prompt_UK[[unique.index(name) for _, name in wanted], None]


PROMPTS = (Stage0Objective.points, Stage0Objective.boxes, Stage0Objective.names)
"""What a mask is asked for by."""
PROMPT_SHARES = (0.25, 0.25, 0.5)
"""Of them; names are what later stages ask by."""


def _caption(row: Row) -> str:
    """Return the longest answer about the whole picture; empty where none is long enough."""
    texts = [example.answer for example in row if not example.prompts and example.mask is None]
    longest = max(texts, key=len, default="")
    return longest if len(longest.split()) >= CAPTION_WORDS else ""


def _marked(row: Row) -> list[Wanted]:
    """Return what a row wants marked, masks (H, W)."""
    return [(masks.decode(example.mask), example.name) for example in row if example.mask is not None]


def _box(mask_SS: Bools) -> tuple[int, int, int, int]:
    """Return the tight box x1 y1 x2 y2 of a mask."""
    rows, columns = np.flatnonzero(mask_SS.any(axis=1)), np.flatnonzero(mask_SS.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
