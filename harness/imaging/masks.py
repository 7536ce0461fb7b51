"""The only mask codec: COCO run lengths of an image, or of each non-empty slice of a volume.

Areas, intersections and unions are computed on the run lengths, without decoding them to arrays. pycocotools does the
work, but it gives wrong results silently if sizes differ or a run inside a mask has length 0; this module admits
neither.
"""

from collections.abc import Mapping, Sequence
from math import floor, isfinite, prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from harness.errors import DataError
from harness.records import Box, Json, Mask, Size, SoftMask

MAX_PIXELS = 2**28  # in a 2-D mask or in one slice: 16,384 x 16,384
MAX_VOXELS = 2**31  # in a 3-D mask: 2 GiB when decoded

_FIRST_SYMBOL = ord("0")
_MOST_AREAS = 255  # pycocotools counts the masks of one call in 8 bits
_MOST_SYMBOLS = 7  # seven groups of 5 bits hold any 32-bit run length

Bools = NDArray[np.bool_]
Runs = NDArray[np.int64]
_Planes = dict[int, dict[str, Any]]


class Overlap(NamedTuple):
    """The number of pixels (or voxels) of each of two masks, and of their intersection."""

    first: int
    second: int
    intersection: int

    @property
    def union(self) -> int:
        """Number of pixels that at least one of the two masks covers."""
        return self.first + self.second - self.intersection


def encode(array: Any, *, where: str = "mask") -> Mask:
    """Return the run lengths of an array.

    Args:
        array: (H, W) or (D, H, W), boolean or integers 0 and 1, with every axis at least 1 long.
        where: Name of the mask, for messages.
    Raises:
        DataError: The array has another number of axes, another dtype (threshold soft masks first) or other values, or
            is larger than MAX_PIXELS or MAX_VOXELS.
    """
    found = np.asarray(array)
    if found.ndim not in (2, 3):
        raise DataError(f"{where}: expected an array (H, W) or (D, H, W), found shape {found.shape}")
    check_extent(found.shape, where)
    dense = _binary(found, where)
    if dense.ndim == 2:
        return Mask(size=dense.shape, counts=_encode_planes(dense[None])[0])
    indices = np.flatnonzero(dense.any(axis=(1, 2))).tolist()
    return Mask(size=dense.shape, slices=tuple(zip(indices, _encode_planes(dense[indices]), strict=True)))


def decode(mask: Mask) -> Bools:
    """Return a mask as a boolean array (H, W) or (D, H, W), C-contiguous and writable."""
    dense = np.zeros(mask.size, dtype=np.bool_)
    planes = dense if dense.ndim == 3 else dense[None]
    for index, rle in _planes(mask).items():
        planes[index] = _pixels(_runs(rle["counts"], "mask"), rle["size"])
    return dense


def empty(size: Size) -> Mask:
    """Return the mask of `size`, (H, W) or (D, H, W), that covers nothing."""
    return from_box(Box(corners=(0.0,) * (2 * len(size))), size)


def full(size: Size) -> Mask:
    """Return the mask of `size`, (H, W) or (D, H, W), that covers everything."""
    ends = size[::-1] if len(size) == 2 else size
    return from_box(Box(corners=(*(0.0 for _ in size), *map(float, ends))), size)


