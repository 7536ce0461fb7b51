"""Replies in every dialect, written from what they should say; no code is shared with the readers.

`reply_in` writes boxes, points or masks as a model of the dialect would, and says what that means in pixels by the
formulas of its authors. `damaged` breaks the structure of a reply and leaves its digits alone.
"""

import json
import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from random import Random
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco

Numbers = tuple[float, ...]
LABELS = ("left lung", "nodule", "Läsion (ca. 2 cm), rechts", "肺结节", "T1/T2 node", "the spleen’s tip", "mass #3")


@dataclass
class Meant:
    """What a reply says, in pixels: boxes xyxy (zyxzyx), points (x, y[, z]), masks as arrays."""

    reply: str
    dialect: str
    frame: str
    frame_args: dict[str, Any] | None
    size: tuple[int, ...]
    boxes: list[Numbers] = field(default_factory=list)
    points: list[Numbers] = field(default_factory=list)
    masks: list[np.ndarray] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)


def _whole_boxes(random: Random, most: int, count: int, axes: int = 2) -> list[tuple[int, ...]]:
    """Return boxes of whole numbers within 0 and `most`, all starts before all ends."""
    found = []
    for _ in range(count):
        sides = [sorted(random.sample(range(most + 1), 2)) for _ in range(axes)]
        found.append((*(side[0] for side in sides), *(side[1] for side in sides)))
    return found


def _scaled(box: Sequence[float], size: tuple[int, ...], divisor: float, shift: float = 0.0) -> Numbers:
    lengths = size[::-1] if len(size) == 2 else size
    return tuple((value + shift) / divisor * length for value, length in zip(box, (*lengths, *lengths), strict=False))


def _square(box: Sequence[float], size: tuple[int, ...]) -> Numbers:
    height, width = size
    side = max(size)
    before = ((side - width) // 2, (side - height) // 2) * 2
    return tuple(value * side - offset for value, offset in zip(box, before, strict=False))


def _fenced(random: Random, text: str) -> str:
    return random.choice(
        (text, f"```json\n{text}\n```", f"2 findings (3.5 cm) are seen.\n{text}\nFollow-up in 6 months.")
    )


def _lists(boxes: Sequence[Sequence[float]]) -> str:
    return ", ".join(f"[{', '.join(map(str, box))}]" for box in boxes)


def _run_lengths(mask: np.ndarray) -> dict[str, Any]:
    encoded = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode()}


