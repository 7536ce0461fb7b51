"""M3D-LaMed: 3-D tower, perceiver, language model, and SegVol, which decodes a mask from the states before `[SEG]`.

Shape suffixes: B conversations, T positions, N positions of a volume, D width of the language model, M masks of all
rows, C width of SegVol's encoder; volumes and masks are (..., D, H, W) voxels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from harness.errors import ModelError
from reference_model.inputs.batch import VolumeBatch
from reference_model.inputs.conversation import IGNORE, IMAGE
from reference_model.modeling.language import LanguageModel
from reference_model.modeling.m3d_clip import M3dClip
from reference_model.modeling.mask_decoder_3d import SegVol
from reference_model.modeling.moe import Routing
from reference_model.modeling.vision_3d import SpatialPoolingPerceiver, VisionTransformer3d
from reference_model.training import losses

# The dropout of the released projector, in training only.
PROJECTOR_DROPOUT = 0.1


class SegProjector(nn.Sequential):
    """Maps states of the language model (M, D) to prompts of the mask decoder (M, C), both floating point."""

    def __init__(self, *, language_width: int, channels: int) -> None:
        """Build both layers, with the width of the language model between them."""
        super().__init__(
            nn.Linear(language_width, language_width),
            nn.ReLU(),
            nn.Linear(language_width, channels),
            nn.Dropout(PROJECTOR_DROPOUT),
        )


class VolumeLosses(NamedTuple):
    """The losses before weighting, scalars; a loss is 0 if the batch has no targets for it."""

    language: Tensor
    bce: Tensor
    dice: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeOutput:
    """The losses of a training pass, and the mask logits, float32 (M, D, H, W), on the grid of the model."""

    losses: VolumeLosses
    logits_MDHW: Tensor
    routing: tuple[Routing, ...] = ()


class VolumeGroundingModel(nn.Module):
    """Answers questions about a volume in words and in masks; compares volumes with reports."""

    # Attribute names are the first part of every checkpoint key: renaming one would orphan its weights.
    def __init__(
        self,
        *,
        clip: M3dClip,
        vision: VisionTransformer3d,
        perceiver: SpatialPoolingPerceiver,
        language: LanguageModel,
        seg_projector: SegProjector,
        segvol: SegVol,
        seg_id: int,
        first_token_counts: bool = True,
    ) -> None:
        """Put built parts together.

        Args:
            clip: Compares volumes with reports; its tower is where training of `vision` begins.
            vision: Computes the features of the patches.
            perceiver: Turns these features into embeddings.
            language: Reads embeddings and writes text.
            seg_projector: Turns the states before `[SEG]` into a prompt of the mask decoder.
            segvol: Decodes one mask per prompt.
            seg_id: Id of `[SEG]`.
            first_token_counts: Whether a `[SEG]` that is the first token of an answer gets a mask, which the released
                generation misses.
        """
        super().__init__()
        self.clip = clip
        self.vision = vision
        self.perceiver = perceiver
        self.language = language
        self.seg_projector = seg_projector
        self.segvol = segvol
        self.seg_id = seg_id
        self.first_token_counts = first_token_counts

    def forward(self, batch: VolumeBatch, *, drop_seed: int = 0) -> VolumeOutput:
        """Return the losses of a batch of answered questions.

        Args:
            batch: Conversations padded on the right.
            drop_seed: See `LanguageModel.forward`.
        Raises:
            ModelError: The batch contradicts itself.
        """
        hidden_BTD = self.language(
            self.embed(batch), valid_BK=batch.valid_BT, segment_BK=batch.segment_BT, drop_seed=drop_seed
        ).hidden_BTD
        target_BT = batch.labels_BT[:, 1:]
        trained_BT = target_BT != IGNORE
        weight_N = None if batch.weight_BT is None else batch.weight_BT[:, 1:][trained_BT]
        logits_NV = self.language.logits(hidden_BTD[:, :-1][trained_BT])
        language = losses.language_loss(logits_NV, target_BT[trained_BT], weight_N)
        if len(batch.mask_row_M) == 0:
            zero = torch.zeros((), device=hidden_BTD.device)
            empty_MDHW = batch.volume_B1DHW.new_zeros((0, *batch.volume_B1DHW.shape[2:]))
            return VolumeOutput(
                losses=VolumeLosses(language=language, bce=zero, dice=zero),
                logits_MDHW=empty_MDHW,
            )
        logits_MDHW = self.masks(mask_states(hidden_BTD, batch, self.seg_id), batch.mask_row_M, batch.volume_B1DHW)
        return VolumeOutput(
            losses=VolumeLosses(
                language=language,
                bce=losses.bce_loss(logits_MDHW, batch.mask_MDHW),
                dice=losses.soft_dice_loss_3d(logits_MDHW, batch.mask_MDHW),
            ),
            logits_MDHW=logits_MDHW,
        )

    def embed(self, batch: VolumeBatch) -> Tensor:
        """Return the embeddings, floating point (B, T, D), with the volume's in its place.

        Raises:
            ModelError: A row has another number of places than a volume has embeddings.
        """
        place_BT = batch.ids_BT == IMAGE
        volume_BND = self.perceiver(self.vision(batch.volume_B1DHW))
        for row, count in enumerate(place_BT.sum(dim=1).tolist()):
            if count != volume_BND.shape[1] or len(volume_BND) != len(place_BT):
                raise ModelError(
                    f"batch: row {row}: expected {volume_BND.shape[1]} positions of a volume and one volume a row, "
                    f"found {count} and {len(volume_BND)} volumes for {len(place_BT)} rows"
                )
        x_BTD: Tensor = self.language.embed_tokens(batch.ids_BT.clamp_min(0))
        return x_BTD.masked_scatter(place_BT[..., None], volume_BND.to(x_BTD.dtype))

    def masks(self, state_MD: Tensor, row_M: Tensor, volume_B1DHW: Tensor) -> Tensor:
        """Return the logits of masks, float32 (M, D, H, W), on the grid of the model.

        Args:
            state_MD: Floating point, one state per mask: the mean over its `[SEG]` tokens.
            row_M: int64, the row of each mask.
            volume_B1DHW: float32, the volumes of the rows.
        """
        asked, place_M = torch.unique(row_M, return_inverse=True)
        features_MCdhw = self.segvol.encode(volume_B1DHW[asked])[place_M]
        prompt_MC = self.seg_projector(state_MD).to(features_MCdhw.dtype)
        logits_MDHW: Tensor = self.segvol.decode(features_MCdhw, prompt_MC)[0]
        return logits_MDHW


def mask_states(hidden_BTD: Tensor, batch: VolumeBatch, seg_id: int) -> Tensor:
    """Return the state of each trained mask, floating point (M, D): the mean of the states that predict its `[SEG]`.

    Args:
        hidden_BTD: Floating point, the states after the final norm.
        batch: Names row and segment of each mask.
        seg_id: Id of `[SEG]`.
    """
    before_BT = torch.zeros_like(batch.valid_BT)
    before_BT[:, :-1] = batch.ids_BT[:, 1:] == seg_id
    # The segment of the `[SEG]` itself: the state before it may be the volume's last.
    segment_BT = torch.zeros_like(batch.ids_BT)
    if batch.segment_BT is not None:
        segment_BT[:, :-1] = batch.segment_BT[:, 1:]
    own_MT = before_BT[batch.mask_row_M] & (segment_BT[batch.mask_row_M] == batch.mask_segment_M[:, None])
    weight_MT = own_MT.to(hidden_BTD.dtype)
    # Without a `[SEG]`, as in a truncated answer, the sum is the release's prompt of zeros.
    weight_MT = weight_MT / weight_MT.sum(dim=1, keepdim=True).clamp_min(1)
    return (weight_MT[:, None] @ hidden_BTD[batch.mask_row_M])[:, 0]


def seg_steps(answer_ids: Sequence[int], seg_id: int, *, first_token_counts: bool) -> list[int]:
    """Return the places in a generated answer whose token is a `[SEG]` that gets a mask.

    The state of each is the one that predicted it; all of them are averaged to one prompt.

    Args:
        answer_ids: The tokens of the answer.
        seg_id: Id of `[SEG]`.
        first_token_counts: See `VolumeGroundingModel`.
    """
    first = 0 if first_token_counts else 1
    return [place for place, token in enumerate(answer_ids) if token == seg_id and place >= first]