def from_box(box: Box, size: Size) -> Mask:
    """Return the filled box, its edges rounded half up to whole pixels and clipped to the image.

    Args:
        box: Half-open, in original pixels or voxels; a box without extent gives an empty mask.
        size: (H, W) or (D, H, W) of the mask.
    Raises:
        DataError: The box does not have two finite numbers per axis, or no mask can have `size`.
    """
    axes = len(size)
    if axes not in (2, 3) or len(box.corners) != 2 * axes:
        raise DataError(f"box: expected 4 numbers for (H, W) or 6 for (D, H, W), found {len(box.corners)} for {size}")
    check_extent(size, "box")
    if not all(map(isfinite, box.corners)):
        raise DataError(f"box: expected finite numbers, found {box.corners}")
    # Half up, where Python's round() would go to the even neighbour.
    corners = [floor(value + 0.5) for value in box.corners]
    starts, ends = corners[:axes], corners[axes:]
    if axes == 2:
        starts, ends = starts[::-1], ends[::-1]
    spans = [slice(max(start, 0), max(end, 0)) for start, end in zip(starts, ends, strict=True)]
    plane = np.zeros((1, *size[-2:]), dtype=np.bool_)
    plane[:, spans[-2], spans[-1]] = True
    counts = _encode_planes(plane)[0]  # the same for every slice of a 3-D box
    if axes == 2:
        return Mask(size=tuple(size), counts=counts)
    indices = range(size[0])[spans[0]] if plane.any() else ()
    return Mask(size=tuple(size), slices=tuple((index, counts) for index in indices))


def area(mask: Mask) -> int:
    """Return the number of pixels or voxels that the mask covers."""
    return sum(_areas(list(_planes(mask).values())))


def overlap(first: Mask, second: Mask) -> Overlap:
    """Return both areas and the intersection, in pixels or voxels, in one pass over the run lengths.

    Raises:
        DataError: The masks differ in size.
    """
    _check_same_size((first, second))
    if first.slices is None:  # the bulk of all scoring: two calls into C
        pair = [_rle(first.size, first.counts), _rle(second.size, second.counts)]
        return Overlap(*coco.area([*pair, coco.merge(pair, intersect=True)]).tolist())
    ours, theirs = _planes(first), _planes(second)
    shared = [coco.merge([ours[index], theirs[index]], intersect=True) for index in ours.keys() & theirs.keys()]
    return Overlap(area(first), area(second), sum(_areas(shared)))


def intersection(first: Mask, second: Mask) -> int:
    """Return the number of pixels that both masks cover.

    Raises:
        DataError: The masks differ in size.
    """
    return overlap(first, second).intersection


def union(first: Mask, second: Mask) -> int:
    """Return the number of pixels that at least one of the masks covers.

    Raises:
        DataError: The masks differ in size.
    """
    return overlap(first, second).union


def iou_table(rows: Sequence[Mask], columns: Sequence[Mask]) -> NDArray[np.float64]:
    """Return the IoU of every mask of `rows` with every one of `columns`, float64 (rows, columns), in [0, 1].

    The IoU of two empty masks is NaN.

    Raises:
        DataError: The masks differ in size.
    """
    if not rows or not columns:
        return np.zeros((len(rows), len(columns)))
    _check_same_size((*rows, *columns))
    if rows[0].slices is None:
        # All pairs in one call into C, which looks first whether their boxes meet.
        ours, theirs = ([_rle(mask.size, mask.counts) for mask in side] for side in (rows, columns))
        table: NDArray[np.float64] = np.array(coco.iou(ours, theirs, [0] * len(theirs)), dtype=np.float64)
        empty_rows, empty_columns = ([area == 0 for area in _areas(side)] for side in (ours, theirs))
        table[np.ix_(empty_rows, empty_columns)] = np.nan
        return table
    table = np.full((len(rows), len(columns)), np.nan)
    for place in np.ndindex(*table.shape):
        found = overlap(rows[place[0]], columns[place[1]])
        if found.union:
            table[place] = found.intersection / found.union
    return table


def merge(masks: Sequence[Mask]) -> Mask:
    """Return the union of `masks`; a single mask is returned unchanged.

    Raises:
        DataError: The masks differ in size, or `masks` is empty, so that the union has no size.
    """
    if not masks:
        raise DataError("merge: expected at least one mask, found none; use masks.empty for a size without any")
    if len(masks) == 1:
        return masks[0]
    _check_same_size(masks)
    planes: dict[int, list[dict[str, Any]]] = {}
    for mask in masks:
        for index, rle in _planes(mask).items():
            planes.setdefault(index, []).append(rle)
    merged = {index: _text(coco.merge(rles, intersect=False)) for index, rles in sorted(planes.items())}
    size = masks[0].size
    return Mask(size=size, counts=merged[0]) if len(size) == 2 else Mask(size=size, slices=tuple(merged.items()))


