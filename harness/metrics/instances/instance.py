"""Several masks against several, whatever their names: mIoU, precision at 0.5, panoptic quality and detection F1.

`glamm` counts masks as its released script does, empty ones included. Under `standard` a mask without a pixel is not an
instance, on either side. If the target is `absent` there is no instance to find.
"""

from typing import NamedTuple

import numpy as np

from harness.imaging import masks
from harness.imaging.target_size import TargetSize, target_size
from harness.metrics.family import Family, Protocol
from harness.metrics.instances.matching import (
    best_matching,
    filled,
    greedy_matching,
    iou_table,
    largest_matching,
    target_masks,
)
from harness.metrics.metric import EmptyCases, Floats, Metric, Outcome, Stats
from harness.metrics.ratios import MISS, f1_precision_recall, ratio, shares
from harness.records import Mask, Prediction, Sample

_SUITS = frozenset({"masks", "grounded_text"})
_HALF = 0.5  # each metric says whether an IoU of exactly this counts: its source decides
_EMPTY = EmptyCases(
    prediction=0.0, target=0.0, both="undefined", note="A mask without a pixel is no mask, on either side."
)
SIZES: tuple[TargetSize, ...] = ("small", "medium", "large")


class _Matched(NamedTuple):
    """Which targets a prediction found.

    Attributes:
        targets: The masks to find.
        predicted: Number of predicted masks.
        hits: Indices of the targets that were found.
        iou: Sum over the matched pairs.
    """

    targets: tuple[Mask, ...]
    predicted: int
    hits: tuple[int, ...]
    iou: float


# --- mIoU


def _glamm_miou(sample: Sample, prediction: Prediction) -> Outcome:
    """Return the mean IoU of the greedily matched pairs only; 0 without a pair or with an empty mask on both sides."""
    # Two empty masks are worth NaN as in the released code, where that ends the search.
    iou = iou_table(prediction.masks, target_masks(sample), sample.id, nothing=float("nan"))
    pairs = greedy_matching(iou)
    mean = float(np.mean([iou[pair] for pair in pairs])) if pairs else 0.0
    return Outcome("ok", (mean, 1.0), {"pairs": len(pairs)})


def _standard_miou(sample: Sample, prediction: Prediction) -> Outcome:
    """Return the summed IoU of the masks matched to targets, over the number of targets or of masks, the larger.

    So a missed target counts as 0, and so does each mask beyond the number of targets. The matching is the one-to-one
    matching with the largest sum. Nothing on either side is undefined.
    """
    targets, found = filled(target_masks(sample)), filled(prediction.masks)
    if not targets and not found:
        return Outcome("undefined")
    # The same mask again finds no second target, unless the targets repeat it as well.
    kept = [mask for place, mask in enumerate(found) if found[:place].count(mask) < max(1, targets.count(mask))]
    iou = iou_table(kept, targets, sample.id)
    total = sum(float(iou[pair]) for pair in largest_matching(iou))
    return Outcome("ok", (total, float(max(len(targets), len(found)))))


def _missed_targets(sample: Sample) -> Stats:
    # At least 1: a failed prediction counts as 0 even if there is nothing to find.
    return (0.0, float(max(len(filled(target_masks(sample))), 1)))


def _ceiling_if_filled(sample: Sample) -> float | None:
    return 1.0 if filled(target_masks(sample)) else None


# --- precision at 0.5


def _precision_at_half(sample: Sample, prediction: Prediction) -> Outcome:
    """Return whether the union of the predicted masks reaches IoU 0.5, inclusive, with the union of the target's."""
    targets, found = filled(target_masks(sample)), filled(prediction.masks)
    if not targets or not found:
        return Outcome("ok", (0.0, 1.0)) if targets or found else Outcome("undefined")
    iou = float(iou_table((masks.merge(found),), (masks.merge(targets),), sample.id)[0, 0])
    return Outcome("ok", (float(iou >= _HALF), 1.0), {"iou": iou})


# --- panoptic quality and detection F1


