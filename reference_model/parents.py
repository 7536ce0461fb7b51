"""Stage 0: an image tower, a language model and a pixel encoder for a preset that has no public ones to begin with.

The tower learns as CLIP does, which caption belongs to which picture and, from the features that are used later, which
words belong to which region and which name to which cell. The language model learns to answer from pictures that are
told in words. Pixel encoder and mask decoder learn as SAM does, to mark what a point, a box or a name means.

Shape suffixes: B pictures, R regions, M masks, U texts that differ, C width of the tower, E width of the comparison,
T positions, S side of a picture, G cells.
"""

from collections.abc import Mapping, Sequence
from math import log

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from numpy.random import Generator
from torch import Tensor, nn

from harness import masks
from reference_model.asking import grid_of_prompt, grids
from reference_model.batch import PADDING, pad
from reference_model.collate import Collator
from reference_model.images import mask_in_square
from reference_model.losses import bce_loss, dice_loss
from reference_model.mask_decoder import PromptProjector, resized
from reference_model.mixing import Row
from reference_model.model import PixelGroundingModel
from reference_model.objectives import Measured, measured
from reference_model.pixel_encoder import encode_rows
from reference_model.region import sample_mean
from reference_model.region_prompts import Bools
from reference_model.telling import BACKGROUND, names_of_cells, reading_loss, tell
from reference_model.tokens import Encoded

CAPTION_WORDS = 5
"""Words from which on an answer about a whole picture is a caption."""
MASKS_PER_PICTURE = 4
"""Of those a row asks for: one picture is encoded once, its masks each take a pass of the decoder."""
BACKGROUND_WEIGHT = 2.0
"""Structures that the background of a picture counts for."""
READ = 12
"""Rows of a step whose pictures are told to the language model."""
TEMPERATURE = 0.07
"""At which the comparison begins; CLIP's."""


Wanted = tuple[Bools, str]
"""A mask, and the name of what it marks."""


class Heads(nn.Module):
    """What compares pictures and regions with texts; not needed once the tower has learnt."""

    def __init__(self, *, vision_width: int, language_width: int, channels: int) -> None:
        """Compare in the width of the tower."""
        super().__init__()
        self.picture = nn.Linear(vision_width, vision_width)
        self.region = nn.Linear(vision_width, vision_width)
        self.text = nn.Linear(language_width, vision_width)
        self.prompt = PromptProjector(language_width=language_width, channels=channels)
        self.background = nn.Parameter(torch.randn(vision_width))
        self.scale = nn.Parameter(torch.full((3,), -log(TEMPERATURE)))


