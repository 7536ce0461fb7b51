"""The slices of a DICOM series as a volume: sorted by position, checked for gaps, rescaled."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.imaging.dicom.headers import Frame, Header, Open, Vector, stored_values

_SAME_MM = 1e-3
_SAME_DIRECTION = 4
"""Decimals to which direction cosines must agree."""
_GAP = 1.5
"""A step between slices above so many usual steps is a gap."""
_UNEVEN = 0.1
"""Share of the usual step by which steps may differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """The slices of a series in the order of their positions.

    Attributes:
        slices: (header, index of its frame) of each.
        affine: 4 x 4 as rows: (column, row, slice) to millimetres in RAS+.
        shape: (slices, rows, columns).
        doubled: Slices left out because another lies in the same place.
        foreign: Slices left out because they lie in another direction or have another size than most.
        fault: Why the slices form no volume; empty where they do.
    """

    slices: tuple[tuple[Header, int], ...]
    affine: tuple[Vector, ...]
    shape: tuple[int, int, int]
    doubled: int = 0
    foreign: int = 0
    fault: str = ""


def stack(headers: Sequence[Header], where: str) -> Stack:
    """Return the slices of a series sorted along their normal; the order of files and instance numbers does not count.

    Of slices in one place the one with the lowest instance number stays.

    Raises:
        DataError: The slices do not say where they lie, or hold colours.
    """
    ordered_headers = sorted(headers, key=lambda header: (header.instance_number, header.where))
    slices = [(header, index) for header in ordered_headers for index in range(len(header.frames))]
    if any(header.samples > 1 for header in headers):
        raise DataError(f"{where}: expected grey slices, found colours; ask about such images one by one")
    if any(_layout(header, index) is None for header, index in slices):
        raise DataError(f"{where}: expected position, orientation and pixel spacing in every slice, found some without")
    usual = Counter(_layout(*place) for place in slices).most_common(1)[0][0]
    alike = [place for place in slices if _layout(*place) == usual]
    normal = _normal(alike[0])
    ordered = sorted(alike, key=lambda place: _along(place, normal))  # a stable sort: by instance number of equals
    kept = [
        place
        for before, place in zip([None, *ordered], ordered, strict=False)
        if before is None or _along(place, normal) - _along(before, normal) > _SAME_MM
    ]
    step, fault = _steps([_along(place, normal) for place in kept], _frame(kept[0]).step or 1.0)
    return Stack(
        slices=tuple(kept),
        affine=_affine(kept, normal * step, fault=fault),
        shape=(len(kept), kept[0][0].rows, kept[0][0].columns),
        doubled=len(ordered) - len(kept),
        foreign=len(slices) - len(alike),
        fault=fault,
    )


def _frame(place: tuple[Header, int]) -> Frame:
    return place[0].frames[place[1]]


def _layout(header: Header, index: int) -> tuple[Any, ...] | None:
    """Return what all slices of a volume share; None of one that does not say how it lies."""
    frame = header.frames[index]
    if frame.position is None or frame.orientation is None or frame.spacing is None:
        return None
    directions = tuple(round(value, _SAME_DIRECTION) + 0.0 for value in frame.orientation)
    return header.rows, header.columns, directions, tuple(round(value, _SAME_DIRECTION) for value in frame.spacing)


def _normal(place: tuple[Header, int]) -> NDArray[np.float64]:
    orientation = np.array(_frame(place).orientation)
    return np.cross(orientation[:3], orientation[3:])


def _along(place: tuple[Header, int], normal: NDArray[np.float64]) -> float:
    return float(np.dot(_frame(place).position or (), normal))


def _steps(places: Sequence[float], alone: float) -> tuple[float, str]:
    """Return the usual step between slices, `alone` where there is one, and why the steps make no regular grid."""
    if len(places) == 1:
        return alone, ""
    steps = np.diff(places)
    usual = float(np.sort(steps)[(len(steps) - 1) // 2])  # a step that occurs, where there are only two
    missing = int(sum(round(step / usual) - 1 for step in steps if step > _GAP * usual))
    if missing:
        gaps = int((steps > _GAP * usual).sum())
        what = "slice is" if missing == 1 else "slices are"
        return usual, f"{missing} {what} missing in {gaps} {'gap' if gaps == 1 else 'gaps'} between the others"
    if (abs(steps - usual) > _UNEVEN * usual).any():
        return usual, f"the steps between slices differ, from {steps.min():.3g} to {steps.max():.3g} mm"
    return usual, ""


def _affine(kept: Sequence[tuple[Header, int]], step: NDArray[np.float64], *, fault: str) -> tuple[Vector, ...]:
    first, last = _frame(kept[0]), _frame(kept[-1])
    assert first.orientation is not None
    assert first.spacing is not None
    if len(kept) > 1 and not fault:
        # Measured over the whole stack, which keeps the shear of a tilted gantry.
        step = (np.array(last.position) - np.array(first.position)) / (len(kept) - 1)
    columns = (
        np.array(first.orientation[:3]) * first.spacing[1],
        np.array(first.orientation[3:]) * first.spacing[0],
        step,
        np.array(first.position),
    )
    matrix = np.diag([-1.0, -1.0, 1.0]) @ np.stack(columns, axis=1)
    return (*(tuple(float(value) + 0.0 for value in row) for row in matrix), (0.0, 0.0, 0.0, 1.0))


def read_voxels(found: Stack, open_file: Open) -> NDArray[np.float32]:
    """Return float32 (slices, rows, columns): rescaled, and MONOCHROME1 inverted.

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