def _matched(sample: Sample, prediction: Prediction, *, inclusive: bool) -> _Matched:
    """Match predicted masks and targets above IoU 0.5 one to one: as many pairs as possible, then the best ones.

    Segments that do not overlap have at most one partner above 0.5 (Kirillov et al.). Masks here may overlap, and
    `inclusive` admits pairs of exactly 0.5, so the matching has to choose.
    """
    targets, found = filled(target_masks(sample)), filled(prediction.masks)
    iou = iou_table(found, targets, sample.id)
    pairs = best_matching(iou, iou >= _HALF if inclusive else iou > _HALF)
    return _Matched(targets, len(found), tuple(column for _, column in pairs), sum(float(iou[pair]) for pair in pairs))


def _panoptic(sample: Sample, prediction: Prediction) -> Outcome:
    """Return (sum of the matched IoU, tp, fp, fn), matched above IoU 0.5."""
    found = _matched(sample, prediction, inclusive=False)
    if not found.targets and not found.predicted:
        return Outcome("undefined")
    tp = len(found.hits)
    return Outcome("ok", (found.iou, *map(float, (tp, found.predicted - tp, len(found.targets) - tp))))


def _panoptic_combine(sums: Floats) -> Floats:
    """Return PQ = sum of IoU / (tp + fp / 2 + fn / 2), SQ = sum of IoU / tp and RQ = tp / (tp + fp / 2 + fn / 2).

    Without a match all three are 0; with nothing to match and nothing predicted they are undefined. Shape
    (..., 4) -> (..., 3) float64.
    Source: Kirillov et al., arXiv:1801.00868.
    """
    iou, tp, fp, fn = (sums[..., column] for column in range(4))
    whole = tp + fp / 2 + fn / 2
    values = np.stack([shares(iou, whole, 0.0), shares(iou, tp, 0.0), shares(tp, whole, 0.0)], axis=-1)
    return np.where(whole[..., np.newaxis] > 0, values, np.nan)


def _all_wrong(sample: Sample) -> Stats:
    """Return the counts of an answer of as many masks as there are targets, at least one, that are all wrong."""
    # Missed targets alone would not do: leaving out a wrong mask would take a false positive out of the pooled counts.
    wanted = _missed_targets(sample)[1]
    return 0.0, 0.0, wanted, wanted


def _detection(sample: Sample, prediction: Prediction) -> Outcome:
    """Return (tp, fp, fn), then for each size (targets found, targets), matched at IoU 0.5 and above."""
    found = _matched(sample, prediction, inclusive=True)
    if not found.targets and not found.predicted:
        return Outcome("undefined")
    tp = len(found.hits)
    counts = tuple(map(float, (tp, found.predicted - tp, len(found.targets) - tp)))
    return Outcome("ok", (*counts, *_by_size(sample, found)))


def _by_size(sample: Sample, found: _Matched) -> tuple[float, ...]:
    """Return for each size the number of targets found and of all targets."""
    media = sample.media[0] if sample.media else None
    grid = () if media is None else (media.spacing_mm, media.affine, media.flat)
    sizes = [target_size(masks.area(mask), mask.size, *grid) for mask in found.targets]
    hits = [sizes[place] for place in found.hits]
    return tuple(float(names.count(size)) for size in SIZES for names in (hits, sizes))


def _detection_combine(sums: Floats) -> Floats:
    """Return F1 = 2 tp / (2 tp + fp + fn), precision, recall, and the recall of small, medium and large targets.

    Without a match F1, precision and recall are 0; with nothing to find and nothing predicted they are undefined. The
    recall of a size that no target has is undefined. Shape (..., 9) -> (..., 6) float64.
    """
    tp, fp, fn = (sums[..., column] for column in range(3))
    recalls = shares(sums[..., 3::2], sums[..., 4::2], np.nan)
    return np.concatenate([f1_precision_recall(tp, tp + fp, tp + fn), recalls], axis=-1)


def _detection_worst(sample: Sample) -> Stats:
    targets = filled(target_masks(sample))
    return (0.0, 0.0, float(max(len(targets), 1)), *_by_size(sample, _Matched(targets, 0, (), 0.0)))


# --- the table


