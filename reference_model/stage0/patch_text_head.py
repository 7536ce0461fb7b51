"""Cells of a feature map compared with the words for what they show, for stage 0 alone.

Shape suffixes: B pictures, P cells, C channels, K kinds of words, E width of the comparison, U words that differ.
"""

from collections.abc import Callable, Sequence
from math import log

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from reference_model.stage0.patch_captions import BACKGROUND, PatchCaption

TEMPERATURE = 0.07
"""At which a comparison begins; CLIP's."""
BACKGROUND_WEIGHT = 2.0
"""Parts that the background of a picture counts for."""


class PatchTextHead(nn.Module):
    """Finds for every cell the words of what it shows among those of all pictures and the background."""

    def __init__(self, *, channels: int, language_width: int, width: int, kinds: int) -> None:
        """Compare the first `kinds` fields of `Shown`, each in a width of its own.

        Args:
            channels: C.
            language_width: Of what reads the words.
            width: E.
            kinds: K.
        """
        super().__init__()
        self.kinds = kinds
        self.cells = nn.Linear(channels, kinds * width)
        self.words = nn.Linear(language_width, width)
        self.background = nn.Parameter(torch.randn(kinds, width))
        self.scale = nn.Parameter(torch.full((kinds,), -log(TEMPERATURE)))

    def forward(
        self, features_BPC: Tensor, shown: Sequence[Sequence[PatchCaption]], read: Callable[[Sequence[str]], Tensor]
    ) -> Tensor:
        """Return how badly the words are found, the mean over the kinds.

        Every part in a picture counts alike, however many cells it has, and the background as `BACKGROUND_WEIGHT` of
        them.

        Args:
            features_BPC: At least one picture.
            shown: What the P cells of each picture show.
            read: Returns the language model's state for each of some texts.
        """
        device = features_BPC.device
        weight_BP = torch.stack([cell_weights(_numbers(cells)) for cells in shown]).to(device)
        words_KBP = [[[cell[kind] for cell in cells] for cells in shown] for kind in range(self.kinds)]
        known = [sorted({word for words_P in words_BP for word in words_P} - {""}) for words_BP in words_KBP]
        text_UE = self.words(read([word for words in known for word in words]))
        losses = []
        for kind, (cell_BPE, own_UE) in enumerate(
            zip(
                self.cells(features_BPC).chunk(self.kinds, dim=-1),
                text_UE.split([len(words) for words in known]),
                strict=True,
            )
        ):
            number = {word: index for index, word in enumerate(("", *known[kind]))}
            target_BP = torch.tensor([[number[word] for word in words_P] for words_P in words_KBP[kind]], device=device)
            class_UE = F.normalize(torch.cat((self.background[kind, None], own_UE)), dim=-1)
            logits_BPU = F.normalize(cell_BPE, dim=-1) @ class_UE.T * self.scale[kind].exp().clamp_max(100.0)
            loss_BP = F.cross_entropy(logits_BPU.float().transpose(1, 2), target_BP, reduction="none")
            losses.append((loss_BP * weight_BP).sum() / weight_BP.sum())
        return torch.stack(losses).mean()


def cell_weights(target_P: Tensor) -> Tensor:
    """Return how much each cell of a picture counts, given the numbers of what they show; 0 is the background."""
    counts = torch.bincount(target_P)
    weight_P = 1.0 / counts[target_P]
    return torch.where(target_P == 0, weight_P * BACKGROUND_WEIGHT, weight_P)


def _numbers(shown: Sequence[PatchCaption]) -> Tensor:
    """Return a number (P,) for what each cell shows, 0 for the background."""
    number = {one: index for index, one in enumerate(dict.fromkeys((BACKGROUND, *shown)))}
    return torch.tensor([number[one] for one in shown])
