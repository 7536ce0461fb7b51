"""Masks with scores and labels, by COCO's average precision: one number of a corpus, averaged over labels.

The masks of a task have no labels, so they are one category there. Lines of `harness metric` may have labels, and
targets that are crowds.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.imaging import masks
from harness.metrics.family import Protocol
from harness.metrics.instances.average_precision import (
    AP,
    AP50,
    COCO_THRESHOLDS,
    MOST_DETECTIONS,
    average_precision,
    detections,
)
from harness.metrics.instances.matching import iou_table, target_masks
from harness.metrics.metric import EmptyCases, Floats, Metric, Outcome, Stats
from harness.records import Mask, Prediction, Sample

_BELOW_ONE = 1 - 1e-10  # COCOeval caps every threshold here
_HIT, _FALSE, _DROPPED = 1.0, 0.0, -1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionSample(Sample):
    """A sample with what only lines of `harness metric` can say.

    Attributes:
        annotators: The masks that each annotator gave; the first one's are those of `target`.
        crowd: One per entity of `target`: whether it is a crowd, which need not be found.
    """

    annotators: tuple[tuple[Mask, ...], ...]
    crowd: tuple[bool, ...]


def _matches(
    found: Sequence[Mask], targets: Sequence[Mask], crowd: Sequence[bool], thresholds: Sequence[float]
) -> Floats:
    """Return 1 (hit), 0 (false) or -1 (dropped, as part of a crowd), shape (detections, thresholds).

    Args:
        found: Best first.
        targets: Crowds last.
        crowd: One per target. The overlap with a crowd is the share of the detection's own area.
        thresholds: The overlap that a match must reach.
    """
    worth = np.array(iou_table(found, targets, "corpus")).reshape(len(found), len(targets))
    for row, column in np.ndindex(*worth.shape):
        if crowd[column]:
            own = masks.area(found[row])
            worth[row, column] = masks.intersection(found[row], targets[column]) / own if own else 0.0
    codes = np.full((len(found), len(thresholds)), _FALSE)
    for place, threshold in enumerate(thresholds):
        taken = [False] * len(targets)
        for row in range(len(found)):
            best, reached = -1, min(threshold, _BELOW_ONE)
            for column in range(len(targets)):
                if taken[column] and not crowd[column]:
                    continue
                # A match with a true target is not given up for a crowd.
                if best >= 0 and not crowd[best] and crowd[column]:
                    break
                if worth[row, column] >= reached:
                    best, reached = column, worth[row, column]
            if best >= 0:
                taken[best] = True
                codes[row, place] = _DROPPED if crowd[best] else _HIT
    return codes


def _label(name: str) -> float:
    """Return a number for a label, the same in every sample; 48 bits of its sha256, which a float64 holds exactly."""
    return float(int.from_bytes(hashlib.sha256(name.encode()).digest()[:6]))


def _score(thresholds: Sequence[float]) -> Callable[[Sample, Prediction], Outcome]:
    """Return the `score` of a row that averages over these thresholds."""

    def score(sample: Sample, prediction: Prediction) -> Outcome:
        """Return for each label its number, the targets, the detections, then each one's score and codes."""
        found, scores, order = detections(sample, prediction)
        targets = target_masks(sample)
        crowd, names, wanted = (False,) * len(targets), [""] * len(found), [""] * len(targets)
        if isinstance(sample, DetectionSample):
            crowd, wanted = sample.crowd, [entity.name for entity in sample.target.entities]
            names = [prediction.entities[place].name for place in order]
        stats: list[float] = []
        for label in sorted({*names, *wanted}):
            own = [place for place, name in enumerate(names) if name == label][:MOST_DETECTIONS]
            aims = sorted((place for place, name in enumerate(wanted) if name == label), key=lambda at: crowd[at])
            flags = [crowd[place] for place in aims]
            codes = _matches([found[place] for place in own], [targets[place] for place in aims], flags, thresholds)
            stats += [_label(label), float(flags.count(False)), float(len(own))]
            for place, row in zip(own, codes, strict=True):
                stats += [scores[place], *row]
        detail = {"targets": crowd.count(False), "detections": len(found)}
        return Outcome("ok", tuple(stats), detail)

    return score


