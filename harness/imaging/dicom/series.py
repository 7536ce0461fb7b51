"""DICOM series as volumes: slices sorted by position, checked for gaps, and rescaled to grey values."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.imaging.dicom.elements import Vector
from harness.imaging.dicom.headers import Frame, Header, Open, stored_values

_SAME_MM = 1e-3  # slices closer than this count as being in the same place
_SAME_DIRECTION = 4  # decimals to which direction cosines and pixel spacings must agree; files hold rounded ones
_GAP = 1.5  # a step of more than this many usual steps between slices is a gap
_UNEVEN = 0.1  # share of the usual step by which other steps may differ; beyond it there is no grid to score on
# Share of the usual step and millimetres up to which a difference of steps is the rounding of positions in headers.
_ROUNDED, _ROUNDED_MM = 0.02, 0.02
_ASIDE = 0.5  # share of the smallest side of a voxel by which a slice may lie beside the straight line of the others


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """The slices of a series in the order of their positions.

    Attributes:
        slices: (header, index of the frame in it) of each slice.
        affine: 4 x 4 matrix as rows, from (column, row, slice) to millimetres in RAS+.
        shape: (slices, rows, columns).
        doubled: Number of slices that were left out because another is in the same place.
        foreign: Number of slices that were left out because their orientation, size or spacing differs from most.
        fault: Why the slices do not form a volume; empty if they do.
        uneven: How much the slices differ from an even grid, on which they are taken to be; empty if they do not.
        conflict: What the headers say against their positions, which count; empty if they agree.
    """

    slices: tuple[tuple[Header, int], ...]
    affine: tuple[Vector, ...]
    shape: tuple[int, int, int]
    doubled: int = 0
    foreign: int = 0
    fault: str = ""
    uneven: str = ""
    conflict: str = ""


def stack(headers: Sequence[Header], where: str) -> Stack:
    """Return the slices of a series sorted along their normal, whatever the order of files and instance numbers.

    Of several slices in one place the one with the lowest instance number is kept.

    Args:
        headers: The files of the series.
        where: Name of the series, for messages.
    Raises:
        DataError: A slice lacks position, orientation or pixel spacing, or the slices hold colours.
    """
    ordered_headers = sorted(headers, key=lambda header: (header.instance_number, header.where))
    slices = [(header, index) for header in ordered_headers for index in range(len(header.frames))]
    if any(header.samples > 1 for header in headers):
        raise DataError(f"{where}: expected grey slices, found colours; ask about such images one by one")
    if any(_layout(header, index) is None for header, index in slices):
        raise DataError(f"{where}: expected position, orientation and pixel spacing in every slice, found some without")
    usual = Counter(_layout(*place) for place in slices).most_common(1)[0][0]
    alike = [place for place in slices if _layout(*place) == usual]
    orientation = np.array(_frame(alike[0]).orientation)
    normal = np.cross(orientation[:3], orientation[3:])
    ordered = sorted(alike, key=lambda place: _along(place, normal))  # stable: ties stay by instance number
    kept = [
        place
        for before, place in zip([None, *ordered], ordered, strict=False)
        if before is None or _along(place, normal) - _along(before, normal) > _SAME_MM
    ]
    step, fault = _steps([_along(place, normal) for place in kept], _frame(kept[0]).step or 1.0)
    affine = _affine(kept, normal * step, fault=fault)
    uneven = ""
    if not fault and len(kept) > 1:
        fault, uneven = _unevenness(kept, step, normal)
    between, length = _frame(kept[0]).between, float(np.linalg.norm(np.array(affine)[:3, 2]))
    # Of a tilted gantry some programs give the distance along the normal and some that between the first pixels.
    agrees = not between or len(kept) == 1 or any(abs(between - one) <= _ROUNDED * one for one in (step, length))
    stated = f"the spacing between slices is {between:.4g} mm" if between else ""
    return Stack(
        slices=tuple(kept),
        affine=affine,
        uneven=uneven,
        conflict="" if agrees else f"{stated}, their positions are {step:.4g} mm apart; the positions count",
        shape=(len(kept), kept[0][0].rows, kept[0][0].columns),
        doubled=len(ordered) - len(kept),
        foreign=len(slices) - len(alike),
        fault=fault,
    )


def _frame(place: tuple[Header, int]) -> Frame:
    return place[0].frames[place[1]]


def _layout(header: Header, index: int) -> tuple[Any, ...] | None:
    """Return the properties that all slices of a volume must share; None if its header leaves out its place."""
    frame = header.frames[index]
    if frame.position is None or frame.orientation is None or frame.spacing is None:
        return None
    directions = tuple(round(value, _SAME_DIRECTION) + 0.0 for value in frame.orientation)
    return header.rows, header.columns, directions, tuple(round(value, _SAME_DIRECTION) for value in frame.spacing)


def _along(place: tuple[Header, int], normal: NDArray[np.float64]) -> float:
    """Return the position of a slice along the normal, in millimetres."""
    return float(np.dot(_frame(place).position or (), normal))


def _steps(places: Sequence[float], alone: float) -> tuple[float, str]:
    """Return the usual step between slices and why the steps do not form a regular grid.

    Args:
        places: Positions of the slices along the normal in millimetres, ascending.
        alone: The step in millimetres to assume for a single slice.
    Returns:
        (step in millimetres, fault); the fault is empty if the grid is regular.
    """
    if len(places) == 1:
        return alone, ""
    steps = np.diff(places)
    usual = float(np.sort(steps)[(len(steps) - 1) // 2])  # the lower median: a step that occurs, even of two
    missing = int(sum(round(step / usual) - 1 for step in steps if step > _GAP * usual))
    if missing:
        gaps = int((steps > _GAP * usual).sum())
        what = "slice is" if missing == 1 else "slices are"
        return usual, f"{missing} {what} missing in {gaps} {'gap' if gaps == 1 else 'gaps'} between the others"
    if (abs(steps - usual) > _UNEVEN * usual).any():
        return usual, f"the steps between slices differ, from {steps.min():.3g} to {steps.max():.3g} mm"
    return usual, ""


def _unevenness(kept: Sequence[tuple[Header, int]], step: float, normal: NDArray[np.float64]) -> tuple[str, str]:
    """Return why slices with regular steps form no grid, and how much they differ from an even one; empty if not."""
    places = np.array([_frame(place).position for place in kept])
    steps = np.diff(places @ normal)
    even = places[0] + np.linspace(0, 1, len(places))[:, np.newaxis] * (places[-1] - places[0])
    aside = float(np.linalg.norm(places - even, axis=1).max())
    smallest = min(step, *(_frame(kept[0]).spacing or ()))
    if aside > _ASIDE * smallest:
        return f"slices lie up to {aside:.3g} mm beside a straight line of even steps", ""
    if abs(steps - step).max() > max(_ROUNDED * step, _ROUNDED_MM):
        return "", f"the steps between slices range from {steps.min():.4g} to {steps.max():.4g} mm; taken as even"
    if aside > max(_ROUNDED * smallest, _ROUNDED_MM):
        return "", f"slices lie up to {aside:.3g} mm beside a straight line of even steps; taken as even"
    return "", ""


def _affine(kept: Sequence[tuple[Header, int]], step: NDArray[np.float64], *, fault: str) -> tuple[Vector, ...]:
    """Return the affine of a stack as rows; `step` is the vector (x, y, z) between slices in millimetres."""
    first, last = _frame(kept[0]), _frame(kept[-1])
    assert first.orientation is not None
    assert first.spacing is not None
    if len(kept) > 1 and not fault:
        # Measured over the whole stack, which keeps the shear of a tilted gantry and averages rounded positions.
        step = (np.array(last.position) - np.array(first.position)) / (len(kept) - 1)
    columns = (
        np.array(first.orientation[:3]) * first.spacing[1],
        np.array(first.orientation[3:]) * first.spacing[0],
        step,
        np.array(first.position),
    )
    # DICOM's axes point left and back, those of RAS+ right and forward.
    matrix = np.diag([-1.0, -1.0, 1.0]) @ np.stack(columns, axis=1)
    return (*(tuple(float(value) + 0.0 for value in row) for row in matrix), (0.0, 0.0, 0.0, 1.0))


def read_voxels(found: Stack, open_file: Open) -> NDArray[np.float32]:
    """Return the grey values of a stack as float32 (slices, rows, columns), rescaled and with MONOCHROME1 inverted.

    Args:
        found: The stack.
        open_file: Opens a file by name; each file is opened once, whatever the number of its frames.
    Raises:
        DataError: A file cannot be decoded.
    """
    voxels = np.zeros(found.shape, dtype=np.float32)
    by_file: dict[str, list[tuple[int, Header, int]]] = {}
    for place, (header, index) in enumerate(found.slices):
        by_file.setdefault(header.where, []).append((place, header, index))
    for where, places in by_file.items():
        stored = stored_values(open_file(where), where)[0]
        for place, header, index in places:
            frame = header.frames[index]
            values = stored[index] if stored.ndim == 3 else stored
            voxels[place] = values * np.float64(frame.slope) + frame.intercept
    return voxels