def bounding_box(mask: Mask) -> Box | None:
    """Return the tight half-open box x1 y1 x2 y2 (3-D: z1 y1 x1 z2 y2 x2) in pixels; None for an empty mask."""
    planes = _planes(mask)
    if not area(mask):
        return None
    boxes = coco.toBbox(list(planes.values()))
    x1, y1 = boxes[:, :2].min(axis=0).tolist()
    x2, y2 = (boxes[:, :2] + boxes[:, 2:]).max(axis=0).tolist()
    if len(mask.size) == 2:
        return Box(corners=(x1, y1, x2, y2))
    return Box(corners=(float(min(planes)), y1, x1, float(max(planes) + 1), y2, x2))


def check_size(mask: Mask | SoftMask, size: Size, where: str, *, what: str = "predicted mask") -> None:
    """Check that `mask` has the size of the image or volume it belongs to.

    Args:
        mask: The mask.
        size: (H, W) of the image or (D, H, W) of the volume.
        where: The sample, or file and line.
        what: Name of the mask in the message.
    Raises:
        DataError: The sizes differ. The message says so if the axes seem to be swapped.
    """
    wanted = tuple(size)
    if mask.size == wanted:
        return
    owner, order = ("image", "(H, W)") if len(wanted) == 2 else ("volume", "(D, H, W)")
    swapped = sorted(mask.size) == sorted(wanted)
    advice = "the adapter may have swapped the axes" if swapped else "masks must lie in the frame of the original image"
    raise DataError(f"{where}: {what} is {mask.size}, {owner} is {wanted} as {order}; {advice}")


# --- arrays and run lengths


def _binary(found: NDArray[Any], where: str) -> Bools:
    if found.dtype == np.bool_:
        return found
    if found.dtype.kind not in "iu":
        missing = int(np.isnan(found).sum()) if found.dtype.kind == "f" else 0
        extra = f" with {missing} NaN" if missing else ""
        raise DataError(f"{where}: expected bool or 0/1 integers, found {found.dtype}{extra}; threshold it first")
    strange = found[(found != 0) & (found != 1)]
    if strange.size:
        raise DataError(
            f"{where}: expected the values 0 and 1, found {strange[0]}; choose one label or use `array > 0`"
        )
    return found.astype(np.bool_)


def check_extent(size: Size, where: str) -> None:
    """Check that a mask may have `size`, (H, W) or (D, H, W).

    Raises:
        DataError: An axis has length 0, or the size exceeds `MAX_PIXELS` per slice or `MAX_VOXELS`.
    """
    if min(size) < 1:
        raise DataError(f"{where}: expected every axis to be at least 1 long, found {tuple(size)}")
    if prod(size[-2:]) > MAX_PIXELS or prod(size) > MAX_VOXELS:
        raise DataError(
            f"{where}: a mask of size {tuple(size)} is too large; at most {MAX_PIXELS} pixels a slice and "
            f"{MAX_VOXELS} voxels"
        )


def _check_same_size(masks: Sequence[Mask]) -> None:
    for mask in masks:
        if mask.size != (size := masks[0].size):
            raise DataError(
                f"masks of sizes {size} and {mask.size} do not fit together; "
                "bring both to the frame of the original image"
            )


def _encode_planes(planes: Bools) -> list[str]:
    """Return the run-length string of each plane of a boolean array (N, H, W)."""
    # pycocotools wants (H, W, N) in Fortran order; runs go down the columns.
    columns = np.asfortranarray(planes.view(np.uint8).transpose(1, 2, 0))
    return [_text(rle) for rle in coco.encode(columns)]


