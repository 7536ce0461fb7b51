"""The input lines of `harness metric`: one JSON object -> the sample and prediction that a metric scores."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from harness.cli.metric.peer_lines import detection_pair, instance_pair, label_map_pair, media_of_size
from harness.errors import DataError
from harness.imaging import mask_files, masks, soft_masks
from harness.metrics.metric import LineKind, Pair
from harness.models.submitted.predictions_format import ONE_A_LINE, encoding_fault
from harness.records import Box, Entity, Json, Mask, Media, PredictedEntity, Prediction, Sample, Target

Line = Mapping[str, Json]

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

# The keys that a line of each kind must hold.
KEYS: Mapping[LineKind, tuple[str, ...]] = {
    "text": ("prediction", "target"),
    "choice": ("options", "target"),
    "masks": ("prediction", "target"),
    "soft_masks": ("prediction", "target"),
    "label_maps": ("prediction", "target"),
    "grounding": ("prediction", "target"),
    "instances": ("predictions", "targets"),
    "detections": ("prediction",),
    "boxes": ("prediction", "target"),
    "sized_boxes": ("prediction", "target", "image_size"),
    "retrieval": ("similarity",),
    "judge": ("reply",),
}

# A line of each kind, shown in docs/metrics.md. A target may be one text or a list, a mask any form that a mask has in
# JSON, 2-D or 3-D.
EXAMPLES: Mapping[LineKind, str] = {
    "text": '{"prediction": "Yes, there is.", "target": ["yes", "present"]}',
    "choice": '{"prediction": "B.", "options": ["Liver", "Spleen"], "target": "B", "nll": [2.1, 0.4]}',
    "masks": '{"prediction": [[0, 1, 1]], "target": [[0, 1, 0]], "spacing_mm": [1, 0.5]}',
    "soft_masks": '{"prediction": [[0.1, 0.9, 0.6]], "target": [[0, 1, 0]]}',
    "label_maps": '{"prediction": [[1, 1, 2]], "target": [[1, 0, 2]]}',
    "grounding": '{"prediction": {"entities": [{"name": "liver", "mask": [[1, 0]]}]}, '
    '"target": {"entities": [{"name": "liver", "mask": [[1, 1]]}]}}',
    "instances": '{"predictions": [[[1, 0]]], "targets": [[[1, 0]], [[0, 1]]], "scores": [0.9]}',
    "detections": '{"prediction": [{"mask": [[1, 0]], "score": 0.9, "label": 1}], '
    '"target": [{"mask": [[1, 1]], "label": 1, "iscrowd": 0}]}',
    "boxes": '{"prediction": "It lies at [0, 0, 4, 4].", "target": [0, 0, 4, 5]}',
    "sized_boxes": '{"prediction": "[0, 0, 4, 4]", "target": [0, 0, 4, 5], "image_size": [8, 8]}',
    "retrieval": '{"similarity": [[0.9, 0.1], [0.4, 0.3]]}',
    "judge": '{"reply": "Score: 80.5. Most is right."}',
}


def parse(line: bytes, where: str, kind: LineKind) -> dict[str, Json]:
    """Return the object of one line.

    Raises:
        DataError: The line is not a JSON object, or lacks one of the keys of its kind.
    """
    try:
        # Decoded here, because JSON's reader would guess UTF-16 and then fail over the half of a line end.
        value = json.loads(line.decode("utf-8-sig").strip())
    except json.JSONDecodeError as error:
        reason = encoding_fault(line) or f"{error.msg}, column {error.colno}"
        raise DataError(f"{where}: expected a JSON object: {reason}") from error
    # Bytes that are not UTF-8, numbers of thousands of digits, brackets nested too deep.
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: expected a JSON object: {encoding_fault(line) or error}") from error
    if isinstance(value, list) and value and isinstance(value[0], dict):
        raise DataError(f"{where}: is a JSON list, {ONE_A_LINE}")
    if not isinstance(value, dict) or not all(key in value for key in KEYS[kind]):
        wanted = " and ".join(f'"{key}"' for key in KEYS[kind])
        found = ", ".join(map(repr, value)) if isinstance(value, dict) else type(value).__name__
        raise DataError(f"{where}: expected an object with {wanted}, found {found or 'no key'}")
    return value


def read_pair(value: Line, where: str, kind: LineKind) -> Pair:
    """Return the sample and prediction of a line of any kind but `retrieval`, of which one line is a whole corpus.

    Raises:
        DataError: A field is missing or of another kind.
    """
    return _READERS[kind](value, where)


def _text(value: Line, where: str) -> Pair:
    target = value["target"]
    answers = target if isinstance(target, list) else [target]
    if not answers or not all(isinstance(answer, str) for answer in answers):
        raise DataError(f"{where}: target: expected text or a list of texts, found {target!r:.80}")
    sample = Sample(id=where, target=Target(answers=tuple(answers)))
    return sample, Prediction(key="", status="ok", text=_reply(value, where, "prediction"))


def _reply(value: Line, where: str, key: str) -> str:
    reply = value[key]
    if not isinstance(reply, str):
        raise DataError(f"{where}: {key}: expected text, found {type(reply).__name__}")
    return reply


def _choice(value: Line, where: str) -> Pair:
    options, letter = value["options"], value["target"]
    if not isinstance(options, list) or not options or not all(isinstance(option, str) for option in options):
        raise DataError(f"{where}: options: expected a list of texts, found {options!r:.80}")
    letters = LETTERS[: len(options)]
    if not isinstance(letter, str) or len(letter) != 1 or letter not in letters:
        raise DataError(f"{where}: target: expected one of the letters {letters}, found {letter!r:.80}")
    right = options[letters.index(letter)]
    target = Target(choice=letter, answers=(right,))
    nll = _numbers(value["nll"], where, "nll") if "nll" in value else ()
    tokens = _numbers(value["nll_tokens"], where, "nll_tokens") if "nll_tokens" in value else ()
    if "prediction" not in value and not nll:
        raise DataError(f'{where}: expected "prediction", the reply, or "nll", one number per option; found neither')
    if nll and len(nll) != len(options):
        raise DataError(f"{where}: nll: expected {len(options)} numbers, one per option, found {len(nll)}")
    prediction = Prediction(
        key="",
        status="ok",
        text=_reply(value, where, "prediction") if "prediction" in value else None,
        nll=nll,
        nll_tokens=tuple(map(int, tokens)),
    )
    return Sample(id=where, choices=tuple(options), target=target), prediction


def _numbers(value: Json, where: str, key: str) -> tuple[float, ...]:
    numbers = isinstance(value, list) and all(type(item) in (int, float) for item in value)
    if not isinstance(value, list) or not numbers:
        raise DataError(f"{where}: {key}: expected a list of numbers, found {value!r:.80}")
    return tuple(map(float, value))


def _mask_pair(value: Line, where: str) -> Pair:
    if "classes" in value or "labels" in value:
        return label_map_pair(value, where)
    prediction = mask_files.from_json(_whole(value["prediction"]), where=f"{where}: prediction")
    target = mask_files.from_json(_whole(value["target"]), where=f"{where}: target")
    return _same_size(value, where, prediction, target), Prediction(key="", status="ok", masks=(prediction,))


def _same_size(value: Line, where: str, prediction: Mask, target: Mask) -> Sample:
    if prediction.size != target.size:
        raise DataError(f"{where}: prediction is {prediction.size}, target is {target.size}; expected one size")
    entity = Entity(name="target", mask=target)
    absent = not masks.area(target)
    return Sample(id=where, media=_media(value, where, target), target=Target(entities=(entity,), absent=absent))


def _whole(value: Json) -> Json:
    """Return nested lists with 0.0 and 1.0 as integers: masks must be integers, and some writers print floats."""
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value in (0.0, 1.0) else value


def _media(value: Line, where: str, mask: Mask) -> tuple[Media, ...]:
    """Return the image or volume that the masks lie in, with the line's spacing in mm per array axis if it has one."""
    spacing = None
    if value.get("spacing_mm") is not None:
        spacing = _numbers(value["spacing_mm"], where, "spacing_mm")
        if len(spacing) != len(mask.size) or not all(0 < step < np.inf for step in spacing):
            expected = f"{len(mask.size)} numbers above 0, one per array axis"
            raise DataError(f"{where}: spacing_mm: expected {expected}, found {list(spacing)}")
    media = Media(path="", sha256=None, size=mask.size, spacing_mm=spacing)
    return (media if len(mask.size) == 2 else replace(media, kind="volume"),)


