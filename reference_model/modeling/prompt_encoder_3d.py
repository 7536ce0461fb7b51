"""SegVol's prompt encoder: points, boxes and the embedding of a text become the prompts of the mask decoder.

The names of parameters are those of the released weights.

Shape suffixes: M masks, N sparse prompts, C width of SegVol's features, d, h, w cells of their grid; axes of a volume
are always in the order (D, H, W), a point is (z, y, x).
"""

import math

import torch
from torch import Tensor, nn

from reference_model.modeling.mask_decoder import Geometry, without_autocast

# Labels of a point; `NO_POINT` fills the rows of masks that have fewer points than others.
OUTSIDE, INSIDE, NO_POINT = 0, 1, -1
# Rows of the embeddings of a box's corners, which follow those of the two labels.
LOWER_CORNER, UPPER_CORNER = 2, 3
# Channels of SegVol's mask branch.
MASK_CHANNELS = 16


class RandomFourierPositions(nn.Module):
    """Encodes positions by sines and cosines of fixed random frequencies, as SAM does."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, width: int) -> None:
        """Take the frequencies from a unit normal; they belong to the weights and are never trained."""
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(3, width // 2))

    def forward(self, place_3: Tensor) -> Tensor:
        """Return the encoded positions, float32 (..., C).

        Args:
            place_3: float32 (..., 3), (z, y, x), each 0 at the beginning of its axis and 1 at its end.
        """
        with without_autocast(place_3):
            # The rows of the released matrix belong to y, z and x.
            angle = 2 * math.pi * ((2 * place_3[..., [1, 0, 2]] - 1) @ self.positional_encoding_gaussian_matrix.float())
            return torch.cat((angle.sin(), angle.cos()), dim=-1)


class PromptEncoder3d(nn.Module):
    """Embeds the prompts of masks in volumes of one size."""

    def __init__(self, *, width: int, size: tuple[int, int, int], cells: tuple[int, int, int]) -> None:
        """Build the embeddings, randomly initialised with torch's generator.

        Args:
            width: Channels of the features that the prompts join.
            size: (D, H, W) of a volume, in voxels.
            cells: (d, h, w), patches along the axes of a volume.
        """
        super().__init__()
        self.size, self.cells = size, cells
        self.pe_layer = RandomFourierPositions(width)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, width) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, width)
        self.no_mask_embed = nn.Embedding(1, width)
        # SAM's branch for masks, whose convolutions are two-dimensional in the release too, so that it cannot run on
        # volumes. It only holds the parameters that are in every released file; nothing calls or trains it.
        quarter = MASK_CHANNELS // 4
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, quarter, kernel_size=2, stride=2),
            nn.LayerNorm(quarter),
            nn.GELU(),
            nn.Conv2d(quarter, MASK_CHANNELS, kernel_size=2, stride=2),
            nn.LayerNorm(MASK_CHANNELS),
            nn.GELU(),
            nn.Conv2d(MASK_CHANNELS, width, kernel_size=1),
        ).requires_grad_(False)

    def positions(self) -> Tensor:
        """Return the encoded positions of the cells' centres, float32 (1, C, d, h, w)."""
        device = self.pe_layer.positional_encoding_gaussian_matrix.device
        axes = [(torch.arange(number, device=device) + 0.5) / number for number in self.cells]
        encoded_dhwC: Tensor = self.pe_layer(torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1))
        return encoded_dhwC.movedim(-1, 0)[None]

    def no_mask(self) -> Tensor:
        """Return the dense prompt for "no mask given", floating point (1, C, 1, 1, 1)."""
        return self.no_mask_embed.weight[..., None, None, None]

    def embed_points(
        self, points_MN3: Tensor, labels_MN: Tensor, *, with_box: bool = False, geometry: Geometry = "correct"
    ) -> Tensor:
        """Return the sparse prompts of points, floating point (M, N + 1, C), or (M, N, C) beside a box.

        Args:
            points_MN3: (z, y, x) in voxels of the volume, 0 at the first; points off the volume are encoded all the
                same.
            labels_MN: Integers: 1 for a point inside the wanted mask, 0 for one outside, -1 for no point.
            with_box: Whether a box is given too; without one, a padding point comes last, as in SAM.
            geometry: `correct` encodes a point as the cell around it is encoded. `released` repeats SegVol's
                callers, which pass (z, y, x) to an encoder of (y, z, x): released weights were trained that way.
        """
        if not with_box:
            points_MN3 = torch.cat((points_MN3, torch.zeros_like(points_MN3[:, :1])), dim=1)
            labels_MN = torch.cat((labels_MN, torch.full_like(labels_MN[:, :1], NO_POINT)), dim=1)
        position_MNC, label_MN1 = self._encoded(points_MN3, geometry), labels_MN[..., None]
        embedded_MNC = torch.where(label_MN1 == NO_POINT, self.not_a_point_embed.weight, position_MNC)
        for label in (OUTSIDE, INSIDE):
            embedded_MNC = embedded_MNC + (label_MN1 == label) * self._label(label)
        return embedded_MNC.to(self.no_mask_embed.weight.dtype)

    def embed_boxes(self, box_M6: Tensor, *, geometry: Geometry = "correct") -> Tensor:
        """Return the sparse prompts of boxes, floating point (M, 2, C).

        Args:
            box_M6: (z1, y1, x1, z2, y2, x2) in voxels of the volume; the second corner is the last voxel inside.
            geometry: As for `embed_points`.
        """
        corners_M2C = self._encoded(box_M6.reshape(-1, 2, 3), geometry)
        labels_2C = torch.cat((self._label(LOWER_CORNER), self._label(UPPER_CORNER)))
        return (corners_M2C + labels_2C).to(labels_2C.dtype)

    def _encoded(self, voxel_MN3: Tensor, geometry: Geometry) -> Tensor:
        """Return the encoded centres of voxels, float32 (M, N, C)."""
        size = torch.tensor(self.size, dtype=torch.float32, device=voxel_MN3.device)
        centre_MN3 = voxel_MN3.float() + 0.5
        if geometry == "released":
            centre_MN3 = centre_MN3[..., [1, 0, 2]]
        encoded_MNC: Tensor = self.pe_layer(centre_MN3 / size)
        return encoded_MNC

    def _label(self, row: int) -> Tensor:
        embedding = self.point_embeddings[row].weight
        assert isinstance(embedding, Tensor)
        return embedding
