"""Referring expression comprehension: the predicted box against the target's, by IoU and by share above a threshold.

If there are several boxes the first counts, in a text the first that encloses anything. A box is given as numbers, or
as a text that holds it. Corners are all starts, then all ends, of an image or of a volume, in pixels.
"""

from collections.abc import Callable
from dataclasses import replace
from math import isfinite, prod

from harness.errors import DataError
from harness.imaging.frames import Frame, box_from_frame
from harness.metrics.family import Family, Protocol
from harness.metrics.metric import EmptyCases, Metric, Outcome, Parameter
from harness.metrics.ratios import ratio
from harness.records import Prediction, Sample
from harness.text import boxes
from harness.text.boxes import Corners
from harness.text.characters import plain_characters
from harness.text.reply import answer_text

_M3D_EPSILON = 1e-6  # M3D, eval_pos.py; added to the denominator
_NO_BOX = -1.0  # M3D, eval_pos.py, writes this if either text has no box, for a correct refusal too
_M3D_THRESHOLD = 0.2  # arXiv:2404.00578, section 5.4

Sides = tuple[Corners | None, Corners | None]


def true_iou(first: Corners, second: Corners) -> float:
    """Return intersection over union of two half-open boxes, range [0, 1].

    A box whose end lies at or before its start on some axis is empty; if the union is empty the value is 0.

    Source: Jaccard, New Phytologist 11 (1912) 37.
    """
    shared = _volume(_intersection(first, second))
    union = _volume(first) + _volume(second) - shared
    return shared / union if union > 0 else 0.0


def m3d_iou(first: Corners, second: Corners) -> float:
    """Return intersection / (volume of the smallest box around both + 1e-6), range [0, 1).

    The value never exceeds the true IoU, because the denominator also counts what lies between the boxes. An empty or
    inverted box gives 0.

    Source: M3D, eval_pos.py.
    """
    shared = _volume(_intersection(first, second))
    if not shared:
        return 0.0
    half = len(first) // 2
    starts, ends = map(min, first[:half], second[:half]), map(max, first[half:], second[half:])
    return shared / (_volume((*starts, *ends)) + _M3D_EPSILON)


def _intersection(first: Corners, second: Corners) -> Corners:
    half = len(first) // 2
    return (*map(max, first[:half], second[:half]), *map(min, first[half:], second[half:]))


def _volume(corners: Corners) -> float:
    half = len(corners) // 2
    return prod(max(end - start, 0.0) for start, end in zip(corners[:half], corners[half:], strict=True))


# --- which boxes are compared


def _standard_sides(sample: Sample, prediction: Prediction, text_frame: str) -> Sides:
    """Return the predicted and the target box; numbers come before text, and text is brought to original pixels.

    Raises:
        DataError: A box in `text_frame` needs the size of the image, and the sample has none of as many axes.
    """
    target = _standard_target(sample, text_frame)
    if prediction.boxes or prediction.read_as is not None:
        # In a declared dialect the words are read already, and what is no box in it is none in any other.
        return prediction.boxes[0].corners if prediction.boxes else None, target
    reply = plain_characters(answer_text(prediction.text or ""))
    for box in boxes.read_boxes(reply, None if target is None else len(target)):
        corners = _from_text(box.corners, sample, text_frame, percent=box.percent)
        # Corners that enclose nothing are no box: the next one counts, and nothing is swapped or clipped.
        if corners is not None and boxes.is_possible(corners):
            return corners, target
    return None, target


def _standard_target(sample: Sample, text_frame: str = "original") -> Corners | None:
    if sample.target.boxes:
        return sample.target.boxes[0].corners
    corners = boxes.read_standard(sample.target.answers[0]) if sample.target.answers else None
    return None if corners is None else _from_text(corners, sample, text_frame)


