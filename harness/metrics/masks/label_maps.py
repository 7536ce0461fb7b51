"""Dice and IoU as the summaries of MONAI and nnU-Net give them, of masks and of label maps with several classes.

A sample of a task has masks, which are taken together as one class. Only a line of `harness metric` has a label map:
its classes are averaged as the package averages them, and `--aggregate` gives the package's whole summary.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.metrics.masks.mask_pairs import all_masks, size_of
from harness.metrics.metric import Outcome
from harness.records import Json, Prediction, Sample

LabelMap = NDArray[np.int64]
NNUNET_COUNTS = ("FP", "TP", "FN", "TN", "n_pred", "n_ref")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelMapSample(Sample):
    """A sample whose target is a label map.

    Attributes:
        label_map: Integers (H, W) or (D, H, W).
        classes: The labels that make up each class: one, or several for a region.
        ignore_label: Pixels of the target with this label do not count; None if all do.
    """

    label_map: LabelMap
    classes: tuple[tuple[int, ...], ...]
    ignore_label: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelMapPrediction(Prediction):
    """A prediction that is a label map, of the shape of the sample's."""

    label_map: LabelMap


class Counts(NamedTuple):
    """Pixels of one class: on both sides, only predicted, only in the target, on neither side."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def dice(self) -> float | None:
        """2 tp / (2 tp + fp + fn), None if the class is on neither side."""
        whole = 2 * self.tp + self.fp + self.fn
        return 2 * self.tp / whole if whole else None

    @property
    def iou(self) -> float | None:
        """Return tp / (tp + fp + fn), None if the class is on neither side."""
        whole = self.tp + self.fp + self.fn
        return self.tp / whole if whole else None


def class_counts(sample: LabelMapSample, prediction: LabelMapPrediction) -> dict[str, Counts]:
    """Return the counts by class, named as nnU-Net names it: `1`, or `(1, 2)` for a region."""
    counted = np.ones(sample.label_map.shape, dtype=np.bool_)
    if sample.ignore_label is not None:
        counted = sample.label_map != sample.ignore_label
    found = {}
    for labels in sample.classes:
        one, other = (np.isin(side, labels)[counted] for side in (prediction.label_map, sample.label_map))
        both, first, second = (int(np.count_nonzero(side)) for side in (one & other, one, other))
        name = str(labels[0]) if len(labels) == 1 else str(labels)
        found[name] = Counts(both, first - both, second - both, int(counted.sum()) - first - second + both)
    return found


def _mask_counts(sample: Sample, prediction: Prediction) -> Counts:
    overlap = all_masks(sample, prediction)
    both = overlap.intersection
    whole = int(np.prod(size_of(sample) or (0,)))
    return Counts(both, overlap.first - both, overlap.second - both, max(whole - overlap.union, 0))


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that there are."""
    defined = [value for value in values if value is not None]
    return fsum(defined) / len(defined) if defined else None


# --- MONAI


def _monai(counts: Counts, ignore_empty: bool) -> float | None:
    if not counts.tp + counts.fn:
        return None if ignore_empty else float(not counts.fp)
    return counts.dice


def monai_dice(sample: Sample, prediction: Prediction, *, ignore_empty: bool) -> Outcome:
    """Return (Dice, 1); of a label map the mean over the classes that have a value.

    An empty target has no value with `ignore_empty`; without it, it is worth 1 if the prediction is empty too, else 0.

    Raises:
        DataError: A predicted mask has another size than the target.
    Source: MONAI 1.6, DiceMetric with its default reduction `mean`.
    """
    if isinstance(sample, LabelMapSample) and isinstance(prediction, LabelMapPrediction):
        found = [_monai(counts, ignore_empty) for counts in class_counts(sample, prediction).values()]
        detail: dict[str, Any] = {"classes": found}
    else:
        found, detail = [_monai(_mask_counts(sample, prediction), ignore_empty)], {}
    value = _mean(found)
    return Outcome("undefined", detail=detail) if value is None else Outcome("ok", (value, 1.0), detail)


def monai_report(name: str) -> Callable[[Sequence[Outcome]], Mapping[str, Json]]:
    """Return the `report` of a row whose value has this name: 0 for a corpus without a value, as MONAI gives."""

    def report(outcomes: Sequence[Outcome]) -> Mapping[str, Json]:
        found: dict[str, Json] = {} if any(outcome.status == "ok" for outcome in outcomes) else {name: 0.0}
        images = [outcome.detail["classes"] for outcome in outcomes if "classes" in outcome.detail]
        if images:
            classes = [_mean(column) or 0.0 for column in zip(*images, strict=True)]
            found |= {"per_class": classes, "per_image": images}
        return found

    return report


# --- nnU-Net


def nnunet(sample: Sample, prediction: Prediction, *, name: str) -> Outcome:
    """Return Dice or IoU; of a label map the plain mean over its classes without class 0, undefined if one is.

    Args:
        sample: With masks, or with a label map.
        prediction: Likewise.
        name: `Dice` or `IoU`, as in nnU-Net's summary.
    Raises:
        DataError: A predicted mask has another size than the target.
    Source: nnU-Net 2.8, nnunetv2/evaluation/evaluate_predictions.py.
    """
    if not (isinstance(sample, LabelMapSample) and isinstance(prediction, LabelMapPrediction)):
        counts = _mask_counts(sample, prediction)
        value = counts.dice if name == "Dice" else counts.iou
        return Outcome("undefined") if value is None else Outcome("ok", (value, 1.0))
    rows = {label: _nnunet_row(counts) for label, counts in class_counts(sample, prediction).items()}
    value = _foreground(rows)[name]
    detail = {"classes": rows}
    return Outcome("undefined", detail=detail) if value is None else Outcome("ok", (value, 1.0), detail)


def _nnunet_row(counts: Counts) -> dict[str, float | None]:
    numbers = (counts.fp, counts.tp, counts.fn, counts.tn, counts.tp + counts.fp, counts.tp + counts.fn)
    return {"Dice": counts.dice, "IoU": counts.iou, **dict(zip(NNUNET_COUNTS, numbers, strict=True))}


def _foreground(rows: Mapping[str, Mapping[str, float | None]]) -> dict[str, float | None]:
    """Return the plain mean over the classes but 0; a class without a value leaves the mean without one."""
    kept = [row for label, row in rows.items() if label != "0"]
    means: dict[str, float | None] = {}
    for name in ("Dice", "IoU", *NNUNET_COUNTS):
        values = [row[name] for row in kept]
        means[name] = None if None in values else _mean(values)
    return means


def nnunet_report(name: str) -> Callable[[Sequence[Outcome]], Mapping[str, Json]]:
    """Return the `report` of a row: nnU-Net's summary of label maps; `name` is `Dice` or `IoU`."""

    def report(outcomes: Sequence[Outcome]) -> Mapping[str, Json]:
        cases = [outcome.detail["classes"] for outcome in outcomes if "classes" in outcome.detail]
        if not cases:
            return {}
        # A class that a case lacks has no value there; with equal `labels` on each line none does.
        labels = dict.fromkeys(label for case in cases for label in case)
        mean: dict[str, Mapping[str, float | None]] = {}
        for label in labels:
            rows = [case[label] for case in cases if label in case]
            mean[label] = {key: _mean([row[key] for row in rows]) for key in rows[0]}
        whole = _foreground(mean)
        return {name.lower(): whole[name], "foreground_mean": whole, "mean": mean, "per_case": cases}

    return report
