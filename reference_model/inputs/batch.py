"""Several conversations as tensors.

Shape suffixes: B conversations, T positions, R regions, M masks of one image, S sides of the two kinds of image,
G cells along a side of the image tower, H, W of an original image.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from harness.errors import DataError
from reference_model.inputs.conversation import IGNORE, Encoded

PADDING = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What the model is given.

    Attributes:
        ids_BT: With the image expanded; placeholders are negative.
        valid_BT: False for padding.
        labels_BT: `IGNORE` where nothing is trained.
        weight_BT: How much each label counts; None: all alike.
        segment_BT: See `LanguageModel.forward`; None: one question a row.
        vision_B3SS: For the image tower, one image a row.
        pixels_B3SS: For the pixel encoder; None: no masks are wanted.
        sizes: (H, W) of each original image.
        grid_RGG: Boolean cells of the regions, in the order their placeholders are read, row by row.
        masks: Of each row, the wanted masks (M, H, W) as zeros and ones, one for each `<SEG>`; empty: not trained.
    """

    ids_BT: Tensor
    valid_BT: Tensor
    labels_BT: Tensor
    vision_B3SS: Tensor
    sizes: tuple[tuple[int, int], ...]
    grid_RGG: Tensor
    pixels_B3SS: Tensor | None = None
    weight_BT: Tensor | None = None
    segment_BT: Tensor | None = None
    masks: tuple[Tensor, ...] = ()

    def to(self, device: torch.device | str) -> "Batch":
        """Return the batch on another device."""
        moved = {name: value.to(device) for name, value in self._tensors().items()}
        return replace(self, masks=tuple(mask.to(device) for mask in self.masks), **moved)  # type: ignore[arg-type]

    def _tensors(self) -> dict[str, Tensor]:
        fields = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in fields.items() if isinstance(value, Tensor)}


def pad(rows: Sequence[Encoded], *, side: Literal["left", "right"]) -> tuple[Tensor, Tensor, Tensor]:
    """Return ids, validity and labels (B, T) of conversations of different lengths.

    Args:
        rows: At least one.
        side: Where the padding goes: `right` to train, `left` to generate.
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
