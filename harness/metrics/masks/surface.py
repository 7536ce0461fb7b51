"""Distances between the boundaries of two masks: NSD, the share within a tolerance, and HD95, in millimetres.

All predicted masks together are compared with all target masks together. `standard` measures between the centres of
boundary pixels. `surface-distance` measures as DeepMind's package does, between the elements of a contour or surface
laid through the corners of the pixels, each weighted by its length or area.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from itertools import product
from typing import Any, Literal, NamedTuple

import numpy as np

from harness.imaging import masks
from harness.imaging.target_size import skewed_steps
from harness.metrics.family import Family, Protocol
from harness.metrics.masks.mask_pairs import EMPTY_EITHER, SUITS, ceiling_all, checked, media_of, targets
from harness.metrics.masks.surface_elements import Boundary, Grid, boundary_pixels, cropped, surface_elements
from harness.metrics.metric import EmptyCases, Floats, Metric, Outcome, Parameter, Stats
from harness.metrics.ratios import ratio
from harness.records import Mask, Prediction, Sample

_PERCENT = 95.0  # of HD95; the maximum would depend on a single stray pixel


# NSD and HD95 of a sample need the same distances, one after the other, and computing these takes most of the time.
@lru_cache(maxsize=4)
def _pixels(predicted: Mask | None, target: Mask | None, grid: Grid) -> tuple[Boundary, Boundary]:
    return boundary_pixels(*cropped(predicted, target), grid)


@lru_cache(maxsize=4)
def _elements(predicted: Mask | None, target: Mask | None, grid: Grid) -> tuple[Boundary, Boundary]:
    return surface_elements(*cropped(predicted, target), grid)


class _Setting(NamedTuple):
    """The union of the masks of each side, None if it is empty, and the grid they lie on.

    Attributes:
        size: Of the image or volume, per array axis; empty if it is unknown.
        grid: Pixel size per array axis, in mm if `known`, else 1 per axis; the steps along the axes if these are not at
            right angles.
    """

    predicted: Mask | None
    target: Mask | None
    size: tuple[int, ...]
    grid: Grid
    known: bool

    @property
    def detail(self) -> dict[str, Any]:
        return {} if self.known else {"unit": "pixel"}

    @property
    def diagonal(self) -> float:
        """The longest distance in the image, in the unit of `grid`; 0 if its size is unknown."""
        if not self.size or not isinstance(self.grid[0], tuple):
            return float(np.linalg.norm(np.multiply(self.size, self.grid)))
        # The diagonals of a skewed box differ in length.
        sides = np.array(self.grid) * np.array(self.size)[:, np.newaxis]
        return max(float(np.linalg.norm(sides.T @ signs)) for signs in product((1.0, -1.0), repeat=len(sides)))


def _setting(sample: Sample, predicted: tuple[Mask, ...]) -> _Setting:
    target = targets(sample)
    checked(sample, predicted, target)
    found = [masks.merge(side) if side else None for side in (predicted, target)]
    # The size of the target comes first; without any mask it is that of the image.
    size = next((mask.size for mask in reversed(found) if mask is not None), None)
    if size is None:
        size = tuple(sample.media[0].size) if sample.media else ()
    media = media_of(sample, size)
    spacing = None if media is None else media.spacing_mm
    first, second = (mask if mask is not None and masks.area(mask) else None for mask in found)
    axes = tuple(range(len(size)))
    if media is not None and media.flat and size.count(1) == 1:
        # As a volume all of its pixels would be boundary, because nothing lies above and below them.
        axes = tuple(axis for axis in axes if size[axis] > 1)
        first, second = (mask and masks.encode(masks.decode(mask).squeeze()) for mask in (first, second))
    skewed: Grid | None = skewed_steps(media.affine, axes) if media is not None and len(size) == 3 else None
    grid = skewed or tuple(1.0 if spacing is None else spacing[axis] for axis in axes)
    return _Setting(first, second, tuple(size[axis] for axis in axes), grid, spacing is not None)


def _weighted_percentile(side: Boundary) -> float:
    """Return the distance of the first element at which 95 % of the length or area is reached."""
    order = np.lexsort((side.weights, side.distances))
    shares = np.cumsum(side.weights[order]) / side.weights.sum()
    place = min(int(np.searchsorted(shares, _PERCENT / 100)), len(order) - 1)
    return float(side.distances[order[place]])


class Rule(NamedTuple):
    """How a protocol measures.

    Attributes:
        measure: (predicted, target, grid) -> their boundaries; a mask is None if it is empty.
        percentile: A boundary -> the 95th percentile of its distances.
        rounding: Relative excess over the tolerance that passes for a rounding error.
        one_empty: The percentile if one side is empty: the diagonal of the image, infinite, or undefined.
    """

    measure: Callable[[Mask | None, Mask | None, Grid], tuple[Boundary, Boundary]]
    percentile: Callable[[Boundary], float]
    rounding: float
    one_empty: Literal["diagonal", "infinite", "undefined"] = "diagonal"


# A distance of exactly the tolerance counts: voxel sizes of 0.3 mm are 0.3000000119 in the float32 of a header.
PIXELS = Rule(_pixels, lambda side: float(np.percentile(side.distances, _PERCENT)), 1e-6)
ELEMENTS = Rule(_elements, _weighted_percentile, 0.0, "infinite")  # the package compares without a margin


def nsd(sample: Sample, prediction: Prediction, tolerance_mm: float = 1.0, *, rule: Rule = PIXELS) -> Outcome:
    """Return the counts of NSD, the share of both boundaries within `tolerance_mm` of each other, in [0, 1].

    Both empty: undefined. One empty: 0. Without spacing a pixel counts as 1 mm, and the detail says so.

    Raises:
        DataError: A predicted mask has another size than the target.
    Source: Nikolov et al., arXiv:1809.04430; the measures as in `boundary_pixels` and `surface_elements`.
    """
    found = _setting(sample, prediction.masks)
    if found.predicted is None and found.target is None:
        return Outcome("undefined", detail=found.detail)
    # Skewed volumes, which the released package does not know, have distances that are no sums of whole steps.
    skewed = isinstance(found.grid[0], tuple)
    limit = tolerance_mm * (1 + (PIXELS.rounding if skewed else rule.rounding))
    both = rule.measure(found.predicted, found.target, found.grid)
    within = sum(float(side.weights[side.distances <= limit].sum()) for side in both)
    return Outcome("ok", (within, sum(float(side.weights.sum()) for side in both)), found.detail)


def nsd_worst(sample: Sample, rule: Rule) -> Stats:
    """Return the stats of an empty prediction; the target keeps its weight in pooled values."""
    found = _setting(sample, ())
    if found.target is None:
        return 0.0, 1.0
    return 0.0, float(rule.measure(None, found.target, found.grid)[1].weights.sum())


def hd95(sample: Sample, prediction: Prediction, *, rule: Rule = PIXELS) -> Outcome:
    """Return HD95, the larger of the two 95th percentiles of the distances from one boundary to the other, in mm.

    Both empty: undefined. One empty: the diagonal of the image, which no distance exceeds, or what the rule says; where
    that is infinite, a third number counts the sample. `standard` interpolates between pixels; `surface-distance` takes
    the first element at which 95 % of the length or area is reached. Without spacing a pixel counts as 1 mm, and the
    detail says so.

    Raises:
        DataError: A predicted mask has another size than the target.
    Source: Huttenlocher et al., IEEE PAMI 15 (1993) 850, with a percentile in place of the maximum.
    """
    found = _setting(sample, prediction.masks)
    if found.predicted is None and found.target is None:
        return Outcome("undefined", detail=found.detail)
    finite = (0.0,) if rule.one_empty == "infinite" else ()
    if found.predicted is None or found.target is None:
        detail = {**found.detail, "empty": "one side"}
        if rule.one_empty == "undefined":
            return Outcome("undefined", detail=detail)
        return Outcome("ok", (0.0, 1.0, 1.0) if finite else (found.diagonal, 1.0), detail)
    both = rule.measure(found.predicted, found.target, found.grid)
    return Outcome("ok", (max(rule.percentile(side) for side in both), 1.0, *finite), found.detail)


def combine_infinite(sums: Floats) -> Floats:
    """Return the mean distance, NaN as soon as one is infinite, shape (..., 3) -> (..., 1) float64.

    The columns are the sum of the finite distances, the samples, and those of them whose distance is infinite.
    """
    return np.where(sums[..., 2:] > 0, np.nan, ratio(sums[..., :2]))


def _hd95_worst(sample: Sample) -> Stats:
    """Return the stats of the diagonal of the image; undefined if its size is unknown."""
    diagonal = _setting(sample, ()).diagonal
    return (diagonal, 1.0) if diagonal else (0.0, 0.0)


def worst_finite(sample: Sample) -> Stats:
    """Return the stats of the same diagonal where a third number counts infinite distances."""
    return (*_hd95_worst(sample), 0.0)


# A tolerance of 0 asks for surfaces that coincide. Released code accepts it.
TOLERANCE_FROM_0 = (
    Parameter(
        name="tolerance_mm", default=1.0, summary="Largest distance in mm that still counts as agreement.", least=0.0
    ),
)
ONE_EMPTY_SIDE = "One answer without a mask, or a mask where nothing is, leaves all samples together without a number."
INFINITE = EmptyCases(
    prediction="undefined",
    target="undefined",
    both="undefined",
    note="One empty side is infinite, and so is then the mean. A failed answer counts as the diagonal of the image. "
    "Without spacing a pixel counts as 1 mm.",
)

NSD = Family(
    name="nsd",
    line="masks",
    suits=SUITS,
    combine=ratio,
    ceiling=ceiling_all,
    parameters=(
        Parameter(
            name="tolerance_mm",
            default=1.0,
            summary="Largest distance in mm that still counts as agreement.",
            above=0.0,
        ),
    ),
    empty=replace(EMPTY_EITHER, note="Without spacing a pixel counts as 1 mm, and the detail says so."),
    protocols=(
        Protocol(
            "standard",
            version=2,
            stats=("within", "boundary_pixels"),
            score=partial(nsd, rule=PIXELS),
            worst=partial(nsd_worst, rule=PIXELS),
            summary="Share of the boundary pixels of both sides within the tolerance of the other boundary, centre to "
            "centre.",
            formula="boundary pixels of P and T at most the tolerance away from the other boundary / all of them.",
            source="Nikolov et al., arXiv:1809.04430, on pixels as in Maier-Hein et al., arXiv:2206.01653",
        ),
        Protocol(
            "surface-distance",
            version=2,
            stats=("within", "boundary_measure"),
            parameters=TOLERANCE_FROM_0,
            score=partial(nsd, rule=ELEMENTS),
            worst=partial(nsd_worst, rule=ELEMENTS),
            summary="Share of both surfaces, by length or area, within the tolerance, as the surface-distance package "
            "computes it.",
            formula="length or area of both surfaces at most the tolerance away from the other surface / all of it.",
            source="Nikolov et al., arXiv:1809.04430; github.com/google-deepmind/surface-distance",
        ),
    ),
)

HD95 = Family(
    name="hd95",
    stats=("distance_mm", "samples"),
    line="masks",
    suits=SUITS,
    combine=ratio,
    worst=_hd95_worst,
    ceiling=lambda sample: None if ceiling_all(sample) is None else 0.0,
    higher_is_better=False,
    unit="mm",
    range=(0.0, None),
    empty=EmptyCases(
        prediction="worst",
        target="worst",
        both="undefined",
        note="The worst value is the diagonal of the image. Without spacing a pixel counts as 1 mm.",
    ),
    protocols=(
        Protocol(
            "standard",
            version=2,
            score=partial(hd95, rule=PIXELS),
            summary="Larger of the two 95th percentiles of the distances between boundary pixels; worst: diagonal.",
            formula="max over both directions of the 95th percentile of the distances to the other boundary, "
            "interpolated.",
            source="Huttenlocher et al., IEEE PAMI 15 (1993) 850, with a percentile in place of the maximum",
        ),
        Protocol(
            "surface-distance",
            version=3,
            stats=("distance_mm", "samples", "infinite"),
            combine=combine_infinite,
            worst=worst_finite,
            corpus=True,
            empty=INFINITE,
            caveat=ONE_EMPTY_SIDE,
            score=partial(hd95, rule=ELEMENTS),
            summary="Larger of the two 95th percentiles, weighted by length or area, as the surface-distance package "
            "computes it.",
            formula="max over both directions of the distance at which 95 % of the length or area is first reached.",
            source="compute_robust_hausdorff of github.com/google-deepmind/surface-distance",
        ),
    ),
)

METRICS: tuple[Metric, ...] = (*NSD.rows(), *HD95.rows())
