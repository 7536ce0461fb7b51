"""The losses of all stages and their weights.

Shape suffixes: N predicted tokens, V vocabulary, M masks; masks are (M, H, W), those in volumes (M, D, H, W).
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

# The defaults of the released function, from Lin et al., arXiv:1708.02002.
FOCAL_ALPHA = 0.25
FOCAL_GAMMA = 2.0


class Losses(NamedTuple):
    """The losses before weighting, scalars; a loss is 0 if the batch has no targets for it."""

    language: Tensor
    bce: Tensor
    dice: Tensor
    focal: Tensor
    iou: Tensor
    balance: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWeights:
    """Weight of each loss in the sum; the defaults are those of the paper, arXiv:2412.09278."""

    language: float = 1.0
    bce: float = 2.0
    dice: float = 0.5
    focal: float = 0.0
    iou: float = 0.0
    balance: float = 0.0

    def total(self, losses: Losses) -> Tensor:
        """Return the weighted sum, a scalar; a loss of weight 0 does not take part, not even as NaN."""
        weights = (self.language, self.bce, self.dice, self.focal, self.iou, self.balance)
        parts = [weight * loss for weight, loss in zip(weights, losses, strict=True) if weight]
        return torch.stack(parts).sum()


# The weights of the released script of stage III, which are not the paper's.
RELEASED_STAGE_III = LossWeights(language=1.0, bce=1.0, dice=5.0, focal=1.0)


def language_loss(logits_NV: Tensor, target_N: Tensor, weight_N: Tensor | None = None) -> Tensor:
    """Return the mean cross-entropy, or the weighted mean, as a float32 scalar; 0 if there are no tokens.

    Args:
        logits_NV: Floating point, only of trained positions.
        target_N: int64, the ids of the next tokens.
        weight_N: float32 >= 0, the weight of each token; None: all weigh the same.
    """
    # The released code gives NaN here. A zero with gradient keeps every parameter in the graph of a step.
    if len(target_N) == 0:
        return logits_NV.sum() * 0.0
    loss_N = F.cross_entropy(logits_NV.float(), target_N, reduction="none")
    if weight_N is None:
        return loss_N.mean()
    return (loss_N * weight_N).sum() / weight_N.sum().clamp_min(torch.finfo(loss_N.dtype).tiny)


def bce_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the binary cross-entropy, mean over pixels, then over masks, as a scalar; 0 if there are no masks.

    Args:
        logits: float32 (M, H, W).
        target: float32 (M, H, W), zeros and ones.
    """
    per_pixel = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return per_pixel.flatten(1).mean(dim=1).sum() / (len(logits) + 1e-8)  # as in the released code


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return 1 - (2 sum(p t) + 1e-6) / (sum p + sum t + 1e-6), mean over masks, a scalar; 0 without masks.

    Args:
        logits: float32 (M, H, W).
        target: float32 (M, H, W), zeros and ones.
    """
    probability, target = logits.sigmoid().flatten(1), target.flatten(1)
    dice_M = (2 * (probability * target).sum(dim=1) + 1e-6) / (probability.sum(dim=1) + target.sum(dim=1) + 1e-6)
    return (1 - dice_M).sum() / max(1, len(logits))


def soft_dice_loss_3d(logits: Tensor, target: Tensor) -> Tensor:
    """Return M3D's loss 1 - 2 sum(p t) / (sum p + sum t + 1), mean over masks, a scalar; 0 if there are no masks.

    Without squares, and with the 1 in the denominator only, as in the released code: a perfect mask costs 1 / (2 n + 1)
    for its n voxels.

    Args:
        logits: float32 (M, D, H, W).
        target: (M, D, H, W) of any type: zeros and ones, or -1, which counts as 0.
    """
    probability, wanted = logits.sigmoid().flatten(1), target.float().clamp_min(0).flatten(1)
    dice_M = 2 * (probability * wanted).sum(dim=1) / (probability.sum(dim=1) + wanted.sum(dim=1) + 1)
    return (1 - dice_M).sum() / max(1, len(logits))


def bce_loss_3d(logits: Tensor, target: Tensor) -> Tensor:
    """Return the binary cross-entropy of M3D, mean over all voxels, a scalar; 0 if there are no masks.

    Args:
        logits: float32 (M, D, H, W).
        target: (M, D, H, W) of any type: zeros and ones, or -1, which counts as 0.
    """
    return bce_loss(logits, target.float().clamp_min(0))


def focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the focal loss as released, mean over pixels, then over masks, as a scalar; 0 if there are no masks.

    Args:
        logits: float32 (M, H, W).
        target: float32 (M, H, W), zeros and ones.
    """
    probability = logits.sigmoid()
    inside = FOCAL_ALPHA * target * (1 - probability) ** FOCAL_GAMMA * torch.log(probability + 1e-12)
    outside = (1 - FOCAL_ALPHA) * (1 - target) * probability**FOCAL_GAMMA * torch.log(1 - probability + 1e-12)
    return -(inside + outside).flatten(1).mean(dim=1).sum() / max(1, len(logits))


def iou_loss(logits: Tensor, target: Tensor, estimate_M: Tensor) -> Tensor:
    """Return the squared error of the estimated soft IoU, mean over masks, as a scalar; 0 if there are no masks.

    Args:
        logits: float32 (M, H, W).
        target: float32 (M, H, W), zeros and ones.
        estimate_M: float32, the decoder's estimate.
    """
    probability, target = logits.sigmoid().flatten(1), target.flatten(1)
    overlap_M = (probability * target).sum(dim=1)
    union_M = probability.sum(dim=1) + target.sum(dim=1) - overlap_M
    iou_M = (overlap_M + 1e-7) / (union_M + 1e-7)
    return ((iou_M - estimate_M) ** 2).sum() / max(1, len(logits))