def _from_text(corners: Corners, sample: Sample, text_frame: str, *, percent: bool = False) -> Corners | None:
    """Return in original pixels a box that a text gives in `text_frame` or in percent; None if it is not finite."""
    size = sample.media[0].size if sample.media else ()
    if percent:
        if 2 * len(size) != len(corners):
            return None
        corners, text_frame = tuple(value / 100 for value in corners), "m3d" if text_frame == "m3d" else "unit"
    if text_frame == "original":
        return corners
    if 2 * len(size) != len(corners):
        raise DataError(
            f"{sample.id}: a box of {len(corners)} numbers in frame {text_frame} needs an image of "
            f"{len(corners) // 2} axes, found size {tuple(size)}"
        )
    if not all(map(isfinite, corners)):
        return None
    if text_frame == "m3d":
        return boxes.from_m3d(corners, size).corners
    return box_from_frame(corners, size, Frame.parse(text_frame)).corners


def _m3d_sides(sample: Sample, prediction: Prediction) -> Sides:
    """Return the boxes in the two texts, as M3D compares them; a side without a text gives its numbers.

    A text is compared with the target's text if it has one, numbers with the target's numbers if it has them.
    """
    answers, targets = sample.target.answers, sample.target.boxes
    numbers = targets[0].corners if targets else None
    if prediction.text is None:
        found = prediction.boxes[0].corners if prediction.boxes else None
        return found, _m3d_target(sample) if numbers is None else numbers
    found = boxes.read_m3d(prediction.text)
    return found, _m3d_target(sample) if answers else numbers


def _m3d_target(sample: Sample) -> Corners | None:
    if sample.target.answers:
        return boxes.read_m3d(sample.target.answers[0])
    return sample.target.boxes[0].corners if sample.target.boxes else None


def _readable(predicted: Corners | None, target: Corners | None) -> Corners | None:
    """Return the predicted box, or None if it cannot be compared: not finite, or of other axes than the target."""
    if predicted is None or not all(map(isfinite, predicted)):
        return None
    return predicted if target is None or len(predicted) == len(target) else None


# --- scores


def _standard(worth: Callable[[float, float], float]) -> Callable[..., Outcome]:
    """Return a `score` by true IoU; `worth` makes the value from (IoU, threshold)."""

    def score(
        sample: Sample, prediction: Prediction, threshold: float = _M3D_THRESHOLD, text_frame: str = "original"
    ) -> Outcome:
        """Compare by true IoU. A box is worth 0 if there is none to find; no box on either side is undefined."""
        found, target = _standard_sides(sample, prediction, text_frame)
        found = _readable(found, target)
        if target is None:
            return Outcome("undefined") if found is None else Outcome("ok", (0.0, 1.0), {"rule": "nothing_to_find"})
        if found is None:
            return Outcome("unparsed", (0.0, 1.0), {"rule": "no_box"})
        iou = true_iou(found, target)
        return Outcome("ok", (worth(iou, threshold), 1.0), {"iou": iou, "box": list(found)})

    return score


def _m3d(worth: Callable[[float, float], float]) -> Callable[..., Outcome]:
    """Return a `score` by the quotient of M3D; `worth` makes the value from (quotient, threshold)."""

    def score(sample: Sample, prediction: Prediction, threshold: float = _M3D_THRESHOLD) -> Outcome:
        """Compare by the released quotient; a side without a box gives -1, a correct refusal too."""
        found, target = _m3d_sides(sample, prediction)
        found = _readable(found, target)
        if found is None or target is None:
            missed = (worth(_NO_BOX, threshold), 1.0)
            return Outcome("ok" if target is None else "unparsed", missed, {"rule": "no_box"})
        iou = m3d_iou(found, target)
        return Outcome("ok", (worth(iou, threshold), 1.0), {"iou": iou, "box": list(found)})

    return score


def _iou_itself(iou: float, _threshold: float) -> float:
    return iou


def _hit(iou: float, threshold: float) -> float:
    return float(iou > threshold)


