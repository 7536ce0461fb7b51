"""Records to JSON and back, and the canonical text under every digest.

Fields that hold their empty default are left out, so a record grows without moving the digest of older ones.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness.records import (
    Box,
    Crop,
    Entity,
    ErrorInfo,
    Grid,
    Json,
    Mask,
    Media,
    MediaPart,
    Overlay,
    Part,
    Points,
    PredictedEntity,
    Prediction,
    Prior,
    Region,
    Request,
    Sample,
    SoftMask,
    Target,
    TextPart,
    Turn,
    VisualPrompt,
)

_JSON_SCALARS = frozenset({str, int, float, bool, type(None)})


def canonical(value: Json) -> str:
    """Return compact JSON with sorted keys; NaN and infinity are refused with ValueError."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def digest(value: Json) -> str:
    """Return the sha256 of the canonical JSON, in hexadecimal."""
    return sha256_text(canonical(value))


def sha256_text(text: str) -> str:
    """Return the sha256 of the UTF-8 text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the sha256 of the file's bytes, in hexadecimal, reading a block at a time."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_folder(folder: Path) -> str:
    """Return the digest of the names and bytes of a folder's files; folders in it do not count."""
    return digest([[path.name, sha256_file(path)] for path in sorted(folder.iterdir()) if path.is_file()])


def to_json(record: Any) -> Json:
    """Return a record, or a tuple or mapping of them, as JSON values.

    Masks take the form of `spec/standard.md`; a visual prompt is told apart by its own field's name.
    """
    kind: type = type(record)
    if kind in _JSON_SCALARS:
        return record
    if kind is Mask:
        return mask_to_json(record)
    if is_dataclass(kind):
        return _record_to_json(record, kind)
    if isinstance(record, Mapping):
        return {str(key): to_json(value) for key, value in record.items()}
    if isinstance(record, tuple | list | frozenset):
        return [to_json(value) for value in (sorted(record) if isinstance(record, frozenset) else record)]
    return record


def _record_to_json(record: Any, kind: type) -> dict[str, Json]:
    result = {}
    for name, default in _fields_and_defaults(kind):
        value = getattr(record, name)
        if value is default or (default is not MISSING and value == default):
            continue
        result[name] = to_json(value)
    return result


@cache
def _fields_and_defaults(kind: type) -> tuple[tuple[str, Any], ...]:
    """Return name and default of each field, MISSING where it has none; asking dataclasses each time is slow."""
    return tuple(
        (item.name, item.default if item.default_factory is MISSING else item.default_factory())
        for item in fields(kind)
    )


def mask_to_json(mask: Mask) -> dict[str, Json]:
    """Return `{"size", "counts"}` in 2-D, `{"size", "slices"}` in 3-D."""
    if mask.slices is None:
        return {"size": list(mask.size), "counts": mask.counts}
    return {"size": list(mask.size), "slices": {str(index): counts for index, counts in mask.slices}}


def mask_from_json(value: Mapping[str, Json]) -> Mask:
    """Return a mask that this program wrote; masks from outside go through `harness.imaging.mask_files.from_json`."""
    slices = value.get("slices")
    return Mask(
        size=tuple(value["size"]),
        counts=value.get("counts"),
        slices=None if slices is None else tuple((int(index), counts) for index, counts in slices.items()),
    )


def media_from_json(value: Mapping[str, Json]) -> Media:
    """Return the media record written by `to_json`."""
    return Media(
        path=value["path"],
        sha256=value["sha256"],
        kind=value.get("kind", "image"),
        size=tuple(value.get("size", ())),
        spacing_mm=_optional_tuple(value.get("spacing_mm")),
        affine=_optional_tuple(value.get("affine")),
        window=None if value.get("window") is None else (value["window"][0], value["window"][1]),
        crop=_crop_from_json(value["crop"]) if "crop" in value else None,
        drawn=tuple(_overlay_from_json(item) for item in value.get("drawn", ())),
        axes=value.get("axes", "zyx"),
        slice=value.get("slice"),
    )


def _crop_from_json(value: Mapping[str, Json]) -> Crop:
    x1, y1, x2, y2 = value["corners"]
    return Crop(corners=(x1, y1, x2, y2), original=tuple(value["original"]))


def _overlay_from_json(value: Mapping[str, Json]) -> Overlay:
    red, green, blue = value["colour"]
    return Overlay(
        prompt=visual_prompt_from_json(value["prompt"]),
        style=value["style"],
        colour=(red, green, blue),
        width=value["width"],
        opacity=value["opacity"],
    )


def _optional_tuple(value: Json) -> tuple[float, ...] | None:
    return None if value is None else tuple(value)


def visual_prompt_from_json(value: Mapping[str, Json]) -> VisualPrompt:
    """Return the box, points or region written by `to_json`."""
    if "corners" in value:
        return Box(corners=tuple(value["corners"]))
    if "points" in value:
        return Points(points=tuple(tuple(point) for point in value["points"]), labels=tuple(value["labels"]))
    return Region(mask=mask_from_json(value["mask"]))


