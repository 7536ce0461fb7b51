"""A vision transformer that reads volumes, as MONAI's `ViT` builds it for M3D and SegVol, and M3D's perceiver.

Shape suffixes: B volumes, D, H, W voxels, P patches in the order (d, h, w) of their grid, T tokens: the patches and,
first, the class token if there is one, C width; behind the perceiver, N pooled patches, D width of the language model.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from reference_model.config import PerceiverConfig, Vision3dConfig

# MONAI's standard deviation of positions and weights.
INITIAL_DEVIATION = 0.02


class PatchEmbedding(nn.Module):
    """Flattens every patch, projects it, and adds its learned position."""

    def __init__(self, config: Vision3dConfig) -> None:
        """Build the projection and the positions of a grid."""
        super().__init__()
        self.size, self.cells = config.size, config.cells
        voxels = config.patch_depth * config.patch_side**2
        # The projection has the number 1 that it has in MONAI, where number 0 cuts the patches.
        self.patch_embeddings = nn.ModuleDict({"1": nn.Linear(voxels, config.width)})
        self.position_embeddings = nn.Parameter(torch.empty(1, config.tokens, config.width))
        nn.init.trunc_normal_(self.position_embeddings, std=INITIAL_DEVIATION)

    def forward(self, volume_B1DHW: Tensor) -> Tensor:
        """Return the embeddings of the patches, floating point (B, P, C)."""
        (deep, high, wide), (d, h, w) = self.size, self.cells
        cut = volume_B1DHW.reshape(-1, d, deep // d, h, high // h, w, wide // w)
        patches_BPV = cut.permute(0, 1, 3, 5, 2, 4, 6).flatten(4).flatten(1, 3)
        projected_BPC: Tensor = self.patch_embeddings["1"](patches_BPV)
        return projected_BPC + self.position_embeddings


class SelfAttention(nn.Module):
    """Multi-head attention with one projection for queries, keys and values, which has no bias."""

    def __init__(self, *, width: int, heads: int) -> None:
        """Build both projections."""
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Return what every token gathers from all tokens, floating point (B, T, C)."""
        query, key, value = self.qkv(x_BTC).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        gathered_BTC = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        attended_BTC: Tensor = self.out_proj(gathered_BTC)
        return attended_BTC


class FeedForward(nn.Module):
    """Two linear layers with GELU between them."""

    def __init__(self, *, width: int, ffn_width: int) -> None:
        """Build both layers."""
        super().__init__()
        self.linear1 = nn.Linear(width, ffn_width)
        self.linear2 = nn.Linear(ffn_width, width)

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Return the output of the second layer, floating point (B, T, C)."""
        y_BTC: Tensor = self.linear2(F.gelu(self.linear1(x_BTC)))
        return y_BTC


class Block(nn.Module):
    """Attention and a feed-forward part, each behind a norm and with a residual path around it."""

    def __init__(self, *, width: int, ffn_width: int, heads: int) -> None:
        """Build the parts."""
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = SelfAttention(width=width, heads=heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = FeedForward(width=width, ffn_width=ffn_width)

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Return the output, floating point (B, T, C)."""
        x_BTC = x_BTC + self.attn(self.norm1(x_BTC))
        updated_BTC: Tensor = x_BTC + self.mlp(self.norm2(x_BTC))
        return updated_BTC


class VisionTransformer3d(nn.Module):
    """Computes a feature of every patch of a volume; M3D-LaMed's tower has a class token, SegVol's encoder has none."""

    cls_token: nn.Parameter | None

    def __init__(self, config: Vision3dConfig, *, class_token: bool) -> None:
        """Build a tower, randomly initialised with torch's generator."""
        super().__init__()
        self.patch_embedding = PatchEmbedding(config)
        if class_token:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        else:
            self.register_parameter("cls_token", None)
        self.blocks = nn.ModuleList(
            Block(width=config.width, ffn_width=config.ffn_width, heads=config.heads) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=INITIAL_DEVIATION)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, volume_B1DHW: Tensor) -> Tensor:
        """Return the features of the patches, floating point (B, P, C), without the class token.

        Args:
            volume_B1DHW: float32, 0 to 1, of the size of the configuration.
        """
        tokens_BTC = self.tokens(volume_B1DHW)
        return tokens_BTC if self.cls_token is None else tokens_BTC[:, 1:]

    def tokens(self, volume_B1DHW: Tensor) -> Tensor:
        """Return the states of all tokens after the final norm, floating point (B, T, C), the class token first."""
        x_BTC: Tensor = self.patch_embedding(volume_B1DHW)
        if self.cls_token is not None:
            # Added after the positions: as in the release, the class token has none.
            x_BTC = torch.cat((self.cls_token.expand(len(x_BTC), -1, -1), x_BTC), dim=1)
        for block in self.blocks:
            x_BTC = block(x_BTC)
        normed_BTC: Tensor = self.norm(x_BTC)
        return normed_BTC


def build_vision_3d(config: Vision3dConfig, *, class_token: bool) -> VisionTransformer3d:
    """Return the tower of a configuration, randomly initialised."""
    return VisionTransformer3d(config, class_token=class_token)


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
