"""Records to JSON and back, and the canonical text under every digest.

Fields that hold their default are left out, so that a new field does not move the digest of older records. The readers
are written by hand because each field has a form of its own in JSON: masks (objects keyed by slice), visual prompts
(three kinds without a tag), and integers where the type says float, which must come back as integers to keep a digest.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
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
    View,
    VisualPrompt,
)

_JSON_SCALARS = frozenset({str, int, float, bool, type(None)})
# Made once: `json.dumps` makes an encoder for every call with settings of its own.
_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def canonical(value: Json) -> str:
    """Return compact JSON with sorted keys.

    Raises:
        ValueError: The value holds NaN or infinity, which JSON cannot represent.
    """
    return _CANONICAL.encode(value)


def digest(value: Json) -> str:
    """Return the sha256 of the canonical JSON, in hexadecimal."""
    return sha256_text(canonical(value))


def sha256_text(text: str) -> str:
    """Return the sha256 of the UTF-8 text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the sha256 of the file's bytes, in hexadecimal; the file is read block by block."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_folder(folder: Path) -> str:
    """Return a digest of the names and bytes of a folder's files, in hexadecimal; subfolders are ignored."""
    # Sorted, because file systems list a folder in different orders.
    return digest([[path.name, sha256_file(path)] for path in sorted(folder.iterdir()) if path.is_file()])


def to_json(record: Any) -> Json:
    """Return a record, or a tuple, list, set or mapping of them, as JSON values.

    Masks take the form of `mask_to_json`. Visual prompts and parts of a turn carry no type: the names of their fields
    tell them apart. Sets are sorted.
    """
    kind: type = type(record)
    if kind in _JSON_SCALARS:
        return record
    if kind is tuple or kind is list:
        # Scalars without a call each: sizes, points and spacings are most of what a release holds.
        return [item if type(item) in _JSON_SCALARS else to_json(item) for item in record]
    if kind is dict:
        return {str(key): value if type(value) in _JSON_SCALARS else to_json(value) for key, value in record.items()}
    if kind is Mask:
        return mask_to_json(record)
    writer = _writer(kind)
    if writer is not None:
        return writer(record)
    if isinstance(record, Mapping):
        return {str(key): to_json(value) for key, value in record.items()}
    if isinstance(record, tuple | list | frozenset):
        return [to_json(value) for value in (sorted(record) if isinstance(record, frozenset) else record)]
    return record


@cache
def _writer(kind: type) -> Callable[[Any], dict[str, Json]] | None:
    """Return the function that writes the records of a class as JSON values; None if it is no dataclass.

    It is compiled from the names of the fields, as `dataclasses` compiles `__init__`: to walk through `fields` for each
    of the ten records of a request took a third of the time of a plan.
    """
    if not is_dataclass(kind):
        return None
    known: dict[str, Any] = {"to_json": to_json, "scalars": _JSON_SCALARS, "missing": MISSING}
    lines = ["def write(record):", "    result = {}"]
    for item in fields(kind):
        name, default = item.name, f"default_{item.name}"
        known[default] = item.default if item.default_factory is MISSING else item.default_factory()
        lines += [
            f"    value = record.{name}",
            # Identity first: most fields hold the very default, and comparing large tuples is slow.
            f"    if value is not {default} and ({default} is missing or value != {default}):",
            f"        result[{name!r}] = value if type(value) in scalars else to_json(value)",
        ]
    exec("\n".join([*lines, "    return result"]), known)
    writer: Callable[[Any], dict[str, Json]] = known["write"]
    return writer


def mask_to_json(mask: Mask) -> dict[str, Json]:
    """Return `{"size": [H, W], "counts": str}`, or `{"size": [D, H, W], "slices": {"17": str, ...}}` in 3-D."""
    if mask.slices is None:
        return {"size": list(mask.size), "counts": mask.counts}
    return {"size": list(mask.size), "slices": {str(index): counts for index, counts in mask.slices}}


def mask_from_json(value: Mapping[str, Json]) -> Mask:
    """Return the mask written by `mask_to_json`, unchecked.

    Masks from outside the harness must go through `harness.imaging.mask_files.from_json`, which checks them.
    """
    slices = value.get("slices")
    # Canonical JSON sorts the keys as text (10 before 2); a mask lists its slices by index.
    return Mask(
        size=tuple(value["size"]),
        counts=value.get("counts"),
        slices=None if slices is None else tuple(sorted((int(index), counts) for index, counts in slices.items())),
    )


