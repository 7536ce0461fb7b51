"""Overlap of masks: Dice, IoU, cIoU, volume error, and accuracy on samples with nothing to find.

The functions here follow our `standard` rules; those of released code are in `overlap_released`.
"""

from dataclasses import replace
from math import prod

import numpy as np

from harness.imaging.target_size import voxel_mm3
from harness.metrics.family import Family, Protocol
from harness.metrics.masks.mask_pairs import (
    DICE_STATS,
    EMPTY_EITHER,
    IOU_STATS,
    SUITS,
    all_masks,
    area,
    ceiling_all,
    dice_stats,
    iou_stats,
    media_of,
    miss_all,
    size_of,
    targets,
)
from harness.metrics.masks.overlap_released import DICE_RELEASED, IOU_RELEASED
from harness.metrics.metric import EmptyCases, Metric, Outcome, Stats
from harness.metrics.ratios import ratio
from harness.records import Prediction, Sample

_MM3_PER_ML = 1000.0


def dice(sample: Sample, prediction: Prediction) -> Outcome:
    """Return the counts of Dice, 2 |P and T| / (|P| + |T|), in [0, 1].

    P is the union of the predicted masks, T that of the target masks. Both empty: undefined. One empty: 0.

    Raises:
        DataError: A predicted mask has another size than the target.

    Source: Dice, Ecology 26 (1945) 297.
    """
    stats = dice_stats(all_masks(sample, prediction))
    return Outcome("ok", stats) if stats[1] else Outcome("undefined")


def iou(sample: Sample, prediction: Prediction) -> Outcome:
    """Return the counts of IoU, |P and T| / |P or T|, in [0, 1]; P, T, the empty cases and errors as for `dice`.

    For `ciou` the same counts are summed over all samples before they are divided, so large targets weigh more; a
    sample without a target weighs as much as the area predicted on it.

    Source: Jaccard, New Phytologist 11 (1912) 37; summed over all samples, Hu et al., arXiv:1603.06180.
    """
    stats = iou_stats(all_masks(sample, prediction))
    return Outcome("ok", stats) if stats[1] else Outcome("undefined")


def no_target_accuracy(sample: Sample, prediction: Prediction) -> Outcome:
    """Return whether no mask has a pixel, of a sample with nothing to find: 1 if none has, 0 if one has.

    Samples with something to find are undefined.

    Source: Liu et al., arXiv:2306.00968, N-acc.
    """
    overlap = all_masks(sample, prediction)  # first of all, as it refuses masks of another size
    if not _nothing_to_find(sample):
        return Outcome("undefined")
    return Outcome("ok", (float(overlap.first == 0), 1.0))


def _nothing_to_find(sample: Sample) -> bool:
    return sample.target.absent or (bool(targets(sample)) and not area(targets(sample)))


def volume_error(sample: Sample, prediction: Prediction) -> Outcome:
    """Return the relative error | |P| - |T| | / |T|, at least 0, and for volumes of known spacing |P| - |T| in ml.

    P, T and the errors are those of `dice`; for an image it is the error of the area. An empty target: undefined. An
    empty mask: 1, which a prediction that is too large can exceed. No mask at all: the worst value, the largest error
    that a mask of this image can have.

    Source: relative volume difference, Heimann et al., IEEE Transactions on Medical Imaging 28 (2009) 1251.
    """
    overlap = all_masks(sample, prediction)
    if not overlap.second:
        return Outcome("undefined")
    return Outcome("ok", _volume_stats(sample, overlap.first) if prediction.masks else _largest_error(sample))


def _volume_stats(sample: Sample, predicted: int) -> Stats:
    """Return both errors of a prediction of so many pixels, each with its weight; all 0 if the target is empty."""
    target = targets(sample)
    wanted = area(target)
    if not wanted:
        return 0.0, 0.0, 0.0, 0.0
    difference = predicted - wanted
    media = media_of(sample, target[0].size)
    if media is None or media.spacing_mm is None or len(media.spacing_mm) != 3 or media.flat:
        # The weight 0 keeps the sample out of the mean in ml; its relative error needs no spacing.
        return abs(difference) / wanted, 1.0, 0.0, 0.0
    return abs(difference) / wanted, 1.0, difference * voxel_mm3(media.spacing_mm, media.affine) / _MM3_PER_ML, 1.0


