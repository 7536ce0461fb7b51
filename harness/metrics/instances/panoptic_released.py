"""Panoptic quality as MONAI and panoptica compute it.

MONAI gets instances. panoptica cuts the whole mask into components itself: pixels that share an edge in 2-D, but voxels
that touch anywhere in 3-D.
"""

import numpy as np

from harness.imaging import masks
from harness.metrics.family import Protocol
from harness.metrics.instances.instance import PANOPTIC_QUALITY
from harness.metrics.instances.matching import best_matching, filled, iou_table, largest_matching, target_masks
from harness.metrics.masks.mask_pairs import checked, targets
from harness.metrics.metric import EmptyCases, Floats, Metric, Outcome, Parameter, Stats
from harness.metrics.ratios import shares
from harness.records import Mask, Prediction, Sample

_HALF = 0.5
_MONAI_EPSILON = 1e-6  # PanopticQualityMetric, smooth_numerator; added to both denominators


def _monai(sample: Sample, prediction: Prediction, threshold: float = _HALF) -> Outcome:
    """Return (sum of IoU, tp, fp, fn) of pairs above the threshold, which itself does not count.

    Below 0.5 a mask can have several partners, and the assignment of the greatest IoU decides.
    """
    wanted, found = filled(target_masks(sample)), filled(prediction.masks)
    iou = iou_table(found, wanted, sample.id)
    if threshold >= _HALF:
        pairs = best_matching(iou, iou > threshold)
    else:
        pairs = [pair for pair in largest_matching(iou) if iou[pair] > threshold]
    tp = len(pairs)
    total = sum(float(iou[pair]) for pair in pairs)
    return Outcome("ok", (total, float(tp), float(len(found) - tp), float(len(wanted) - tp)))


def _monai_combine(sums: Floats) -> Floats:
    """Return PQ, SQ and RQ with 1e-6 added below, then tp, fp and fn: (..., 4) -> (..., 6) float64."""
    iou, tp, fp, fn = (sums[..., column] for column in range(4))
    sq, rq = iou / (tp + _MONAI_EPSILON), tp / (tp + fp / 2 + fn / 2 + _MONAI_EPSILON)
    return np.stack([sq * rq, sq, rq, tp, fp, fn], axis=-1)


def _monai_ceiling(sample: Sample) -> float:
    """Return the value of the target itself: a little under 1, and 0 if there is nothing to find."""
    tp = float(len(filled(target_masks(sample))))
    return float(_monai_combine(np.array([tp, tp, 0.0, 0.0]))[0])


def components(merged: Mask | None, *, faces_in_2d: bool = True) -> tuple[Mask, ...]:
    """Return the connected parts of a mask in scan order; none of None.

    Args:
        merged: 2-D or 3-D.
        faces_in_2d: Whether pixels of an image must share an edge; voxels of a volume may always touch anywhere.
    """
    if merged is None or not masks.area(merged):
        return ()
    from scipy import ndimage  # slow to import

    pixels = masks.decode(merged)
    contact = 1 if pixels.ndim == 2 and faces_in_2d else pixels.ndim
    numbered, count = ndimage.label(pixels, ndimage.generate_binary_structure(pixels.ndim, contact))
    return tuple(masks.encode(numbered == number) for number in range(1, count + 1))


def sides(sample: Sample, prediction: Prediction) -> tuple[Mask | None, Mask | None]:
    """Return the union of the predicted masks and that of the target's, None without a mask.

    Raises:
        DataError: A predicted mask has another size than the target.
    """
    wanted = targets(sample)
    found = checked(sample, prediction.masks, wanted)
    return masks.merge(found) if found else None, masks.merge(wanted) if wanted else None


