"""Boxes as other harnesses read and score them: lmms-eval, VLMEvalKit, EvalScope.

They differ in the frame that the numbers of a reply are taken in, so one set of right boxes scores 1 under one of them
and 0 under the next; docs/metrics.md shows it. All read the words of the reply; a model that gives boxes as numbers is
read as if it had written them as a list. Images only: a sample without a box in two dimensions has no value.
"""

import json
import re
from collections.abc import Callable, Iterator
from math import isfinite
from typing import NamedTuple

from harness.metrics.family import Protocol
from harness.metrics.grounding.rec import REC_ACCURACY, REC_IOU, true_iou
from harness.metrics.metric import EmptyCases, Metric, Outcome
from harness.metrics.ratios import ratio
from harness.records import Json, Prediction, Sample
from harness.text.boxes import Corners

_NUMBER = r"(-?\d+(?:\.\d+)?)"
_ANY_NUMBER = r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?"
_LIST_OF_FOUR = re.compile(rf"\[\s*{_NUMBER},\s*{_NUMBER},\s*{_NUMBER},\s*{_NUMBER}\s*\]")
_COMMA_OR_BLANKS = r"(?:\s*,\s*|\s+)"
_FOUR_IN_A_ROW = re.compile(_COMMA_OR_BLANKS.join([_NUMBER] * 4))
_VLMEVALKIT_LIST = re.compile(r"\[\s*" + _COMMA_OR_BLANKS.join([f"({_ANY_NUMBER})"] * 4) + r"\s*\]")
_FENCE = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL | re.IGNORECASE)
# Keys of an object that lmms-eval takes for its box, in this order.
_BOX_KEYS = ("bbox_2d", "bbox", "box", "coordinates", "coord", "location", "position")

_THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)
_NAMES = ("acc10", "acc30", "acc50", "acc70", "acc90")
_NO_BOX: Corners = (0.0, 0.0, 0.0, 0.0)  # what all but VLMEvalKit score in place of a box they did not find
_LARGEST_FRACTION = 1.5  # VLMEvalKit, _to_absolute: up to here the numbers are shares of the sides
_LARGEST_THOUSANDTH = 1000.0  # and up to here thousandths


class _Read(NamedTuple):
    """A reply against a target, both in the frame that the protocol compares in.

    Attributes:
        found: x1 y1 x2 y2; None if the reply holds no box.
        target: x1 y1 x2 y2.
        iou: 0 if there is no box.
        centre: 1 if the centre that the protocol looks at lies in the other box, edges included.
    """

    found: Corners | None
    target: Corners
    iou: float
    centre: float


# --- how each harness reads


def lmms_eval_boxes(reply: str) -> list[Corners]:
    """Return every box that lmms-eval's grounding task finds in a reply, as written.

    JSON comes first: the first code fence, the whole reply, then from the first [ to the last ], or { to }. If what is
    parsed first holds no box, every run of four decimals that commas or blanks part is one.

    Source: lmms-eval, tasks/refcoco_grounding/utils.py.
    """
    text = reply.strip()
    fence = _FENCE.search(text)
    snippets = [*([fence.group(1)] if fence else []), text]
    for opening, closing in ("[]", "{}"):
        start, end = text.find(opening), text.rfind(closing)
        if 0 <= start < end:
            snippets.append(text[start : end + 1])
    for snippet in snippets:
        try:
            found = list(_boxes_in(json.loads(snippet)))
        # Numbers of thousands of digits, brackets nested too deep.
        except (ValueError, RecursionError, OverflowError):
            continue
        if found:
            return found
        break
    return [_corners(match.groups()) for match in _FOUR_IN_A_ROW.finditer(reply)]


def _boxes_in(value: Json) -> Iterator[Corners]:
    # No recursion: a reply may nest deeper than Python calls.
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, list):
            if len(item) == 4 and all(isinstance(number, int | float) for number in item):
                yield _corners(item)
            else:
                left.extend(reversed(item))
        elif isinstance(item, dict):
            box = next((box for key in _BOX_KEYS if (box := _four(item.get(key))) is not None), None)
            if box is None:
                left.extend(reversed(item.values()))
            else:
                yield box


def _four(value: Json) -> Corners | None:
    if not isinstance(value, list) or len(value) != 4:
        return None
    try:
        return _corners(value)
    except (TypeError, ValueError):
        return None


def _corners(numbers: "list[Json] | tuple[str, ...]") -> Corners:
    x1, y1, x2, y2 = (float(number) for number in numbers)
    return x1, y1, x2, y2


# The order of the operations is that of the sources: an IoU of exactly 0.5 must stay on its side.
def _shares(corners: Corners, width: float, height: float) -> Corners:
    x1, y1, x2, y2 = corners
    return x1 / width, y1 / height, x2 / width, y2 / height


