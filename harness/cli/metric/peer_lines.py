"""Lines as other packages take them: label maps, masks with scores and labels, boxes on an image of known size."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from harness.errors import DataError
from harness.imaging import mask_files, masks
from harness.metrics.instances.detections import DetectionSample
from harness.metrics.masks.label_maps import LabelMap, LabelMapPrediction, LabelMapSample
from harness.metrics.metric import Pair
from harness.records import Entity, Json, Mask, Media, PredictedEntity, Prediction, Sample, Target

Line = Mapping[str, Json]


def label_map_pair(value: Line, where: str) -> Pair:
    """Return a pair of label maps: `classes` or `labels` name what counts, `ignore_label` what does not.

    Raises:
        DataError: A field is missing or of another kind, or the sizes differ.
    """
    key = "classes" if "classes" in value else "labels"
    named = value[key]
    if not isinstance(named, list) or not named:
        raise DataError(f"{where}: {key}: expected a list of labels, found {named!r:.80}")
    classes = []
    for item in named:
        labels = item if isinstance(item, list) else [item]
        if not labels or not all(type(label) is int for label in labels):
            raise DataError(f"{where}: {key}: expected whole numbers, or lists of them for regions, found {item!r:.80}")
        classes.append(tuple(labels))
    ignore = value.get("ignore_label")
    if ignore is not None and type(ignore) is not int:
        raise DataError(f"{where}: ignore_label: expected a whole number or null, found {ignore!r:.80}")
    prediction, target = _label_maps(value, where)
    sample = LabelMapSample(id=where, label_map=target, classes=tuple(classes), ignore_label=ignore)
    return sample, LabelMapPrediction(key="", status="ok", label_map=prediction)


def instance_pair(value: Line, where: str) -> Pair:
    """Return the instances of two label maps, where each label but 0 is one instance, in the order of the labels.

    Raises:
        DataError: A side is no label map, or the sizes differ.
    """
    found, wanted = (
        tuple(masks.encode(side == label) for label in np.unique(side) if label) for side in _label_maps(value, where)
    )
    entities = tuple(Entity(name="target", mask=mask) for mask in wanted)
    sample = Sample(id=where, target=Target(entities=entities, absent=not entities))
    return sample, Prediction(key="", status="ok", masks=found)


def _label_maps(value: Line, where: str) -> tuple[LabelMap, LabelMap]:
    sides = []
    for key in ("prediction", "target"):
        try:
            side = np.asarray(value[key])
        except ValueError:
            side = np.zeros(0)
        if side.ndim not in (2, 3) or not side.size or side.dtype.kind not in "bui":
            raise DataError(f"{where}: {key}: expected a label map, nested lists of whole numbers in 2-D or 3-D")
        sides.append(side.astype(np.int64))
    if sides[0].shape != sides[1].shape:
        shapes = f"prediction is {sides[0].shape}, target is {sides[1].shape}"
        raise DataError(f"{where}: {shapes}; expected one size")
    return sides[0], sides[1]


def detection_pair(value: Line, where: str) -> Pair:
    """Return masks with scores and labels against the masks of one annotator, or of several.

    Raises:
        DataError: A field is missing or of another kind, or the sizes differ.
    """
    if ("target" in value) == ("targets" in value):
        raise DataError(f'{where}: expected "target", a list of masks, or "targets", one such list per annotator')
    lists = [value["target"]] if "target" in value else value["targets"]
    if not isinstance(lists, list) or not lists:
        raise DataError(f"{where}: targets: expected one list of masks per annotator, found {lists!r:.80}")
    key = "target" if "target" in value else "targets"
    annotators = [_entries(items, f"{where}: {key}") for items in lists]
    found = _entries(value["prediction"], f"{where}: prediction")
    sizes = {mask.size for side in (found, *annotators) for mask, _ in side}
    if len(sizes) > 1:
        raise DataError(f"{where}: expected masks of one size, found {', '.join(map(str, sorted(sizes)))}")
    entities = tuple(Entity(name=str(facts.get("label", "")), mask=mask) for mask, facts in annotators[0])
    sample = DetectionSample(
        id=where,
        target=Target(entities=entities, absent=not entities),
        annotators=tuple(tuple(mask for mask, _ in side) for side in annotators),
        crowd=tuple(bool(facts.get("iscrowd")) for _, facts in annotators[0]),
    )
    scores = []
    for place, (_, facts) in enumerate(found):
        score = facts.get("score", 1.0)
        if type(score) not in (int, float) or not np.isfinite(score):
            raise DataError(f"{where}: prediction[{place}].score: expected a number, found {score!r:.80}")
        scores.append(float(score))
    names = (str(facts.get("label", "")) for _, facts in found)
    return sample, Prediction(
        key="",
        status="ok",
        masks=tuple(mask for mask, _ in found),
        mask_scores=tuple(scores),
        entities=tuple(PredictedEntity(name=name, mask=place) for place, name in enumerate(names)),
    )


def _entries(items: Json, where: str) -> list[tuple[Mask, Mapping[str, Any]]]:
    """Return masks with the other keys of their objects; a bare mask has none."""
    if not isinstance(items, list):
        raise DataError(f'{where}: expected a list of masks or of {{"mask", ...}}, found {type(items).__name__}')
    entries = []
    for place, item in enumerate(items):
        facts: Mapping[str, Any] = item if isinstance(item, dict) and "mask" in item else {"mask": item}
        entries.append((mask_files.from_json(facts["mask"], where=f"{where}[{place}]"), facts))
    return entries


def media_of_size(size: Json, where: str) -> Media:
    """Return an image or volume of a line's `image_size`, [H, W] or [D, H, W].

    Raises:
        DataError: The size is of another kind.
    """
    whole = isinstance(size, list) and len(size) in (2, 3) and all(type(side) is int and side > 0 for side in size)
    if not isinstance(size, list) or not whole:
        raise DataError(f"{where}: image_size: expected [H, W] or [D, H, W], found {size!r:.80}")
    return Media(path="", sha256=None, size=tuple(size), kind="image" if len(size) == 2 else "volume")
