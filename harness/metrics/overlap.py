"""Dice and IoU of masks, under our `standard` rules and those of released code.

No predicted mask is an empty prediction. All counts come from run lengths; nothing is decoded.
"""

from functools import lru_cache

import numpy as np

from harness import masks
from harness.masks import Overlap
from harness.metrics.row import Floats, Metric, Outcome, Stats
from harness.records import Mask, Prediction, Sample

_SUITS = frozenset({"masks", "grounded_text"})
_DICE_STATS = ("twice_intersection", "area_sum")
_IOU_STATS = ("intersection", "union")
_EPSILON = 1e-7  # SAM-Med2D, metrics.py


def _targets(sample: Sample) -> tuple[Mask, ...]:
    return tuple(entity.mask for entity in sample.target.entities if entity.mask is not None)


# The rows of one sample ask for the same counts one after the other.
@lru_cache(maxsize=16)
def _overlap(predicted: tuple[Mask, ...], target: tuple[Mask, ...]) -> Overlap:
    """Return the counts of the union of `predicted` against the union of `target`; either may hold no mask."""
    if predicted and target:
        return masks.overlap(masks.merge(predicted), masks.merge(target))
    return Overlap(
        masks.area(masks.merge(predicted)) if predicted else 0, masks.area(masks.merge(target)) if target else 0, 0
    )


def _compare(sample: Sample, predicted: tuple[Mask, ...], target: tuple[Mask, ...]) -> Overlap:
    """Return `_overlap`; a DataError that names the sample where a predicted mask has another size."""
    if target:
        for mask in predicted:
            masks.check_size(mask, target[0].size, sample.id)
    return _overlap(predicted, target)


def _all_masks(sample: Sample, prediction: Prediction) -> Overlap:
    return _compare(sample, prediction.masks, _targets(sample))


def _first_masks(sample: Sample, prediction: Prediction) -> Overlap:
    return _compare(sample, prediction.masks[:1], _targets(sample)[:1])


def _dice_stats(overlap: Overlap) -> Stats:
    return 2.0 * overlap.intersection, float(overlap.first + overlap.second)


def _iou_stats(overlap: Overlap) -> Stats:
    return float(overlap.intersection), float(overlap.union)


def _unless_both_empty(stats: Stats) -> Outcome:
    return Outcome("ok", stats) if stats[1] else Outcome("undefined")


def _standard_dice(sample: Sample, prediction: Prediction) -> Outcome:
    return _unless_both_empty(_dice_stats(_all_masks(sample, prediction)))


def _standard_iou(sample: Sample, prediction: Prediction) -> Outcome:
    return _unless_both_empty(_iou_stats(_all_masks(sample, prediction)))


def _medplib(sample: Sample, prediction: Prediction) -> Outcome:
    return _unless_both_empty(_iou_stats(_first_masks(sample, prediction)))


def _sam_med2d_dice(sample: Sample, prediction: Prediction) -> Outcome:
    return Outcome("ok", _dice_stats(_first_masks(sample, prediction)))


def _sam_med2d_iou(sample: Sample, prediction: Prediction) -> Outcome:
    return Outcome("ok", _iou_stats(_first_masks(sample, prediction)))


def _ratio(stats: Floats) -> Floats:
    numerator, denominator = stats[..., :1], stats[..., 1:]
    return numerator / np.where(denominator > 0, denominator, np.nan)


def _single_precision_iou(stats: Floats) -> Floats:
    """MedPLIB divides pixel counts in float32."""
    return _ratio(stats.astype(np.float32)).astype(np.float64)


def _dice_of_single_precision_iou(stats: Floats) -> Floats:
    """MedPLIB derives Dice from the IoU, in Python floats."""
    iou = _single_precision_iou(stats)
    return 2 * iou / (1 + iou)


def _smoothed_ratio(stats: Floats) -> Floats:
    """SAM-Med2D adds epsilon above and below, in float32, so that nothing against nothing is 1."""
    smoothed = stats.astype(np.float32) + np.float32(_EPSILON)
    return (smoothed[..., :1] / smoothed[..., 1:]).astype(np.float64)


def _area(target: tuple[Mask, ...]) -> int:
    return _overlap((), target).second


def _miss_all(sample: Sample) -> Stats:
    """Nothing is found; the target keeps its weight in pooled values."""
    return 0.0, float(max(_area(_targets(sample)), 1))


def _miss_first(sample: Sample) -> Stats:
    """As `_miss_all`, for protocols that look at the first target mask only."""
    return 0.0, float(max(_area(_targets(sample)[:1]), 1))


def _ceiling_all(sample: Sample) -> float | None:
    return 1.0 if _area(_targets(sample)) else None


def _ceiling_first(sample: Sample) -> float | None:
    return 1.0 if _area(_targets(sample)[:1]) else None


def _ceiling_smoothed(_sample: Sample) -> float | None:
    return 1.0


METRICS: tuple[Metric, ...] = (
    Metric(
        name="dice",
        protocol="standard",
        version=1,
        values=("dice",),
        stats=_DICE_STATS,
        line="masks",
        suits=_SUITS,
        score=_standard_dice,
        combine=_ratio,
        worst=_miss_all,
        ceiling=_ceiling_all,
        summary="Dice of all predicted masks together against all target masks together; both empty is undefined.",
    ),
    Metric(
        name="dice",
        protocol="medplib",
        version=1,
        values=("dice",),
        stats=_IOU_STATS,
        line="masks",
        suits=_SUITS,
        score=_medplib,
        combine=_dice_of_single_precision_iou,
        worst=_miss_first,
        ceiling=_ceiling_first,
        summary="2 IoU / (1 + IoU) of the first predicted mask against the first target mask, as MedPLIB's code does.",
    ),
    Metric(
        name="dice",
        protocol="sam-med2d",
        version=1,
        values=("dice",),
        stats=_DICE_STATS,
        line="masks",
        suits=_SUITS,
        score=_sam_med2d_dice,
        combine=_smoothed_ratio,
        worst=_miss_first,
        ceiling=_ceiling_smoothed,
        summary="Dice of the first masks with 1e-7 added above and below, as SAM-Med2D's code does; both empty is 1.",
    ),
    Metric(
        name="iou",
        protocol="standard",
        version=1,
        values=("iou",),
        stats=_IOU_STATS,
        line="masks",
        suits=_SUITS,
        score=_standard_iou,
        combine=_ratio,
        worst=_miss_all,
        ceiling=_ceiling_all,
        summary="IoU of all predicted masks together against all target masks together; both empty is undefined.",
    ),
    Metric(
        name="iou",
        protocol="medplib",
        version=1,
        values=("iou",),
        stats=_IOU_STATS,
        line="masks",
        suits=_SUITS,
        score=_medplib,
        combine=_single_precision_iou,
        worst=_miss_first,
        ceiling=_ceiling_first,
        summary="Float32 IoU of the first predicted mask against the first target mask, as MedPLIB's code does.",
    ),
    Metric(
        name="iou",
        protocol="sam-med2d",
        version=1,
        values=("iou",),
        stats=_IOU_STATS,
        line="masks",
        suits=_SUITS,
        score=_sam_med2d_iou,
        combine=_smoothed_ratio,
        worst=_miss_first,
        ceiling=_ceiling_smoothed,
        summary="IoU of the first masks with 1e-7 added above and below, as SAM-Med2D's code does; both empty is 1.",
    ),
)