def _soft_mask_pair(value: Line, where: str) -> Pair:
    """Read a mask whose pixels may be probabilities."""
    # A target pixel of -1 says "not there" and counts as 0.
    target = _without_absent(value["target"])
    probabilities = _probabilities(value["prediction"])
    if probabilities is None:
        return _mask_pair({**value, "target": target}, where)
    if not np.all((probabilities >= 0) & (probabilities <= 1)):
        raise DataError(f"{where}: prediction: expected probabilities in [0, 1] or a binary mask, found other numbers")
    soft = soft_masks.exact(probabilities)
    binary = masks.encode(probabilities > 0.5)
    sample = _same_size(value, where, binary, mask_files.from_json(_whole(target), where=f"{where}: target"))
    return sample, Prediction(key="", status="ok", masks=(binary,), soft_masks=(soft,))


def _without_absent(target: Json) -> Json:
    if not isinstance(target, list):
        return target
    return [_without_absent(item) if isinstance(item, list) else 0 if item == -1 else item for item in target]


def _probabilities(value: Json) -> "np.ndarray[Any, np.dtype[np.float64]] | None":
    """Return nested lists of numbers as float64 (H, W) or (D, H, W).

    Returns:
        None for a binary mask, a mask of another form, or no mask; such a value is read, or refused, as a mask.
    """
    if not isinstance(value, list):
        return None
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return array if array.ndim in (2, 3) and not np.all((array == 0) | (array == 1)) else None


