"""Volumes as the 3-D encoders expect them: one channel of values in [0, 1] on a fixed grid, and the way back.

Two kinds of preprocessing. `released` is what M3D's preparation scripts do, which differs by source; `standard` keeps
the proportions of the body, as far as the file says them. Both take a volume as the harness reads it: (z, y, x), NIfTI
and DICOM in the closest RAS+ orientation. M3D's scripts read NIfTI in the order of the file, whatever its orientation;
here the canonical order counts, so that equal scans look equal to the model however they are stored, and only a file
that is stored in RAS+ gives the released array exactly.

Shape suffixes: D, H, W of the volume or of the grid. Axis i of the grid runs along axis `axes[i]` of the volume, on
which position 0 is the outer face of the first voxel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, isclose
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from harness.errors import DataError
from harness.imaging.frames import clip_box
from harness.imaging.media_store import SLICE_PERCENTILES, SLICE_VOXELS
from harness.imaging.windowing import limits
from harness.records import Box, Media, MediaHandle

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
Preprocessing = Literal["released", "standard"]
# What M3D's scripts tell apart: a folder of JPEG or PNG slices (M3D-Cap, M3D-VQA), an npy array (M3D-Seg and whatever
# is prepared), a scan in NIfTI or DICOM (M3D-RefSeg).
Source = Literal["slices", "array", "scan"]
Size3 = tuple[int, int, int]

AXES: Size3 = (0, 1, 2)
# M3D-RefSeg's script moves the last axis of (x, y, z) to the front and leaves (z, x, y); M3D-Seg's swaps the first and
# the last and gets (z, y, x).
SCAN_AXES: Size3 = (0, 2, 1)
# The least range by which M3D divides, so that a constant volume becomes zeros.
LEAST_RANGE = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeFrame:
    """The place of a volume in the model's grid.

    Attributes:
        source_size: (D, H, W) of the volume as the harness reads it.
        crop: z1 y1 x1 z2 y2 x2 of the part of the volume that fills the grid, half-open, in voxels of the volume and in
            the order of its axes; it may reach beyond the volume, where the grid is filled with zeros.
        size: (D, H, W) of the grid.
        axes: The axis of the volume along each axis of the grid.
        spacing_mm: Size of a cell of the grid in mm, in the order of `size`; None if that of the volume is not known.
        affine: Row-major 4 x 4 matrix from (x, y, z) cells of the grid to mm in RAS+, as in `Media`; None if not known.
        first_voxel: Whether a mask is taken from the first voxel of each cell, as PyTorch's `nearest` does and the
            released scripts with it, so that masks are shifted by up to half a cell against the image. Otherwise it is
            taken from the voxel in the middle of the cell.
    """

    source_size: Size3
    crop: tuple[float, ...]
    size: Size3
    axes: Size3 = AXES
    spacing_mm: tuple[float, ...] | None = None
    affine: tuple[float, ...] | None = None
    first_voxel: bool = False

    def mask_to_source(self, values_DHW: Tensor, *, outside: float = 0.0) -> Tensor:
        """Return values on the grid as values on the volume, float32 (D, H, W), by trilinear interpolation.

        Args:
            values_DHW: float32 on the grid, on any device: probabilities, or logits together with `outside`.
            outside: The value of voxels beyond the crop: 0, which is no foreground for probabilities; for logits give a
                negative one.
        Raises:
            DataError: The values are not on the grid.
        """
        self._check(tuple(values_DHW.shape), self.size, "on the grid")
        found = values_DHW.float().permute([self.axes.index(axis) for axis in AXES])
        # Rows first: the slices, of which a scan has many more than the grid, are multiplied last.
        for axis in (2, 1, 0):
            start, step = self._start_and_step(axis)
            found = _interpolated(found, axis, self.source_size[axis], -start / step, 1 / step)
        for axis, cells in enumerate(self._cells()):  # last, so that an infinite value is not interpolated
            start, step = self._start_and_step(axis)
            found = _filled_beyond(found, axis, -start / step, 1 / step, cells, outside)
        return found.contiguous()

    def mask_to_grid(self, mask_DHW: Bools) -> Bools:
        """Return a mask of the volume as a mask on the grid, boolean (D, H, W), by the nearest voxel.

        A structure that is thinner than a cell may vanish, as it does in the released masks.

        Args:
            mask_DHW: Boolean, in the frame of the volume.
        Raises:
            DataError: The mask does not have the size of the volume.
        """
        self._check(mask_DHW.shape, self.source_size, "of the volume")
        grid_DHW = mask_DHW
        for axis, (length, cells) in enumerate(zip(self.source_size, self._cells(), strict=True)):
            start, step = self._start_and_step(axis)
            if self.first_voxel:
                # PyTorch's own rule, down to the rounding of its float32 factor; the numbers of voxels are exact there.
                numbers = torch.arange(round(step * cells), dtype=torch.float32)[None, None]
                nearest = functional.interpolate(numbers, size=cells, mode="nearest")[0, 0].numpy() + start
            else:
                nearest = np.floor(start + (np.arange(cells) + 0.5) * step)
            inside = (nearest >= 0) & (nearest < length)
            grid_DHW = grid_DHW.take(np.clip(nearest, 0, length - 1).astype(np.intp), axis=axis)
            grid_DHW &= inside.reshape([-1 if axis == other else 1 for other in AXES])
        return np.ascontiguousarray(grid_DHW.transpose(self.axes))

    def box_to_grid(self, box: Box) -> Box:
        """Return a box of the volume as a box on the grid, neither rounded nor clipped.

        Args:
            box: z1 y1 x1 z2 y2 x2, half-open, in voxels of the volume.
        """
        along = [self._start_and_step(axis) for axis in self.axes]
        corners = [box.corners[end + axis] for end in (0, 3) for axis in self.axes]
        return Box(
            corners=tuple((value - start) / step for value, (start, step) in zip(corners, 2 * along, strict=True))
        )

    def box_to_source(self, box: Box) -> Box:
        """Return a box on the grid as a box of the volume, not rounded; what lies beyond the volume is cut off.

        Args:
            box: z1 y1 x1 z2 y2 x2, half-open, in cells of the grid.
        """
        places = [self.axes.index(axis) for axis in AXES]
        along = [self._start_and_step(axis) for axis in AXES]
        corners = [box.corners[end + place] for end in (0, 3) for place in places]
        found = tuple(start + value * step for value, (start, step) in zip(corners, 2 * along, strict=True))
        return clip_box(Box(corners=found), self.source_size)

    def _cells(self) -> Size3:
        """Return the number of cells along each axis of the volume."""
        return cast("Size3", tuple(self.size[self.axes.index(axis)] for axis in AXES))

    def _start_and_step(self, axis: int) -> tuple[float, float]:
        """Return where the grid begins along an axis of the volume and the length of a cell, in voxels."""
        start, end = self.crop[axis], self.crop[axis + 3]
        return start, (end - start) / self._cells()[axis]

    @staticmethod
    def _check(found: Sequence[int], expected: Size3, where: str) -> None:
        if tuple(found) != expected:
            raise DataError(f"mask: expected {expected} {where}, found {tuple(found)}; use the frame of its own volume")


def prepare_volume(
    volume: "MediaHandle | tuple[NDArray[Any], Media]",
    *,
    size: Size3,
    preprocessing: Preprocessing,
    source: Source | None = None,
) -> tuple[Tensor, VolumeFrame]:
    """Return a volume on the model's grid, float32 (1, D, H, W) in [0, 1], and its place there.

    An array that has the size of the grid and values within [0, 1] is taken as prepared and stays as it is, since the
    released datasets read such files without a further step.

    `released`, by source:
        `slices`: grey values divided by 255, then by the range of the volume.
        `array`: divided by the range of the volume.
        `scan`: percentiles 0.5 and 99.5 become 0 and 1, and rows and columns change places.
    Then the box around all values above 0 is resized to the grid, without regard to spacing. Without such a value the
    whole volume is resized; M3D's scripts have no rule for that.

    `standard`, for all sources: the record's window, else the percentiles 0.5 and 99.5, become 0 and 1; an array within
    [0, 1] keeps its values, which some preparation has chosen. The whole field of view is kept, since a crop to the
    foreground would change the scale with the table under a patient. In plane, a cell has the same length in mm along
    both axes (voxels count as square if no spacing is known), and the shorter side is padded with 0 on both ends; the
    depth is resized to that of the grid. The axes stay those of the volume, oblique or not: the affine of the grid says
    where its cells are.

    Both interpolate trilinearly without an antialiasing filter, as released, so that pretrained weights see the noise
    that they were trained on.

    Args:
        volume: The handle of a volume, or its voxels (D, H, W) with its record.
        size: (D, H, W) of the grid.
        preprocessing: `released` or `standard`.
        source: What the volume was read from; if None, the record tells.
    Raises:
        DataError: The volume is no array of three axes with voxels, or some of its voxels are not finite.
    """
    voxels_DHW, media = volume if isinstance(volume, tuple) else (volume.volume(), volume.record)
    if voxels_DHW.ndim != 3 or not voxels_DHW.size:
        raise DataError(f"{media.path}: expected voxels (D, H, W), found an array of shape {voxels_DHW.shape}")
    wrong = voxels_DHW.size - int(np.isfinite(voxels_DHW).sum())
    if wrong:
        raise DataError(
            f"{media.path}: expected finite voxels, found {wrong} of {voxels_DHW.size} that are NaN or infinite; "
            "write the value of air in their place"
        )
    source, whole = source or volume_source(media), cast("Size3", voxels_DHW.shape)
    normalised = source == "array" and voxels_DHW.min() >= 0 and voxels_DHW.max() <= 1
    prepared, released, axes = normalised and whole == size, preprocessing == "released", AXES
    if prepared or (normalised and not released):
        scaled_DHW = voxels_DHW.astype(np.float32)
    elif released:
        scaled_DHW, axes = _released(voxels_DHW, media.path, source)
    else:
        sparse = voxels_DHW.reshape(-1)[:: -(-voxels_DHW.size // SLICE_VOXELS)]
        scaled_DHW = _scaled(voxels_DHW, limits(media.window or SLICE_PERCENTILES, sparse, media.path))
    if prepared:
        crop = _whole(whole)
    elif released:
        crop = _foreground(scaled_DHW)
    else:
        crop = _in_proportion(whole, size, media)
    spacing_mm, affine = _geometry(media, crop, size, axes)
    frame = VolumeFrame(
        source_size=whole, crop=crop, size=size, axes=axes, spacing_mm=spacing_mm, affine=affine, first_voxel=released
    )
    return _on_grid(torch.from_numpy(scaled_DHW), frame)[None], frame


def volume_source(media: Media) -> Source:
    """Return what the volume of a record was read from."""
    name = media.path.lower()
    if name.endswith(".npy"):
        return "array"
    # A folder is one of slices or a DICOM series, and only the latter has an affine.
    return "scan" if media.affine is not None or name.endswith((".nii", ".nii.gz", ".dcm")) else "slices"


def _released(voxels_DHW: NDArray[Any], where: str, source: Source) -> tuple[Floats, Size3]:
    """Return the values of a volume in [0, 1] as M3D's scripts make them, and the order of its axes in the grid."""
    if source == "scan":
        return _scaled(voxels_DHW, limits(SLICE_PERCENTILES, voxels_DHW, where)), SCAN_AXES
    scaled_DHW = voxels_DHW.astype(np.float32)
    if source == "slices":
        scaled_DHW /= np.float32(255)
    scaled_DHW -= scaled_DHW.min()
    scaled_DHW /= np.maximum(scaled_DHW.max(), np.float32(LEAST_RANGE))
    return scaled_DHW, AXES


