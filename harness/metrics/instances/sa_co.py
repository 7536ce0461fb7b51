"""cgF1 of SA-Co: how well masks fit where there is something to find, times how well it is told whether there is.

A sample is one image with one phrase. Masks of a score below 0.5 do not count; without scores all do.
"""

from collections.abc import Sequence

import numpy as np

from harness.metrics.family import Family, Protocol
from harness.metrics.instances.average_precision import COCO_THRESHOLDS, detections
from harness.metrics.instances.detections import DetectionSample
from harness.metrics.instances.matching import filled, iou_table, largest_matching, target_masks
from harness.metrics.metric import EmptyCases, Floats, Metric, Outcome, Stats
from harness.metrics.ratios import shares
from harness.records import Mask, Prediction, Sample

_LEAST_SCORE = 0.5
_EPSILON = 1e-4  # of precision, recall and F1 over masks
_IMAGE_EPSILON = 1e-6  # of the same over images, and of the correlation
_STEPS = len(COCO_THRESHOLDS)
_SHOWN = {"0.5": 0, "0.75": 5}  # thresholds with values of their own, and their places in COCO_THRESHOLDS
_PER_THRESHOLD = (
    "cgF1",
    "precision",
    "recall",
    "F1",
    "positive_macro_F1",
    "positive_micro_F1",
    "positive_micro_precision",
)
VALUES = (
    "cgF1",
    "positive_micro_F1",
    "IL_MCC",
    "positive_macro_F1",
    *(f"{name}@{threshold}" for threshold in _SHOWN for name in _PER_THRESHOLD),
)
# Sums over images: five per threshold, the images with both sides, and the four cells of the table of images.
STATS = (
    *(f"{part}@{step:.2f}" for part in ("tp", "fp", "fn", "positive_fp", "f1") for step in COCO_THRESHOLDS),
    "both_sides",
    "image_tp",
    "image_fp",
    "image_fn",
    "image_tn",
)


def _against(found: Sequence[Mask], wanted: Sequence[Mask], where: str) -> Stats:
    """Return the stats of one image against one annotator."""
    none, image = np.zeros(_STEPS), (bool(found) and bool(wanted), bool(found), bool(wanted))
    cells = (image[0], image[1] and not image[2], image[2] and not image[1], not image[1] and not image[2])
    iou = iou_table(found, wanted, where)
    matched = np.array([iou[pair] for pair in largest_matching(iou)])
    tp = (matched[:, np.newaxis] >= np.array(COCO_THRESHOLDS)).sum(axis=0) if len(matched) else none
    fp, fn = len(found) - tp, len(wanted) - tp
    precision, recall = tp / (tp + fp + _EPSILON), tp / (tp + fn + _EPSILON)
    f1 = 2 * precision * recall / (precision + recall + _EPSILON)
    columns = (tp, fp, fn, fp if wanted else none, f1)
    return (*np.concatenate(columns).tolist(), float(image[0]), *map(float, cells))


def _cgf1(sample: Sample, prediction: Prediction) -> Outcome:
    """Return the counts of one image, against the annotator of the best mean F1 over the thresholds.

    Of equals the first counts; an annotator who agrees that nothing is there counts before all others.

    Raises:
        DataError: The sizes of the masks, or the numbers of masks and scores, differ.
    """
    masks, scores, _ = detections(sample, prediction)
    found = [mask for mask, score in zip(masks, scores, strict=True) if score >= _LEAST_SCORE]
    if isinstance(sample, DetectionSample):
        annotators = sample.annotators
    else:
        # In an answer of a model a mask without a pixel says that nothing is there.
        found, annotators = list(filled(found)), (filled(target_masks(sample)),)
    best: Stats = ()
    for wanted in annotators:
        stats = _against(found, wanted, sample.id)
        if not found and not wanted:
            return Outcome("ok", stats)
        if not best or _mean_f1(stats) > _mean_f1(best):
            best = stats
    return Outcome("ok", best)


def _mean_f1(stats: Stats) -> float:
    return float(np.mean(stats[4 * _STEPS : 5 * _STEPS]))