def _instances(value: Line, where: str) -> Pair:
    targets, predictions = _mask_list(value, where, "targets"), _mask_list(value, where, "predictions")
    sizes = {mask.size for mask in (*targets, *predictions)}
    if len(sizes) > 1:
        raise DataError(f"{where}: expected masks of one size, found {', '.join(map(str, sorted(sizes)))}")
    scores = _numbers(value["scores"], where, "scores") if value.get("scores") is not None else ()
    if scores and len(scores) != len(predictions):
        raise DataError(f"{where}: scores: expected {len(predictions)} numbers, one per mask, found {len(scores)}")
    entities = tuple(Entity(name="target", mask=mask) for mask in targets)
    media = _media(value, where, (targets or predictions)[0]) if targets or predictions else ()
    sample = Sample(id=where, media=media, target=Target(entities=entities, absent=not entities))
    return sample, Prediction(key="", status="ok", masks=predictions, mask_scores=scores)


def _mask_list(value: Line, where: str, key: str) -> tuple[Mask, ...]:
    items = value[key]
    if not isinstance(items, list):
        raise DataError(f"{where}: {key}: expected a list of masks, found {type(items).__name__}")
    return tuple(
        mask_files.from_json(_whole(item), where=f"{where}: {key}[{place}]") for place, item in enumerate(items)
    )


def _grounding(value: Line, where: str) -> Pair:
    named = _entities(value["prediction"], where, "prediction")
    found = [mask for _, mask in named if mask is not None]
    targets = _entities(value["target"], where, "target")
    sizes = {mask.size for mask in (*found, *(mask for _, mask in targets if mask is not None))}
    if len(sizes) > 1:
        raise DataError(f"{where}: expected masks of one size, found {', '.join(map(str, sorted(sizes)))}")
    entities, used = [], 0
    for name, mask in named:
        entities.append(PredictedEntity(name=name, mask=None if mask is None else used))
        used += mask is not None
    predicted = value["prediction"]
    # Masks without a name follow those of the entities, which refer to theirs by position.
    stray = _mask_list(predicted, where, "masks") if "masks" in predicted else ()
    text = predicted.get("text")
    prediction = Prediction(
        key="",
        status="ok",
        text=text if isinstance(text, str) else None,
        masks=(*found, *stray),
        entities=tuple(entities),
    )
    target = Target(entities=tuple(Entity(name=name, mask=mask) for name, mask in targets), absent=not targets)
    return Sample(id=where, target=target), prediction