def _pool(thresholds: int) -> Callable[[Sequence[Stats], Floats], Floats]:
    """Return the `pool` of a row that averages over so many thresholds."""

    def pool(images: Sequence[Stats], weights: Floats) -> Floats:
        """Return the mean over labels with a target, shape (..., images) -> (..., 1) float64; NaN if there is none.

        The weights are whole numbers: copies of the image in the corpus.
        """
        # label -> image, targets; and image, score, codes of each detection, in the order of the images
        wanted: dict[float, list[tuple[int, float]]] = {}
        found: dict[float, list[tuple[float, ...]]] = {}
        for image, stats in enumerate(images):
            place = 0
            while place < len(stats):
                label, targets, count = stats[place : place + 3]
                wanted.setdefault(label, []).append((image, targets))
                rows = np.asarray(stats[place + 3 :])[: int(count) * (1 + thresholds)].reshape(-1, 1 + thresholds)
                found.setdefault(label, []).extend((float(image), *row) for row in rows.tolist())
                place += 3 + int(count) * (1 + thresholds)
        labels = []
        for label, targets_of in wanted.items():
            table = np.asarray(found[label], dtype=np.float64).reshape(-1, 2 + thresholds)
            labels.append((np.asarray(targets_of), table[np.argsort(-table[:, 1], kind="stable")]))
        copies = np.asarray(weights, dtype=np.float64)
        flat = [_mean_of_labels(labels, row.astype(np.int64)) for row in copies.reshape(-1, copies.shape[-1])]
        return np.asarray(flat).reshape(*copies.shape[:-1], 1)

    return pool


def _mean_of_labels(
    labels: Sequence[tuple[Floats, Floats]], copies: "np.ndarray[tuple[int], np.dtype[np.int64]]"
) -> float:
    """Return the mean over labels and thresholds, each image taken `copies` times; copies follow each other."""
    values = []
    for targets, table in labels:
        wanted = float(targets[:, 1] @ copies[targets[:, 0].astype(np.int64)])
        if wanted <= 0:
            continue
        codes = np.repeat(table[:, 2:], copies[table[:, 0].astype(np.int64)], axis=0)
        values.append(np.mean([average_precision(column[column >= 0], wanted) for column in codes.T]))
    return float(np.mean(values)) if values else float("nan")


def _combine(thresholds: int) -> Callable[[Floats], Floats]:
    """Return the `combine` of such a row, which sees one image only."""
    pool = _pool(thresholds)
    return lambda stats: pool([tuple(stats.tolist())], np.ones(1))


def _worst(sample: Sample) -> Stats:
    """Return the stats of an image with its targets and no detection."""
    return _label(""), float(len(target_masks(sample))), 0.0


def _row(summary: str, formula: str, thresholds: Sequence[float]) -> Protocol:
    return Protocol(
        "coco",
        version=1,
        stats=("label", "targets", "detections"),
        line="detections",
        score=_score(thresholds),
        combine=_combine(len(thresholds)),
        pool=_pool(len(thresholds)),
        worst=_worst,
        summary=summary,
        formula=formula,
        empty=replace(
            AP50.empty or EmptyCases(),
            note="Of an image alone. In a corpus its masks count as false; a label without a target is left out.",
        ),
        source="pycocotools 2.0.11, COCOeval; Lin et al., arXiv:1405.0312",
    )


METRICS: tuple[Metric, ...] = (
    AP50.row(
        _row(
            "Average precision at IoU 0.5 as pycocotools: labels averaged, crowds need not be found.",
            "Mean over recall 0, 0.01, ... 1 of the best precision at that recall or above, then over labels.",
            COCO_THRESHOLDS[:1],
        )
    ),
    AP.row(
        _row(
            "Mean of the average precision at IoU 0.5, 0.55, ... 0.95 as pycocotools: labels averaged, crowds need "
            "not be found.",
            "Mean of `ap50` over ten thresholds in place of 0.5.",
            COCO_THRESHOLDS,
        )
    ),
)