class Parents:
    """The objective of stage 0."""

    def __init__(self, model: PixelGroundingModel, collator: Collator, weights: Mapping[str, float]) -> None:
        """Weigh the losses; the heads are drawn with torch's generator."""
        self.model = model
        self._collator = collator
        self._weights = weights
        config = collator.config
        self.heads = Heads(
            vision_width=config.vision.width,
            language_width=config.language.width,
            channels=config.pixel_encoder.channels,
        )

    def modules_trained_beside(self) -> Mapping[str, nn.Module]:
        """Return the heads."""
        return {"heads": self.heads}

    def measure(self, rows: Sequence[Row], random: Generator, *, drop_seed: int) -> Measured:
        """Return the losses of some rows; nothing is dropped in dense parts."""
        del drop_seed
        vision, device = self._collator.config.vision, self.heads.scale.device
        made = [self._collator.pictures.of(row[0]) for row in rows]
        vision_B3SS, pixels_B3SS = (torch.stack(pictures).to(device) for pictures in zip(*made, strict=True))
        features_BPC, class_BC = self.model.vision.whole(vision_B3SS)
        bce, dice = self._mask_losses(rows, pixels_B3SS, random)
        losses = {
            "language": reading_loss(self.model.language, tell(rows[:READ], vision, random), self._collator),
            "caption": self._caption_loss(rows, class_BC),
            "region": self._region_loss(rows, features_BPC),
            "cell": self._cell_loss(rows, features_BPC),
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

    def _cell_loss(self, rows: Sequence[Row], features_BPC: Tensor) -> Tensor:
        """Return how badly the name of what every cell shows is found among the names of all rows and the background.

        Every structure of a row counts alike, however many cells it has, and the background as `BACKGROUND_WEIGHT` of
        them.
        """
        vision = self._collator.config.vision
        found = [
            (index, names_of_cells(row, vision))
            for index, row in enumerate(rows)
            if any(example.mask for example in row)
        ]
        if not found:
            return features_BPC.sum() * 0.0
        names = sorted({name for _, cells_P in found for name in cells_P} - {BACKGROUND})
        text_UE = torch.cat((self.heads.background[None], self.heads.text(self._read(names))))
        cell_BPE = F.normalize(self.heads.region(features_BPC[[index for index, _ in found]]), dim=-1)
        logits_BPU = cell_BPE @ F.normalize(text_UE, dim=-1).T * self.heads.scale[2].exp().clamp_max(100.0)
        number = {name: place for place, name in enumerate([BACKGROUND, *names])}
        target_BP = torch.tensor([[number[name] for name in cells_P] for _, cells_P in found], device=text_UE.device)
        weight_BP = torch.stack([cell_weights(target_P) for target_P in target_BP])
        loss_BP = F.cross_entropy(logits_BPU.float().transpose(1, 2), target_BP, reduction="none")
        return (loss_BP * weight_BP).sum() / weight_BP.sum()

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

    def _mask_losses(self, rows: Sequence[Row], pixels_B3SS: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
        """Return BCE and Dice of masks that are asked for by a point, a box or a name, in the padded square."""
        side = self.model.pixel_side
        found = [
            (index, mask_SS, name)
            for index, row in enumerate(rows)
            for mask_HW, name in _marked(row)[:MASKS_PER_PICTURE]
            if (mask_SS := mask_in_square(mask_HW, side)).any()
        ]
        if not found:
            zero = pixels_B3SS.sum() * 0.0
            return zero, zero
        device = pixels_B3SS.device
        row_M = torch.tensor([index for index, _, _ in found], device=device)
        features_MKGG = encode_rows(self.model.pixel_encoder, pixels_B3SS, row_M)
        kind_M = random.integers(len(PROMPTS), size=len(found))
        logits, targets = [], []
        for kind, prompt in enumerate(PROMPTS):
            chosen = np.flatnonzero(kind_M == kind)
            if len(chosen):
                sparse_MNK = prompt(self, [found[index][1:] for index in chosen], random)
                logits.append(
                    self.model.mask_decoder(features_MKGG[torch.from_numpy(chosen).to(device)], sparse_MNK)[0]
                )
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


PROMPTS = (Parents.points, Parents.boxes, Parents.names)
"""What a mask is asked for by, each as often as the others."""


def _caption(row: Row) -> str:
    """Return the longest answer about the whole picture; empty where none is long enough."""
    texts = [example.answer for example in row if not example.prompts and example.mask is None]
    longest = max(texts, key=len, default="")
    return longest if len(longest.split()) >= CAPTION_WORDS else ""


def cell_weights(target_P: Tensor) -> Tensor:
    """Return how much each cell of a picture counts, given the numbers of what they show; 0 is the background."""
    counts = torch.bincount(target_P)
    weight_P = 1.0 / counts[target_P]
    return torch.where(target_P == 0, weight_P * BACKGROUND_WEIGHT, weight_P)


def _marked(row: Row) -> list[Wanted]:
    """Return what a row wants marked, masks (H, W)."""
    return [(masks.decode(example.mask), example.name) for example in row if example.mask is not None]


def _box(mask_SS: Bools) -> tuple[int, int, int, int]:
    """Return the tight box x1 y1 x2 y2 of a mask."""
    rows, columns = np.flatnonzero(mask_SS.any(axis=1)), np.flatnonzero(mask_SS.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
