"""Images described in words, from which the language model learns to look things up before it sees images.

Shape suffixes: B images, W described cells, T positions, D width of the language model, N trained labels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from numpy.random import Generator
from torch import Tensor

from reference_model.config import EntityModelConfig
from reference_model.inputs.batch import pad
from reference_model.inputs.conversation import IGNORE, IMAGE, QUERY, REGION
from reference_model.inputs.regions import prompt_mask
from reference_model.modeling.language import LanguageModel
from reference_model.stage0.patch_captions import COUNTS, SIDES, PatchCaption, side_of, structures
from reference_model.training.collating.images import Collator, filled
from reference_model.training.collating.llava import LlavaCollator
from reference_model.training.data import Example
from reference_model.training.losses import language_loss
from reference_model.training.mixing import Row

# Most questions about one verbalised image that come from the data sets.
QUESTIONS = 8
# Most further questions, made from the captions of the cells. Few questions of the data sets teach where a structure
# lies: with these six, closed accuracy on held-out verbalised images rose from 0.83 to 0.91.
LOOKED_UP = 6
# How many cells of each part and of the background are described at first: among few cells, lookup is learnt sooner.
FEW = 3
# The share of the stage after which all cells may be described. Few cells for 65 % of the steps and then all gave an
# accuracy of 0.92 with both after 375 steps; mixed from the first step on it was 0.63 after 225, few alone gave 0.78.
FEW_UNTIL = 0.65
# The share of the later steps in which few cells are described; such a step takes 0.6 times as long as one with all.
FEW_SHARE = 0.3
# The numbers in questions of the form "Is there more than one?".
LIMITS = COUNTS[:2]

# A question and its answer.
Asked = tuple[str, str]


@dataclass(frozen=True, slots=True)
class VerbalisedImage:
    """The words of an image's cells in reading order, questions about the image, and words for their regions."""

    words: tuple[str, ...]
    questions: Row
    regions: tuple[str, ...] = ()


def verbalise(
    rows: Sequence[Row], shown: Sequence[Sequence[PatchCaption]], random: Generator, *, progress: float
) -> list[VerbalisedImage]:
    """Return the images of those rows that have masks, described in words, with some of the questions about them.

    Args:
        rows: Rows about one image each.
        shown: The captions of each image's cells; empty for an image that is not described.
        random: Chooses the cells that are described, and the questions.
        progress: The share of the stage that is done, in [0, 1).
    """
    names = sorted({name for cells in shown for name in structures(cells)})
    is_short = progress < FEW_UNTIL or random.random() < FEW_SHARE
    found: list[VerbalisedImage] = []
    for row, cells in zip(rows, shown, strict=True):
        # Questions for a mask are included: a language model that first meets `<SEG>` in stage III, which trains
        # neither embeddings nor head, never learns to write it (its loss stayed at 0.96).
        known = [example for example in row if len(example.prompts) <= 1]
        if cells and known:
            asked = tuple(known[place] for place in random.permutation(len(known))[:QUESTIONS])
            made = tuple(
                replace(row[0], question=question, answer=answer, prompts=(), mask=None, name="", entities=())
                for question, answer in lookup_questions(cells, names, random)
            )
            words = _words(cells, FEW if is_short else len(cells), random)
            regions = tuple(_region_words(one) for one in asked if one.prompts)
            found.append(VerbalisedImage(words, asked + made, regions))
    return found


def _region_words(example: Example) -> str:
    """Return the names of what a visual prompt marks, and the side of the image on which it is."""
    names = dict.fromkeys(name for name, _ in example.named_masks) or [example.name]
    return " ".join([*names, side_of(prompt_mask(example.prompts[0], example.size))]).strip()


def lookup_questions(shown: Sequence[PatchCaption], names: Sequence[str], random: Generator) -> list[Asked]:
    """Return up to `LOOKED_UP` questions that single cells of an image answer, with their answers.

    Args:
        shown: The captions of the image's cells.
        names: Names of structures; a question may ask for an absent one.
        random: Chooses the questions.
    """
    there = structures(shown)
    asked = [_about(name, parts, random) for name, parts in there.items()]
    if names and (absent := names[int(random.integers(len(names)))]) not in there:
        asked.append((f"Is there a {absent}?", "no"))
    return [asked[int(place)] for place in random.permutation(len(asked))[:LOOKED_UP]]