def _rectangle(box: Sequence[float], size: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(size, dtype=bool)
    x1, y1, x2, y2 = map(int, box)
    mask[y1:y2, x1:x2] = True
    return mask


def reply_in(dialect: str, random: Random, size: tuple[int, ...], count: int) -> Meant:
    """Return a reply in a dialect with `count` boxes, points or masks.

    Args:
        dialect: Its name; `qwen3_vl:points` and the like for its points.
        random: Chooses the numbers, the labels and what stands around them.
        size: (H, W), or (D, H, W) for `bare`, `m3d`, `json` and `points`.
        count: At least 1.
    """
    name, _, points = dialect.partition(":")
    labels = [random.choice(LABELS) for _ in range(count)]
    return _WRITERS[name](random, size, count, labels, bool(points))


def _tagged(pattern: str, divisor: int, frame: str, name: str) -> Callable[..., Meant]:
    def write(random: Random, size: Any, count: int, labels: list[str], _: bool) -> Meant:
        boxes = _whole_boxes(random, 999, count)
        said = [
            pattern.format(label=label, a=box[0], b=box[1], c=box[2], d=box[3])
            for label, box in zip(labels, boxes, strict=True)
        ]
        reply = _fenced(random, random.choice((" ", " and ", "\n", "")).join(said))
        return Meant(reply, name, frame, None, size, [_scaled(box, size, divisor) for box in boxes], labels=labels)

    return write


def _qwen_json(key: str, point_key: str, name: str) -> Callable[..., Meant]:
    def write(random: Random, size: Any, count: int, labels: list[str], points: bool) -> Meant:
        boxes = _whole_boxes(random, 1000, count)
        numbers = [box[:2] for box in boxes] if points else boxes
        yfirst = name == "box_2d"
        written = [_swapped(box) if yfirst else box for box in numbers]
        items = [
            {point_key if points else key: list(one), "label": label}
            for one, label in zip(written, labels, strict=True)
        ]
        if name == "qwen2_5_vl":
            # 8 x 10 patches of 28: any image is resized to 224 x 280.
            frame, args = "resized", {"height": 224, "width": 280}
            meant = [_resized(one, size, 224, 280) for one in numbers]
        else:
            frame, args = "per_mille", None
            meant = [_scaled(one, size, 1000) for one in numbers]
        reply = _fenced(random, json.dumps(items, ensure_ascii=False))
        boxes_meant, at = ([], meant) if points else (meant, [])
        return Meant(reply, name, frame, args, size, boxes_meant, at, labels=labels)

    return write


def _swapped(box: Sequence[float]) -> tuple[float, ...]:
    return tuple(value for place in range(0, len(box), 2) for value in (box[place + 1], box[place]))


def _resized(box: Sequence[float], size: Any, height: int, width: int) -> Numbers:
    ratios = (size[1] / width, size[0] / height) * 2
    return tuple(value * ratio for value, ratio in zip(box, ratios, strict=False))


def _bracketed(name: str) -> Callable[..., Meant]:
    def write(random: Random, size: Any, count: int, labels: list[str], points: bool) -> Meant:
        axes = len(size)
        whole = _whole_boxes(random, 1000, count, axes)
        if points:
            whole = [box[:axes] for box in whole]
        if name in ("cogvlm", "ferret"):
            frame, meant = "per_mille", [_scaled(box, size, 1000) for box in whole]
            digits = "{:03d}" if name == "cogvlm" else "{}"
            comma = "," if name == "cogvlm" else ", "
            written = [comma.join(digits.format(value) for value in box) for box in whole]
            around = "{label} [[{box}]]" if name == "cogvlm" else "{label} [{box}]."
        else:
            shares = [tuple(value / 1000 for value in box) for box in whole]
            frame = "unit" if axes == 3 or name in ("bare", "points") else "padded_square_unit"
            lengths = size[::-1] if points else size  # of a point x comes first, also in a volume
            meant = [_scaled(box, lengths, 1) if axes == 3 else _scaled(box, size, 1) for box in shares]
            if frame == "padded_square_unit":
                meant = [_square(box, size) for box in shares]
            comma = "," if name == "shikra" else ", "
            written = [comma.join(f"{value:.3f}" for value in box) for box in shares]
            around = "the {label} [{box}]"
        if name == "shikra" and random.random() < 0.5:
            reply = f"nodes [{';'.join(written)}]"
        else:
            said = [around.format(label=label, box=box) for label, box in zip(labels, written, strict=True)]
            reply = random.choice((" ", "\n", " and ")).join(said)
        order = {"order": "xyzxyz"} if points and axes == 3 else None
        boxes, at = ([], meant) if points else (meant, [])
        return Meant(_fenced(random, reply), name, frame, order, size, boxes, at, labels=labels)

    return write


def _m3d(random: Random, size: Any, count: int, labels: list[str], _: bool) -> Meant:
    boxes = _whole_boxes(random, 1000, count, 3)
    shares = [tuple(value / 1000 for value in box) for box in boxes]
    said = [f"<bx_start>[{', '.join(f'{value:.3f}' for value in box)}]<bx_end>" for box in shares]
    reply = random.choice((" and ", "\n")).join(f"The {label}: {box}" for label, box in zip(labels, said, strict=True))
    ends = [tuple(value * length for value, length in zip(box, size * 2, strict=True)) for box in shares]
    meant = [(*box[:3], *(value + 1 for value in box[3:])) for box in ends]
    return Meant(reply, "m3d", "unit", None, size, meant, labels=labels)


def _paligemma(random: Random, size: Any, count: int, labels: list[str], _: bool) -> Meant:
    boxes = _whole_boxes(random, 1023, count)
    said = []
    for label, (x1, y1, x2, y2) in zip(labels, boxes, strict=True):
        codes = "".join(f"<seg{random.randrange(128):03d}>" for _ in range(16)) if random.random() < 0.3 else ""
        said.append(f"<loc{y1:04d}><loc{x1:04d}><loc{y2:04d}><loc{x2:04d}>{codes} {label}")
    meant = [_scaled(box, size, 1024) for box in boxes]
    return Meant(" ; ".join(said), "paligemma", "loc_1024", None, size, meant, labels=labels)


def _florence(random: Random, size: Any, count: int, labels: list[str], _: bool) -> Meant:
    boxes = _whole_boxes(random, 999, count)
    one_label = random.random() < 0.5
    said = "".join(
        ("" if one_label and index else label) + "".join(f"<loc_{value}>" for value in box)
        for index, (label, box) in enumerate(zip(labels, boxes, strict=True))
    )
    meant = [_scaled(box, size, 1000, 0.5) for box in boxes]
    labels = labels[:1] * count if one_label else labels
    return Meant(f"</s><s>{said}</s>", "florence2", "bins_1000_centre", None, size, meant, labels=labels)


def _florence_polygons(random: Random, size: Any, count: int, labels: list[str], _: bool) -> Meant:
    height, width = size
    said, masks = [], []
    for label, box in zip(labels, _whole_boxes(random, 999, count), strict=True):
        x1, y1, x2, y2 = box
        corners = [x1, y1, x2, y1, x2, y2, x1, y2]
        said.append(f"{label}<poly>{''.join(f'<loc_{value}>' for value in corners)}</poly>")
        rows = (np.arange(height) + 0.5)[:, None] * 1000 / height - 0.5
        columns = (np.arange(width) + 0.5)[None, :] * 1000 / width - 0.5
        masks.append((rows >= y1) & (rows <= y2) & (columns >= x1) & (columns <= x2))
    return Meant("".join(said), "florence2_polygons", "bins_1000_centre", None, size, masks=masks, labels=labels)


def _kosmos(random: Random, size: Any, count: int, labels: list[str], _: bool) -> Meant:
    meant, pairs = [], []
    for x1, y1, x2, y2 in _whole_boxes(random, 31, count):
        if random.random() < 0.2:
            y2 = y1
        pairs.append(f"<patch_index_{y1 * 32 + x1:04d}><patch_index_{y2 * 32 + x2:04d}>")
        cells = (x1, y1, x2 + 1, y2 + 1) if y1 == y2 else (x1 + 0.5, y1 + 0.5, x2 + 0.5, y2 + 0.5)
        meant.append(_scaled(cells, size, 32))
    if random.random() < 0.5:
        said = f"<phrase>{labels[0]}</phrase><object>{'</delimiter_of_multi_objects/>'.join(pairs)}</object>"
        labels = labels[:1] * count
    else:
        said = " beside".join(
            f"<phrase> {label}</phrase><object>{pair}</object>" for label, pair in zip(labels, pairs, strict=True)
        )
    return Meant(f"<grounding> An image of{said}.", "kosmos2", "patches_32", None, size, meant, labels=labels)


def _molmo(random: Random, size: Any, count: int, labels: list[str], _: bool) -> Meant:
    points = [(random.randrange(1001), random.randrange(1001)) for _ in range(count)]
    meant = [_scaled(point, size, 1000) for point in points]
    form = random.randrange(4)
    if form == 0:
        said = " ".join(
            f'<point x="{x / 10:.1f}" y="{y / 10:.1f}" alt="{label}">{label}</point>'
            for (x, y), label in zip(points, labels, strict=True)
        )
    elif form == 1:
        given = " ".join(f'x{i}="{x / 10:.1f}" y{i}="{y / 10:.1f}"' for i, (x, y) in enumerate(points, 1))
        labels = labels[:1] * count
        said = f'<points {given} alt="{labels[0]}">{labels[0]}</points>'
    else:
        click = "Click({:.1f}, {:.1f})" if form == 2 else "({:.1f}, {:.1f})"
        said, labels = " and ".join(click.format(x / 10, y / 10) for x, y in points), [""] * count
    return Meant(said, "molmo", "percent", None, size, points=meant, labels=labels)


def _molmo2(random: Random, size: Any, count: int, labels: list[str], _: bool) -> Meant:
    points = [(random.randrange(1001), random.randrange(1001)) for _ in range(count)]
    coords = " ".join(f"{i} {x:03d} {y:03d}" for i, (x, y) in enumerate(points, 1))
    said = f'<points coords="1 {coords}" alt="{labels[0]}">{labels[0]}</points>'
    meant = [_scaled(point, size, 1000) for point in points]
    return Meant(said, "molmo2", "per_mille", None, size, points=meant, labels=labels[:1] * count)


def _sa_co(random: Random, size: Any, count: int, *_: Any) -> Meant:
    boxes = _pixel_boxes(random, size, count)
    masks = [_rectangle(box, size) for box in boxes]
    names = ("x_min", "y_min", "x_max", "y_max")
    lengths = (size[1], size[0]) * 2
    shares = [tuple(round(value / length, 6) for value, length in zip(box, lengths, strict=True)) for box in boxes]
    said = json.dumps(
        {
            "masks": [_run_lengths(mask) for mask in masks],
            "boxes": [dict(zip(names, share, strict=True)) for share in shares],
            "scores": [round(random.random(), 3) for _ in boxes],
        }
    )
    meant = [_scaled(share, size, 1) for share in shares]
    return Meant(_fenced(random, said), "saco_json", "unit", None, size, meant, masks=masks, labels=[""] * 2 * count)


def _pixel_boxes(random: Random, size: Any, count: int) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = []
    for _ in range(count):
        (y1, y2), (x1, x2) = (sorted(random.sample(range(length + 1), 2)) for length in size)
        found.append((x1, y1, x2, y2))
    return found


def _instances(name: str) -> Callable[..., Meant]:
    def write(random: Random, size: Any, count: int, labels: list[str], points: bool) -> Meant:
        if len(size) == 3:
            boxes = _whole_boxes(random, min(size), count, 3)
            items: list[Any] = [{"bbox": list(box), "label": label} for box, label in zip(boxes, labels, strict=True)]
            said = json.dumps(items, ensure_ascii=False)
            return Meant(said, name, "pixels", None, size, [tuple(map(float, box)) for box in boxes], labels=labels)
        boxes = _pixel_boxes(random, size, count)
        masks, items = [], []
        for label, box in zip(labels, boxes, strict=True):
            x1, y1, x2, y2 = box
            mask = _rectangle(box, size)
            corners = [x1, y1, x2, y1, x2, y2, x1, y2]
            shape = random.choice((_run_lengths(mask), [corners]))
            key = "segmentation" if name == "coco" or isinstance(shape, dict) else "polygon"
            item: dict[str, Any] = {"label": label, "bbox": [x1, y1, x2 - x1, y2 - y1] if name == "coco" else list(box)}
            if points:
                item["point"] = [x1, y1]
            items.append(item | {key: shape, "score": round(random.random(), 3)})
            masks.append(mask)
        meant = [tuple(map(float, box)) for box in boxes]
        at = [box[:2] for box in meant] if points else []
        said = _fenced(random, json.dumps(items, ensure_ascii=False))
        return Meant(said, name, "pixels", None, size, meant, at, masks, labels * (3 if points else 2))

    return write


def _pictures(random: Random, size: Any, count: int, labels: list[str], _: bool) -> Meant:
    boxes, items, masks = _whole_boxes(random, 1000, count), [], []
    for label, box in zip(labels, boxes, strict=True):
        file = BytesIO()
        # Bright above and dark below, so that the mask is the upper half of the box.
        Image.fromarray(np.repeat(np.array([[255], [0]], dtype=np.uint8), 3, axis=1)).save(file, "PNG")
        url = f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"
        items.append({"box_2d": list(_swapped(box)), "mask": url, "label": label})
        x1, y1, x2, y2 = _scaled(box, size, 1000)
        rows, columns = np.arange(size[0])[:, None] + 0.5, np.arange(size[1])[None, :] + 0.5
        masks.append((rows >= y1) & (rows < (y1 + y2) / 2) & (columns >= x1) & (columns < x2))
    said = _fenced(random, json.dumps(items, ensure_ascii=False))
    meant = [_scaled(box, size, 1000) for box in boxes]
    return Meant(said, "box_2d_masks", "per_mille", None, size, meant, masks=masks, labels=labels * 2)


def _by_label(random: Random, size: Any, count: int, labels: list[str], _: bool) -> Meant:
    boxes = _whole_boxes(random, 1000, count)
    said: dict[str, list[Any]] = {}
    for label, box in zip(labels, boxes, strict=True):
        said.setdefault(label, []).append(list(box))
    meant = [_scaled(box, size, 1000) for several in said.values() for box in several]
    labels = [label for label, several in said.items() for _ in several]
    written = {label: several[0] if len(several) == 1 else several for label, several in said.items()}
    reply = _fenced(random, json.dumps(written, ensure_ascii=False))
    return Meant(reply, "json_by_label", "per_mille", None, size, meant, labels=labels)


def _phrases(random: Random, size: Any, count: int, labels: list[str], _: bool) -> Meant:
    masks = [_rectangle(box, size) for box in _pixel_boxes(random, size, count)]
    said = random.choice(
        (
            " and ".join(f"<p> {label} </p> [SEG]" for label in labels),
            " and ".join(f"<p>{label}<SEG></p>" for label in labels),
        )
    )
    return Meant(f"The image shows {said}.", "seg_phrase", "none", None, size, masks=masks, labels=labels)


_WRITERS: dict[str, Callable[..., Meant]] = {
    "qwen_vl": _tagged("<ref>{label}</ref><box>({a},{b}),({c},{d})</box>", 1000, "per_mille", "qwen_vl"),
    "qwen2_vl": _tagged(
        "<|object_ref_start|>{label}<|object_ref_end|><|box_start|>({a},{b}),({c},{d})<|box_end|>",
        1000,
        "per_mille",
        "qwen2_vl",
    ),
    "internvl": _tagged("<ref>{label}</ref><box>[[{a}, {b}, {c}, {d}]]</box>", 1000, "per_mille", "internvl"),
    "deepseek_vl2": _tagged(
        "<|ref|>{label}<|/ref|><|det|>[[{a}, {b}, {c}, {d}]]<|/det|>", 999, "per_999", "deepseek_vl2"
    ),
    "glm": _tagged("{label} <|begin_of_box|>[[{a},{b},{c},{d}]]<|end_of_box|>", 1000, "per_mille", "glm"),
    "qwen2_5_vl": _qwen_json("bbox_2d", "point_2d", "qwen2_5_vl"),
    "qwen3_vl": _qwen_json("bbox_2d", "point_2d", "qwen3_vl"),
    "box_2d": _qwen_json("box_2d", "point", "box_2d"),
    **{name: _bracketed(name) for name in ("cogvlm", "ferret", "shikra", "llava", "bare", "points")},
    "box_2d_masks": _pictures,
    "m3d": _m3d,
    "paligemma": _paligemma,
    "florence2": _florence,
    "florence2_polygons": _florence_polygons,
    "kosmos2": _kosmos,
    "molmo": _molmo,
    "molmo2": _molmo2,
    "saco_json": _sa_co,
    "coco": _instances("coco"),
    "json": _instances("json"),
    "json_by_label": _by_label,
    "seg_phrase": _phrases,
}

# (dialect, size) of every form: boxes in 2-D, those in 3-D, and points.
PLANE = (41, 57)
SPACE = (9, 31, 23)
FORMS: tuple[tuple[str, tuple[int, ...]], ...] = (
    *((name, PLANE) for name in _WRITERS if name not in ("m3d", "points")),
    *((name, PLANE) for name in ("qwen2_5_vl:points", "qwen3_vl:points", "box_2d:points", "shikra:points")),
    *(("points:points", PLANE), ("points:points", SPACE), ("json:points", PLANE)),
    *((name, SPACE) for name in ("m3d", "bare", "json")),
)

_TAG = re.compile(r"<[^<>]*>")
_COORDINATE = re.compile(r"<loc_?\d+>|<patch_index_\d+>|[xy]\d*=\"[\d.]+\"|(?<![\w.])-?\d+(?:\.\d+)?(?![\w.])")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


def damaged(reply: str, random: Random) -> str:
    """Return a reply with its structure broken in one place: cut off, or one of its marks lost or doubled."""
    kind = random.choice(("cut", "bracket", "bracket", "tag", "comma", "coordinate", "coordinate", "quote", "fence"))
    if kind == "cut":
        return reply[: random.randrange(len(reply))]
    if kind == "fence":
        return "```json\n" + reply.replace("```", "", 1)
    # Text in quotes is no structure: a bracket of run lengths is a digit of theirs.
    inside = {place for string in _STRING.finditer(reply) for place in range(string.start() + 1, string.end() - 1)}
    patterns = {"bracket": r"[\[\](){}<>|/]", "comma": r"[,;:]", "quote": r'"'}
    pattern = {"tag": _TAG, "coordinate": _COORDINATE}.get(kind) or re.compile(patterns[kind])
    is_mark = kind in patterns
    marks = [mark for mark in pattern.finditer(reply) if not (is_mark and mark.start() in inside)]
    if not marks:
        return reply[: random.randrange(len(reply))]
    mark = random.choice(marks)
    start, end = mark.span()
    if kind == "coordinate" and reply[start] != "<":
        # A coordinate in a list goes, or comes twice, with one of the commas beside it.
        comma = re.compile(r"\s*[,;]\s*").match(reply, end)
        end = comma.end() if comma else end
    again = reply[start:end] if random.random() < 0.5 else None
    if again is None:
        return reply[:start] + reply[end:]
    between = ", " if kind == "coordinate" and again[-1].isdigit() and reply[start] != "<" else ""
    return reply[:end] + between + again + reply[end:]


def every_damage(reply: str) -> set[str]:
    """Return a reply damaged in every single place: cut there, or with one mark, tag or number lost or doubled."""
    found = {reply[:place] for place in range(len(reply))} | {f"```json\n{reply}", reply.replace("```", "", 1)}
    for pattern in (r"[\[\](){}<>|,;:\"'`/=\s]", r"<[^<>]*>", r"[xy]\d*=\"[^\"]*\""):
        for mark in re.finditer(pattern, reply):
            found |= {reply[: mark.start()] + reply[mark.end() :], reply[: mark.end()] + mark[0] + reply[mark.end() :]}
    for number in re.finditer(r"(?<![\w.])-?\d+(?:\.\d+)?", reply):
        start, end = number.span()
        for between in ("", ",", ", ", ";"):
            # Lost together with the comma behind it, or the one before it; doubled with a comma between.
            behind = end + len(between) if reply.startswith(between, end) else end
            before = start - len(between) if reply.endswith(between, 0, start) else start
            found |= {reply[:start] + reply[behind:], reply[:before] + reply[end:]}
            found |= {reply[:end] + between + number[0] + reply[end:]} if between else set()
    return found
