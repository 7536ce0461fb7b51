"""Average precision of all masks of a corpus, whatever their names, as pycocotools counts them.

The released GLaMM script gives every mask the score 1.0. All masks then tie and their order decides: samples by id, and
within a sample the masks in the order of the answer.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from harness.errors import DataError
from harness.metrics.family import Family, Protocol
from harness.metrics.instances.matching import filled, iou_table, target_masks
from harness.metrics.metric import EmptyCases, Floats, Metric, Outcome, Stats
from harness.records import Mask, Prediction, Sample

# The IoU that a detection must reach and the recalls at which precision is read: Params of pycocotools, made by the
# same calls, because a threshold that differs in its last bit decides a mask of exactly that IoU differently.
COCO_THRESHOLDS: tuple[float, ...] = tuple(np.linspace(0.5, 0.95, 10).tolist())
_COCO_RECALLS = np.linspace(0.0, 1.0, 101)
MOST_DETECTIONS = 100  # per image; the last of COCOeval's maxDets
_BELOW_ONE = 1 - 1e-10  # COCOeval caps every threshold here


def detections(sample: Sample, prediction: Prediction) -> tuple[list[Mask], list[float], list[int]]:
    """Return the masks, their scores and their places in the answer, best first.

    Equal scores keep the order of the answer; masks without scores have 1.

    Raises:
        DataError: There are scores, but not one for each mask.
    """
    scores = prediction.mask_scores or (1.0,) * len(prediction.masks)
    if len(scores) != len(prediction.masks):
        raise DataError(f"{sample.id}: mask_scores: expected {len(prediction.masks)} numbers, found {len(scores)}")
    order = sorted(range(len(scores)), key=lambda place: -scores[place])
    return [prediction.masks[place] for place in order], [scores[place] for place in order], order


def _hits(iou: Floats, thresholds: Sequence[float]) -> Floats:
    """Return 1 for each detection that takes the best target still free and reaches the threshold, else 0.

    Args:
        iou: (detections, targets) float64, the best detection first.
        thresholds: The targets that are free differ from one to the next.
    Returns:
        (detections, thresholds) float64.
    """
    hits = np.zeros((len(iou), len(thresholds)))
    least = np.minimum(thresholds, _BELOW_ONE)
    every = np.arange(len(thresholds))
    # Turned round, because of targets with the same IoU the last is taken: COCOeval lets a later one replace an equal.
    turned = iou[:, ::-1]
    # A target that is taken is worth less than nothing. All thresholds in one call, each of which takes microseconds.
    free = np.zeros((len(thresholds), iou.shape[1]))
    for detection in np.flatnonzero((iou >= least.min()).any(axis=1)):
        worth = turned[detection] + free
        best = worth.argmax(axis=1)
        hit = worth[every, best] >= least
        hits[detection] = hit
        free[every[hit], best[hit]] = -2.0
    return hits


def _detection_score(thresholds: Sequence[float]) -> Callable[[Sample, Prediction], Outcome]:
    """Return the `score` of a row that averages over these thresholds."""

    def score(sample: Sample, prediction: Prediction) -> Outcome:
        """Return the number of targets, then for each detection its score and its hit at every threshold."""
        targets = target_masks(sample)
        found, scores, _ = detections(sample, prediction)
        found, scores = found[:MOST_DETECTIONS], scores[:MOST_DETECTIONS]
        iou = iou_table(found, targets, sample.id)
        columns = np.column_stack([scores, _hits(iou, thresholds)]) if scores else np.zeros(0)
        stats = (float(len(targets)), *columns.ravel().tolist())
        mode = "model" if prediction.mask_scores else "all 1.0"
        return Outcome("ok", stats, {"score_mode": mode, "targets": len(targets), "detections": len(found)})

    return score


def average_precision(hits: Floats, targets: float) -> float:
    """Return the 101-point interpolated average precision of ranked detections, as pycocotools 2.0 computes it.

    The precision at each recall 0, .01, ... 1 is the best that is reached at that recall or above, or 0 if that recall
    is not reached.

    Args:
        hits: (N,) float64, 1 or 0 per detection, best first.
        targets: Number of targets to find.
    Returns:
        Share in [0, 1]. No detection: 0. No target: NaN.
    Source: Lin et al., arXiv:1405.0312; cocodataset/cocoapi, COCOeval.accumulate.
    """
    if targets <= 0:
        return float("nan")
    # pycocotools adds np.spacing(1) against 0 / 0; left out, a precision could differ in its last bit.
    true, false = np.cumsum(hits), np.cumsum(1.0 - hits)
    precision = np.maximum.accumulate((true / (true + false + np.spacing(1)))[::-1])[::-1]
    places = np.searchsorted(true / targets, _COCO_RECALLS, side="left")
    return float(np.append(precision, 0.0)[places].mean())


class _Ranked:
    """The detections of a corpus, best first, in runs of one image and one score.

    Attributes:
        targets: (images,), number of targets per image.
        hits: (thresholds, detections), 1 or 0.
        image, starts, lengths: (runs,): the image of a run, and its place in `hits`.
    """

    def __init__(self, images: Sequence[Stats], thresholds: int) -> None:
        self.targets = np.asarray([stats[0] for stats in images])
        parts = [np.asarray(stats[1:]).reshape(-1, 1 + thresholds) for stats in images]
        table = np.concatenate(parts) if parts else np.zeros((0, 1 + thresholds))
        image = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        order = np.argsort(-table[:, 0], kind="stable")  # ties keep the order of samples and masks
        image, score = image[order], table[order, 0]
        self.hits = table[order, 1:].T
        first = np.ones(len(order), dtype=np.bool_)
        first[1:] = (image[1:] != image[:-1]) | (score[1:] != score[:-1])
        self.starts = np.flatnonzero(first)
        self.image = image[self.starts]
        self.lengths = np.diff(np.append(self.starts, len(order)))

    def mean(self, copies: Floats) -> float:
        """Return the mean over the thresholds of the average precision of a corpus with `copies[i]` copies of image i.

        Copies of an image follow each other, as in a corpus that holds them under neighbouring ids.

        Args:
            copies: (images,) float64, whole numbers.
        """
        times = copies.astype(np.int64)
        assert np.array_equal(times, copies), "an image is drawn a whole number of times"
        runs = np.repeat(np.arange(len(self.starts)), times[self.image])
        lengths = self.lengths[runs]
        ends = np.cumsum(lengths)
        places = np.arange(ends[-1] if len(ends) else 0) + np.repeat(self.starts[runs] - ends + lengths, lengths)
        targets = float(self.targets @ times)
        return float(np.mean([average_precision(hits[places], targets) for hits in self.hits]))


def _pool_detections(thresholds: int) -> Callable[[Sequence[Stats], Floats], Floats]:
    """Return the `pool` of a row that averages over so many thresholds."""

    def pool(images: Sequence[Stats], weights: Floats) -> Floats:
        """Return the average precision of all images together, shape (..., images) -> (..., 1) float64.

        The weights are whole numbers: copies of the image in the corpus.
        """
        ranked = _Ranked(images, thresholds)
        copies = np.asarray(weights, dtype=np.float64)
        flat = [ranked.mean(row) for row in copies.reshape(-1, copies.shape[-1])]
        return np.asarray(flat).reshape(*copies.shape[:-1], 1)

    return pool


def _combine_detections(thresholds: int) -> Callable[[Floats], Floats]:
    """Return the `combine` of such a row, which sees one image only."""
    pool = _pool_detections(thresholds)
    return lambda stats: pool([tuple(stats.tolist())], np.ones(1))


def _ceiling_with_targets(sample: Sample) -> float | None:
    """Return the value of a copy of the target's masks, None if there is no target; an empty mask is never found."""
    targets = target_masks(sample)
    if not targets:
        return None
    return average_precision(np.ones(len(filled(targets))), len(targets))


