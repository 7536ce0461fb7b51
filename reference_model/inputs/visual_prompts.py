"""Points and boxes as MIMO's visual prompt encoder reads them, and questions that hold them.

Shape suffixes: H, W of the original image, S side of the padded square, N points and corners of boxes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.errors import DataError
from harness.records import Points, Region, VisualPrompt
from reference_model.config import EntityModelConfig
from reference_model.inputs.conversation import Encoded, Tokenizer, Turn, encode_for_entities
from reference_model.inputs.images import inside
from reference_model.inputs.regions import prompt_mask

# The kinds of a place: a point outside what is meant and one inside have their labels, 0 and 1.
UPPER_LEFT, LOWER_RIGHT = 2, 3


@dataclass(frozen=True, slots=True)
class PromptPlaces:
    """The points or corners of visual prompts.

    Attributes:
        places: (x, y) of each as shares of the padded square, in [0, 1].
        kinds: 0 for a point outside what is meant, 1 for one inside, `UPPER_LEFT` or `LOWER_RIGHT` for a corner.
    """

    places: tuple[tuple[float, float], ...] = ()
    kinds: tuple[int, ...] = ()


def places_of(prompt: VisualPrompt, size: tuple[int, int], *, side: int) -> PromptPlaces:
    """Return the places of a visual prompt: one for a point, two for a box, as in SAM.

    Args:
        prompt: In pixels of the original image. Corners beyond the image are moved to its border.
        size: (H, W) of the original image, in pixels.
        side: S, in pixels.
    Raises:
        DataError: The prompt is a region, or covers no pixel of the image.
    """
    if isinstance(prompt, Region):
        raise DataError("visual prompt: expected points or a box, which are all that MIMO takes, found a region")
    prompt_mask(prompt, size)
    if isinstance(prompt, Points):
        # The centre of the pixel, as in SAM.
        found, kinds = [(x + 0.5, y + 0.5) for x, y in prompt.points], tuple(prompt.labels)
    else:
        x1, y1, x2, y2 = prompt.corners
        found, kinds = [(x1, y1), (x2, y2)], (UPPER_LEFT, LOWER_RIGHT)
    rows, columns = inside(size, side)
    places = []
    for x, y in found:
        across, down = min(max(x / size[1], 0.0), 1.0), min(max(y / size[0], 0.0), 1.0)
        places.append(
            (
                (columns.start + across * (columns.stop - columns.start)) / side,
                (rows.start + down * (rows.stop - rows.start)) / side,
            )
        )
    return PromptPlaces(tuple(places), kinds)


def encode_question(
    turn: Turn, prompts: Sequence[PromptPlaces], config: EntityModelConfig, tokenizer: Tokenizer
) -> Encoded:
    """Return a question with its visual prompts, and its answer, as MIMO reads them.

    Args:
        turn: The question with a `PROMPT_PAIR` for each visual prompt.
        prompts: The places of the visual prompts.
        config: The numbers of the model.
        tokenizer: The tokenizer of the model.
    Raises:
        DataError: The question has another number of pairs than there are visual prompts.
    """
    return encode_for_entities(
        turn,
        tokenizer,
        system=config.prompt.system,
        places=[len(one.kinds) for one in prompts],
        queries=config.aligner.queries,
        max_length=config.prompt.max_length,
    )


def first_places(prompts: Sequence[PromptPlaces], count: int) -> PromptPlaces:
    """Return the first `count` places of several visual prompts; a truncated question lacks those behind."""
    places = tuple(place for one in prompts for place in one.places)
    return PromptPlaces(places[:count], tuple(kind for one in prompts for kind in one.kinds)[:count])


def prompt_tensors(prompts: Sequence[PromptPlaces]) -> tuple[Tensor, Tensor]:
    """Return all places, float32 (N, 2), and their kinds, int64 (N,), of the visual prompts of a batch in turn."""
    places = [place for one in prompts for place in one.places]
    kinds = [kind for one in prompts for kind in one.kinds]
    return torch.tensor(places, dtype=torch.float32).reshape(-1, 2), torch.tensor(kinds, dtype=torch.long)
