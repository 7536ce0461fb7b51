"""Turns requests of the harness into the text and cells that the model reads, in training and in inference."""

import re
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from harness.records import MediaPart, Request, VisualPrompt
from reference_model.config import ImageModelConfig
from reference_model.inputs.conversation import PROMPT_PAIR
from reference_model.inputs.images import Bools
from reference_model.inputs.regions import grid_of, prompt_mask

_MARK = re.compile(r"<(?:region|box|point)>(?:</region>)?")


def question_of(request: Request) -> str:
    """Return the text of a request with an empty pair of region tags for each of its visual prompts.

    Marks without a visual prompt are removed; the tags of visual prompts without a mark are appended.
    """
    left = len(request.visual_prompts)

    def tags(_: re.Match[str]) -> str:
        nonlocal left
        left -= 1
        return PROMPT_PAIR if left >= 0 else ""

    words = _MARK.sub(tags, request.prompt)
    return " ".join([words, *[PROMPT_PAIR] * max(0, left)]).strip()


def question_about_images(request: Request) -> str:
    """Return the text of a request in which `<image 2>` marks the place of the second of its images.

    Images before all words get no mark. A line break between words and an image, which a request does not have, is put
    back where nothing else is between them.
    """
    text, number = "", 0
    for part in (part for turn in request.messages for part in turn.parts):
        if isinstance(part, MediaPart):
            number += 1
            if text:
                text += f"<image {number}>" if text[-1].isspace() else f"\n<image {number}>"
        else:
            text += f"\n{part.text}" if text.endswith(">") and part.text[0].isalnum() else part.text
    return text.strip()


def in_words(question: str, reply: str) -> str:
    """Return the words of the option whose letter a reply is, from its line of the question, such as `B. liver`.

    Any other reply, and a letter that begins no line, is returned as it is.
    """
    if not re.fullmatch("[A-Z]", reply):
        return reply
    line = re.search(rf"^\(?{reply}[.):] +(.*\S)", question, re.MULTILINE)
    return line[1] if line else reply


def grid_of_prompt(prompt: VisualPrompt, size: tuple[int, int], config: ImageModelConfig) -> Bools:
    """Return the cells of the image tower that a prompt covers, boolean (G, G); as released, there may be none.

    Args:
        prompt: In pixels of the original image.
        size: (H, W) of that image, in pixels.
        config: The numbers of the model.
    Raises:
        DataError: The prompt covers no pixel of the image.
    """
    mask_HW = prompt_mask(prompt, size, released=config.released)
    return grid_of(mask_HW, side=config.vision.image_size, cells=config.vision.cells, released=config.released)


def grids(found: Sequence[Bools], cells: int) -> Tensor:
    """Return regions, boolean (G, G) each, as one boolean tensor (R, G, G); (0, G, G) if there are none."""
    if not found:
        return torch.zeros((0, cells, cells), dtype=torch.bool)
    return torch.from_numpy(np.stack(found))