def _scaled(voxels_DHW: NDArray[Any], window: tuple[float, float]) -> Floats:
    """Return the values of a window as float32 in [0, 1]; those beyond it become 0 or 1."""
    low, high = window
    scaled_DHW = voxels_DHW.astype(np.float32)
    scaled_DHW -= np.float32(low)
    scaled_DHW /= np.float32(high - low)
    return np.clip(scaled_DHW, 0, 1, out=scaled_DHW)


def _whole(shape: Sequence[int]) -> tuple[float, ...]:
    return (0.0, 0.0, 0.0, *(float(length) for length in shape))


def _foreground(scaled_DHW: Floats) -> tuple[float, ...]:
    """Return the box around all values above 0, half-open; that of the whole volume if there are none."""
    filled_DHW = scaled_DHW > 0
    spans = [np.flatnonzero(filled_DHW.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    if not spans[0].size:
        return _whole(scaled_DHW.shape)
    return (*(float(span[0]) for span in spans), *(float(span[-1] + 1) for span in spans))


def _in_proportion(whole: Size3, size: Size3, media: Media) -> tuple[float, ...]:
    """Return the part of a volume, or more than all of it, that has the proportions of the grid in plane."""
    steps_mm = media.spacing_mm[1:] if media.spacing_mm is not None else (1.0, 1.0)
    cell_mm = max(length * mm / cells for length, mm, cells in zip(whole[1:], steps_mm, size[1:], strict=True))
    sides = [cells * cell_mm / mm for cells, mm in zip(size[1:], steps_mm, strict=True)]
    # The side that fills the grid is exactly its own length, whatever the division leaves in the last digit.
    sides = [length if isclose(side, length) else side for side, length in zip(sides, whole[1:], strict=True)]
    starts = [(length - side) / 2 for side, length in zip(sides, whole[1:], strict=True)]
    ends = [start + side for start, side in zip(starts, sides, strict=True)]
    return 0.0, starts[0], starts[1], float(whole[0]), ends[0], ends[1]


def _geometry(
    media: Media, crop: Sequence[float], size: Size3, axes: Size3
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Return `spacing_mm` and `affine` of the grid, as `VolumeFrame` holds them."""
    steps = [(crop[axis + 3] - crop[axis]) / cells for axis, cells in zip(axes, size, strict=True)]
    spacing_mm = None
    if media.spacing_mm is not None:
        spacing_mm = tuple(media.spacing_mm[axis] * step for axis, step in zip(axes, steps, strict=True))
    if media.affine is None:
        return spacing_mm, None
    to_source = np.zeros((4, 4))
    to_source[3, 3] = 1.0
    # Matrices count axes as (x, y, z), which is the reverse of the array; the centre of voxel i lies at i.
    for place, (axis, step) in enumerate(zip(axes, steps, strict=True)):
        to_source[2 - axis, 2 - place] = step
        to_source[2 - axis, 3] = crop[axis] + step / 2 - 0.5
    matrix = np.asarray(media.affine, dtype=np.float64).reshape(4, 4) @ to_source
    return spacing_mm, tuple(float(value) + 0.0 for value in matrix.ravel())


def _on_grid(scaled_DHW: Tensor, frame: VolumeFrame) -> Tensor:
    """Return the values of a volume on the grid, float32 (D, H, W), 0 beyond the volume."""
    found = scaled_DHW.permute(frame.axes)
    # Depth first: of the slices of a scan only a few are needed.
    for place, axis in enumerate(frame.axes):
        cells, start, end = frame.size[place], frame.crop[axis], frame.crop[axis + 3]
        # Only voxels of the crop count, as if it were the volume.
        first, last = max(floor(start), 0), min(ceil(end), frame.source_size[axis])
        position = start - first, (end - start) / cells
        found = _interpolated(found.narrow(place, first, last - first), place, cells, *position)
        found = _filled_beyond(found, place, *position, last - first, 0.0)
    return found.contiguous()


def _interpolated(values: Tensor, axis: int, length: int, start: float, step: float) -> Tensor:
    """Return `length` cells along an axis, linear between the centres of voxels and constant beyond the outer ones.

    Cell i covers [start + i * step, start + (i + 1) * step) voxels. Axis by axis, this is PyTorch's trilinear
    interpolation with `align_corners=False`. Cells that are the voxels are returned bit by bit.
    """
    voxels = values.shape[axis]
    if (length, start, step) == (voxels, 0.0, 1.0):
        return values
    places = np.clip(start + (np.arange(length) + 0.5) * step - 0.5, 0, voxels - 1)
    lower = np.floor(places)
    shape = [-1 if place == axis else 1 for place in range(values.ndim)]
    weights = torch.from_numpy((places - lower).astype(np.float32)).to(values.device).reshape(shape)
    first, second = (
        values.index_select(axis, torch.from_numpy(index.astype(np.int64)).to(values.device))
        for index in (lower, np.minimum(lower + 1, voxels - 1))
    )
    return torch.lerp(first, second, weights)


def _filled_beyond(values: Tensor, axis: int, start: float, step: float, voxels: int, value: float) -> Tensor:
    """Return cells as of `_interpolated`; those whose centre lies beyond the voxels along the axis become `value`."""
    centres = start + (np.arange(values.shape[axis]) + 0.5) * step
    beyond = np.flatnonzero((centres < 0) | (centres > voxels))
    return values.index_fill(axis, torch.from_numpy(beyond).to(values.device), value) if beyond.size else values
