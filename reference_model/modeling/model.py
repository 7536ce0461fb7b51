"""Models that answer about images; those that mark them: MedPLIB's with region encoder, MIMO's with input aligner.

Shape suffixes: B conversations, T positions, P patches, C width of the image tower, D width of the language model,
R regions, M masks of all rows, N predicted tokens or positions of visual prompts, Q questions, S, L sides of the images
and of the decoder's masks, G cells, H, W of an original image.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NotRequired, TypedDict, Unpack

import torch
from torch import Tensor, nn

from harness.errors import ModelError
from reference_model.inputs.batch import Batch
from reference_model.inputs.conversation import IGNORE, IMAGE, QUERY, REGION
from reference_model.modeling.input_aligner import (
    IMAGE_KIND,
    PROMPT_KIND,
    TEXT_KIND,
    InputAligner,
    VisualPromptEncoder,
)
from reference_model.modeling.language import LanguageModel
from reference_model.modeling.mask_decoder import Geometry, MaskDecoder, PromptProjector, to_original
from reference_model.modeling.moe import Routing
from reference_model.modeling.pixel_encoder import PixelEncoder, encode_rows
from reference_model.modeling.region_encoder import RegionEncoder
from reference_model.modeling.vision import Connector, VisionTower
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


class ImageParts(TypedDict):
    """The parts that both architectures share.

    Attributes:
        vision: Computes the features of the patches.
        connector: Turns these features into embeddings.
        language: Reads embeddings and writes text.
        projector: Turns the state that predicts `<SEG>` into a prompt of the mask decoder.
        pixel_encoder: Computes the features that the mask decoder reads.
        mask_decoder: Decodes one mask per prompt.
        seg_id: Id of `<SEG>`.
        pixel_side: Pixels along a side of the pixel encoder's square.
        geometry: See `mask_decoder.to_original`.
    """

    vision: VisionTower
    connector: Connector
    language: LanguageModel
    projector: PromptProjector
    pixel_encoder: PixelEncoder
    mask_decoder: MaskDecoder
    seg_id: int
    pixel_side: int
    geometry: NotRequired[Geometry]


class ImageLanguageModel(nn.Module, ABC):
    """Answers about images; the architectures differ in what the language model reads beside words."""

    # Attribute names are the first part of every checkpoint key: renaming one would orphan its weights.
    def __init__(self, *, vision: VisionTower, connector: Connector, language: LanguageModel) -> None:
        """Put built parts together; see `ImageParts`."""
        super().__init__()
        self.vision = vision
        self.connector = connector
        self.language = language

    @abstractmethod
    def embed(self, batch: Batch, features_BPC: Tensor | None = None) -> Tensor:
        """Return the embeddings, floating point (B, T, D), with images and whatever else is no text in their places.

        Args:
            batch: The conversations.
            features_BPC: Floating point, from the image tower, if they are known; the batch's images are then not read.

        Raises:
            ModelError: The placeholders do not fit the images or visual prompts.
        """

    def language_loss(self, hidden_BTD: Tensor, batch: Batch) -> Tensor:
        """Return the loss of the labels of a batch, a float32 scalar.

        Args:
            hidden_BTD: Floating point, the states after the final norm.
            batch: Provides labels and their weights.
        """
        # Only trained positions go through the head: logits of image patches and questions would waste memory.
        target_BT = batch.labels_BT[:, 1:]
        trained_BT = target_BT != IGNORE
        weight_N = None if batch.weight_BT is None else batch.weight_BT[:, 1:][trained_BT]
        logits_NV = self.language.logits(hidden_BTD[:, :-1][trained_BT])
        return losses.language_loss(logits_NV, target_BT[trained_BT], weight_N)


class ImageGroundingModel(ImageLanguageModel):
    """Answers about an image in words and in masks."""

    def __init__(self, **parts: Unpack[ImageParts]) -> None:
        """Put built parts together."""
        super().__init__(vision=parts["vision"], connector=parts["connector"], language=parts["language"])
        self.projector = parts["projector"]
        self.pixel_encoder = parts["pixel_encoder"]
        self.mask_decoder = parts["mask_decoder"]
        self.seg_id = parts["seg_id"]
        self.pixel_side = parts["pixel_side"]
        self.geometry: Geometry = parts.get("geometry", "correct")

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
                language=self.language_loss(output.hidden_BTD, batch),
                bce=bce,
                dice=dice,
                focal=focal,
                iou=iou,
                balance=torch.stack([zero, *(routed.balance for routed in output.routing)]).sum(),
            ),
            masks=masks,
            routing=output.routing,
        )

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
        features_MKGG = encode_rows(self.pixel_encoder, pixels_B3SS, row_M) if len(row_M) else pixels_B3SS[:0]
        return self.decode(state_MD, row_M, features_MKGG, sizes)

    def decode(
        self, state_MD: Tensor, row_M: Tensor, features_MKGG: Tensor, sizes: Sequence[tuple[int, int]]
    ) -> tuple[Masks, ...]:
        """Return the masks of every row, as `masks` does, from the pixel encoder's features of the image of each mask.

        Args:
            state_MD, row_M, sizes: As for `masks`.
            features_MKGG: Floating point.
        """
        if len(row_M) == 0:
            return tuple(
                Masks(logits_MHW=state_MD.new_zeros((0, *size)), iou_M=state_MD.new_zeros(0)) for size in sizes
            )
        prompt_MK = self.projector(state_MD).to(features_MKGG.dtype)
        logits_MLL, iou_M = self.mask_decoder(features_MKGG, prompt_MK[:, None])
        return tuple(
            Masks(
                logits_MHW=to_original(logits_MLL[row_M == row], size, side=self.pixel_side, geometry=self.geometry),
                iou_M=iou_M[row_M == row].float(),
            )
            for row, size in enumerate(sizes)
        )


class PixelGroundingModel(ImageGroundingModel):
    """MedPLIB's architecture, in which a visual prompt is one embedding of the image's features inside a region."""

    def __init__(self, *, region: RegionEncoder, **parts: Unpack[ImageParts]) -> None:
        """Put built parts together; `region` turns the features of the image tower into one embedding per region."""
        super().__init__(**parts)
        self.region = region

    def embed(self, batch: Batch, features_BPC: Tensor | None = None) -> Tensor:
        """Return the embeddings, floating point (B, T, D), with image and regions in their places.

        Args:
            batch: The conversations.
            features_BPC: Floating point, from the image tower, if they are known; the batch's images are then not read.

        Raises:
            ModelError: The number of placeholders differs from that of image patches or regions.
        """
        image_BT, region_BT = batch.ids_BT == IMAGE, batch.ids_BT == REGION
        if features_BPC is None:
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


class EntityGroundingModel(ImageGroundingModel):
    """MIMO's architecture, in which learned queries read the image, the question and its visual prompts together."""

    def __init__(
        self, *, prompt_encoder: VisualPromptEncoder, aligner: InputAligner | None, **parts: Unpack[ImageParts]
    ) -> None:
        """Put built parts together.

        Args:
            prompt_encoder: Turns points and corners of boxes into embeddings.
            aligner: Turns embeddings of image, text and visual prompts into those of the queries; None: the language
                model reads only the former.
            parts: The parts that do not depend on the architecture.
        """
        super().__init__(**parts)
        self.prompt_encoder = prompt_encoder
        self.aligner = aligner

    def embed(self, batch: Batch, features_BPC: Tensor | None = None) -> Tensor:
        """Return the embeddings, floating point (B, T, D), with image, visual prompts and queries in their places.

        Args:
            batch: The conversations.
            features_BPC: Floating point, from the image tower, if they are known; the batch's images are then not read.

        Raises:
            ModelError: The number of placeholders differs from that of patches, points and corners, or queries.
        """
        image_BT, prompt_BT, query_BT = (batch.ids_BT == mark for mark in (IMAGE, REGION, QUERY))
        patches_BPD = self.image_embeddings(self.vision(batch.vision_B3SS) if features_BPC is None else features_BPC)
        _check_images(image_BT, patches_BPD)
        prompts = 0 if batch.prompt_kind_N is None else len(batch.prompt_kind_N)
        if int(prompt_BT.sum()) != prompts:
            raise ModelError(f"batch: expected {int(prompt_BT.sum())} points and corners, one per mark, got {prompts}")
        x_BTD: Tensor = self.language.embed_tokens(batch.ids_BT.clamp_min(0))
        x_BTD = x_BTD.masked_scatter(image_BT[..., None], patches_BPD.to(x_BTD.dtype))
        if batch.prompt_place_N2 is not None and batch.prompt_kind_N is not None:
            prompt_ND = self.prompt_encoder(batch.prompt_place_N2, batch.prompt_kind_N)
            x_BTD = x_BTD.masked_scatter(prompt_BT[..., None], prompt_ND.to(x_BTD.dtype))
        queries = 0 if self.aligner is None else len(self.aligner.query_embed)
        if (queries == 0 and bool(query_BT.any())) or (queries and int(query_BT.sum()) % queries):
            raise ModelError(f"batch: expected {queries} queries a question, got {int(query_BT.sum())} in all")
        if self.aligner is None or not bool(query_BT.any()):
            return x_BTD
        first_Q = torch.arange(0, int(query_BT.sum()), queries, device=x_BTD.device)
        row_Q = query_BT.nonzero()[first_Q, 0]
        kind_BT = torch.full_like(batch.ids_BT, TEXT_KIND)
        kind_BT = kind_BT.masked_fill(image_BT, IMAGE_KIND).masked_fill(prompt_BT, PROMPT_KIND)
        asked_QT = _asked(batch, query_BT, row_Q, first_Q, queries)
        aligned_QLD = self.aligner(x_BTD[row_Q], kind_BT[row_Q], image_BT[row_Q] | asked_QT)
        return x_BTD.masked_scatter(query_BT[..., None], aligned_QLD.to(x_BTD.dtype))

    def image_embeddings(self, features_BPC: Tensor) -> Tensor:
        """Return the embeddings of an image's patches, floating point (B, P, D): features and places, both projected.

        Args:
            features_BPC: Floating point, from the image tower.
        """
        # As in SAM's decoder, the image has the encoded positions of its cells, which those of prompts can be compared
        # with.
        patches_BPD = self.connector(features_BPC)
        places_PD = self.prompt_encoder.patches(math.isqrt(patches_BPD.shape[1]))
        embedded_BPD: Tensor = patches_BPD + places_PD.to(patches_BPD.dtype)
        return embedded_BPD


def _asked(batch: Batch, query_BT: Tensor, row_Q: Tensor, first_Q: Tensor, queries: int) -> Tensor:
    """Return the text and visual prompts of each question, boolean (Q, T): what is behind its queries, less the answer.

    Args:
        batch: Conversations of one or several questions a row.
        query_BT: Boolean, the positions of queries.
        row_Q: int64, the row of each question.
        first_Q: int64, the number of each question's first query among all queries.
        queries: L.
    """
    segment_BT = torch.ones_like(batch.ids_BT) if batch.segment_BT is None else batch.segment_BT
    own_QT = (segment_BT[row_Q] == segment_BT[query_BT][first_Q][:, None]) & batch.valid_BT[row_Q]
    query_QT = own_QT & query_BT[row_Q]
    behind_QT = (query_QT.cumsum(dim=1) >= queries) & ~query_QT
    # An answer starts with its first label; without labels, the model is to write it.
    answered_QT = (own_QT & (batch.labels_BT[row_Q] != IGNORE)).cumsum(dim=1) > 0
    return own_QT & behind_QT & ~answered_QT


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
