"""Dialects of JSON: typed boxes and points of Qwen and Gemini, instances of COCO and SA-Co, masks, names of mask files.

A value counts if it is whole JSON behind its key, wherever the rest of the reply ends or breaks. Keys that occur twice
in an object, numbers that are too many or too few, and run lengths that are lists and not text make no shape.
"""

import json
import re
from collections.abc import Callable, Iterator
from math import isfinite
from typing import Any, NamedTuple

from harness.records import Json
from harness.text.dialects.shapes import Numbers, Shape, Written

_LABELS = ("label", "name", "category", "category_name", "class", "class_name", "phrase")
_SCORES = ("score", "confidence")
_SIDES = ("x_min", "y_min", "x_max", "y_max")
_LEAST_CORNERS = 3  # of a polygon
_OBJECTS_TRIED = 8  # opening braces before a key that are tried as the start of its object
_REACH = 20_000  # characters before a key in which its object is looked for
# The name behind a value whose object was cut off or broken: only where another member or the end follows it.
# Also of an object of Python, whose quotes are single.
_NEXT_LABEL = re.compile(
    r"""\s*,\s*(?P<quote>["'])(?:label|name)(?P=quote)\s*:\s*(?P<open>["'])(?P<label>[^"'\\{}\[\]]*)(?P=open)\s*(?:[,}]|\Z)"""
)
_FENCE = re.compile(r"```\w*")
_INNER_LIST = re.compile(r"\s*[\[,]\s*\[")  # behind the outer bracket, or behind the comma of the list before
_OPENING = re.compile(r"[\[{]")


class _DoubledError(ValueError):
    """An object holds a key twice, so that nothing tells which value was meant."""


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _DoubledError
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_once)


class _Keyed(NamedTuple):
    """A value behind a key, the object that holds both (empty if it is not whole), and its name."""

    key: str
    value: Json
    owner: dict[str, Json]
    label: str


def typed(
    boxes: tuple[str, ...], points: tuple[str, ...] = (), masks: tuple[str, ...] = ()
) -> Callable[[str, int], Written]:
    """Return the reader of objects such as `{"bbox_2d": [...], "label": "..."}`, in a list, in a fence or alone.

    Args:
        boxes: Keys of a box, or of a list of boxes.
        points: Keys of a point, or of a list of points.
        masks: Keys of run lengths, `{"size": [H, W], "counts": "..."}`, of polygons, or, beside a box, of a PNG of
            probabilities within the box, as a data URL.
    """
    keys = (*boxes, *points, *masks)

    def read(text: str, axes: int) -> Written:
        shapes: list[Shape] = []
        for item in _keyed(text, keys, lists=(*boxes, *points)):
            score = _score(item.owner)
            if item.key in masks and isinstance(item.value, dict):
                shapes.append(Shape("mask", (), item.label, score, value=item.value))
            elif item.key in masks and isinstance(item.value, str):
                within = [box for key in boxes if key in item.owner for box in _lists(item.owner[key], 4)]
                if len(within) == 1 and axes == 2:
                    shapes.append(Shape("picture", within[0], item.label, score, value=item.value))
            elif item.key in masks:
                parts = _polygon(item.value) if axes == 2 else ()
                if parts:
                    shapes.append(Shape("polygon", parts[0], item.label, score, parts=parts[1:]))
            else:
                count = 2 * axes if item.key in boxes else axes
                kind: Any = "box" if item.key in boxes else "point"
                shapes += [Shape(kind, numbers, item.label, score) for numbers in _lists(item.value, count)]
        return Written(shapes, none=not shapes and _states_none(text, (*keys, "boxes")))

    return read


def by_label(text: str, axes: int) -> Written:
    """Read `{"left lung": [x1, y1, x2, y2], "nodes": [[...], [...]]}`: every key is a name."""
    shapes: list[Shape] = []
    for match in re.finditer(r'(?<!\\)"([^"\\\n]{1,200})"\s*:\s*(?=\[)', text):
        value = _value(text, match.end()) or _first_lists(text, match.end())
        shapes += [Shape("box", numbers, match[1].strip()) for numbers in _lists(value, 2 * axes)]
    return Written(shapes, none=not shapes and _whole(text) in ({}, []))


def sa_co(text: str, axes: int) -> Written:
    """Read `{"masks": [{"counts": "...", "size": [H, W]}], "boxes": [{"x_min": ...}], "scores": [...]}`.

    Scores count only where the whole reply is JSON and holds as many as masks, or as boxes if it has no masks.
    """
    shapes: list[Shape] = []
    for value in _objects(text, ("counts", "size")) if axes == 2 else ():
        if set(value) == {"counts", "size"}:
            shapes.append(Shape("mask", value=value))
    for value in _objects(text, _SIDES) if axes == 2 else ():
        if set(value) == set(_SIDES) and (numbers := _numbers([value[side] for side in _SIDES])):
            shapes.append(Shape("box", numbers))
    whole = _whole(text)
    if not shapes:
        lists = [whole] if isinstance(whole, list) else []
        if isinstance(whole, dict) and ("masks" in whole or "boxes" in whole):
            lists = [whole.get(key, []) for key in ("masks", "boxes")]
        return Written(none=bool(lists) and all(value == [] for value in lists))
    scores = _numbers(whole.get("scores")) if isinstance(whole, dict) else None
    scored = [shape for shape in shapes if shape.kind == ("mask" if shapes[0].kind == "mask" else "box")]
    if scores and len(scores) == len(scored):
        given = dict(zip(map(id, scored), scores, strict=True))
        shapes = [Shape(shape.kind, shape.numbers, "", given.get(id(shape)), value=shape.value) for shape in shapes]
    return Written(shapes)


