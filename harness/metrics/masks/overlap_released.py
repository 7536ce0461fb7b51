"""Dice and IoU as released code computes them: MedPLIB, SAM-Med2D, M3D, SegVol, MONAI, surface-distance.

The protocols of the models compare the first predicted mask with the first target mask, as their code does. Those of
the libraries compare all masks with all masks, as in the label map that a library gets.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from harness.imaging import masks, soft_masks
from harness.metrics.family import Protocol
from harness.metrics.masks.label_maps import (
    LabelMapSample,
    monai_dice,
    monai_report,
)
from harness.metrics.masks.mask_pairs import (
    EMPTY_EITHER,
    IOU_STATS,
    all_masks,
    area,
    compare,
    dice_stats,
    first_masks,
    iou_stats,
    targets,
)
from harness.metrics.metric import EmptyCases, Floats, Outcome, Stats
from harness.metrics.ratios import ratio
from harness.records import Prediction, Sample

_EPSILON = 1e-7  # SAM-Med2D, metrics.py


def _unless_empty(stats: Stats, **detail: Any) -> Outcome:
    return Outcome("ok", stats, detail) if stats[1] else Outcome("undefined", detail=detail)


def _medplib(sample: Sample, prediction: Prediction) -> Outcome:
    """Return the counts of IoU of the first masks, probabilities cut at 0.1; undefined if both masks are empty.

    Source: MedPLIB, model/eval/vqa_infer.py.
    """
    # On two empty masks the released code raises AttributeError, so there is no value to reproduce.
    if not prediction.soft_masks:
        return _unless_empty(iou_stats(first_masks(sample, prediction)))
    predicted = soft_masks.cut(prediction.soft_masks[0], soft_masks.MEDPLIB_CUT)
    overlap = compare(sample, (predicted,), targets(sample)[:1])
    return _unless_empty(iou_stats(overlap), threshold=soft_masks.MEDPLIB_CUT)


def _single_precision_iou(stats: Floats) -> Floats:
    """Return IoU as MedPLIB divides pixel counts, in float32; shape (..., 2) -> (..., 1) float64."""
    return ratio(stats.astype(np.float32)).astype(np.float64)


def _dice_of_single_precision_iou(stats: Floats) -> Floats:
    """Return Dice as MedPLIB derives it from that IoU, in Python floats; shape (..., 2) -> (..., 1) float64."""
    iou = _single_precision_iou(stats)
    return 2 * iou / (1 + iou)


def _smoothed_ratio(stats: Floats) -> Floats:
    """Return the ratio with 1e-7 added above and below in float32, as SAM-Med2D; (..., 2) -> (..., 1) float64.

    Nothing against nothing is therefore 1.
    """
    smoothed = stats.astype(np.float32) + np.float32(_EPSILON)
    return (smoothed[..., :1] / smoothed[..., 1:]).astype(np.float64)


def _m3d(sample: Sample, prediction: Prediction) -> Outcome:
    """Return the counts of soft Dice, 2 sum(p t) / (sum(p) + sum(t) + 1), in [0, 1); an empty target always gives 0.

    If the model gave no probabilities they are taken as 0 and 1.

    Raises:
        DataError: The predicted mask has another size than the target.
    Source: M3D, Bench/eval/metrics.py.
    """
    if not prediction.soft_masks:
        return Outcome("ok", _plus_one(dice_stats(first_masks(sample, prediction))), {"probabilities": "binary"})
    target, soft = targets(sample)[:1], prediction.soft_masks[0]
    if target:
        masks.check_size(soft, target[0].size, sample.id, what="predicted soft mask")
    found = soft_masks.decode(soft)
    both = float(found[masks.decode(target[0])].sum()) if target else 0.0
    stats = _plus_one((2 * both, float(found.sum()) + area(target)))
    return Outcome("ok", stats, {"probabilities": "8-bit" if soft.levels else "exact"})


def _segvol(sample: Sample, prediction: Prediction) -> Outcome:
    """Return the counts of Dice with 1 added below, 2 |P and T| / (|P| + |T| + 1), in [0, 1).

    An empty target always gives 0.

    Source: SegVol, inference_demo.py, where the prediction is cut at 0.5.
    """
    return Outcome("ok", _plus_one(dice_stats(first_masks(sample, prediction))))


def _plus_one(stats: Stats) -> Stats:
    # M3D and SegVol smooth the denominator only; hence a perfect answer stays below 1 and a refusal is worth 0.
    return stats[0], stats[1] + 1.0


def _ceiling_plus_one(sample: Sample) -> float | None:
    found = area(targets(sample)[:1])
    return 2.0 * found / (2.0 * found + 1.0)


def _ignoring_empty(stats: Callable[[masks.Overlap], Stats]) -> Callable[[Sample, Prediction], Outcome]:
    """Return a `score` that is undefined if the target is empty, whatever is predicted.

    Source: MONAI, DiceMetric and MeanIoU with ignore_empty, their default.
    """

    def score(sample: Sample, prediction: Prediction) -> Outcome:
        if isinstance(sample, LabelMapSample):
            return monai_dice(sample, prediction, ignore_empty=True)
        overlap = all_masks(sample, prediction)
        return Outcome("ok", stats(overlap)) if overlap.second else Outcome("undefined")

    return score


def _miss_ignoring_empty(sample: Sample) -> Stats:
    """Return the stats of an answer that finds nothing; undefined if there is nothing to find."""
    return 0.0, float(area(targets(sample)))


def _surface_distance(sample: Sample, prediction: Prediction) -> Outcome:
    """Return the counts of Dice; the package gives NaN for two empty masks, hence undefined.

    Source: surface-distance, metrics.py, compute_dice_coefficient.
    """
    return _unless_empty(dice_stats(all_masks(sample, prediction)))


def _miss_first(sample: Sample) -> Stats:
    """Return the same as `miss_all`, for protocols that read only the first target mask."""
    return 0.0, float(max(area(targets(sample)[:1]), 1))


def _ceiling_first(sample: Sample) -> float | None:
    return 1.0 if area(targets(sample)[:1]) else None


_MEDPLIB_EMPTY = replace(EMPTY_EITHER, note="Of two empty masks the released code raises.")
_MEDPLIB_SOURCE = "model/eval/vqa_infer.py of MedPLIB, arXiv:2412.09278"
_SAM_MED2D_EMPTY = EmptyCases(prediction=0.0, target=0.0, both=1.0, note="0 is not quite reached: below 1e-6.")
_SAM_MED2D_SOURCE = "metrics.py of SAM-Med2D, arXiv:2308.16184"
_PLUS_ONE_STATS = ("twice_intersection", "area_sum_plus_one")
_PLUS_ONE_EMPTY = EmptyCases(prediction=0.0, target=0.0, both=0.0)
_MONAI_EMPTY = EmptyCases(prediction=0.0, target="undefined", both="undefined")
_MONAI_SOURCE = "DiceMetric and MeanIoU of MONAI with ignore_empty, their default"

DICE_RELEASED: tuple[Protocol, ...] = (
    Protocol(
        "medplib",
        version=1,
        stats=IOU_STATS,
        line="soft_masks",
        score=_medplib,
        combine=_dice_of_single_precision_iou,
        worst=_miss_first,
        ceiling=_ceiling_first,
        summary="2 IoU / (1 + IoU) of the first predicted mask against the first target mask, as MedPLIB's code does.",
        formula="2 IoU / (1 + IoU), IoU = |P and T| / |P or T| in float32; probabilities are cut at 0.1.",
        empty=_MEDPLIB_EMPTY,
        source=_MEDPLIB_SOURCE,
    ),
    Protocol(
        "sam-med2d",
        version=1,
        score=lambda sample, prediction: Outcome("ok", dice_stats(first_masks(sample, prediction))),
        combine=_smoothed_ratio,
        worst=_miss_first,
        ceiling=lambda _: 1.0,
        certificate="No mask is worth 1 wherever there is nothing to find.",
        summary="Dice of the first masks with 1e-7 added above and below, as SAM-Med2D's code does; both empty is 1.",
        formula="(2 |P and T| + 1e-7) / (|P| + |T| + 1e-7), in float32.",
        empty=_SAM_MED2D_EMPTY,
        source=_SAM_MED2D_SOURCE,
    ),
    Protocol(
        "m3d",
        version=1,
        stats=_PLUS_ONE_STATS,
        line="soft_masks",
        score=_m3d,
        worst=lambda sample: (0.0, area(targets(sample)[:1]) + 1.0),
        ceiling=_ceiling_plus_one,
        summary="Soft Dice of the first masks with 1 added below, as M3D's code does; a perfect answer stays under 1.",
        formula="2 sum(p t) / (sum(p) + sum(t) + 1), p the probabilities, 0 and 1 where only a mask is given.",
        empty=replace(_PLUS_ONE_EMPTY, note="A class that is absent is worth 0 even where it is rightly refused."),
        source="Bench/eval/metrics.py of M3D, arXiv:2404.00578",
    ),
    Protocol(
        "segvol",
        version=1,
        stats=_PLUS_ONE_STATS,
        line="soft_masks",
        score=_segvol,
        worst=lambda sample: (0.0, area(targets(sample)[:1]) + 1.0),
        ceiling=_ceiling_plus_one,
        summary="Dice of the first masks with 1 added below, as SegVol's code does; a perfect answer stays under 1.",
        formula="2 |P and T| / (|P| + |T| + 1), probabilities cut at 0.5.",
        empty=_PLUS_ONE_EMPTY,
        source="inference_demo.py of SegVol, arXiv:2311.13385",
    ),
    Protocol(
        "monai-ignore-empty",
        version=1,
        score=_ignoring_empty(dice_stats),
        worst=_miss_ignoring_empty,
        report=monai_report("dice"),
        summary="Dice of all masks together; an empty target is undefined, as in MONAI's DiceMetric with ignore_empty.",
        formula="2 |P and T| / (|P| + |T|).",
        empty=_MONAI_EMPTY,
        source=_MONAI_SOURCE,
    ),
    Protocol(
        "surface-distance",
        version=1,
        score=_surface_distance,
        summary="Dice of all masks together as the surface-distance package computes it; both empty is undefined.",
        formula="2 |P and T| / (|P| + |T|).",
        source="compute_dice_coefficient of github.com/google-deepmind/surface-distance",
    ),
)

IOU_RELEASED: tuple[Protocol, ...] = (
    Protocol(
        "medplib",
        version=1,
        line="soft_masks",
        score=_medplib,
        combine=_single_precision_iou,
        worst=_miss_first,
        ceiling=_ceiling_first,
        summary="Float32 IoU of the first predicted mask against the first target mask, as MedPLIB's code does.",
        formula="|P and T| / |P or T| in float32; probabilities are cut at 0.1.",
        empty=_MEDPLIB_EMPTY,
        source=_MEDPLIB_SOURCE,
    ),
    Protocol(
        "sam-med2d",
        version=1,
        score=lambda sample, prediction: Outcome("ok", iou_stats(first_masks(sample, prediction))),
        combine=_smoothed_ratio,
        worst=_miss_first,
        ceiling=lambda _: 1.0,
        certificate="No mask is worth 1 wherever there is nothing to find.",
        summary="IoU of the first masks with 1e-7 added above and below, as SAM-Med2D's code does; both empty is 1.",
        formula="(|P and T| + 1e-7) / (|P or T| + 1e-7), in float32.",
        empty=_SAM_MED2D_EMPTY,
        source=_SAM_MED2D_SOURCE,
    ),
    Protocol(
        "monai-ignore-empty",
        version=1,
        score=_ignoring_empty(iou_stats),
        worst=_miss_ignoring_empty,
        summary="IoU of all masks together; an empty target is undefined, as in MONAI's MeanIoU with ignore_empty.",
        formula="|P and T| / |P or T|.",
        empty=_MONAI_EMPTY,
        source=_MONAI_SOURCE,
    ),
)
