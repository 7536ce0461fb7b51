"""Stage 0: an image tower, a language model and a pixel encoder for a preset that has no public ones to begin with.

The tower learns as CLIP does, which caption belongs to which picture and, from the features that are used later, which
words belong to which region. The language model learns the next token of the texts. Pixel encoder and mask decoder
learn as SAM does, to mark what a point or a box means.

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
from reference_model.data import Example
from reference_model.images import mask_in_square
from reference_model.losses import bce_loss, dice_loss, language_loss
from reference_model.mask_decoder import resized
from reference_model.mixing import Row
from reference_model.model import PixelGroundingModel
from reference_model.objectives import Measured, measured
from reference_model.pixel_encoder import encode_rows
from reference_model.region import sample_mean
from reference_model.region_prompts import Bools, grid_of
from reference_model.tokens import IGNORE, Encoded, Turn, encode_conversation

CAPTION_WORDS = 5
"""Words from which on an answer about a whole picture is a caption."""
MASKS_PER_PICTURE = 4
"""Of those a row asks for: one picture is encoded once, its masks each take a pass of the decoder."""
TEMPERATURE = 0.07
"""At which the comparison begins; CLIP's."""


class Heads(nn.Module):
    """What compares pictures and regions with texts; not needed once the tower has learnt."""

    def __init__(self, *, vision_width: int, language_width: int) -> None:
        """Compare in the width of the tower."""
        super().__init__()
        self.picture = nn.Linear(vision_width, vision_width)
        self.region = nn.Linear(vision_width, vision_width)
        self.text = nn.Linear(language_width, vision_width)
        self.scale = nn.Parameter(torch.full((2,), -log(TEMPERATURE)))