def files(text: str, axes: int) -> Written:  # noqa: ARG001 - the file says its axes
    """Read `{"file": "liver.nii.gz", "label": "liver", "value": 2}`, or a `threshold` for a map of probabilities."""
    shapes = []
    for item in _keyed(text, ("file",)):
        # Only of a whole object: without its value or its threshold the file would be another mask.
        if isinstance(item.value, str) and item.owner:
            value = {key: item.owner.get(key) for key in ("file", "value", "threshold")}
            shapes.append(Shape("file", (), item.label, _score(item.owner), value=value))
    return Written(shapes, none=not shapes and _states_none(text, ("file",)))


def _keyed(text: str, keys: tuple[str, ...], lists: tuple[str, ...] = ()) -> Iterator[_Keyed]:
    """Yield every whole value that stands behind one of the keys, in order.

    Args:
        text: The reply.
        keys: The keys.
        lists: Those whose value may be a list of lists, of which the first count if the others are cut off or broken.
    """
    objects: dict[int, tuple[Json, int] | None] = {}  # by start: many keys may try the same long object
    names = "|".join(map(re.escape, keys))
    for match in re.finditer(rf"""(?<!\\)(["'])(?P<key>{names})\1\s*:\s*(?=[\[{{"])""", text):
        value = _value(text, match.end())
        if value is None and match["key"] in lists:
            value = _first_lists(text, match.end())
        if value is None:
            continue
        owner: dict[str, Json] = {}
        start = match.start()
        for _ in range(_OBJECTS_TRIED):
            start = text.rfind("{", max(0, match.start() - _REACH), start)
            if start < 0:
                break
            if start not in objects:
                objects[start] = _decoded(text, start)
            found = objects[start]
            if found is not None and found[1] > match.end() and isinstance(found[0], dict):
                owner = found[0] if match["key"] in found[0] else {}
                break
        label = next((owner[name] for name in _LABELS if isinstance(owner.get(name), str)), None)
        if label is None and not owner:
            end = _decoded(text, match.end())
            following = _NEXT_LABEL.match(text, end[1]) if end else None
            label = following["label"] if following else None
        yield _Keyed(match["key"], value, owner, (label or "").strip())


def _objects(text: str, keys: tuple[str, ...]) -> Iterator[dict[str, Json]]:
    """Yield every whole object that begins with one of the keys."""
    for match in re.finditer(rf'\{{\s*"(?:{"|".join(keys)})"\s*:', text):
        value = _value(text, match.start())
        if isinstance(value, dict):
            yield value


def _value(text: str, start: int) -> Json:
    """Return the JSON value that begins at a place of a text; None if it is not whole."""
    found = _decoded(text, start)
    return None if found is None else found[0]


def _first_lists(text: str, start: int) -> Json:
    """Return the whole lists with which a list of lists begins that is not whole itself; None if there is none."""
    found = []
    while opening := _INNER_LIST.match(text, start):
        inner = _decoded(text, opening.end() - 1)
        if inner is None:
            break
        found.append(inner[0])
        start = inner[1]
    return found or None


def _decoded(text: str, start: int) -> tuple[Json, int] | None:
    try:
        return _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None


def _whole(text: str) -> Json:
    """Return the only JSON value of a reply, in a fence or between words; None if there is none, or more than one."""
    bare = _FENCE.sub("", text)
    opening = _OPENING.search(bare)
    found = _decoded(bare, opening.start()) if opening else None
    return None if found is None or _OPENING.search(bare, found[1]) else found[0]


def _states_none(text: str, keys: tuple[str, ...]) -> bool:
    """Say whether the only JSON value of a reply says that there is nothing: `[]`, or keys with null or `[]`."""
    value = _whole(text)
    if value == []:
        return True
    stated = [
        item.get(key, item)
        for item in ([value] if isinstance(value, dict) else value or ())
        if isinstance(item, dict)
        for key in keys
        if key in item
    ]
    whole = isinstance(value, dict) or (isinstance(value, list) and all(isinstance(item, dict) for item in value))
    return whole and bool(stated) and all(found in (None, []) for found in stated)


def _score(owner: dict[str, Json]) -> float | None:
    for name in _SCORES:
        numbers = _numbers([owner[name]]) if name in owner else None
        if numbers:
            return numbers[0]
    return None


def _numbers(value: Json) -> Numbers | None:
    """Return a list of finite numbers; None if it is anything else, or empty."""
    if not isinstance(value, list) or not value:
        return None
    if not all(type(number) in (int, float) and abs(number) < 1e12 and isfinite(number) for number in value):
        return None
    return tuple(map(float, value))


def _lists(value: Json, count: int) -> list[Numbers]:
    """Return the list of `count` numbers that a value is, or those that it holds."""
    listed = value if isinstance(value, list) and value and isinstance(value[0], list) else [value]
    numbers = [_numbers(item) for item in listed]
    return [found for found in numbers if found is not None and len(found) == count]


def _polygon(value: Json) -> tuple[Numbers, ...]:
    """Return the parts of a polygon: `[x, y, x, y, ...]`, a list of those, or one part as `[[x, y], ...]`."""
    if not isinstance(value, list) or not value:
        return ()
    lists = value if isinstance(value[0], list) else [value]
    parts = [_numbers(part) for part in lists]
    if all(part is not None and len(part) == 2 for part in parts):
        parts = [tuple(number for part in parts if part for number in part)]
    if any(part is None or len(part) % 2 or len(part) < 2 * _LEAST_CORNERS for part in parts):
        return ()
    return tuple(part for part in parts if part is not None)