def _text(rle: Mapping[str, Any]) -> str:
    counts: bytes = rle["counts"]
    return counts.decode("ascii")


def _rle(size: Size, counts: str | None) -> dict[str, Any]:
    return {"size": size[-2:], "counts": counts}


def _planes(mask: Mask) -> _Planes:
    """Return the run lengths in the form of pycocotools, by slice index; an image is slice 0."""
    if mask.slices is None:
        return {0: _rle(mask.size, mask.counts)}
    return {index: _rle(mask.size, counts) for index, counts in mask.slices}


def _areas(rles: list[dict[str, Any]]) -> list[int]:
    batches = range(0, len(rles), _MOST_AREAS)
    return [found for start in batches for found in coco.area(rles[start : start + _MOST_AREAS]).tolist()]


def _runs(counts: Json, where: str) -> Runs:
    """Return the run lengths that a COCO string encodes, background first.

    A symbol holds 5 bits of a number, low bits first, and a sixth bit that is set if more follow; the last group
    carries the sign. From the fourth run on, the number is the difference to the run before the previous one.
    """
    # Our own decoder, because pycocotools reads past the end of a string that was cut inside a number.
    if not isinstance(counts, str) or not counts or not counts.isascii():
        raise DataError(f"{where}: expected a COCO run-length string, found {_brief(counts)}")
    symbols = np.frombuffer(counts.encode("ascii"), dtype=np.uint8).astype(np.int64) - _FIRST_SYMBOL
    if symbols.min() < 0 or symbols.max() > 63:
        raise DataError(f"{where}: expected the characters '0' to 'o', found {_brief(counts)}")
    ends = np.flatnonzero(symbols < 32)
    if symbols[-1] >= 32:
        raise DataError(f"{where}: the string ends inside a number; it was cut short")
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > _MOST_SYMBOLS:
        raise DataError(f"{where}: expected numbers of at most {_MOST_SYMBOLS} characters, found {lengths.max()}")
    shifts = 5 * (np.arange(len(symbols)) - np.repeat(starts, lengths))
    runs = np.add.reduceat((symbols & 31) << shifts, starts)
    runs -= np.where(symbols[ends] & 16, 1 << (5 * lengths), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    if runs.min() < 0:
        raise DataError(f"{where}: expected run lengths >= 0, found {runs.min()}; the string is corrupt")
    return runs


def _pixels(runs: Runs, size: Size) -> Bools:
    """Return the plane that the runs cover, boolean (H, W); runs go down the columns."""
    height, width = size
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def _brief(value: Json) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def checked_counts(counts: Json, size: Size, where: str) -> str:
    """Return the string that `encode` would write for the same mask.

    Args:
        counts: A COCO run-length string, or run lengths as a list of integers, background first.
        size: (H, W) of the mask.
        where: Name of the field, for messages.
    Raises:
        DataError: The run lengths are damaged or do not cover exactly `size`.
    """
    if isinstance(counts, list):
        if not all(type(run) is int and 0 <= run <= MAX_PIXELS for run in counts):
            raise DataError(f"{where}: expected run lengths as integers from 0 to {MAX_PIXELS}, found another value")
        runs = np.array(counts, dtype=np.int64)
    else:
        runs = _runs(counts, where)
    height, width = size
    # Summed as float64, which cannot wrap around as int64 does; sums up to MAX_PIXELS are exact.
    if (total := int(runs.sum(dtype=np.float64))) != height * width:
        raise DataError(f"{where}: expected runs that sum to {height} x {width} = {height * width}, found {total}")
    if runs[1:].all():
        return _text(coco.frPyObjects({"size": list(size), "counts": runs.tolist()}, height, width))
    # A run of length 0 inside the mask is legal in COCO but splits one run into two; pycocotools would count wrongly.
    return _encode_planes(_pixels(runs, size)[None])[0]
