"""Decodes a mask from the state that predicts `<SEG>`: prompt projector, SAM's decoder, resizing to the image.

Shape suffixes: M masks, D width of the language model, K channels of the image features, G cells along a side,
L = 4 G pixels along a side of the decoder's output, N sparse prompts, P proposals, H, W of the original image.
"""

from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn
from transformers import SamConfig, SamMaskDecoderConfig, SamPromptEncoderConfig, SamVisionConfig
from transformers.models.sam.modeling_sam import SamMaskDecoder, SamPositionalEmbedding, SamPromptEncoder

from reference_model.config import MaskDecoderConfig, PixelEncoderConfig
from reference_model.inputs.images import inside

Geometry = Literal["correct", "released"]


class PromptProjector(nn.Sequential):
    """MedPLIB's T-projector: maps language-model states (M, D) to mask prompts (M, K), both floating point."""

    def __init__(self, *, language_width: int, channels: int) -> None:
        """Build the two layers, with the width of the language model between them."""
        super().__init__(
            nn.Linear(language_width, language_width),
            nn.ReLU(),
            nn.Linear(language_width, channels),
        )


class MaskDecoder(nn.Module):
    """SAM's prompt encoder and two-way decoder, one mask per prompt."""

    def __init__(self, *, prompt_encoder: SamPromptEncoder, decoder: SamMaskDecoder) -> None:
        """Put the two together; the matrix that encodes positions becomes a constant, as it is in SAM."""
        super().__init__()
        self.prompt_encoder = prompt_encoder
        self.decoder = decoder
        make_constant(prompt_encoder.shared_embedding)

    def forward(self, features_MKGG: Tensor, sparse_MNK: Tensor) -> tuple[Tensor, Tensor]:
        """Decode one mask per prompt.

        Args:
            features_MKGG: Floating point, the features of the image that each mask lies in.
            sparse_MNK: Floating point, the embeddings of each prompt: a projected state, points or boxes.

        Returns:
            The logits in the padded square, floating point (M, L, L), and the decoder's estimate (M,) of their IoU.
        """
        logits_MPLL, iou_MP = self.proposals(features_MKGG, sparse_MNK, several=False)
        return logits_MPLL[:, 0], iou_MP[:, 0]

    def proposals(self, features_MKGG: Tensor, sparse_MNK: Tensor, *, several: bool) -> tuple[Tensor, Tensor]:
        """Decode the masks that SAM proposes for each prompt.

        Args:
            features_MKGG, sparse_MNK: As for `forward`.
            several: Whether there are three proposals, for prompts with more than one meaning, or one.

        Returns:
            The logits in the padded square, floating point (M, P, L, L), and the estimates (M, P) of their IoU.
        """
        prompts, decoder = self.prompt_encoder, self.decoder
        # The dense prompt is SAM's embedding for "no mask given": as in MedPLIB, `<SEG>` gives only a sparse prompt.
        logits, iou = decoder(
            image_embeddings=features_MKGG,
            image_positional_embeddings=self.positions().to(features_MKGG.dtype).expand_as(features_MKGG),
            sparse_prompt_embeddings=sparse_MNK[:, None],
            dense_prompt_embeddings=prompts.no_mask_embed.weight[..., None, None].expand_as(features_MKGG),
            multimask_output=several,
        )
        logits_MPLL: Tensor = logits[:, 0]
        iou_MP: Tensor = iou[:, 0]
        return logits_MPLL, iou_MP

    def positions(self) -> Tensor:
        """Return the encoded positions of the cells' centres, (1, K, G, G) in the dtype of the matrix."""
        cells = self.prompt_encoder.image_embedding_size[0]
        return encoded_centres(self.prompt_encoder.shared_embedding, cells).permute(2, 0, 1)[None]

    def embed_points(self, points_MN2: Tensor, labels_MN: Tensor) -> Tensor:
        """Return the sparse prompts (M, N + 1, K) of points, floating point; without a box, SAM adds a padding point.

        Args:
            points_MN2: float32, (x, y) in pixels of the padded square.
            labels_MN: int64, 1 for a point inside the wanted mask, 0 for one outside.
        """
        with without_autocast(points_MN2):
            sparse, _ = self.prompt_encoder(points_MN2[:, None], labels_MN[:, None], None, None)
        sparse_MNK: Tensor = sparse[:, 0]
        return sparse_MNK

    def embed_boxes(self, box_M4: Tensor) -> Tensor:
        """Return the sparse prompts (M, 2, K) of boxes, floating point.

        Args:
            box_M4: float32, (x1, y1, x2, y2) in pixels of the padded square.
        """
        with without_autocast(box_M4):
            sparse, _ = self.prompt_encoder(None, None, box_M4[:, None], None)
        sparse_MNK: Tensor = sparse[:, 0]
        return sparse_MNK


