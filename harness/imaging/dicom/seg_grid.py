"""The grid of a DICOM segmentation compared with that of its series, and resampling from one to the other."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.imaging.dicom.elements import Vector
from harness.imaging.dicom.headers import Frame
from harness.imaging.dicom.series import Stack

Matrix = NDArray[np.float64]

# Voxels of the series by which the last pixel of a frame may drift from its grid, and its first one be off it.
_OFF_GRID = 0.1
# Relative difference of two steps between slices that are the same step.
_SAME_STEP = 0.01
# Steps between slices from which frames count as having left out slices of their series.
_SPARSE = 1.5
# Share of a step between slices up to which frames are in one place: positions are rounded.
_SAME_PLACE = 0.02
# A centre that is as near to two voxels belongs to the later one, whatever the last digits of a position say.
_TIE = 1e-6
# More slices than this between the first and the last frame are no scan of a body.
_MOST_SLICES = 100_000


def to_lps(affine: Sequence[Sequence[float]]) -> Matrix:
    """Return an affine to RAS+ as one to DICOM's coordinates, LPS+; float64 (4, 4)."""
    return np.asarray(np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.array(affine))


@dataclass(frozen=True, slots=True, kw_only=True)
class SegGrid:
    """The grid of a segmentation.

    Attributes:
        found: The stack of the series.
        along, down: Steps in mm (x, y, z) in LPS+ to the next column and to the next row.
        across: Unit vector across the frames.
        step: Millimetres from slice to slice along `across`.
        differs: How the grid differs from that of the series, with the sizes of both; empty if it does not.
        sparse: That its frames leave out slices of the series, if they do and it does not say that it is coarser.
    """

    found: Stack
    along: Matrix
    down: Matrix
    across: Matrix
    step: float
    differs: str = ""
    sparse: str = ""

    def pull(self, placed: Sequence[tuple[Frame, NDArray[np.bool_]]], target: NDArray[np.bool_], where: str) -> None:
        """Set each voxel of the series to the nearest voxel of a segment, background outside of the segment's frames.

        Args:
            placed: Frames and their foreground, boolean (rows, columns).
            target: Boolean (slices, rows, columns) of the series; written.
            where: Name of the file, for messages.
        Raises:
            DataError: Foreground lies outside of the series.
        """
        if not placed:
            return
        matrix = to_lps(self.found.affine)
        begin, end = self._box(placed, np.asarray(np.linalg.inv(matrix), dtype=np.float64), where)
        heights = np.array([np.dot(frame.position or (), self.across) for frame, _ in placed])
        numbers = np.rint((heights - heights.min()) / self.step).astype(np.int64)
        if numbers.max() > _MOST_SLICES:
            raise DataError(f"{where}: expected frames of one scan, found some {np.ptp(heights):.6g} mm apart")
        # Frames in one slice are joined: of segments with one name there are several.
        kept, places = np.unique(numbers, return_inverse=True)
        masks = np.zeros((len(kept), *placed[0][1].shape), dtype=np.bool_)
        corners = np.zeros((len(kept), 3))
        for place, (frame, mask) in zip(places, placed, strict=True):
            masks[place] |= mask
            corners[place] = frame.position
        index_of = np.full(int(numbers.max()) + 1, -1)
        index_of[kept] = np.arange(len(kept))
        columns_rows = np.linalg.pinv(np.stack([self.along, self.down], axis=1))
        rows, columns = (axis.ravel() for axis in np.mgrid[begin[1] : end[1], begin[0] : end[0]])
        # Slice by slice, because the positions of all voxels would not fit in memory.
        for number in range(begin[2], end[2]):
            voxels = np.stack([columns, rows, np.full_like(rows, number)], axis=1)
            points = voxels @ matrix[:3, :3].T + matrix[:3, 3]
            slices = _nearest((points @ self.across - heights.min()) / self.step)
            inside = np.flatnonzero((slices >= 0) & (slices < len(index_of)))
            inside = inside[index_of[slices[inside]] >= 0]
            if not inside.size:
                continue
            which = index_of[slices[inside]]
            column, row = _nearest((points[inside] - corners[which]) @ columns_rows.T).T
            within = (column >= 0) & (column < masks.shape[2]) & (row >= 0) & (row < masks.shape[1])
            inside, which, column, row = (one[within] for one in (inside, which, column, row))
            target[number, rows[inside], columns[inside]] |= masks[which, row, column]

    def _box(
        self, placed: Sequence[tuple[Frame, NDArray[np.bool_]]], to_voxels: Matrix, where: str
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the box (x, y, z) of voxels of the series, half-open, outside of which no foreground is near.

        Raises:
            DataError: Foreground lies further outside of the series than half a voxel of each.
        """
        steps = to_voxels[:3, :3] @ np.stack([self.along, self.down, self.across * self.step], axis=1)
        margin = 0.5 + abs(steps).sum(axis=1) / 2 + _TIE
        low, high = np.full(3, np.inf), np.full(3, -np.inf)
        for frame, mask in placed:
            rows, columns = np.nonzero(mask)
            begin = to_voxels[:3, :3] @ np.array(frame.position) + to_voxels[:3, 3]
            exact = begin + columns[:, np.newaxis] * steps[:, 0] + rows[:, np.newaxis] * steps[:, 1]
            low, high = np.minimum(low, exact.min(axis=0)), np.maximum(high, exact.max(axis=0))
        size = np.array(self.found.shape[::-1])
        if (low < -margin).any() or (high > size - 1 + margin).any():
            raise DataError(f"{where}: a frame lies outside the slices of its series; the series may lack slices")
        first, last = np.floor(low - margin), np.ceil(high + margin)
        return np.maximum(first, 0).astype(np.int64), np.minimum(last + 1, size).astype(np.int64)


def _nearest(places: Matrix) -> NDArray[np.int64]:
    return np.floor(places + 0.5 + _TIE).astype(np.int64)


def grid_of(frames: Sequence[Frame], shape: Sequence[int], found: Stack, where: str) -> SegGrid:
    """Return the grid of the frames of a segmentation, and whether it is that of its series.

    Args:
        frames: Its frames; those without a place in space are left aside.
        shape: (rows, columns) of a frame.
        found: The stack of the series.
        where: Name of the file, for messages.
    Raises:
        DataError: It lies on another grid than its series, and its frames differ in direction or spacing.
    """
    placed = [frame for frame in frames if frame.position and frame.orientation and frame.spacing]
    if not placed:
        return SegGrid(found=found, along=np.zeros(3), down=np.zeros(3), across=np.zeros(3), step=1.0)
    first = placed[0]
    assert first.orientation is not None
    assert first.spacing is not None
    along, down = np.array(first.orientation[:3]) * first.spacing[1], np.array(first.orientation[3:]) * first.spacing[0]
    across = np.cross(first.orientation[:3], first.orientation[3:])
    across = across / np.linalg.norm(across)
    matrix = to_lps(found.affine)[:3, :3]
    in_voxels = np.linalg.inv(matrix) @ np.stack([along, down], axis=1)
    lattice = np.rint(in_voxels)
    drift = (abs(in_voxels - lattice) * (shape[1] - 1, shape[0] - 1)).max()
    in_plane = drift <= _OFF_GRID and (abs(lattice).sum(axis=0) == 1).all() and lattice[:, 0] @ lattice[:, 1] == 0
    # The axis of the series across the frames: the one along which neither of their axes runs.
    axis = int(np.argmin(abs(in_voxels).sum(axis=1)))
    usual = abs(float(matrix[:, axis] @ across))
    heights = np.sort([np.dot(frame.position or (), across) for frame in placed])
    apart = np.diff(heights)
    apart = apart[apart > _SAME_PLACE * usual]
    stated, slices = placed[0].between, [header.frames[at] for header, at in found.slices[:1]]
    if any(_same_step(stated, other.between) for other in slices):
        stated = usual  # copied from the series, of which the positions count, whatever it states
    # Where both are known the smaller one is right: frames without foreground are often left out.
    step = min([*([stated] if stated else []), *apart.tolist()], default=placed[0].step or usual)
    one_slice = found.shape[::-1][axis] == 1
    finer = not one_slice and step < usual * (1 - _SAME_STEP) and bool(stated or apart.size)
    # Frames as thick as they lie apart fill the space between them, unless the slices of the series are as thick too.
    thick = placed[0].step
    filled = bool(apart.size) and _same_step(thick, step) and not any(_same_step(thick, one.step) for one in slices)
    coarser = not one_slice and bool(stated or filled) and step > usual * (1 + _SAME_STEP)
    sparse = ""
    if not (stated or filled) and apart.size and step > usual * _SPARSE:
        sparse = f"its frames lie {step:.4g} mm apart, the slices of its series {usual:.4g} mm; it was taken as it is"
    differs = ""
    if not in_plane or finer or coarser:
        if any(not _same_layout(frame, first) for frame in placed) or len(placed) < len(frames):
            raise DataError(f"{where}: its frames lie on several grids; resample the segmentation to the series")
        sides = np.linalg.norm(matrix, axis=0)
        own = (
            f"{shape[0]} x {shape[1]} pixels of {first.spacing[0]:.4g} x {first.spacing[1]:.4g} mm, {step:.4g} mm apart"
        )
        theirs = f"{found.shape[1]} x {found.shape[2]} of {sides[1]:.4g} x {sides[0]:.4g} mm, {sides[2]:.4g} mm apart"
        differs = f"it has frames of {own}, its series slices of {theirs}"
    return SegGrid(found=found, along=along, down=down, across=across, step=step, differs=differs, sparse=sparse)


def _same_step(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and math.isclose(one, other, rel_tol=_SAME_STEP)


def _same_layout(frame: Frame, other: Frame) -> bool:
    def close(one: Vector | None, two: Vector | None) -> bool:
        return one is not None and two is not None and bool(np.allclose(one, two, atol=1e-4))

    return close(frame.orientation, other.orientation) and close(frame.spacing, other.spacing)