def media_from_json(value: Mapping[str, Json]) -> Media:
    """Return the media record written by `to_json`."""
    crop = value.get("crop")
    if crop is not None:
        x1, y1, x2, y2 = crop["corners"]  # unpacked, so that damaged records are refused
        crop = Crop(corners=(x1, y1, x2, y2), original=tuple(crop["original"]))
    return Media(
        path=value["path"],
        sha256=value["sha256"],
        kind=value.get("kind", "image"),
        size=tuple(value.get("size", ())),
        spacing_mm=_optional_tuple(value.get("spacing_mm")),
        affine=_optional_tuple(value.get("affine")),
        window=None if value.get("window") is None else (value["window"][0], value["window"][1]),
        crop=crop,
        drawn=tuple(_overlay_from_json(item) for item in value.get("drawn", ())),
        axes=value.get("axes", "zyx"),
        slice=value.get("slice"),
        flat=value.get("flat", False),
        view=None if value.get("view") is None else _view_from_json(value["view"]),
    )


def _view_from_json(value: Mapping[str, Json]) -> View:
    return View(
        recipe=value["recipe"],
        plane=value["plane"],
        slices=tuple(value["slices"]),
        of=value.get("of"),
        original=tuple(value["original"]),
        tile=tuple(value["tile"]),
        grid=tuple(value.get("grid", (1, 1))),
        turned=value.get("turned", False),
        windows=tuple((low, high) for low, high in value.get("windows", ())),
    )


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
        entities=tuple(
            Entity(name=item["name"], mask=mask_from_json(item["mask"]) if "mask" in item else None)
            for item in value.get("entities", ())
        ),
        boxes=tuple(Box(corners=tuple(item["corners"])) for item in value.get("boxes", ())),
        caption_id=value.get("caption_id"),
        absent=value.get("absent", False),
        ignore=mask_from_json(value["ignore"]) if "ignore" in value else None,
    )


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
    """Return the request written by `to_json`; its media are records, not handles."""
    prior = value.get("prior")
    return Request(
        kind=value.get("kind", "generate"),
        wants=tuple(value.get("wants", ("text",))),
        messages=tuple(
            Turn(
                role=turn["role"],
                parts=tuple(
                    TextPart(text=part["text"]) if "text" in part else MediaPart(media=media_from_json(part["media"]))
                    for part in turn["parts"]
                ),
            )
            for turn in value.get("messages", ())
        ),
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
    key, status = value["key"], value["status"]
    # Only what is there: most answers have three or four of the twenty fields.
    fields_read = {name: read(value[name]) for name, read in _PREDICTION_FIELDS.items() if name in value}
    return Prediction(key=key, status=status, **fields_read)


def _grid_from_json(value: Mapping[str, Json] | None) -> Grid | None:
    return None if value is None else Grid(size=tuple(value["size"]), affine=_optional_tuple(value.get("affine")))


def _soft_mask_from_json(value: Mapping[str, Json]) -> SoftMask:
    return SoftMask(size=tuple(value["size"]), levels=tuple(value.get("levels", ())), data=value["data"])


def _as_it_is(value: Json) -> Json:
    return value


# Name of a field -> how its JSON is read.
_PREDICTION_FIELDS: Mapping[str, Callable[[Any], Any]] = {
    "text": _as_it_is,
    "choice": _as_it_is,
    "masks": lambda items: tuple(map(mask_from_json, items)),
    "soft_masks": lambda items: tuple(map(_soft_mask_from_json, items)),
    "grid": _grid_from_json,
    "mask_scores": tuple,
    "boxes": lambda items: tuple(Box(corners=tuple(item["corners"])) for item in items),
    "points": lambda items: tuple(map(tuple, items)),
    "entities": lambda items: tuple(map(predicted_entity_from_json, items)),
    "nll": tuple,
    "nll_tokens": tuple,
    "embedding": lambda items: tuple(map(tuple, items)),
    "rendered": _as_it_is,
    "seconds": _as_it_is,
    "usage": _as_it_is,
    "error": lambda item: None if item is None else ErrorInfo(**item),
    "remarks": tuple,
    "read_as": _as_it_is,
}


def predicted_entity_from_json(value: Mapping[str, Json]) -> PredictedEntity:
    """Return the predicted entity written by `to_json`."""
    span = value.get("span")
    return PredictedEntity(
        name=value["name"], span=None if span is None else (span[0], span[1]), mask=value.get("mask")
    )
