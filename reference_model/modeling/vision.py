"""The image tower, a CLIP vision transformer up to its second-to-last layer, and the connector behind it.

Shape suffixes: B images, S side of the image, P patches, C width of the tower, D width of the language model.
"""

from typing import Any, Literal

from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from reference_model.config import VisionConfig

# CLIP as OpenAI released it has `quick_gelu`; OpenCLIP's ViT-H/14 has `gelu`.
Activation = Literal["quick_gelu", "gelu"]


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


class Connector(nn.Sequential):
    """LLaVA-1.5's projector, `mlp2x_gelu`: maps features (B, P, C) to embeddings (B, P, D), floating point."""

    def __init__(self, *, vision_width: int, language_width: int) -> None:
        """Build the two layers, with the width of the language model between them."""
        # The layers keep the numbers 0 and 2 that they have in LLaVA's checkpoints.
        super().__init__(
            nn.Linear(vision_width, language_width),
            nn.GELU(),
            nn.Linear(language_width, language_width),
        )


def build_vision(config: VisionConfig, *, activation: Activation = "quick_gelu") -> VisionTower:
    """Return the tower of a configuration, randomly initialised."""
    clip = CLIPVisionConfig(
        hidden_act=activation,
        hidden_size=config.width,
        intermediate_size=config.ffn_width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        image_size=config.image_size,
        patch_size=config.patch_size,
    )
    return VisionTower(backbone=CLIPVisionModel(clip), skipped_layers=config.skipped_layers)
