"""Resampling of masks from a model's own grid to the image or volume on which they are scored."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import ModelError
from harness.imaging import masks, soft_masks
from harness.records import Grid, Mask, Media, Size, SoftMask


@dataclass(frozen=True, slots=True)
class Resampling:
    """The map from each pixel of an image or volume to the nearest cell of a model's grid.

    Attributes:
        grid: The model's grid.
        size: (H, W) or (D, H, W) of the image or volume.
        to_grid: float64 (4, 4) from (x, y, z) voxels of the volume to voxels of the grid; None if the grid covers the
            whole image or volume.
    """

    grid: Grid
    size: Size
    to_grid: NDArray[np.float64] | None

    def mask(self, mask: Mask, where: str) -> Mask:
        """Return a mask on the grid as a mask of the image or volume, background outside the grid.

        Raises:
            ModelError: The mask does not have the size of the grid.
        """
        self._check(mask.size, where)
        return masks.encode(self._apply(masks.decode(mask)))

    def soft_mask(self, mask: SoftMask, where: str) -> SoftMask:
        """Return a soft mask on the grid as a soft mask of the image or volume, 0 outside the grid.

        Raises:
            ModelError: The mask does not have the size of the grid.
        """
        self._check(mask.size, where)
        return soft_masks.encode(self._apply(soft_masks.decode(mask)), where=where)

    def _check(self, size: Size, where: str) -> None:
        if size != self.grid.size:
            raise ModelError(f"{where}: predicted mask is {size}, the grid that the answer names is {self.grid.size}")

    def _apply(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return an array on the grid, (H, W) or (D, H, W), as an array of `size` and the same dtype."""
        if self.to_grid is None:
            # The cell under the centre of each pixel, in whole numbers: exact for any size.
            cells = (
                (2 * np.arange(length) + 1) * count // (2 * length)
                for length, count in zip(self.size, self.grid.size, strict=True)
            )
            return array[np.ix_(*cells)]
        result = np.zeros(self.size, dtype=array.dtype)
        y, x = np.meshgrid(*(np.arange(length) for length in self.size[1:]), indexing="ij")
        for z in range(self.size[0]):  # slice by slice, because the positions of all voxels would not fit in memory
            result[z] = self._slice(array, x, y, z)
        return result

    def _slice(self, array: NDArray[Any], x: NDArray[np.intp], y: NDArray[np.intp], z: int) -> NDArray[Any]:
        """Return slice `z` of the volume, (H, W); `x` and `y` are the indices of its columns and rows, (H, W)."""
        assert self.to_grid is not None
        matrix = self.to_grid
        index = tuple(
            np.rint(matrix[axis, 0] * x + matrix[axis, 1] * y + matrix[axis, 2] * z + matrix[axis, 3]).astype(np.int64)
            for axis in (2, 1, 0)
        )
        inside = np.logical_and.reduce(
            [(along >= 0) & (along < length) for along, length in zip(index, array.shape, strict=True)]
        )
        clipped = tuple(np.clip(along, 0, length - 1) for along, length in zip(index, array.shape, strict=True))
        return np.where(inside, array[clipped], np.zeros((), dtype=array.dtype))


def resampling(grid: object, media: Media, shown: Size) -> Resampling:
    """Return the resampling from a model's grid to the image or volume as it is shown.

    Args:
        grid: The `grid` of a model's answer, unchecked.
        media: Record of the image or volume.
        shown: (H, W) or (D, H, W) of the image or volume as it is shown.
    Raises:
        ModelError: `grid` is not a `Grid`, has another number of axes than the image, has an affine that cannot be
            inverted, or has an affine while the image has none.
    """
    if not isinstance(grid, Grid):
        raise ModelError(f"grid: expected Grid(size=...), found {type(grid).__name__}")
    size = grid.size
    if not isinstance(size, tuple) or len(size) != len(shown) or not all(type(n) is int and n > 0 for n in size):
        axes = "(D, H, W)" if len(shown) == 3 else "(H, W)"
        raise ModelError(f"grid.size: expected {axes} as whole numbers of at least 1, found {size!r:.80}")
    if grid.affine is None:
        return Resampling(grid, shown, None)
    if media.kind != "volume" or media.affine is None:
        raise ModelError("grid.affine: the image or volume that was shown has none; give only the size of the grid")
    return Resampling(grid, shown, np.linalg.inv(_matrix(grid.affine)) @ _matrix(media.affine))


def _matrix(affine: object) -> NDArray[np.float64]:
    try:
        matrix = np.array(affine, dtype=np.float64).reshape(4, 4)
    except (TypeError, ValueError):
        matrix = np.zeros((4, 4))
    # Below this determinant a voxel has practically no extent along some direction.
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-12:
        raise ModelError(f"grid.affine: expected 16 numbers of a 4 x 4 matrix with an inverse, found {affine!r:.80}")
    return matrix
