"""From the width of the image tower to that of the language model."""

from torch import nn


class Connector(nn.Sequential):
    """LLaVA-1.5's projector: one embedding (B, P, D) for the features (B, P, C) of every patch."""

    def __init__(self, *, vision_width: int, language_width: int) -> None:
        """Keep the width of the language model between the two layers."""
        super().__init__(
            nn.Linear(vision_width, language_width),
            nn.GELU(),
            nn.Linear(language_width, language_width),
        )