def _largest_error(sample: Sample) -> Stats:
    """Return the stats of the larger of two errors, of an empty mask and of one that covers everything."""
    # The error of an empty mask alone would not do: failing would be better than a mask of three times the target.
    nothing, everything = (_volume_stats(sample, pixels) for pixels in (0, prod(size_of(sample))))
    return max(nothing[0], everything[0]), *nothing[1:]


def _missed(sample: Sample) -> Stats:
    """Return the counts of cIoU of a mask of the whole image that finds nothing of the target."""
    # Those of an empty mask would not do: leaving out a large wrong mask would make the pooled union smaller.
    return 0.0, float(max(prod(size_of(sample)), 1))


DICE = Family(
    name="dice",
    stats=DICE_STATS,
    line="masks",
    suits=SUITS,
    combine=ratio,
    worst=miss_all,
    ceiling=ceiling_all,
    empty=EMPTY_EITHER,
    protocols=(
        Protocol(
            "standard",
            version=1,
            score=dice,
            summary="Dice of all predicted masks together against all target masks together; both empty is undefined.",
            formula="2 |P and T| / (|P| + |T|), P and T the unions of the predicted and of the target masks.",
            source="Dice, Ecology 26 (1945) 297",
        ),
        *DICE_RELEASED,
    ),
)

IOU = Family(
    name="iou",
    stats=IOU_STATS,
    line="masks",
    suits=SUITS,
    combine=ratio,
    worst=miss_all,
    ceiling=ceiling_all,
    empty=EMPTY_EITHER,
    protocols=(
        Protocol(
            "standard",
            version=1,
            score=iou,
            summary="IoU of all predicted masks together against all target masks together; both empty is undefined.",
            formula="|P and T| / |P or T|, P and T the unions of the predicted and of the target masks.",
            source="Jaccard, New Phytologist 11 (1912) 37",
        ),
        *IOU_RELEASED,
    ),
)

CIOU = replace(
    IOU,
    name="ciou",
    corpus=True,
    worst=_missed,
    protocols=(
        Protocol(
            "standard",
            version=2,
            score=iou,
            certificate="An empty mask in place of a large wrong one makes the pooled union smaller.",
            summary="Intersections of all samples together divided by their unions together.",
            formula="sum of |P and T| / sum of |P or T| over the samples: large targets weigh more.",
            empty=replace(EMPTY_EITHER, note="What is predicted on a sample without a target is added below."),
            source="Hu et al., arXiv:1603.06180",
        ),
    ),
)

NO_TARGET_ACCURACY = Family(
    name="no_target_accuracy",
    line="masks",
    suits=SUITS,
    protocols=(
        Protocol(
            "standard",
            version=1,
            stats=("right", "samples"),
            score=no_target_accuracy,
            combine=ratio,
            worst=lambda sample: (0.0, float(_nothing_to_find(sample))),
            ceiling=lambda sample: 1.0 if _nothing_to_find(sample) else None,
            certificate="Alone it is won by never marking anything.",
            summary="Share of the samples with nothing to find for which no mask, or an empty one, was predicted.",
            formula="1 if no predicted mask has a pixel, of samples whose target has none.",
            empty=EmptyCases(prediction="undefined", target=0.0, both=1.0),
            source="Liu et al., arXiv:2306.00968, N-acc",
        ),
    ),
)

VOLUME_ERROR = Family(
    name="volume_error",
    values=("volume_error", "signed_error_ml"),
    line="masks",
    suits=SUITS,
    higher_is_better=False,
    range=(0.0, None),
    protocols=(
        Protocol(
            "standard",
            version=3,
            stats=("relative_error", "samples", "signed_ml", "samples_in_ml"),
            score=volume_error,
            combine=lambda stats: np.concatenate([ratio(stats[..., :2]), ratio(stats[..., 2:])], axis=-1),
            worst=_largest_error,
            ceiling=lambda sample: 0.0 if area(targets(sample)) else None,
            certificate="An empty mask has the error 1, and one of more than twice the target a larger one.",
            summary="Relative error of the volume or area, and its signed error in ml where the spacing is known.",
            formula="| |P| - |T| | / |T|; signed: (|P| - |T|) x volume of a voxel.",
            empty=EmptyCases(prediction=1.0, target="undefined", both="undefined"),
            source="Heimann et al., IEEE Transactions on Medical Imaging 28 (2009) 1251",
        ),
    ),
)

METRICS: tuple[Metric, ...] = (
    *DICE.rows(),
    *IOU.rows(),
    *CIOU.rows(),
    *NO_TARGET_ACCURACY.rows(),
    *VOLUME_ERROR.rows(),
)
