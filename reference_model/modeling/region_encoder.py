"""The region encoder turns a region that a prompt points at into one embedding.

Shape suffixes: B images, C width of the image tower, D width of the language model, G cells along a side, P = G * G,
R regions, N sampled cells.
"""

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

Alignment = Literal["corner", "centre"]


class RegionEncoder(nn.Module):
    """Samples image features inside a region and averages them; the region adapter is one linear layer."""

    def __init__(self, *, adapter: nn.Linear, points: int, alignment: Alignment) -> None:
        """Build the encoder.

        Args:
            adapter: Maps the width of the image tower to that of the language model.
            points: Most cells sampled per region in training, without replacement; in evaluation all cells count.
                MedPLIB samples 512 of 576 cells.
            alignment: See `sample_mean`.
        """
        super().__init__()
        self.adapter = adapter
        self.points = points
        self.alignment: Alignment = alignment

    def forward(self, features_BPC: Tensor, grid_RGG: Tensor, image_R: Tensor) -> Tensor:
        """Return one vector per region, floating point (R, D); zeros for an empty region.

        Args:
            features_BPC: Floating point, from the image tower, before the connector.
            grid_RGG: Boolean, the cells of each region.
            image_R: int64, the index of the image that each region lies in.
        """
        cells = grid_RGG.shape[-1]
        map_BCGG = features_BPC.transpose(1, 2).reshape(len(features_BPC), -1, cells, cells)
        if self.training:
            grid_RGG = thinned(grid_RGG, self.points)
        mean_RC = sample_mean(map_BCGG[image_R], grid_RGG, alignment=self.alignment)
        # The adapter is affine: averaging before it gives the same result as after it, with less work.
        region_RD: Tensor = self.adapter(mean_RC.to(features_BPC.dtype))
        return region_RD * grid_RGG.any(dim=(1, 2))[:, None]


def sample_mean(map_RCGG: Tensor, grid_RGG: Tensor, *, alignment: Alignment = "corner") -> Tensor:
    """Return the mean of a feature map over the cells of each region, float32 (R, C); zeros for an empty region.

    Args:
        map_RCGG: Floating point, one feature map per region.
        grid_RGG: Boolean, the cells of each region.
        alignment: `corner` reads cell r at r (G - 1) / G as MedPLIB does: its upper left corner in [0, 1], with corners
            aligned. `centre` reads it at r, which is the feature of the cell itself.
    """
    map_RCGG = map_RCGG.float()
    weight_RGG = grid_RGG.to(map_RCGG.dtype)
    if alignment == "corner":
        map_RCGG = _read_at_corners(map_RCGG)
    total_RC = torch.einsum("rcij,rij->rc", map_RCGG, weight_RGG)
    return total_RC / weight_RGG.sum(dim=(1, 2)).clamp_min(1.0)[:, None]


def thinned(grid_RGG: Tensor, most: int) -> Tensor:
    """Return the regions, boolean (R, G, G), with at most `most` cells each, sampled with torch's generator."""
    if grid_RGG.flatten(1).shape[1] <= most:
        return grid_RGG
    order_RP = torch.rand(grid_RGG.flatten(1).shape, device=grid_RGG.device).masked_fill(~grid_RGG.flatten(1), -1.0)
    kept_RP = torch.zeros_like(order_RP, dtype=torch.bool).scatter(1, order_RP.topk(most).indices, True)
    return grid_RGG & kept_RP.view_as(grid_RGG)


def _read_at_corners(map_RCGG: Tensor) -> Tensor:
    """Return the map read bilinearly at the upper left corner of every cell."""
    # MedPLIB divides the cell's number by G and reads with aligned corners, which shifts every cell by up to one.
    cells = map_RCGG.shape[-1]
    corner_G = torch.arange(cells, device=map_RCGG.device, dtype=map_RCGG.dtype) / cells * 2 - 1
    y_GG, x_GG = torch.meshgrid(corner_G, corner_G, indexing="ij")
    places_RGG2 = torch.stack((x_GG, y_GG), dim=-1).expand(map_RCGG.shape[0], -1, -1, -1)
    return F.grid_sample(map_RCGG, places_RGG2, mode="bilinear", align_corners=True)
