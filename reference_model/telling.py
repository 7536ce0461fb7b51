"""Pictures told in words, for a language model that is to look things up in a picture before one is shown to it.

Shape suffixes: B pictures, W told cells, T positions, D width of the language model, N trained labels, G cells.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from harness import masks
from reference_model.batch import pad
from reference_model.collate import Collator, filled
from reference_model.config import VisionConfig
from reference_model.data import Example
from reference_model.language import LanguageModel
from reference_model.losses import language_loss
from reference_model.mixing import Row
from reference_model.region_prompts import grid_of, prompt_mask
from reference_model.tokens import IGNORE, IMAGE, REGION, Encoded, Turn, encode_conversation

BACKGROUND = ""
"""What a cell shows that no mask covers."""
SIDES = ("left", "right")
QUESTIONS = 8
"""The most that are asked about a told picture."""
FEW = 3
"""Cells of a structure, and of the background, that are told of every other picture; of the rest all cells are.

Looking things up is learnt among a few, and has to work among all.
"""


@dataclass(frozen=True, slots=True)
class Told:
    """A picture in words, in reading order, with the questions about it, and words for every region in these."""

    words: tuple[str, ...]
    questions: Row
    regions: tuple[str, ...] = ()


def tell(rows: Sequence[Row], vision: VisionConfig, random: Generator) -> list[Told]:
    """Return the pictures of those rows that have masks, with some of the questions that are answered in words.

    Args:
        rows: With all masks of their pictures, for what no mask covers is taken for background.
        vision: How they are cut into cells.
        random: Decides on the cells that are told, and on the questions.
    """
    found: list[Told] = []
    for row in rows:
        worded = [example for example in row if example.mask is None and len(example.prompts) <= 1]
        if worded and any(example.mask for example in row):
            asked = tuple(worded[place] for place in random.permutation(len(worded))[:QUESTIONS])
            most = FEW if random.random() < 0.5 else vision.tokens
            words = _words(names_of_cells(row, vision), most, vision.cells, random)
            found.append(Told(words, asked, tuple(_pointed(one) for one in asked if one.prompts)))
    return found


def names_of_cells(row: Row, vision: VisionConfig) -> list[str]:
    """Return what the cells of a picture show, in reading order; of several structures the smallest."""
    names_GG = np.full((vision.cells, vision.cells), BACKGROUND, dtype=object)
    marked = [(masks.decode(example.mask), example.name) for example in row if example.mask is not None]
    for mask_HW, name in sorted(marked, key=lambda one: -int(one[0].sum())):
        names_GG[grid_of(mask_HW, side=vision.image_size, cells=vision.cells)] = name
    return [str(name) for name in names_GG.ravel()]


def _words(names: Sequence[str], most: int, cells: int, random: Generator) -> tuple[str, ...]:
    """Return name and side of up to `most` cells of everything that is shown."""
    kept: dict[str, int] = {}
    places: list[int] = []
    for place in random.permutation(len(names)):
        kept[names[place]] = kept.get(names[place], 0) + 1
        if kept[names[place]] <= most:
            places.append(int(place))
    return tuple(f"{names[place]} {SIDES[2 * (place % cells) >= cells]}".strip() for place in sorted(places))


def _pointed(example: Example) -> str:
    """Return name and side of what is pointed at."""
    mask_HW = prompt_mask(example.prompts[0], example.size)
    middle = float(np.flatnonzero(mask_HW.any(axis=0)).mean())
    return f"{example.name} {SIDES[2 * middle >= example.size[1]]}".strip()


def reading_loss(model: LanguageModel, told: Sequence[Told], collator: Collator) -> Tensor:
    """Return the loss of the answers about told pictures; 0 of none.

    In the place of a patch stands the mean embedding of the words for a cell, in that of a region the one of its words.
    """
    if not told:
        return model.embed_tokens.weight.sum() * 0.0
    device = model.embed_tokens.weight.device
    packed = [collator.packed(_encoded(one.questions, collator), len(one.words)) for one in told]
    ids_BT, valid_BT, labels_BT = (tensor.to(device) for tensor in pad([one for one, _, _ in packed], side="right"))
    segment_BT = filled([segments for _, segments, _ in packed], ids_BT, torch.long)
    weight_BT = filled([weights for _, _, weights in packed], ids_BT, torch.float32)
    x_BTD = model.embed_tokens(ids_BT.clamp_min(0))
    for mark, texts in ((IMAGE, [one.words for one in told]), (REGION, [one.regions for one in told])):
        words_WD = _embedded(model, [words for one in texts for words in one], collator)
        x_BTD = x_BTD.masked_scatter((ids_BT == mark)[..., None], words_WD.to(x_BTD.dtype))
    output = model(x_BTD, valid_BK=valid_BT, segment_BK=segment_BT)
    target_BT = labels_BT[:, 1:]
    trained_BT = target_BT != IGNORE
    logits_NV = model.logits(output.hidden_BTD[:, :-1][trained_BT])
    return language_loss(logits_NV, target_BT[trained_BT], weight_BT[:, 1:][trained_BT])


def _encoded(questions: Row, collator: Collator) -> list[Encoded]:
    prompt = collator.config.prompt
    return [
        encode_conversation(
            [Turn(one.question, one.answer)], collator.tokenizer, system=prompt.system, max_length=prompt.max_length
        )
        for one in questions
    ]


def _embedded(model: LanguageModel, words: Sequence[str], collator: Collator) -> Tensor:
    """Return the mean embedding (W, D) of the words for each cell."""
    unique = list(dict.fromkeys(words))
    device = model.embed_tokens.weight.device
    ids = [torch.tensor(collator.tokenizer.encode(one), device=device) for one in unique]
    if not ids:
        return model.embed_tokens.weight[:0]
    mean_UD = torch.stack([model.embed_tokens(one).mean(dim=0) for one in ids])
    return mean_UD[[unique.index(one) for one in words]]
