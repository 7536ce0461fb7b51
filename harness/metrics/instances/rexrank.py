"""Hit rate and instance F1 after the wording of the ReXrank board for 3-D findings in CT, which has no public scorer.

The board says: a finding is hit at a Dice of 0.1 or more; an instance is found at a Dice of 0.2 or more; precision,
recall and their harmonic mean follow from the counts. It does not say what an instance is, how instances are matched,
what an empty mask is worth, nor whether the mean is over findings or over instances. These choices are ours: instances
are the connected parts of the mask (26 neighbours, in images 8), as many as possible are matched one to one
and of those the largest summed Dice, the counts are summed over findings, and a finding without a mask is none.
"""

import numpy as np

from harness.imaging import masks
from harness.metrics.family import Family, Protocol
from harness.metrics.instances.matching import best_matching, iou_table
from harness.metrics.instances.panoptic_released import components, sides
from harness.metrics.masks.mask_pairs import all_masks, area, targets
from harness.metrics.metric import EmptyCases, Floats, Metric, Outcome, Stats
from harness.metrics.ratios import f1_precision_recall, ratio
from harness.records import Prediction, Sample

_HIT = 0.1
_INSTANCE = 0.2
_SUITS = frozenset({"masks", "grounded_text"})
_CAVEAT = "Built from the board's wording: it has no public scorer, so the board's own numbers may differ."
_SOURCE = "wording of rexrank.ai/rexgroundingct; "


def _hit(sample: Sample, prediction: Prediction) -> Outcome:
    """Return whether the Dice of all masks together is 0.1 or more; undefined if there is nothing to find."""
    overlap = all_masks(sample, prediction)
    if not overlap.second:
        return Outcome("undefined")
    dice = 2 * overlap.intersection / (overlap.first + overlap.second)
    return Outcome("ok", (float(dice >= _HIT), 1.0), {"dice": dice})


def _instances(sample: Sample, prediction: Prediction) -> Outcome:
    """Return (tp, fp, fn) of the components of all masks together; undefined if both sides are empty."""
    found, wanted = (components(side, faces_in_2d=False) for side in sides(sample, prediction))
    if not found and not wanted:
        return Outcome("undefined")
    iou = iou_table(found, wanted, sample.id)
    dice = 2 * iou / (1 + iou)
    # Dice from IoU may end a bit below a fifth that the counts reach.
    tp = len(best_matching(dice, dice >= _INSTANCE - 1e-12))
    return Outcome("ok", (float(tp), float(len(found) - tp), float(len(wanted) - tp)))


def _worst(sample: Sample) -> Stats:
    wanted = targets(sample)
    parts = components(masks.merge(wanted) if wanted else None, faces_in_2d=False)
    return 0.0, 0.0, float(max(len(parts), 1))


def _combine(sums: Floats) -> Floats:
    tp, fp, fn = (sums[..., column] for column in range(3))
    return np.asarray(f1_precision_recall(tp, tp + fp, tp + fn))


HIT_RATE = Family(
    name="hit_rate",
    line="masks",
    suits=_SUITS,
    protocols=(
        Protocol(
            "rexrank-wording",
            version=1,
            stats=("hits", "findings"),
            score=_hit,
            combine=ratio,
            worst=lambda sample: (0.0, float(area(targets(sample)) > 0)),
            ceiling=lambda sample: 1.0 if area(targets(sample)) else None,
            caveat=_CAVEAT,
            summary="Share of findings whose masks reach a Dice of 0.1, after the wording of the ReXrank board.",
            formula="1 if 2 |P and T| / (|P| + |T|) is 0.1 or more.",
            empty=EmptyCases(
                prediction=0.0, target="undefined", both="undefined", note="Ours: a finding without a mask is none."
            ),
            source=_SOURCE + "empty masks are our choice",
        ),
    ),
)

INSTANCE_F1 = Family(
    name="instance_f1",
    values=("f1", "precision", "recall"),
    line="masks",
    suits=_SUITS,
    protocols=(
        Protocol(
            "rexrank-wording",
            version=1,
            stats=("tp", "fp", "fn"),
            score=_instances,
            combine=_combine,
            worst=_worst,
            ceiling=lambda sample: 1.0 if area(targets(sample)) else None,
            corpus=True,
            certificate="Leaving out an answer of more wrong parts than there are targets takes them out of the pooled "
            "counts.",
            caveat=_CAVEAT,
            summary="F1 of connected parts of the masks, matched one to one at a Dice of 0.2, after the wording of the "
            "ReXrank board.",
            formula="F1 = 2 tp / (2 tp + fp + fn), from counts summed over findings.",
            empty=EmptyCases(
                prediction=0.0,
                target=0.0,
                both="undefined",
                note="Ours: pixels that touch, even at a corner, are one part; as many pairs as possible are matched; "
                "counts are summed.",
            ),
            source=_SOURCE + "parts, matching, sums and empty masks are our choices",
        ),
    ),
)

METRICS: tuple[Metric, ...] = (*HIT_RATE.rows(), *INSTANCE_F1.rows())
