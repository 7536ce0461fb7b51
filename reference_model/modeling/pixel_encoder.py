"""The pixel encoder: SAM's image transformer, with SAM-Med2D's adapter beside the feed-forward part of every layer.

Shape suffixes: B images, S side of the image, G cells along a side, C width, K channels of the output.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import SamVisionConfig
from transformers.models.sam.modeling_sam import SamVisionEncoder

from reference_model.config import PixelEncoderConfig


class Adapter(nn.Module):
    """SAM-Med2D's adapter: a gate per channel, then a detour over half the resolution.

    Source: arXiv:2308.16184 and its released code.
    """

    def __init__(self, *, width: int, gate_width: int) -> None:
        """Build the adapter.

        Args:
            width: Channels of the input.
            gate_width: Width of the hidden layer of the gate.
        """
        super().__init__()
        # The layers have no biases, as in the released weights.
        self.gate = nn.Sequential(
            nn.Linear(width, gate_width, bias=False),
            nn.ReLU(),
            nn.Linear(gate_width, width, bias=False),
            nn.Sigmoid(),
        )
        self.detour = nn.Sequential(
            nn.Conv2d(width, width, kernel_size=3, stride=2, padding=1, bias=False),
            nn.ReLU(),
            nn.ConvTranspose2d(width, width, kernel_size=4, stride=2, padding=1, bias=False),
            nn.ReLU(),
        )
        self.norm = nn.LayerNorm(width)
        for parameter in (*self.gate.parameters(), *self.detour.parameters()):
            nn.init.kaiming_normal_(parameter, mode="fan_out", nonlinearity="relu")

    def forward(self, x_BGGC: Tensor) -> Tensor:
        """Return the term to add to the feed-forward output, floating point (B, G, G, C) like the input; G is even."""
        gate_BC = self.gate(x_BGGC.mean(dim=(1, 2)))
        gated_BCGG = (x_BGGC * gate_BC[:, None, None]).permute(0, 3, 1, 2)
        detour_BGGC = self.detour(gated_BCGG).permute(0, 2, 3, 1)
        y_BGGC: Tensor = self.norm(x_BGGC + detour_BGGC)
        return y_BGGC


class AdaptedFeedForward(nn.Module):
    """A feed-forward part and an adapter that read the same normalised input; their outputs are added."""

    def __init__(self, *, dense: nn.Module, adapter: Adapter) -> None:
        """Put `adapter` beside `dense`."""
        super().__init__()
        self.dense = dense
        self.adapter = adapter

    def forward(self, x_BGGC: Tensor) -> Tensor:
        """Return the sum of both, floating point (B, G, G, C) like the input."""
        y_BGGC: Tensor = self.dense(x_BGGC) + self.adapter(x_BGGC)
        return y_BGGC


class PixelEncoder(nn.Module):
    """Computes the features of an image that the mask decoder reads."""

    def __init__(self, *, backbone: SamVisionEncoder) -> None:
        """Wrap SAM's image encoder, with adapters if it has any."""
        super().__init__()
        self.backbone = backbone

    def forward(self, image_B3SS: Tensor) -> Tensor:
        """Return the features of images.

        Args:
            image_B3SS: float32, normalised as by `inputs.images.for_pixel_encoder`.

        Returns:
            Floating point (B, K, G, G).
        """
        features_BKGG: Tensor = self.backbone(image_B3SS).last_hidden_state
        return features_BKGG


def build_pixel_encoder(config: PixelEncoderConfig) -> PixelEncoder:
    """Return the encoder of a configuration, randomly initialised."""
    sam = SamVisionConfig(
        hidden_size=config.width,
        output_channels=config.channels,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        image_size=config.image_size,
        patch_size=config.patch_size,
        mlp_dim=config.ffn_width,
        window_size=config.window,
        # The last of every group of layers: 2, 5, 8 and 11 of SAM ViT-B's twelve.
        global_attn_indexes=list(range(config.global_every - 1, config.layers, config.global_every)),
        num_pos_feats=config.channels // 2,
        initializer_range=0.02,
    )
    sam._attn_implementation = "sdpa"
    backbone = SamVisionEncoder(sam)
    layers: Any = backbone.layers
    for layer in layers if config.adapter_width else ():
        adapter = Adapter(width=config.width, gate_width=config.adapter_width)
        layer.mlp = AdaptedFeedForward(dense=layer.mlp, adapter=adapter)
    return PixelEncoder(backbone=backbone)


def encode_rows(encoder: nn.Module, image_B3SS: Tensor, row_M: Tensor) -> Tensor:
    """Return the features, floating point (M, K, G, G), of the images in rows `row_M`; each image is encoded once.

    Args:
        encoder: Maps images (B, 3, S, S) to features (B, K, G, G).
        image_B3SS: float32, normalised.
        row_M: int64, the row of the image that each mask lies in.
    """
    rows_R, place_M = torch.unique(row_M, return_inverse=True)
    features_MKGG: Tensor = encoder(image_B3SS[rows_R])[place_M]
    return features_MKGG