def _about(name: str, parts: Sequence[PatchCaption], random: Generator) -> Asked:
    """Return a question about a structure that is there: its side, which part is larger, or how many there are."""
    larger = next((part.side for part in parts if part.size), "")
    lone = parts[0].side if parts[0].number == COUNTS[0] else ""
    half, is_choice, kind = SIDES[int(random.integers(2))], random.random() < 0.5, int(random.integers(3))
    if lone and kind:
        if is_choice:
            return f"Is the {name} left or right?", lone
        return f"Is the {name} on the {half}?", _yes(half == lone)
    if larger and kind:
        if is_choice:
            return f"Is the left or the right {name} the larger?", larger
        return f"Is the {half} {name} the larger?", _yes(half == larger)
    if is_choice:
        return f"Is there a {name}?", _yes(True)
    limit = int(random.integers(len(LIMITS)))
    return f"Is there more than {LIMITS[limit]} {name}?", _yes(COUNTS.index(parts[0].number) > limit)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _words(shown: Sequence[PatchCaption], most: int, random: Generator) -> tuple[str, ...]:
    """Return the words of up to `most` cells of every part and of the background."""
    kept: dict[PatchCaption, int] = {}
    places: list[int] = []
    for place in map(int, random.permutation(len(shown))):
        kept[shown[place]] = kept.get(shown[place], 0) + 1
        if kept[shown[place]] <= most:
            places.append(place)
    return tuple(shown[place].words for place in sorted(places))


def reading_loss(model: LanguageModel, images: Sequence[VerbalisedImage], collator: Collator | LlavaCollator) -> Tensor:
    """Return the loss of the answers about verbalised images, a float32 scalar; 0 if there are no images.

    The mean embedding of a cell's words takes the place of a patch, that of a region's words the place of the region.
    Where an aligner reads the visual prompts, its queries get the words of the region, and the prompts themselves none.

    Args:
        model: The language model; gradients flow into it.
        images: The verbalised images.
        collator: Packs the questions about an image into one sequence.
    """
    if not images:
        return model.embed_tokens.weight.sum() * 0.0
    device = model.embed_tokens.weight.device
    packed = [collator.packed([collator.encode(one) for one in image.questions], len(image.words)) for image in images]
    padded = pad([row.encoded for row in packed], side="right")
    ids_BT, valid_BT, labels_BT = (tensor.to(device) for tensor in padded)
    segment_BT = filled([row.segments for row in packed], ids_BT, torch.long)
    weight_BT = filled([row.weights for row in packed], ids_BT, torch.float32)
    x_BTD = model.embed_tokens(ids_BT.clamp_min(0))
    for mark, words in _spoken(images, collator):
        words_WD = _embedded(model, words, collator)
        x_BTD = x_BTD.masked_scatter((ids_BT == mark)[..., None], words_WD.to(x_BTD.dtype))
    output = model(x_BTD, valid_BK=valid_BT, segment_BK=segment_BT)
    target_BT = labels_BT[:, 1:]
    trained_BT = target_BT != IGNORE
    logits_NV = model.logits(output.hidden_BTD[:, :-1][trained_BT])
    return language_loss(logits_NV, target_BT[trained_BT], weight_BT[:, 1:][trained_BT])


def _spoken(images: Sequence[VerbalisedImage], collator: Collator | LlavaCollator) -> Iterator[tuple[int, list[str]]]:
    """Yield each kind of placeholder, and the words that take its places, in the order in which they are read."""
    yield IMAGE, [words for one in images for words in one.words]
    if isinstance(collator, LlavaCollator):  # which reads no visual prompts
        return
    is_mimo = isinstance(collator.config, EntityModelConfig)
    queries = collator.config.aligner.queries if isinstance(collator.config, EntityModelConfig) else 0
    regions: list[str] = []
    aligned: list[str] = []
    for image in images:
        left = iter(image.regions)
        for question in image.questions:
            words = next(left) if question.prompts else ""
            places = sum(len(one.kinds) for one in collator.places(question)) if is_mimo else len(question.prompts)
            regions += ["" if queries else words] * places
            aligned += [words] * queries
    yield REGION, regions
    yield QUERY, aligned


def _embedded(model: LanguageModel, words: Sequence[str], collator: Collator | LlavaCollator) -> Tensor:
    """Return the mean embedding of the words for each cell, float32 (W, D); zeros for a cell without words."""
    unique = list(dict.fromkeys(words))
    table_VD = model.embed_tokens.weight
    ids = [torch.tensor(collator.tokenizer.encode(one), device=table_VD.device) for one in unique]
    if not ids:
        return table_VD[:0]
    nothing_D = table_VD.new_zeros(table_VD.shape[1])
    mean_UD = torch.stack([table_VD[one].mean(dim=0) if len(one) else nothing_D for one in ids])
    number = {one: place for place, one in enumerate(unique)}
    return mean_UD[[number[one] for one in words]]