AP50 = Family(
    name="ap50",
    stats=("targets",),
    line="instances",
    suits=frozenset({"masks", "grounded_text"}),
    worst=lambda sample: (float(len(target_masks(sample))),),  # the targets, and no detection
    ceiling=_ceiling_with_targets,
    corpus=True,
    certificate="Two hundred masks find some of the targets, and those of the other images cost no recall.",
    caveat="Masks without scores tie, and the order of samples and masks then decides the value; in simulation the "
    "95 % interval of AP50 then held the truth in 91 to 92 % of small cohorts (docs/statistics.md).",
    empty=EmptyCases(
        prediction=0.0,
        target="undefined",
        both="undefined",
        note="Of an image alone. In a corpus its masks count as false, and without any mask the value is 0.",
    ),
    source="Lin et al., arXiv:1405.0312; eval/gcg of github.com/mbzuai-oryx/groundingLMM; pycocotools 2.0",
    protocols=(
        Protocol(
            "glamm",
            version=1,
            score=_detection_score(COCO_THRESHOLDS[:1]),
            combine=_combine_detections(1),
            pool=_pool_detections(1),
            summary="Average precision of all masks of a corpus at IoU 0.5, as pycocotools counts one category.",
            formula="Mean over recall 0, 0.01, ... 1 of the best precision at that recall or above; best-ranked masks "
            "first, each takes the free target it overlaps most if their IoU is 0.5 or more.",
        ),
    ),
)

AP = replace(
    AP50,
    name="ap",
    protocols=(
        Protocol(
            "glamm",
            version=1,
            score=_detection_score(COCO_THRESHOLDS),
            combine=_combine_detections(len(COCO_THRESHOLDS)),
            pool=_pool_detections(len(COCO_THRESHOLDS)),
            summary="Mean of the average precision at IoU 0.5, 0.55, ... 0.95, as pycocotools.",
            formula="Mean of `ap50` over ten thresholds in place of 0.5.",
        ),
    ),
)

METRICS: tuple[Metric, ...] = (*AP50.rows(), *AP.rows())