def target_from_json(value: Mapping[str, Json]) -> Target:
    """Return the target written by `to_json`."""
    return Target(
        answers=tuple(value.get("answers", ())),
        choice=value.get("choice"),
        entities=tuple(_entity_from_json(item) for item in value.get("entities", ())),
        boxes=tuple(Box(corners=tuple(item["corners"])) for item in value.get("boxes", ())),
        caption_id=value.get("caption_id"),
        absent=value.get("absent", False),
    )


def _entity_from_json(value: Mapping[str, Json]) -> Entity:
    return Entity(name=value["name"], mask=mask_from_json(value["mask"]) if "mask" in value else None)


def sample_from_json(value: Mapping[str, Json]) -> Sample:
    """Return the sample written by `to_json`."""
    return Sample(
        id=value["id"],
        media=tuple(media_from_json(item) for item in value.get("media", ())),
        question=value.get("question", ""),
        choices=tuple(value.get("choices", ())),
        visual_prompts=tuple(visual_prompt_from_json(item) for item in value.get("visual_prompts", ())),
        target=target_from_json(value.get("target", {})),
        strata=value.get("strata", {}),
        cluster=value.get("cluster", ""),
        defect=value.get("defect"),
    )


def sample_to_json(sample: Sample) -> dict[str, Json]:
    """Return the sample as JSON values."""
    result: dict[str, Json] = to_json(sample)
    return result


def request_from_json(value: Mapping[str, Json]) -> Request:
    """Return the request written by `to_json`, its media as records."""
    prior = value.get("prior")
    return Request(
        kind=value.get("kind", "generate"),
        wants=tuple(value.get("wants", ("text",))),
        messages=tuple(_turn_from_json(item) for item in value.get("messages", ())),
        visual_prompts=tuple(visual_prompt_from_json(item) for item in value.get("visual_prompts", ())),
        candidates=tuple(value.get("candidates", ())),
        choices=tuple(value.get("choices", ())),
        one_by_one=value.get("one_by_one", False),
        decoding=value.get("decoding", {}),
        repeat=value.get("repeat", 0),
        seed=value.get("seed", 0),
        key=value.get("key", ""),
        sample_id=value.get("sample_id"),
        prior=None if prior is None else _prior_from_json(prior),
        target=target_from_json(value["target"]) if "target" in value else None,
        oracle=value.get("oracle"),
    )


def _turn_from_json(value: Mapping[str, Json]) -> Turn:
    return Turn(role=value["role"], parts=tuple(_part_from_json(item) for item in value["parts"]))


def _part_from_json(value: Mapping[str, Json]) -> Part:
    return TextPart(text=value["text"]) if "text" in value else MediaPart(media=media_from_json(value["media"]))


def _prior_from_json(value: Mapping[str, Json]) -> Prior:
    mask = value.get("mask")
    return Prior(
        answer=value.get("answer"),
        answer_to_question=value.get("answer_to_question"),
        choice=value.get("choice"),
        choice_to_question=value.get("choice_to_question"),
        mask=None if mask is None else mask_from_json(mask),
    )


def prediction_from_json(value: Mapping[str, Json]) -> Prediction:
    """Return the prediction written by `to_json`."""
    error = value.get("error")
    return Prediction(
        key=value["key"],
        status=value["status"],
        text=value.get("text"),
        choice=value.get("choice"),
        masks=tuple(mask_from_json(item) for item in value.get("masks", ())),
        soft_masks=tuple(_soft_mask_from_json(item) for item in value.get("soft_masks", ())),
        grid=_grid_from_json(value["grid"]) if "grid" in value else None,
        mask_scores=tuple(value.get("mask_scores", ())),
        boxes=tuple(Box(corners=tuple(item["corners"])) for item in value.get("boxes", ())),
        entities=tuple(predicted_entity_from_json(item) for item in value.get("entities", ())),
        nll=tuple(value.get("nll", ())),
        nll_tokens=tuple(value.get("nll_tokens", ())),
        embedding=tuple(tuple(vector) for vector in value.get("embedding", ())),
        rendered=value.get("rendered"),
        seconds=value.get("seconds", 0.0),
        usage=value.get("usage", {}),
        error=None if error is None else ErrorInfo(**error),
    )


def _grid_from_json(value: Mapping[str, Json]) -> Grid:
    return Grid(size=tuple(value["size"]), affine=_optional_tuple(value.get("affine")))


def _soft_mask_from_json(value: Mapping[str, Json]) -> SoftMask:
    return SoftMask(size=tuple(value["size"]), levels=tuple(value.get("levels", ())), data=value["data"])


def predicted_entity_from_json(value: Mapping[str, Json]) -> PredictedEntity:
    """Return the predicted entity written by `to_json`."""
    span = value.get("span")
    return PredictedEntity(
        name=value["name"], span=None if span is None else (span[0], span[1]), mask=value.get("mask")
    )