def _panoptica(sample: Sample, prediction: Prediction) -> Outcome:
    """Return (sum of IoU, sum of Dice, tp, fp, fn) of the components, matched from IoU 0.5 on, best pairs first.

    Undefined if both sides are empty.
    """
    found, wanted = map(components, sides(sample, prediction))
    if not found and not wanted:
        return Outcome("undefined")
    iou = iou_table(found, wanted, sample.id)
    # A stable order: of equal pairs the one of the lower component of the target goes first, then of the prediction.
    order = sorted(np.ndindex(*iou.shape), key=lambda pair: (-iou[pair], pair[1], pair[0]))
    rows, columns, pairs = set(), set(), []
    for row, column in order:
        if iou[row, column] >= _HALF and row not in rows and column not in columns:
            rows.add(row)
            columns.add(column)
            pairs.append((row, column))
    overlaps = [float(iou[pair]) for pair in pairs]
    tp = len(pairs)
    dice = sum(2 * overlap / (1 + overlap) for overlap in overlaps)
    counts = (float(tp), float(len(found) - tp), float(len(wanted) - tp))
    return Outcome("ok", (sum(overlaps), dice, *counts))


def _panoptica_combine(sums: Floats) -> Floats:
    """Return PQ, SQ, RQ, SQ and PQ of Dice, tp, fp and fn: (..., 5) -> (..., 8) float64; NaN with nothing at all."""
    iou, dice, tp, fp, fn = (sums[..., column] for column in range(5))
    whole = tp + fp / 2 + fn / 2
    rq, sq, sq_dice = shares(tp, whole, 0.0), shares(iou, tp, 0.0), shares(dice, tp, 0.0)
    values = np.stack([sq * rq, sq, rq, sq_dice, sq_dice * rq, tp, fp, fn], axis=-1)
    return np.where(whole[..., np.newaxis] > 0, values, np.nan)


def _panoptica_worst(sample: Sample) -> Stats:
    wanted = targets(sample)
    return 0.0, 0.0, 0.0, 0.0, float(max(len(components(masks.merge(wanted) if wanted else None)), 1))


_MONAI = Protocol(
    "monai",
    version=1,
    values=("pq", "sq", "rq", "tp", "fp", "fn"),
    stats=("iou", "tp", "fp", "fn"),
    line="label_maps",
    score=_monai,
    combine=_monai_combine,
    worst=lambda sample: (0.0, 0.0, 0.0, float(max(len(filled(target_masks(sample))), 1))),
    ceiling=_monai_ceiling,
    corpus=True,
    parameters=(
        Parameter(name="threshold", default=_HALF, above=0.0, summary="A match lies above this IoU, in (0, 1)."),
    ),
    certificate="Leaving out an answer of more wrong masks than there are targets takes them out of the pooled counts.",
    caveat="An image with nothing to find is worth 0 alone, also if nothing was predicted.",
    summary="Panoptic quality of masks matched above IoU 0.5, from summed counts, as MONAI.",
    formula="PQ = SQ x RQ; SQ = sum of IoU / (tp + 1e-6), RQ = tp / (tp + fp / 2 + fn / 2 + 1e-6).",
    empty=EmptyCases(prediction=0.0, target=0.0, both=0.0, note="In a corpus an image without masks adds nothing."),
    source="monai 1.6.1, PanopticQualityMetric; github.com/Project-MONAI/MONAI",
)

_PANOPTICA = Protocol(
    "panoptica",
    version=1,
    values=("pq", "sq", "rq", "sq_dsc", "pq_dsc", "tp", "fp", "fn"),
    stats=("iou", "dice", "tp", "fp", "fn"),
    line="masks",
    score=_panoptica,
    combine=_panoptica_combine,
    worst=_panoptica_worst,
    ceiling=lambda sample: 1.0 if targets(sample) and masks.area(masks.merge(targets(sample))) else None,
    corpus=False,
    summary="Panoptic quality of the components of all masks together, matched greedily from IoU 0.5 on, as panoptica.",
    formula="PQ = SQ x RQ; SQ = mean IoU of matched components, RQ = tp / (tp + fp / 2 + fn / 2).",
    empty=EmptyCases(
        prediction=0.0,
        target=0.0,
        both="undefined",
        note="Components share an edge in 2-D and touch anywhere in 3-D.",
    ),
    source="panoptica 2.1.7; github.com/BrainLesion/panoptica",
)

METRICS: tuple[Metric, ...] = (PANOPTIC_QUALITY.row(_MONAI), PANOPTIC_QUALITY.row(_PANOPTICA))