def _entities(value: Json, where: str, key: str) -> list[tuple[str, Mask | None]]:
    items = value.get("entities") if isinstance(value, dict) else None
    if not isinstance(items, list):
        raise DataError(f'{where}: {key}: expected {{"entities": [{{"name", "mask"}}, ...]}}, found {value!r:.80}')
    return [_entity(item, f"{where}: {key}.entities[{place}]") for place, item in enumerate(items)]


def _entity(item: Json, where: str) -> tuple[str, Mask | None]:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise DataError(f'{where}: expected an object with "name", a text, and "mask", found {item!r:.80}')
    mask = item.get("mask")
    return item["name"], None if mask is None else mask_files.from_json(_whole(mask), where=f"{where}.mask")


def _boxes(value: Line, where: str) -> Pair:
    prediction, target = (_box(value[key], where, key) for key in ("prediction", "target"))
    if isinstance(prediction, Box) and isinstance(target, Box) and len(prediction.corners) != len(target.corners):
        counts = f"{len(prediction.corners)} and {len(target.corners)}"
        raise DataError(f"{where}: expected prediction and target of as many numbers, found {counts}")
    answer = Target(answers=(target,)) if isinstance(target, str) else Target(boxes=(target,))
    reply = {"text": prediction} if isinstance(prediction, str) else {"boxes": (prediction,)}
    media = () if value.get("image_size") is None else (media_of_size(value["image_size"], where),)
    return Sample(id=where, media=media, target=answer), Prediction(key="", status="ok", **reply)


def _box(value: Json, where: str, key: str) -> Box | str:
    if isinstance(value, str):
        return value
    corners = _numbers(value, where, key)
    if len(corners) not in (4, 6) or not all(map(np.isfinite, corners)):
        raise DataError(f"{where}: {key}: expected 4 or 6 finite numbers, or text, found {list(corners)!r:.80}")
    return Box(corners=corners)


def _sized_boxes(value: Line, where: str) -> Pair:
    # No box to find is said by null, since a target in words has no frame.
    target = value["target"]
    sample, prediction = _boxes({**value, "target": [0, 0, 0, 0]} if target is None else value, where)
    if not sample.media:
        raise DataError(f"{where}: image_size: expected [H, W] or [D, H, W], found null")
    return (replace(sample, target=Target(absent=True)) if target is None else sample), prediction


def _judge(value: Line, where: str) -> Pair:
    return Sample(id=where), Prediction(key="", status="ok", text=_reply(value, where, "reply"))


def similarity(value: Line, where: str) -> Sequence[Sequence[float]]:
    """Return the matrix of a retrieval line, shape (queries, gallery), as lists; JSON writes NaN as null or "nan".

    Raises:
        DataError: The value is not a list of lists of numbers.
    """
    rows = value["similarity"]
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
        raise DataError(f"{where}: similarity: expected a list of rows of numbers, found {rows!r:.80}")
    for place, row in enumerate(rows):
        if not all(item in (None, "nan") or type(item) in (int, float) for item in row):
            raise DataError(f"{where}: similarity[{place}]: expected numbers or null, found {row!r:.80}")
    return [[float("nan") if item in (None, "nan") else item for item in row] for row in rows]


_READERS: Mapping[LineKind, Callable[[Line, str], Pair]] = {
    "text": _text,
    "choice": _choice,
    "masks": _mask_pair,
    "soft_masks": _soft_mask_pair,
    "grounding": _grounding,
    "label_maps": instance_pair,
    "instances": _instances,
    "detections": detection_pair,
    "boxes": _boxes,
    "sized_boxes": _sized_boxes,
    "judge": _judge,
}