def _standard_ceiling(worth: Callable[[float, float], float]) -> Callable[[Sample], float | None]:
    def ceiling(sample: Sample) -> float | None:
        """Return the value of the target box itself, which is 0 if it has no extent; None without a box."""
        target = _standard_target(sample)
        return None if target is None else worth(true_iou(target, target), _M3D_THRESHOLD)

    return ceiling


def _m3d_ceiling(worth: Callable[[float, float], float]) -> Callable[[Sample], float | None]:
    def ceiling(sample: Sample) -> float | None:
        """Return the value of the target box itself: less than 1, and -1 if there is nothing to find."""
        target = _m3d_target(sample)
        return worth(_NO_BOX if target is None else m3d_iou(target, target), _M3D_THRESHOLD)

    return ceiling


# --- the table

_THRESHOLD = Parameter(
    name="threshold", default=_M3D_THRESHOLD, above=0.0, summary="A hit lies above this IoU, in (0, 1)."
)
_EMPTY = EmptyCases(
    prediction="unparsed",
    target=0.0,
    both="undefined",
    note="Empty: no box, in numbers or in words, or only boxes that enclose nothing, in words.",
)
_M3D_SOURCE = "Bench/eval/eval_pos.py of M3D, arXiv:2404.00578"
_TEXT_FRAME = Parameter(
    name="text_frame",
    default="original",
    choices=("original", "unit", "per_mille", "m3d"),
    summary="Frame of a box in words; m3d: shares of the axes, the end being the last voxel inside.",
)


REC_ACCURACY = Family(
    name="rec_accuracy",
    stats=("hits", "samples"),
    line="boxes",
    suits=frozenset({"boxes"}),
    combine=ratio,
    worst=lambda _: (0.0, 1.0),
    formula="1 if `rec_iou` lies above the threshold.",
    protocols=(
        Protocol(
            "standard",
            version=2,
            score=_standard(_hit),
            ceiling=_standard_ceiling(_hit),
            parameters=(_THRESHOLD, _TEXT_FRAME),
            summary="Share of boxes whose IoU with the target lies above the threshold.",
            empty=_EMPTY,
            source="Kazemzadeh et al., EMNLP 2014; threshold of M3D, arXiv:2404.00578",
        ),
        Protocol(
            "m3d",
            version=1,
            score=_m3d(_hit),
            ceiling=_m3d_ceiling(_hit),
            parameters=(_THRESHOLD,),
            summary="Share of boxes in the reply's text whose intersection over enclosing box lies above the "
            "threshold.",
            empty=replace(_EMPTY, both=0.0),
            source=_M3D_SOURCE,
        ),
    ),
)

REC_IOU = Family(
    name="rec_iou",
    stats=("iou", "samples"),
    line="boxes",
    suits=frozenset({"boxes"}),
    combine=ratio,
    protocols=(
        Protocol(
            "standard",
            version=2,
            score=_standard(_iou_itself),
            worst=lambda _: (0.0, 1.0),
            ceiling=_standard_ceiling(_iou_itself),
            parameters=(_TEXT_FRAME,),
            summary="IoU of the predicted box with the target's, in 2-D or 3-D.",
            formula="|P and T| / |P or T| of half-open boxes.",
            empty=_EMPTY,
            source="Jaccard, New Phytologist 11 (1912) 37",
        ),
        Protocol(
            "m3d",
            version=1,
            score=_m3d(_iou_itself),
            worst=lambda _: (_NO_BOX, 1.0),
            ceiling=_m3d_ceiling(_iou_itself),
            caveat="A text without a box counts as -1.",
            summary="Intersection over enclosing box of the boxes in two texts, as released with M3D.",
            formula="|P and T| / (volume of the smallest box around both + 1e-6).",
            range=(_NO_BOX, 1.0),
            empty=replace(_EMPTY, target=_NO_BOX, both=_NO_BOX),
            source=_M3D_SOURCE,
        ),
    ),
)

METRICS: tuple[Metric, ...] = (*REC_ACCURACY.rows(), *REC_IOU.rows())