def summary(sums: Floats) -> dict[str, Floats]:
    """Return all numbers of the evaluator's summary, each (...,), from sums of stats, (..., 55) float64.

    A name without @ is the mean over the thresholds. `positive_macro_F1` is -1 if no image has both sides.

    Source: sam3, eval/cgf1_eval.py.
    """
    tp, fp, fn, positive_fp, f1 = (sums[..., part * _STEPS : (part + 1) * _STEPS] for part in range(5))
    both, image_tp, image_fp, image_fn, image_tn = (sums[..., 5 * _STEPS + part] for part in range(5))

    def harmonic(first: Floats, second: Floats, epsilon: float) -> Floats:
        return 2 * first * second / (first + second + epsilon)

    micro, recall = tp / (tp + positive_fp + _EPSILON), tp / (tp + fn + _EPSILON)
    precision = tp / (tp + fp + _EPSILON)
    product = (image_tp + image_fp) * (image_tp + image_fn) * (image_tn + image_fp) * (image_tn + image_fn)
    mcc = (image_tp * image_tn - image_fp * image_fn) / (np.sqrt(product) + _IMAGE_EPSILON)
    per_threshold = {
        "precision": precision,
        "recall": recall,
        "F1": harmonic(precision, recall, _EPSILON),
        "positive_macro_F1": shares(f1, both[..., np.newaxis], -1.0),
        "positive_micro_F1": harmonic(micro, recall, _EPSILON),
        "positive_micro_precision": micro,
    }
    per_threshold["cgF1"] = per_threshold["positive_micro_F1"] * mcc[..., np.newaxis]
    image_precision = image_tp / (image_tp + image_fp + _IMAGE_EPSILON)
    image_recall = image_tp / (image_tp + image_fn + _IMAGE_EPSILON)
    found = {
        "IL_precision": image_precision,
        "IL_recall": image_recall,
        "IL_F1": harmonic(image_precision, image_recall, _IMAGE_EPSILON),
        "IL_FPR": image_fp / (image_fp + image_tn + _IMAGE_EPSILON),
        "IL_MCC": mcc,
    }
    for name, values in per_threshold.items():
        found[name] = values.mean(axis=-1)
        found |= {f"{name}@{threshold}": values[..., place] for threshold, place in _SHOWN.items()}
    return found


def _combine(sums: Floats) -> Floats:
    found = summary(sums)
    return np.stack([found[name] for name in VALUES], axis=-1)


def _worst(sample: Sample) -> Stats:
    """Return the stats of an answer that is wrong about the image: no mask if there is a target, else a mask."""
    wanted = filled(target_masks(sample))
    if wanted:
        return _against((), wanted, sample.id)
    none = (0.0,) * _STEPS
    return *none, *(1.0,) * _STEPS, *none, *none, *none, 0.0, 0.0, 1.0, 0.0, 0.0


CGF1 = Family(
    name="cgf1",
    protocols=(
        Protocol(
            "sa-co",
            version=1,
            values=VALUES,
            stats=STATS,
            line="detections",
            suits=frozenset({"masks", "grounded_text"}),
            score=_cgf1,
            combine=_combine,
            worst=_worst,
            # Of an image alone the correlation is 0, however right the answer.
            ceiling=lambda _: None,
            corpus=True,
            certificate="Leaving out an answer of more wrong masks than there are targets takes them out of the pooled "
            "counts.",
            caveat="0 on samples that all have something to find, however right the answers: the correlation needs "
            "samples with nothing to find.",
            summary="Micro F1 of masks where there is a target, times the correlation of answered and present.",
            formula="mean over IoU 0.5, 0.55, ... 0.95 of F1 of the masks, times Matthews' correlation over images.",
            range=(-1.0, 1.0),
            empty=EmptyCases(
                prediction=0.0,
                target=0.0,
                both=0.0,
                note="Of an image alone. In a corpus the correlation counts all three.",
            ),
            source="sam3 at 99d02f28, sam3/eval/cgf1_eval.py; github.com/facebookresearch/sam3",
        ),
    ),
)

METRICS: tuple[Metric, ...] = CGF1.rows()
