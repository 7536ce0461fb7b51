"""Export a task that gives masks as nnU-Net's `summary.json`: voxel counts, Dice and IoU per case and label."""

import math
from collections.abc import Mapping, Sequence
from math import fsum, prod
from pathlib import Path
from typing import Any

from harness.errors import SpecError
from harness.imaging.masks import Overlap
from harness.metrics.masks.mask_pairs import all_masks, area, targets
from harness.records import FAILED, Prediction, Sample
from harness.runs import plan_file
from harness.runs.directory import RunDirectory
from harness.runs.store import RunStore
from harness.scoring.score import readable
from harness.tasks.catalog import index

# The keys of one label of one case, in nnU-Net's order.
KEYS = ("Dice", "FN", "FP", "IoU", "TN", "TP", "n_pred", "n_ref")


def summary(run: Path, *, task: str | None = None, task_paths: Sequence[Path] = ()) -> dict[str, Any]:
    """Return the content of nnU-Net's `summary.json` for one mask task of a run, its first repetition only.

    A label is keyed by its name, where nnU-Net writes its number. Dice and IoU are NaN where target and prediction are
    both empty, and left out of the means, as nnU-Net does; a failed answer counts as an empty mask, or as 0 if the
    target is empty. Samples whose files cannot be read are listed under `not_asked` instead of among the cases.

    Args:
        run: The run directory.
        task: The task; None if the run has only one that gives masks.
        task_paths: Folders with further task files.
    Returns:
        `foreground_mean`, `mean` by label, and `metric_per_case`: counts are voxels, Dice and IoU in [0, 1].
    Raises:
        SpecError: The run is not finished, or has no such task, or several while none is named.
        DataError: A stored prediction is damaged.
    """
    directory = RunDirectory(run)
    blocks = directory.read_results()["tasks"]
    specs, _ = index(task_paths, stored=directory.tasks_folder).resolve(list(blocks))
    giving_masks = [spec for spec in specs if spec.gives == "masks"]
    chosen = [spec for spec in giving_masks if task in (None, spec.task)]
    if len(chosen) != 1:
        names = ", ".join(spec.task for spec in giving_masks) or "none"
        raise SpecError(
            f"{run}: expected --task with one of the tasks that give masks ({names}), found {task or 'none'}"
        )
    (spec,) = chosen
    cases: dict[str, dict[str, dict[str, float]]] = {}
    not_asked = []
    # The lock is taken, unlike in `explain`: a run that is still in progress would be exported in part.
    store = RunStore(run)
    try:
        store.open(directory.read_run())
        for row in plan_file.read(directory.plan_path(spec.task)):
            if row.repeat:  # nnU-Net has one prediction per case
                continue
            prediction = store.prediction(row.key) if row.key else None
            if prediction is None:
                not_asked.append({"sample_id": row.sample.id, "reason": row.defect or "not run"})
                continue
            case, label = _case_and_label(row.sample)
            cases.setdefault(case, {})[label] = _counts(*readable(row.sample, prediction, spec.grammar))
    finally:
        store.close()
    labels = sorted({label for found in cases.values() for label in found})
    mean = {label: _mean([found[label] for found in cases.values() if label in found]) for label in labels}
    return {
        "foreground_mean": _mean(list(mean.values())),
        "mean": mean,
        "metric_per_case": [
            {"metrics": dict(sorted(found.items())), "prediction_file": case, "reference_file": case}
            for case, found in cases.items()
        ],
        "not_asked": not_asked,
        "task": {"task": spec.task, "version": spec.version, "data_digest": blocks[spec.task]["data_digest"]},
    }


def _case_and_label(sample: Sample) -> tuple[str, str]:
    """Return the part of an id that names the image, and the label that is asked for.

    Ids of folders end in `:label`, those of SA-Med2D in `--class`; elsewhere each sample is a case of its own.
    """
    name = sample.id.split("/", 2)[-1]
    for separator in (":", "--"):
        case, found, label = name.rpartition(separator)
        if found and (separator == ":" or label.partition("_")[0] == sample.strata.get("class")):
            return case, label
    return name, sample.strata.get("class", "foreground")


def _counts(sample: Sample, prediction: Prediction) -> dict[str, float]:
    """Return the values of `KEYS` for one label of one case; all masks of a side count as one."""
    failed = prediction.status in FAILED
    overlap = Overlap(0, area(targets(sample)), 0) if failed else all_masks(sample, prediction)
    found, reference, intersection = overlap
    union = overlap.union
    size = prod(sample.media[0].size or (0,)) if sample.media else 0
    # As in nnU-Net, pixels that are ignored are no true negatives either.
    size -= area((sample.target.ignore,)) if sample.target.ignore is not None else 0
    # An empty answer is right if the target is empty; a crash is not.
    nothing = 0.0 if failed and prediction.status != "empty" else math.nan
    values = (
        2 * intersection / (found + reference) if union else nothing,
        reference - intersection,
        found - intersection,
        intersection / union if union else nothing,
        size - union,
        intersection,
        found,
        reference,
    )
    return dict(zip(KEYS, values, strict=True))


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each key over the rows that have a number for it; NaN if none has."""
    means = {}
    for key in KEYS:
        values = [row[key] for row in rows if not math.isnan(row[key])]
        means[key] = fsum(values) / len(values) if values else math.nan
    return means
