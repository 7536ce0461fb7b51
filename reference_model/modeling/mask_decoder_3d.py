"""SegVol: finds the mask that a text embedding, points or a box ask for in a volume.

The names of parameters are those of the released weights.

Shape suffixes: B volumes, M masks, N sparse prompts, T tokens: one of the IoU, four of masks and the prompts, C width
of the features, K channels of the enlarged ones, D, H, W voxels, d, h, w cells of the encoder's grid, P = d h w;
in an attention Q queries and S sources.
"""

from collections import OrderedDict
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from reference_model.config import MaskDecoder3dConfig, Vision3dConfig
from reference_model.modeling.prompt_encoder_3d import PromptEncoder3d
from reference_model.modeling.vision_3d import VisionTransformer3d, build_vision_3d

# Masks of every prompt: the one that M3D uses, and three for prompts with more than one meaning.
MASKS = 4
# Layers of the networks that turn the token of a mask into a filter.
FILTER_LAYERS = 3


class Mlp(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, *widths: int) -> None:
        """Build the layers between consecutive widths."""
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, following) for width, following in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the last layer, floating point (..., last width)."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        y: Tensor = self.layers[-1](x)
        return y


class Attention(nn.Module):
    """Multi-head attention between two sets of tokens, at a width of its own.

    transformers' `SamAttention` computes the same, but not for a batch without masks, which it refuses.
    """

    def __init__(self, *, width: int, inner: int, heads: int) -> None:
        """Build the projections from the width to the inner one and back."""
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    def forward(self, query_MQC: Tensor, key_MSC: Tensor, value_MSC: Tensor) -> Tensor:
        """Return what every query gathers from the values, floating point (M, Q, C)."""
        query, key, value = (
            projection(x).reshape(*x.shape[:2], self.heads, projection.out_features // self.heads).transpose(1, 2)
            for projection, x in ((self.q_proj, query_MQC), (self.k_proj, key_MSC), (self.v_proj, value_MSC))
        )
        gathered = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        gathered_MQC: Tensor = self.out_proj(gathered)
        return gathered_MQC


class TwoWayBlock(nn.Module):
    """One layer of SAM's decoder: tokens attend to each other and to the volume, then the volume to the tokens.

    transformers' `SamTwoWayAttentionBlock` computes the same under other names than those of the released weights.
    """

    def __init__(self, config: MaskDecoder3dConfig, *, width: int, first: bool) -> None:
        """Build a layer; the first one reads tokens that are their own positions."""
        super().__init__()
        self.first = first
        heads = config.heads
        self.self_attn = Attention(width=width, inner=width, heads=heads)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = Attention(width=width, inner=width // 2, heads=heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            OrderedDict(lin1=nn.Linear(width, config.ffn_width), act=nn.ReLU(), lin2=nn.Linear(config.ffn_width, width))
        )
        self.norm3 = nn.LayerNorm(width)
        self.norm4 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = Attention(width=width, inner=width // 2, heads=heads)

    def forward(
        self, tokens_MTC: Tensor, cells_MPC: Tensor, prompts_MTC: Tensor, positions_1PC: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the new tokens and cells, floating point of their shapes.

        Args:
            tokens_MTC, cells_MPC: Floating point, the output of the layer before.
            prompts_MTC: Floating point, the first layer's tokens, which serve all layers as positions of tokens.
            positions_1PC: Floating point, the encoded positions of the cells.
        """
        if self.first:
            tokens_MTC = self.self_attn(tokens_MTC, tokens_MTC, tokens_MTC)
        else:
            placed_MTC = tokens_MTC + prompts_MTC
            tokens_MTC = tokens_MTC + self.self_attn(placed_MTC, placed_MTC, tokens_MTC)
        tokens_MTC = self.norm1(tokens_MTC)
        placed_MPC = cells_MPC + positions_1PC
        gathered_MTC = self.cross_attn_token_to_image(tokens_MTC + prompts_MTC, placed_MPC, cells_MPC)
        tokens_MTC = self.norm2(tokens_MTC + gathered_MTC)
        tokens_MTC = self.norm3(tokens_MTC + self.mlp(tokens_MTC))
        gathered_MPC = self.cross_attn_image_to_token(placed_MPC, tokens_MTC + prompts_MTC, tokens_MTC)
        return tokens_MTC, self.norm4(cells_MPC + gathered_MPC)


class TwoWayTransformer(nn.Module):
    """The layers, and a last attention from the tokens to the volume."""

    def __init__(self, config: MaskDecoder3dConfig, *, width: int) -> None:
        """Build all layers."""
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayBlock(config, width=width, first=index == 0) for index in range(config.layers)
        )
        self.final_attn_token_to_image = Attention(width=width, inner=width // 2, heads=config.heads)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(self, prompts_MTC: Tensor, cells_MPC: Tensor, positions_1PC: Tensor) -> tuple[Tensor, Tensor]:
        """Return what becomes of the tokens (M, T, C) and of the cells (M, P, C), floating point."""
        tokens_MTC = prompts_MTC
        for layer in self.layers:
            tokens_MTC, cells_MPC = layer(tokens_MTC, cells_MPC, prompts_MTC, positions_1PC)
        placed_MTC, placed_MPC = tokens_MTC + prompts_MTC, cells_MPC + positions_1PC
        gathered_MTC = self.final_attn_token_to_image(placed_MTC, placed_MPC, cells_MPC)
        return self.norm_final_attn(tokens_MTC + gathered_MTC), cells_MPC


class MaskDecoder3d(nn.Module):
    """SAM's mask decoder for volumes, with a path from the text embedding straight to the masks."""

    def __init__(self, config: MaskDecoder3dConfig, *, width: int, cells: tuple[int, int, int]) -> None:
        """Build the decoder, randomly initialised with torch's generator.

        Args:
            config: The sizes of the transformer and of the IoU head.
            width: Channels of the features, divisible by 8.
            cells: (d, h, w) of their grid.
        """
        super().__init__()
        self.transformer = TwoWayTransformer(config, width=width)
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(MASKS, width)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose3d(width, width // 4, kernel_size=2, stride=2),
            # Over channels and cells together, unlike SAM's: the weights fit one size of volume only.
            nn.LayerNorm((width // 4, *(2 * number for number in cells))),
            nn.GELU(),
            nn.ConvTranspose3d(width // 4, width // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(Mlp(*[width] * FILTER_LAYERS, width // 8) for _ in range(MASKS))
        self.iou_prediction_head = Mlp(width, *[config.iou_width] * (config.iou_layers - 1), MASKS)
        self.txt_align_upscaled_embedding = nn.Linear(width, width // 8)

    def forward(
        self, features_MCdhw: Tensor, sparse_MNC: Tensor, positions_1Cdhw: Tensor, text_MC: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Decode the masks of every prompt.

        Args:
            features_MCdhw: Floating point, the features of the volume of each mask, dense prompt included.
            sparse_MNC: Floating point, the embeddings of each prompt.
            positions_1Cdhw: Floating point, the encoded positions of the cells.
            text_MC: Floating point, the text embedding, whose likeness to each voxel is added to all masks, if there
                is one.

        Returns:
            The logits, floating point (M, 4, 4 d, 4 h, 4 w), and the estimates (M, 4) of their IoU.
        """
        own_TC = torch.cat((self.iou_token.weight, self.mask_tokens.weight))
        prompts_MTC = torch.cat((own_TC.expand(len(sparse_MNC), -1, -1), sparse_MNC), dim=1)
        cells_MPC, positions_1PC = (grid.flatten(2).transpose(1, 2) for grid in (features_MCdhw, positions_1Cdhw))
        tokens_MTC, cells_MPC = self.transformer(prompts_MTC, cells_MPC, positions_1PC)
        enlarged_MKdhw = self.output_upscaling(cells_MPC.transpose(1, 2).reshape(features_MCdhw.shape))
        filters_M4K = torch.stack(
            [network(tokens_MTC[:, 1 + index]) for index, network in enumerate(self.output_hypernetworks_mlps)], dim=1
        )
        if text_MC is not None:
            filters_M4K = filters_M4K + self.txt_align_upscaled_embedding(text_MC)[:, None]
        logits_M4dhw = (filters_M4K @ enlarged_MKdhw.flatten(2)).unflatten(2, enlarged_MKdhw.shape[2:])
        return logits_M4dhw, self.iou_prediction_head(tokens_MTC[:, 0])


class SegVol(nn.Module):
    """SegVol as M3D uses it: one pass over the whole volume, one mask a prompt."""

    def __init__(
        self, *, image_encoder: VisionTransformer3d, prompt_encoder: PromptEncoder3d, mask_decoder: MaskDecoder3d
    ) -> None:
        """Put the three parts together."""
        super().__init__()
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder

    def encode(self, volume_B1DHW: Tensor) -> Tensor:
        """Return the features of volumes, floating point (B, C, d, h, w).

        Args:
            volume_B1DHW: float32, 0 to 1, of the size of the configuration.
        """
        features_BPC: Tensor = self.image_encoder(volume_B1DHW)
        return features_BPC.transpose(1, 2).reshape(len(features_BPC), -1, *self.prompt_encoder.cells)

    def decode(
        self, features_MCdhw: Tensor, text_MC: Tensor | None = None, *, sparse_MNC: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Decode one mask per prompt; a prompt has a text embedding, points or a box, or several of them.

        Args:
            features_MCdhw: Floating point, the features of the volume of each mask.
            text_MC: Floating point, the text embeddings.
            sparse_MNC: Floating point, the prompts of points and boxes as the prompt encoder embeds them.

        Returns:
            The logits on the grid of the volume, float32 (M, D, H, W), trilinear without aligned corners, and the
            decoder's estimates, floating point (M, 4), of the IoU of its four masks; the first is the one returned.
        """
        prompts = [part for part in (sparse_MNC, None if text_MC is None else text_MC[:, None]) if part is not None]
        encoder = self.prompt_encoder
        low_M4dhw, iou_M4 = self.mask_decoder(
            features_MCdhw + encoder.no_mask(),
            torch.cat(prompts, dim=1),
            encoder.positions().to(features_MCdhw.dtype),
            text_MC,
        )
        logits_M1DHW = F.interpolate(low_M4dhw[:, :1].float(), size=encoder.size, mode="trilinear", align_corners=False)
        return logits_M1DHW[:, 0], iou_M4


def build_segvol(encoder: Vision3dConfig, decoder: MaskDecoder3dConfig) -> SegVol:
    """Return the model of two configurations, randomly initialised."""
    return SegVol(
        image_encoder=build_vision_3d(encoder, class_token=False),
        prompt_encoder=PromptEncoder3d(width=encoder.width, size=encoder.size, cells=encoder.cells),
        mask_decoder=MaskDecoder3d(decoder, width=encoder.width, cells=encoder.cells),
    )