MIOU = Family(
    name="miou",
    line="instances",
    suits=_SUITS,
    combine=ratio,
    protocols=(
        Protocol(
            "glamm",
            version=1,
            stats=("iou", "images"),
            score=_glamm_miou,
            worst=lambda _: MISS,
            ceiling=lambda sample: 1.0 if filled(target_masks(sample)) else 0.0,
            certificate="Spurious masks and missed targets cost nothing: of two hundred masks the best ones count.",
            summary="Mean IoU of greedily matched pairs, as released with GLaMM: missed targets and spurious masks "
            "cost nothing.",
            formula="Mean IoU of the pairs found by taking the largest IoU above 0 again and again.",
            empty=EmptyCases(
                prediction=0.0, target=0.0, both=0.0, note="An empty mask on both sides ends the search at once."
            ),
            source="eval/gcg of github.com/mbzuai-oryx/groundingLMM",
        ),
        Protocol(
            "standard",
            version=2,
            stats=("iou", "targets_or_masks"),
            score=_standard_miou,
            worst=_missed_targets,
            ceiling=_ceiling_if_filled,
            summary="Mean IoU of targets and masks matched one to one for the largest sum; a missed target or a mask "
            "too many is 0.",
            formula="sum of IoU of the one-to-one matching of the largest sum / max(targets, predicted masks).",
            empty=_EMPTY,
            source="ours; matching by Kuhn, Naval Research Logistics Quarterly 2 (1955) 83",
        ),
    ),
)

PRECISION_AT_HALF = Family(
    name="precision_at_0.5",
    line="instances",
    suits=_SUITS,
    protocols=(
        Protocol(
            "standard",
            version=1,
            stats=("hits", "samples"),
            score=_precision_at_half,
            combine=ratio,
            worst=lambda _: MISS,
            ceiling=_ceiling_if_filled,
            summary="Share of samples whose masks together reach IoU 0.5 with the target's together.",
            formula="1 if |P and T| / |P or T| is 0.5 or more, P and T the unions of the masks.",
            empty=_EMPTY,
            source="Hu et al., arXiv:1603.06180",
        ),
    ),
)

PANOPTIC_QUALITY = Family(
    name="panoptic_quality",
    values=("pq", "sq", "rq"),
    line="instances",
    suits=_SUITS,
    protocols=(
        Protocol(
            "standard",
            version=2,
            stats=("iou", "tp", "fp", "fn"),
            score=_panoptic,
            combine=_panoptic_combine,
            worst=_all_wrong,
            ceiling=_ceiling_if_filled,
            corpus=True,
            certificate="Leaving out an answer of more wrong masks than there are targets takes them out of the pooled "
            "counts.",
            summary="Panoptic quality of masks matched above IoU 0.5, with its parts segmentation and recognition "
            "quality.",
            formula="PQ = SQ x RQ = sum of IoU / (tp + fp / 2 + fn / 2), SQ = sum of IoU / tp, matched above IoU 0.5; "
            "from summed counts.",
            empty=_EMPTY,
            source="Kirillov et al., arXiv:1801.00868",
        ),
    ),
)

DETECTION_F1 = Family(
    name="detection_f1",
    values=("f1", "precision", "recall", *(f"recall_{size}" for size in SIZES)),
    line="instances",
    suits=_SUITS,
    protocols=(
        Protocol(
            "standard",
            version=1,
            stats=("tp", "fp", "fn", *(f"{part}_{size}" for size in SIZES for part in ("found", "targets"))),
            score=_detection,
            combine=_detection_combine,
            worst=_detection_worst,
            ceiling=_ceiling_if_filled,
            summary="F1 of masks matched one to one at IoU 0.5, and the share of small, medium and large targets "
            "found.",
            formula="F1 = 2 tp / (2 tp + fp + fn) of as many pairs of IoU 0.5 or more as can be matched one to one.",
            empty=_EMPTY,
            source="ours; Maier-Hein et al., arXiv:2206.01653, object detection",
        ),
    ),
)

METRICS: tuple[Metric, ...] = (
    *MIOU.rows(),
    *PRECISION_AT_HALF.rows(),
    *PANOPTIC_QUALITY.rows(),
    *DETECTION_F1.rows(),
)
