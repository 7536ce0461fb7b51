"""Compares the cells of a feature map with the words of their captions; used only in stage 0.

Shape suffixes: B images, P cells, C channels, K kinds of words, E width of the comparison, U distinct words.
"""

from collections.abc import Callable, Sequence
from math import log

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from reference_model.stage0.patch_captions import BACKGROUND, PatchCaption

# The temperature at which a comparison begins, as in CLIP, arXiv:2103.00020.
TEMPERATURE = 0.07
# The background of an image weighs as much as this many parts.
BACKGROUND_WEIGHT = 2.0


class PatchTextHead(nn.Module):
    """Classifies every cell by the words of its caption, among the words of all images and the background."""

    def __init__(self, *, channels: int, language_width: int, width: int, kinds: int) -> None:
        """Build a head for the first `kinds` fields of `PatchCaption`, each with its own projection.

        Args:
            channels: C.
            language_width: The width of the language model, which reads the words.
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
        """Return the cross-entropy of the words, a float32 scalar, the mean over the kinds.

        All parts of an image weigh the same, however many cells they have, and the background as much as
        `BACKGROUND_WEIGHT` parts.

        Args:
            features_BPC: Floating point, features of at least one image.
            shown: The captions of the P cells of each image.
            read: Returns the language model's states, floating point (U, width), after each of some texts.
        """
        device = features_BPC.device
        weights = []
        for cells in shown:
            # The parts of an image are numbered as they appear, from 1; the background is 0.
            part_of = {caption: index for index, caption in enumerate(dict.fromkeys((BACKGROUND, *cells)))}
            weights.append(cell_weights(torch.tensor([part_of[caption] for caption in cells])))
        weight_BP = torch.stack(weights).to(device)
        words_KBP = [[[cell[kind] for cell in cells] for cells in shown] for kind in range(self.kinds)]
        known = [sorted({word for words_P in words_BP for word in words_P} - {""}) for words_BP in words_KBP]
        text_UE = self.words(read([word for words in known for word in words]))
        cells_KBPE = self.cells(features_BPC).chunk(self.kinds, dim=-1)
        texts_KUE = text_UE.split([len(words) for words in known])
        losses = []
        for kind, (cell_BPE, own_UE) in enumerate(zip(cells_KBPE, texts_KUE, strict=True)):
            number = {word: index for index, word in enumerate(("", *known[kind]))}
            target_BP = torch.tensor([[number[word] for word in words_P] for words_P in words_KBP[kind]], device=device)
            class_UE = F.normalize(torch.cat((self.background[kind, None], own_UE)), dim=-1)
            logits_BPU = F.normalize(cell_BPE, dim=-1) @ class_UE.T * self.scale[kind].exp().clamp_max(100.0)
            loss_BP = F.cross_entropy(logits_BPU.float().transpose(1, 2), target_BP, reduction="none")
            losses.append((loss_BP * weight_BP).sum() / weight_BP.sum())
        return torch.stack(losses).mean()


def cell_weights(target_P: Tensor) -> Tensor:
    """Return the weight of each cell of an image, float32 (P,).

    Args:
        target_P: int64, the number of the part in each cell; 0 is the background.
    """
    counts = torch.bincount(target_P)
    weight_P = 1.0 / counts[target_P]
    return torch.where(target_P == 0, weight_P * BACKGROUND_WEIGHT, weight_P)