def make_constant(positions: SamPositionalEmbedding) -> None:
    """Turn the matrix that encodes positions into a buffer with fresh numbers of torch's generator."""
    # SAM samples this matrix from a unit normal and never trains it; transformers makes it a parameter of another
    # scale.
    matrix = positions.positional_embedding
    del positions.positional_embedding
    positions.register_buffer("positional_embedding", torch.randn_like(matrix))


def encoded_centres(positions: SamPositionalEmbedding, cells: int) -> Tensor:
    """Return the encoded centres of the cells of a square, (G, G, K) in the dtype of the matrix.

    Args:
        positions: Encodes places as SAM does.
        cells: G.
    """
    matrix = positions.positional_embedding
    centre_G = (torch.arange(cells, device=matrix.device, dtype=matrix.dtype) + 0.5) / cells
    y_GG, x_GG = torch.meshgrid(centre_G, centre_G, indexing="ij")
    with without_autocast(matrix):
        encoded_GGK: Tensor = positions(torch.stack((x_GG, y_GG), dim=-1))
    return encoded_GGK


def without_autocast(tensor: Tensor) -> torch.autocast:
    """Return a context without autocast, in which the angles of encoded positions would lose precision."""
    return torch.autocast(device_type="cuda" if tensor.is_cuda else "cpu", enabled=False)


def to_original(logits_MLL: Tensor, size: tuple[int, int], *, side: int, geometry: Geometry = "correct") -> Tensor:
    """Return the logits in the frame of the original image, float32 (M, H, W), bilinear without aligned corners.

    Args:
        logits_MLL: Floating point, in the padded square, as the decoder gives them.
        size: (H, W) of the original image, in pixels.
        side: Pixels along a side of the padded square that the pixel encoder sees.
        geometry: `correct` enlarges the logits to that square and cuts the image out of it. `released` repeats
            MedPLIB's code, which cuts the decoder's smaller map by the square's measures: right for square images,
            stretched for aspect ratios down to 4:3, and below that only the right or lower end of the map is left.
    """
    square = logits_MLL[:, None].float()
    if geometry == "correct":
        square = resized(square, (side, side))
        rows, columns = inside(size, side)
    else:
        low = logits_MLL.shape[-1]
        rows, columns = (released_cut(part.stop - part.start, low) for part in inside(size, side))
    return resized(square[..., rows, columns], size)[:, 0]


def released_cut(length: int, low: int) -> slice:
    """Return the rows or columns that the released code cuts out of a map of `low` pixels.

    For a side longer than the map the start is negative and counts from the end, as in the released code.

    Args:
        length: Pixels of the padded square that the image fills along this axis.
        low: Pixels of the map along it.
    """
    start = (low - length) // 2
    return slice(start, start + length)


def resized(map_M1LL: Tensor, size: tuple[int, int]) -> Tensor:
    """Return a floating-point map (M, 1, L, L) at another size (H, W), bilinear without aligned corners."""
    return F.interpolate(map_M1LL, size=size, mode="bilinear", align_corners=False)


def above(logits: Tensor, probability: float) -> Tensor:
    """Return which pixels have a probability above a threshold, boolean and of the shape of the logits."""
    # In single precision: in 16 bits, logits near MedPLIB's threshold of 0.1 (-2.2 to -2.19) would change sides.
    return logits.float().sigmoid() > probability


def build_mask_decoder(config: MaskDecoderConfig, pixels: PixelEncoderConfig) -> MaskDecoder:
    """Return the decoder of a configuration, for the features of a pixel encoder, randomly initialised."""
    width = pixels.channels
    prompts = SamPromptEncoderConfig(
        hidden_size=width,
        image_size=pixels.image_size,
        patch_size=pixels.patch_size,
        mask_input_channels=config.mask_prompt_channels,
    )
    decoder = SamMaskDecoderConfig(
        hidden_size=width,
        mlp_dim=config.ffn_width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        iou_head_depth=config.iou_layers,
        iou_head_hidden_dim=config.iou_width,
    )
    whole: Any = SamConfig(
        vision_config=SamVisionConfig(num_pos_feats=width // 2),
        prompt_encoder_config=prompts,
        mask_decoder_config=decoder,
    )
    whole.mask_decoder_config._attn_implementation = "sdpa"
    return MaskDecoder(prompt_encoder=SamPromptEncoder(whole), decoder=SamMaskDecoder(whole.mask_decoder_config))