class Parents:
    """The objective of stage 0."""

    def __init__(self, model: PixelGroundingModel, collator: Collator, weights: Mapping[str, float]) -> None:
        """Weigh the losses; the heads are drawn with torch's generator."""
        self.model = model
        self._collator = collator
        self._weights = weights
        config = collator.config
        self.heads = Heads(vision_width=config.vision.width, language_width=config.language.width)

    def modules_trained_beside(self) -> Mapping[str, nn.Module]:
        """Return the heads."""
        return {"heads": self.heads}

    def measure(self, rows: Sequence[Row], random: Generator, *, drop_seed: int) -> Measured:
        """Return the losses of some rows; nothing is dropped in dense parts."""
        del drop_seed
        made = [self._collator.pictures.of(row[0]) for row in rows]
        features_BPC, class_BC = self.model.vision.whole(torch.stack([vision_3SS for vision_3SS, _ in made]))
        bce, dice = self._mask_losses(rows, torch.stack([pixels_3SS for _, pixels_3SS in made]), random)
        losses = {
            "language": self._language_loss(rows),
            "caption": self._caption_loss(rows, class_BC),
            "region": self._region_loss(rows, features_BPC),
            "bce": bce,
            "dice": dice,
        }
        return measured(losses, self._weights)

    def _language_loss(self, rows: Sequence[Row]) -> Tensor:
        """Return the loss of every next token of the leading questions and answers, their pictures left out."""
        texts = [self._text(row[0]) for row in rows]
        ids_BT, valid_BT, labels_BT = pad(texts, side="right")
        hidden_BTD = self.model.language(self.model.language.embed_tokens(ids_BT), valid_BK=valid_BT).hidden_BTD
        target_BT = labels_BT[:, 1:]
        trained_BT = target_BT != IGNORE
        return language_loss(self.model.language.logits(hidden_BTD[:, :-1][trained_BT]), target_BT[trained_BT])

    def _text(self, example: Example) -> Encoded:
        prompt = self._collator.config.prompt
        turn = Turn(example.question, example.answer)
        encoded = encode_conversation(
            [turn], self._collator.tokenizer, system=prompt.system, max_length=prompt.max_length, image=False
        )
        ids = tuple(token for token in encoded.ids if token >= 0)
        return Encoded(ids, ids)

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
            grids([grid for _, grid, _ in found], cells),
            alignment=self._collator.config.region.alignment,
        )
        return self._compared(self.heads.region(mean_RC), [text for _, _, text in found], self.heads.scale[1])

    def _regions(self, row: Row) -> list[tuple[Bools, str]]:
        """Return the cells of what is pointed at or marked, each with the words that say what it is."""
        config, found = self._collator.config, []
        for example in row:
            if example.mask is not None and example.name:
                mask_HW = masks.decode(example.mask)
                grid = grid_of(mask_HW, side=config.vision.image_size, cells=config.vision.cells)
                found.append((grid, example.name))
            elif len(example.prompts) == 1:
                found.append((grid_of_prompt(example.prompts[0], example.size, config), example.answer))
        return found

    def _compared(self, item_BE: Tensor, texts: Sequence[str], scale: Tensor) -> Tensor:
        """Return how badly items and texts find each other; equal texts are one, and any of its items is right."""
        unique = list(dict.fromkeys(texts))
        target_B = torch.tensor([unique.index(text) for text in texts])
        text_UE = F.normalize(self.heads.text(self._read(unique)), dim=-1)
        logits_BU = F.normalize(item_BE, dim=-1) @ text_UE.T * scale.exp().clamp_max(100.0)
        own_BU = F.one_hot(target_B, len(unique)).to(logits_BU.dtype)
        by_text_UB = own_BU.T / own_BU.sum(dim=0)[:, None]
        return (F.cross_entropy(logits_BU, target_B) + F.cross_entropy(logits_BU.T, by_text_UB)) / 2

    def _read(self, texts: Sequence[str]) -> Tensor:
        """Return the language model's state (U, D) behind each text."""
        tokenizer = self._collator.tokenizer
        ids = [(tokenizer.start_id, *tokenizer.encode(text), tokenizer.end_id) for text in texts]
        ids_BT, valid_BT, _ = pad([Encoded(one, one) for one in ids], side="left")
        ids_BT = ids_BT.masked_fill(~valid_BT, PADDING)
        hidden_BTD = self.model.language(self.model.language.embed_tokens(ids_BT), valid_BK=valid_BT).hidden_BTD
        last_UD: Tensor = hidden_BTD[:, -1]
        return last_UD

    def _mask_losses(self, rows: Sequence[Row], pixels_B3SS: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
        """Return BCE and Dice of masks that are prompted by a point or a box, in the padded square."""
        side = self.model.pixel_side
        found = [(index, mask_in_square(mask_HW, side)) for index, row in enumerate(rows) for mask_HW in _marked(row)]
        found = [(index, mask_SS) for index, mask_SS in found if mask_SS.any()]
        if not found:
            zero = pixels_B3SS.sum() * 0.0
            return zero, zero
        features_MKGG = encode_rows(self.model.pixel_encoder, pixels_B3SS, torch.tensor([index for index, _ in found]))
        by_box_M = random.random(len(found)) < 0.5
        parts = []
        for chosen, by_box in ((np.flatnonzero(by_box_M), True), (np.flatnonzero(~by_box_M), False)):
            if len(chosen):
                sparse = self._prompts([found[index][1] for index in chosen], by_box=by_box, random=random)
                logits_MLL, _ = self.model.mask_decoder(features_MKGG[torch.from_numpy(chosen)], sparse)
                target_MSS = torch.from_numpy(np.stack([found[index][1] for index in chosen])).float()
                parts.append((resized(logits_MLL[:, None].float(), (side, side))[:, 0], target_MSS))
        logits, target = (torch.cat(values) for values in zip(*parts, strict=True))
        return bce_loss(logits, target), dice_loss(logits, target)

    def _prompts(self, marked: Sequence[Bools], *, by_box: bool, random: Generator) -> Tensor:
        decoder = self.model.mask_decoder
        if by_box:
            return decoder.embed_boxes(torch.tensor([_box(mask_SS) for mask_SS in marked], dtype=torch.float32))
        points = [random.choice(np.argwhere(mask_SS))[::-1] for mask_SS in marked]
        points_M12 = torch.from_numpy(np.stack(points)).float()[:, None]
        return decoder.embed_points(points_M12, torch.ones(len(marked), 1, dtype=torch.long))


def _caption(row: Row) -> str:
    """Return the longest answer about the whole picture; empty where none is long enough."""
    texts = [example.answer for example in row if not example.prompts and example.mask is None]
    longest = max(texts, key=len, default="")
    return longest if len(longest.split()) >= CAPTION_WORDS else ""


def _marked(row: Row) -> list[Bools]:
    """Return the first masks (H, W) of a row's answers."""
    return [masks.decode(example.mask) for example in row if example.mask is not None][:MASKS_PER_PICTURE]


def _box(mask_SS: Bools) -> tuple[int, int, int, int]:
    """Return the tight box x1 y1 x2 y2 of a mask."""
    rows, columns = np.flatnonzero(mask_SS.any(axis=1)), np.flatnonzero(mask_SS.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
