"""M3D's spatial pooling perceiver: from the patches of a volume to embeddings of the language model.

Shape suffixes: B volumes, P patches in the order (d, h, w) of their grid, N pooled patches, C width of the image tower,
D width of the language model.
"""

from itertools import pairwise

import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from reference_model.config import PerceiverConfig


class SpatialPoolingPerceiver(nn.Module):
    """Averages neighbouring patches and projects each average.

    Attributes:
        projector: Linear layers with GELU between them; they keep the numbers that they have in the release.
    """

    def __init__(
        self, config: PerceiverConfig, *, cells: tuple[int, int, int], vision_width: int, language_width: int
    ) -> None:
        """Build the projector.

        Args:
            config: How patches are pooled, and the number of layers.
            cells: (d, h, w) of the grid of patches.
            vision_width: C.
            language_width: D.
        """
        super().__init__()
        self.pooling, self.pool, self.cells = config.pooling, config.pool, cells
        widths = [vision_width, *[language_width] * config.layers]
        linears = [nn.Linear(before, after) for before, after in pairwise(widths)]
        self.projector = nn.Sequential(linears[0], *(part for one in linears[1:] for part in (nn.GELU(), one)))

    def forward(self, features_BPC: Tensor) -> Tensor:
        """Return the embeddings of a volume's positions, floating point (B, N, D)."""
        embedded_BND: Tensor = self.projector(pooled(features_BPC, self.pooling, self.pool, self.cells))
        return embedded_BND


def pooled(features_BPC: Tensor, pooling: str, pool: int, cells: tuple[int, int, int]) -> Tensor:
    """Return the averages of neighbouring patches, floating point (B, N, C).

    Args:
        features_BPC: Floating point.
        pooling: See `config.PerceiverConfig`.
        pool: Patches along a side of a cube.
        cells: (d, h, w) of the grid; each is a multiple of `pool` for spatial pooling.
    """
    if pooling == "none":
        return features_BPC
    features_BCP = features_BPC.transpose(1, 2)
    if pooling == "sequence":
        return F.avg_pool1d(features_BCP, pool**3).transpose(1, 2)
    return F.avg_pool3d(features_BCP.reshape(*features_BCP.shape[:2], *cells), pool).flatten(2).transpose(1, 2)
