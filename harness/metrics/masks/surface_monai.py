"""Distances between boundaries as MONAI measures them: Hausdorff distance, HD95 and surface Dice.

MONAI's surface is that of `standard`: pixels with a neighbour outside across an edge or face. What differs is the empty
side. HD95 interpolates between infinities, gets NaN, and its mean silently drops the sample; the plain Hausdorff
distance stays infinite, and so does its mean.
"""

from dataclasses import replace
from functools import partial

from harness.metrics.family import Protocol
from harness.metrics.masks.label_maps import monai_report
from harness.metrics.masks.surface import (
    ELEMENTS,
    HD95,
    INFINITE,
    NSD,
    ONE_EMPTY_SIDE,
    PIXELS,
    TOLERANCE_FROM_0,
    Rule,
    combine_infinite,
    hd95,
    nsd,
    nsd_worst,
    worst_finite,
)
from harness.metrics.metric import EmptyCases, Metric

_SOURCE = "monai 1.6.1, {}; github.com/Project-MONAI/MONAI"
# Distances are rounded to float32 before they are compared: 2.5000000001 passes for 2.5.
_SINGLE = 2.0**-24
_CELLS = Rule(PIXELS.measure, PIXELS.percentile, _SINGLE, "undefined")
_FARTHEST = Rule(PIXELS.measure, lambda side: float(side.distances.max()), _SINGLE, "infinite")
_SUBVOXELS = Rule(ELEMENTS.measure, ELEMENTS.percentile, _SINGLE)

_NSD_ROWS = (
    Protocol(
        "monai",
        version=1,
        stats=("within", "boundary_pixels"),
        score=partial(nsd, rule=_CELLS),
        worst=partial(nsd_worst, rule=_CELLS),
        parameters=TOLERANCE_FROM_0,
        summary="Share of the boundary pixels of both sides within the tolerance, as MONAI's SurfaceDiceMetric.",
        formula="boundary pixels of P and T at most the tolerance away from the other boundary / all of them.",
        source=_SOURCE.format("SurfaceDiceMetric"),
    ),
    Protocol(
        "monai-subvoxel",
        version=1,
        stats=("within", "boundary_measure"),
        score=partial(nsd, rule=_SUBVOXELS),
        worst=partial(nsd_worst, rule=_SUBVOXELS),
        parameters=TOLERANCE_FROM_0,
        summary="Share of both surfaces, by length or area, within the tolerance, as MONAI's SurfaceDiceMetric with "
        "use_subvoxels.",
        formula="length or area of both surfaces at most the tolerance away from the other surface / all of it.",
        source=_SOURCE.format("SurfaceDiceMetric(use_subvoxels=True)"),
    ),
)

_HD95_ROW = Protocol(
    "monai",
    version=1,
    score=partial(hd95, rule=_CELLS),
    report=monai_report("hd95"),
    caveat="An answer without a mask, or a mask where nothing is, has no distance and leaves the mean.",
    certificate="A structure that is left out, as an empty mask, has no distance and leaves the mean.",
    summary="Larger of the two 95th percentiles of the distances between boundary pixels, as MONAI: an empty side is "
    "left out.",
    formula="max over both directions of the 95th percentile of the distances to the other boundary, interpolated.",
    empty=EmptyCases(
        prediction="undefined",
        target="undefined",
        both="undefined",
        note="A failed answer counts as the diagonal of the image. Without spacing a pixel counts as 1 mm.",
    ),
    source=_SOURCE.format("HausdorffDistanceMetric(percentile=95)"),
)

HAUSDORFF = replace(
    HD95,
    name="hausdorff",
    protocols=(
        Protocol(
            "monai",
            version=1,
            stats=("distance_mm", "samples", "infinite"),
            score=partial(hd95, rule=_FARTHEST),
            combine=combine_infinite,
            worst=worst_finite,
            report=monai_report("hausdorff"),
            caveat=ONE_EMPTY_SIDE,
            corpus=True,
            summary="Largest distance from one boundary to the other, as MONAI: infinite once one side is empty.",
            formula="max over both directions of the largest distance to the other boundary.",
            empty=INFINITE,
            source=_SOURCE.format("HausdorffDistanceMetric"),
        ),
    ),
)

METRICS: tuple[Metric, ...] = (*map(NSD.row, _NSD_ROWS), HD95.row(_HD95_ROW), *HAUSDORFF.rows())
