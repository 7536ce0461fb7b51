"""The whole model: image tower, connector, region encoder, language model, pixel encoder, mask decoder.

Shape suffixes: B conversations, T positions, P patches, C width of the image tower, D width of the language model,
R regions, M masks of all rows, N predicted tokens, S, L sides of the images and of the decoder's masks, G cells,
H, W of an original image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.errors import ModelError
from reference_model.inputs.batch import Batch
from reference_model.inputs.conversation import IGNORE, IMAGE, REGION
from reference_model.modeling.connector import Connector
from reference_model.modeling.language import LanguageModel
from reference_model.modeling.mask_decoder import Geometry, MaskDecoder, PromptProjector, to_original
from reference_model.modeling.moe import Routing
from reference_model.modeling.pixel_encoder import PixelEncoder, encode_rows
from reference_model.modeling.region_encoder import RegionEncoder
from reference_model.modeling.vision import VisionTower
from reference_model.training import losses
from reference_model.training.losses import Losses


@dataclass(frozen=True, slots=True, kw_only=True)
class Masks:
    """The masks of one row, in the order of its `<SEG>` tokens.

    Attributes:
        logits_MHW: float32, in the frame of the original image; without masks, of the dtype of the states.
        iou_M: Of the same dtype, the decoder's estimate of the IoU of each mask.
    """

    logits_MHW: Tensor
    iou_M: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """The losses of a training pass, the masks of every row, and the routing of every layer with experts."""

    losses: Losses
    masks: tuple[Masks, ...]
    routing: tuple[Routing, ...]


class PixelGroundingModel(nn.Module):
    """Answers in words and in masks."""

    # Attribute names are the first part of every checkpoint key: renaming one would orphan its weights.
    def __init__(
        self,
        *,
        vision: VisionTower,
        connector: Connector,
        region: RegionEncoder,
        language: LanguageModel,
        projector: PromptProjector,
        pixel_encoder: PixelEncoder,
        mask_decoder: MaskDecoder,
        seg_id: int,
        pixel_side: int,
        geometry: Geometry = "correct",
    ) -> None:
        """Put built parts together.

        Args:
            vision: Computes the features of the patches.
            connector: Turns these features into embeddings.
            region: Turns these features into one embedding per region.
            language: Reads embeddings and writes text.
            projector: Turns the state that predicts `<SEG>` into a prompt of the mask decoder.
            pixel_encoder: Computes the features that the mask decoder reads.
            mask_decoder: Decodes one mask per prompt.
            seg_id: Id of `<SEG>`.
            pixel_side: Pixels along a side of the pixel encoder's square.
            geometry: See `mask_decoder.to_original`.
        """
        super().__init__()
        self.vision = vision
        self.connector = connector
        self.region = region
        self.language = language
        self.projector = projector
        self.pixel_encoder = pixel_encoder
        self.mask_decoder = mask_decoder
        self.seg_id = seg_id
        self.pixel_side = pixel_side
        self.geometry: Geometry = geometry

    def forward(self, batch: Batch, *, drop_seed: int = 0) -> Output:
        """Return the losses of a batch of answered conversations.

        Args:
            batch: Conversations padded on the right.
            drop_seed: See `LanguageModel.forward`.
        Raises:
            ModelError: The batch contradicts itself.
        """
        output = self.language(
            self.embed(batch), valid_BK=batch.valid_BT, segment_BK=batch.segment_BT, drop_seed=drop_seed
        )
        row_M, position_M = seg_states(batch.ids_BT, self.seg_id)
        masks: tuple[Masks, ...] = ()
        if batch.pixels_B3SS is not None:
            masks = self.masks(output.hidden_BTD[row_M, position_M], row_M, batch.pixels_B3SS, batch.sizes)
        zero = torch.zeros((), device=batch.ids_BT.device)
        bce, dice, focal, iou = _mask_losses(masks, batch.masks, zero)
        return Output(
            losses=Losses(
                language=self._language_loss(output.hidden_BTD, batch),
                bce=bce,
                dice=dice,
                focal=focal,
                iou=iou,
                balance=torch.stack([zero, *(routed.balance for routed in output.routing)]).sum(),
            ),
            masks=masks,
            routing=output.routing,
        )

    def embed(self, batch: Batch) -> Tensor:
        """Return the embeddings, floating point (B, T, D), with image and regions in their places.

        Raises:
            ModelError: The number of placeholders differs from that of image patches or regions.
        """
        image_BT, region_BT = batch.ids_BT == IMAGE, batch.ids_BT == REGION
        features_BPC = self.vision(batch.vision_B3SS)
        patches_BPD = self.connector(features_BPC)
        _check_images(image_BT, patches_BPD)
        if int(region_BT.sum()) != len(batch.grid_RGG):
            raise ModelError(f"batch: expected {int(region_BT.sum())} regions, one per mark, got {len(batch.grid_RGG)}")
        x_BTD: Tensor = self.language.embed_tokens(batch.ids_BT.clamp_min(0))
        x_BTD = x_BTD.masked_scatter(image_BT[..., None], patches_BPD.to(x_BTD.dtype))
        if len(batch.grid_RGG) == 0:
            return x_BTD
        region_RD = self.region(features_BPC, batch.grid_RGG, region_BT.nonzero()[:, 0])
        return x_BTD.masked_scatter(region_BT[..., None], region_RD.to(x_BTD.dtype))

    def masks(
        self, state_MD: Tensor, row_M: Tensor, pixels_B3SS: Tensor, sizes: Sequence[tuple[int, int]]
    ) -> tuple[Masks, ...]:
        """Return the masks of every row, none for a row without `<SEG>`.

        Args:
            state_MD: Floating point, the states that predict `<SEG>`, rows ascending.
            row_M: int64, the row of each state.
            pixels_B3SS: float32, the images as the pixel encoder reads them.
            sizes: (H, W) of each row's original image, in pixels.
        """
        if len(row_M) == 0:
            return tuple(
                Masks(logits_MHW=state_MD.new_zeros((0, *size)), iou_M=state_MD.new_zeros(0)) for size in sizes
            )
        features_MKGG = encode_rows(self.pixel_encoder, pixels_B3SS, row_M)
        prompt_MK = self.projector(state_MD).to(features_MKGG.dtype)
        logits_MLL, iou_M = self.mask_decoder(features_MKGG, prompt_MK[:, None])
        return tuple(
            Masks(
                logits_MHW=to_original(logits_MLL[row_M == row], size, side=self.pixel_side, geometry=self.geometry),
                iou_M=iou_M[row_M == row].float(),
            )
            for row, size in enumerate(sizes)
        )

    def _language_loss(self, hidden_BTD: Tensor, batch: Batch) -> Tensor:
        # Only trained positions go through the head: logits of image patches and questions would waste memory.
        target_BT = batch.labels_BT[:, 1:]
        trained_BT = target_BT != IGNORE
        weight_N = None if batch.weight_BT is None else batch.weight_BT[:, 1:][trained_BT]
        logits_NV = self.language.logits(hidden_BTD[:, :-1][trained_BT])
        return losses.language_loss(logits_NV, target_BT[trained_BT], weight_N)


def seg_states(ids_BT: Tensor, seg_id: int) -> tuple[Tensor, Tensor]:
    """Return row and position, int64 (M,) each, of the states that predict `<SEG>`, in reading order.

    Args:
        ids_BT: int64, with the image expanded.
        seg_id: Id of `<SEG>`.
    """
    # One position before `<SEG>`, as in LISA and MedPLIB: when generating, that state exists before the token does.
    row_M, position_M = (ids_BT == seg_id).nonzero().unbind(dim=1)
    return row_M, position_M - 1


def _check_images(image_BT: Tensor, patches_BPD: Tensor) -> None:
    patches = patches_BPD.shape[1]
    for row, count in enumerate(image_BT.sum(dim=1).tolist()):
        if count != patches:
            raise ModelError(
                f"batch: row {row}: expected {patches} image positions, found {count}; one image a row, expanded"
            )
    if len(patches_BPD) != len(image_BT):
        raise ModelError(f"batch: expected {len(image_BT)} images, one a row, got {len(patches_BPD)}")


def _mask_losses(found: Sequence[Masks], wanted: Sequence[Tensor], zero: Tensor) -> list[Tensor]:
    """Return BCE, Dice, focal and IoU loss, each the mean over the masks of all rows."""
    # Row by row: the masks of different images have different sizes.
    totals, count = [zero] * 4, 0
    if wanted and len(wanted) != len(found):
        raise ModelError(f"batch: expected wanted masks and pixels of {len(wanted)} rows, got {len(found)} with pixels")
    for row, (masks, target_MHW) in enumerate(zip(found, wanted, strict=False)):
        if masks.logits_MHW.shape != target_MHW.shape:
            raise ModelError(
                f"batch: row {row}: expected masks of {tuple(masks.logits_MHW.shape)}, one for each <SEG>, "
                f"got {tuple(target_MHW.shape)}"
            )
        number = len(target_MHW)
        target_MHW = target_MHW.float()
        parts = (
            losses.bce_loss(masks.logits_MHW, target_MHW),
            losses.dice_loss(masks.logits_MHW, target_MHW),
            losses.focal_loss(masks.logits_MHW, target_MHW),
            losses.iou_loss(masks.logits_MHW, target_MHW, masks.iou_M),
        )
        totals = [total + part * number for total, part in zip(totals, parts, strict=True)]
        count += number
    return [total / max(1, count) for total in totals]
