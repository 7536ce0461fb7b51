"""The image tower: a CLIP vision transformer up to its second-to-last layer.

Shape suffixes: B images, S side of the image, P patches, C width.
"""

from typing import Any

from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from reference_model.config import VisionConfig


class VisionTower(nn.Module):
    """Computes the features of every patch of an image."""

    def __init__(self, *, backbone: CLIPVisionModel, skipped_layers: int) -> None:
        """Wrap a backbone of which the last layers are skipped.

        Args:
            backbone: The whole CLIP vision transformer.
            skipped_layers: The number of last layers that do not run; 1 gives the states that LLaVA calls layer -2.
        """
        super().__init__()
        self.backbone = backbone
        self.skipped_layers = skipped_layers

    def forward(self, image_B3SS: Tensor) -> Tensor:
        """Return the features, floating point (B, P, C), patches in reading order, without the class token.

        Args:
            image_B3SS: float32, normalised as by `inputs.images.for_vision_tower`.
        """
        return self._before_skipped(image_B3SS)[:, 1:]

    def whole(self, image_B3SS: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, P, C) and the class token's state (B, C), floating point; CLIP compares it with texts.

        Args:
            image_B3SS: As for `forward`.
        """
        backbone: Any = self.backbone
        x_BPC = self._before_skipped(image_B3SS)
        features_BPC = x_BPC[:, 1:]
        for layer in backbone.encoder.layers[len(backbone.encoder.layers) - self.skipped_layers :]:
            x_BPC = layer(x_BPC, attention_mask=None)
        class_BC: Tensor = backbone.post_layernorm(x_BPC[:, 0])
        return features_BPC, class_BC

    def _before_skipped(self, image_B3SS: Tensor) -> Tensor:
        # `output_hidden_states` would run the skipped layers, too, and keep the states of all layers.
        backbone: Any = self.backbone
        x_BPC: Tensor = backbone.pre_layrnorm(backbone.embeddings(image_B3SS))
        for layer in backbone.encoder.layers[: len(backbone.encoder.layers) - self.skipped_layers]:
            x_BPC = layer(x_BPC, attention_mask=None)
        return x_BPC


def build_vision(config: VisionConfig) -> VisionTower:
    """Return the tower of a configuration, randomly initialised."""
    clip = CLIPVisionConfig(
        hidden_size=config.width,
        intermediate_size=config.ffn_width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        image_size=config.image_size,
        patch_size=config.patch_size,
    )
    return VisionTower(backbone=CLIPVisionModel(clip), skipped_layers=config.skipped_layers)
