"""The connector projects image features to the width of the language model."""

from torch import nn


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
