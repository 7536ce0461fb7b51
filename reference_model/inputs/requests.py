"""A request of the harness in the words and cells that the model reads: the same for training and for answering."""

import re
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from harness.records import Request, VisualPrompt
from reference_model.config import ModelConfig
from reference_model.inputs.conversation import REGION_END, REGION_START
from reference_model.inputs.regions import Bools, grid_of, prompt_mask

PAIR = f"{REGION_START}{REGION_END}"
_MARK = re.compile(r"<(?:region|box|point)>(?:</region>)?")


def question_of(request: Request) -> str:
    """Return the words of a request with an empty pair of region tags for each thing that is pointed at.

    A mark that is not followed by a prompt is taken out; a prompt without a mark gets its tags behind the words.
    """
    left = len(request.visual_prompts)

    def tags(_: re.Match[str]) -> str:
        nonlocal left
        left -= 1
        return PAIR if left >= 0 else ""

    words = _MARK.sub(tags, request.prompt)
    return " ".join([words, *[PAIR] * max(0, left)]).strip()


def grid_of_prompt(prompt: VisualPrompt, size: tuple[int, int], config: ModelConfig) -> Bools:
    """Return the cells (G, G) of the image tower that a prompt covers; none for one that vanishes as released.

    Args:
        prompt: In pixels of the original image.
        size: (H, W) of that image.
        config: Of the model.
    Raises:
        DataError: It points at nothing inside the image.
    """
    mask_HW = prompt_mask(prompt, size, released=config.released)
    return grid_of(mask_HW, side=config.vision.image_size, cells=config.vision.cells, released=config.released)


def grids(found: Sequence[Bools], cells: int) -> Tensor:
    """Return regions as one tensor (R, G, G), also where there is none."""
    if not found:
        return torch.zeros((0, cells, cells), dtype=torch.bool)
    return torch.from_numpy(np.stack(found))