def _pixels(corners: Corners, width: float, height: float, whole: float) -> Corners:
    x1, y1, x2, y2 = (number / whole for number in corners)
    return x1 * width, y1 * height, x2 * width, y2 * height


def _centre_lies_in(inner: Corners, outer: Corners) -> float:
    x, y = (inner[0] + inner[2]) / 2, (inner[1] + inner[3]) / 2
    return float(outer[0] <= x <= outer[2] and outer[1] <= y <= outer[3])


def _signed_iou(first: Corners, second: Corners) -> float:
    """Return IoU with areas as products of signed sides; 0 where the union is not above 0."""
    # lmms-eval divides by a union of 0 and fails. Here it is 0, since no reply may leave the mean.
    width = max(0.0, min(first[2], second[2]) - max(first[0], second[0]))
    height = max(0.0, min(first[3], second[3]) - max(first[1], second[1]))
    areas = ((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    union = sum(areas) - width * height
    iou = width * height / union if union > 0 else 0.0
    return iou if isfinite(iou) else 0.0


def _lmms_eval(reply: str, target: Corners, width: float, height: float) -> _Read:
    """Return the box of the best IoU with the target among all boxes, each as pixels and as thousandths.

    The first of equals counts. Corners are neither clipped nor swapped; an inverted box has no area.
    """
    found = [one for box in lmms_eval_boxes(reply) for one in (box, _pixels(box, width, height, 1000.0))]
    if not found:
        return _Read(None, target, 0.0, _centre_lies_in(_NO_BOX, target))
    ious = [iou if isfinite(iou := true_iou(box, target)) else 0.0 for box in found]
    best = max(range(len(found)), key=ious.__getitem__)
    return _Read(found[best], target, ious[best], _centre_lies_in(found[best], target))


def _lmms_eval_rec(reply: str, target: Corners, width: float, height: float) -> _Read:
    """Return the first list of four decimals as shares of the sides, whatever their size."""
    aim = _shares(target, width, height)
    match = _LIST_OF_FOUR.search(reply)
    found = _corners(match.groups()) if match else None
    box = found or _NO_BOX
    return _Read(found, aim, _signed_iou(box, aim), _centre_lies_in(box, aim))


def _evalscope(reply: str, target: Corners, width: float, height: float) -> _Read:
    """Return the first list of four decimals: pixels if one of them is above 1, else shares of the sides.

    Unlike in lmms-eval, the centre is that of the target, and it has to lie in the predicted box.
    """
    aim = _shares(target, width, height)
    match = _LIST_OF_FOUR.search(reply)
    found = _corners(match.groups()) if match else None
    if found and any(number > 1 for number in found):
        found = _shares(found, width, height)
    box = found or _NO_BOX
    return _Read(found, aim, _signed_iou(box, aim), _centre_lies_in(aim, box))


def _vlmevalkit(reply: str, target: Corners, width: float, height: float) -> _Read:
    """Return the first list of four numbers, or the first four numbers, in a frame chosen by the largest of them.

    Up to 1.5 they are shares of the sides, up to 1000 thousandths, above that pixels; then the box is clipped to the
    image, and inverted corners are swapped.
    """
    match = _VLMEVALKIT_LIST.search(reply)
    numbers = match.groups() if match else tuple(re.findall(_ANY_NUMBER, reply)[:4])
    if len(numbers) < 4:
        return _Read(None, target, 0.0, 0.0)
    found = _corners(numbers)
    largest = max(map(abs, found))
    if largest <= _LARGEST_FRACTION:
        found = _pixels(found, width, height, 1.0)
    elif largest <= _LARGEST_THOUSANDTH:
        found = _pixels(found, width, height, 1000.0)
    x1, x2 = sorted(min(max(x, 0.0), width) for x in found[::2])
    y1, y2 = sorted(min(max(y, 0.0), height) for y in found[1::2])
    box = (x1, y1, x2, y2)
    return _Read(box, target, true_iou(box, target), _centre_lies_in(box, target))


# --- scores

Reader = Callable[[str, Corners, float, float], _Read]


def _aim(sample: Sample) -> tuple[Corners, float, float] | None:
    """Return the target's box and the image's width and height; None if there is no box or no image of two axes."""
    boxes = sample.target.boxes
    size = sample.media[0].size if sample.media else ()
    if not boxes or len(boxes[0].corners) != 4 or len(size) != 2 or not all(size):
        return None
    return boxes[0].corners, float(size[1]), float(size[0])


def _scored_as(read: Reader) -> Callable[[Sample, Prediction], Outcome]:
    """Return the `score` of a row that reads replies this way."""

    def score(sample: Sample, prediction: Prediction) -> Outcome:
        """Return the IoU, whether it reaches 0.1, 0.3 ... 0.9, and the hit of the centre."""
        aim = _aim(sample)
        if aim is None:
            return Outcome("undefined", detail={"rule": "no_box_in_two_dimensions"})
        text = prediction.text
        if text is None and prediction.boxes:
            text = str(list(prediction.boxes[0].corners))
        found = read(text or "", *aim)
        hits = (float(found.iou >= threshold) for threshold in _THRESHOLDS)
        stats = (found.iou, *hits, found.centre, 1.0)
        if found.found is None:
            return Outcome("unparsed", stats, {"rule": "no_box"})
        return Outcome("ok", stats, {"iou": found.iou, "box": list(found.found)})

    return score


def _ceiling(sample: Sample) -> float | None:
    """Return the value of the target's box in the frame that the protocol expects: 0 if it has no extent."""
    aim = _aim(sample)
    return None if aim is None else float(true_iou(aim[0], aim[0]) > 0)


class _Harness(NamedTuple):
    """What the rows of one harness share.

    Attributes:
        read: How it reads a reply.
        says: The rule in a sentence that begins after "Share of boxes ... " or "IoU of the box ... ".
        center: Whether it reports `center_acc`; VLMEvalKit has neither this nor other thresholds.
        source: Package, commit and file.
        caveat: What the number hides.
    """

    read: Reader
    says: str
    center: bool
    source: str
    caveat: str


_HARNESSES = {
    "lmms-eval": _Harness(
        _lmms_eval,
        "as lmms-eval's grounding task reads it: of all boxes, in pixels and thousandths, the one nearest the target.",
        True,
        "lmms-eval at 75571cfe, tasks/refcoco_grounding/utils.py; github.com/EvolvingLMMs-Lab/lmms-eval",
        "The target chooses the box and its frame, so naming more boxes never lowers the score.",
    ),
    "lmms-eval-rec": _Harness(
        _lmms_eval_rec,
        "as lmms-eval's rec task reads it: the first list of four, always as shares of the sides.",
        True,
        "lmms-eval at 75571cfe, tasks/refcoco/utils_rec.py; github.com/EvolvingLMMs-Lab/lmms-eval",
        "Boxes in pixels or thousandths score 0 however right they are.",
    ),
    "vlmevalkit": _Harness(
        _vlmevalkit,
        "as VLMEvalKit reads it: shares up to 1.5, thousandths up to 1000, else pixels; clipped, corners swapped.",
        False,
        "VLMEvalKit at e8e78f05, vlmeval/dataset/refcoco.py; github.com/open-compass/VLMEvalKit",
        "Pixels up to 1000 are read as thousandths, so right boxes on images other than 1000 x 1000 lose.",
    ),
    "evalscope": _Harness(
        _evalscope,
        "as EvalScope reads it: the first list of four, in pixels if a number is above 1, else as shares of the sides.",
        True,
        "EvalScope at fde259d2, evalscope/benchmarks/refcoco; github.com/modelscope/evalscope",
        "Thousandths are read as pixels. `center_acc` asks for the target's centre in the predicted box.",
    ),
}
_COLUMNS = ("iou", *_NAMES, "center_acc")  # of the stats, before the number of samples


def _rows(family_values: str, head: str, opening: str) -> tuple[Metric, ...]:
    """Return the rows of one metric, its headline being the column `head` of the stats."""
    family = REC_IOU if family_values == "rec_iou" else REC_ACCURACY
    rows = []
    for name, harness in _HARNESSES.items():
        others = (*_NAMES, "center_acc") if harness.center else ("acc50",)
        places = [_COLUMNS.index(column) for column in (head, *others)]
        rows.append(
            family.row(
                Protocol(
                    name,
                    version=1,
                    values=(family_values, *others),
                    stats=(*_COLUMNS, "samples"),
                    line="sized_boxes",
                    score=_scored_as(harness.read),
                    combine=lambda sums, places=tuple(places): ratio(sums)[..., places],  # type: ignore[misc]
                    worst=lambda sample: (0.0,) * len(_COLUMNS) + (float(_aim(sample) is not None),),
                    ceiling=_ceiling,
                    caveat=harness.caveat,
                    certificate="Of all boxes the one nearest the target counts: two hundred of them find most targets."
                    if name == "lmms-eval"
                    else None,
                    summary=f"{opening} {harness.says}",
                    formula="|P and T| / |P or T| of half-open boxes."
                    if head == "iou"
                    else "1 if `rec_iou` is 0.5 or more; `acc10` to `acc90` the same at 0.1 to 0.9."
                    if harness.center
                    else "1 if `rec_iou` is 0.5 or more.",
                    empty=EmptyCases(
                        prediction="unparsed",
                        target="undefined",
                        both="undefined",
                        note="Empty: no box in the words, or no box to find.",
                    ),
                    source=harness.source,
                )
            )
        )
    return tuple(rows)


METRICS: tuple[Metric, ...] = (
    *_rows("rec_accuracy", "acc50", "Share of boxes of IoU 0.5 or more,"),
    *_rows("rec_iou", "iou", "IoU of the box"),
)
