"""A batch of conversations as tensors.

Shape suffixes: B conversations, T positions, R regions, N points and corners of boxes, M masks of one image (of all
rows in a `VolumeBatch`), S sides of the two kinds of image, G cells along a side of the image tower, (D,) H, W of an
image or volume.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from harness.errors import DataError
from reference_model.inputs.conversation import IGNORE, Encoded

# The id of `<unk>`, with which MedPLIB pads; padding is masked, so its value is never read.
PADDING = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The input of the model.

    Attributes:
        ids_BT: int64, with the image expanded; placeholders are negative.
        valid_BT: Boolean, False for padding.
        labels_BT: int64, `IGNORE` where nothing is trained.
        weight_BT: float32, how much each label counts; None: all count alike.
        segment_BT: int64, see `LanguageModel.forward`; None: each row holds one question.
        vision_B3SS: float32, one image per row as the image tower reads it; if a model reads several, all of them, in
            the order in which their placeholders are read.
        pixels_B3SS: float32, the same images as the pixel encoder reads them; None: no masks are wanted.
        sizes: (H, W) of each original image, in pixels.
        grid_RGG: Boolean, the cells of the regions, in the order in which their placeholders are read, row by row.
        prompt_place_N2: float32, (x, y) of MIMO's points and corners of boxes as shares of the square that the image
            tower sees, in the order in which their placeholders are read; None: there are none.
        prompt_kind_N: int64, what each of them is, see `inputs.visual_prompts.PromptPlaces`.
        masks: For each row, the wanted masks as float32 (M, H, W) of zeros and ones, one for each `<SEG>`; empty if no
            masks are trained.
    """

    ids_BT: Tensor
    valid_BT: Tensor
    labels_BT: Tensor
    vision_B3SS: Tensor
    sizes: tuple[tuple[int, int], ...]
    grid_RGG: Tensor
    prompt_place_N2: Tensor | None = None
    prompt_kind_N: Tensor | None = None
    pixels_B3SS: Tensor | None = None
    weight_BT: Tensor | None = None
    segment_BT: Tensor | None = None
    masks: tuple[Tensor, ...] = ()

    def to(self, device: torch.device | str) -> "Batch":
        """Return the batch on another device."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        moved = {name: value.to(device) for name, value in fields.items() if isinstance(value, Tensor)}
        return replace(self, masks=tuple(mask.to(device) for mask in self.masks), **moved)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeBatch:
    """The input of a model that reads volumes.

    Attributes:
        ids_BT, valid_BT, labels_BT, weight_BT, segment_BT: As for `Batch`; every row is about one volume.
        volume_B1DHW: float32, 0 to 1, on the grid of the model.
        mask_row_M: int64, the row of each trained mask.
        mask_segment_M: int64, the segment of the question that asks for it; 0 if rows hold one question each.
        mask_MDHW: float32, zeros and ones, on the grid of the model.
    """

    ids_BT: Tensor
    valid_BT: Tensor
    labels_BT: Tensor
    volume_B1DHW: Tensor
    mask_row_M: Tensor
    mask_segment_M: Tensor
    mask_MDHW: Tensor
    weight_BT: Tensor | None = None
    segment_BT: Tensor | None = None

    def to(self, device: torch.device | str) -> "VolumeBatch":
        """Return the batch on another device."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return replace(self, **{name: one.to(device) for name, one in fields.items() if one is not None})


def pad(rows: Sequence[Encoded], *, side: Literal["left", "right"]) -> tuple[Tensor, Tensor, Tensor]:
    """Return ids (int64), validity (boolean) and labels (int64), (B, T) each, of conversations of different lengths.

    Args:
        rows: At least one conversation.
        side: Where the padding goes: `right` to train; `left` to generate, so that all rows end at the same position.
    Raises:
        DataError: There is no row.
    """
    if not rows:
        raise DataError("batch: expected at least one conversation, found none")
    length = max(len(row.ids) for row in rows)
    ids_BT = torch.full((len(rows), length), PADDING)
    labels_BT = torch.full((len(rows), length), IGNORE)
    valid_BT = torch.zeros((len(rows), length), dtype=torch.bool)
    for index, row in enumerate(rows):
        start = 0 if side == "right" else length - len(row.ids)
        place = slice(start, start + len(row.ids))
        ids_BT[index, place] = torch.tensor(row.ids)
        labels_BT[index, place] = torch.tensor(row.labels)
        valid_BT[index, place] = True
    return ids_BT, valid_BT, labels_BT
