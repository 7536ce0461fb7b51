"""Which frames and orders the boxes of a run's replies fit, by the replies and the sizes of the images alone.

No target is looked at: the frame that gives the best score need not be the frame of the model. What contradicts a frame
is a box outside of the image, an end before its start, a number that no token has, or boxes that all lie in a corner.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import DataError, SpecError
from harness.records import Json, Size
from harness.records.codec import request_from_json
from harness.runs import plan_file
from harness.runs.directory import RunDirectory
from harness.text import boxes
from harness.text.characters import plain_characters
from harness.text.dialects.frames import FRAMES, ReplyFrame
from harness.text.dialects.reply_reader import ReplyReader, declared
from harness.text.dialects.shapes import Numbers
from harness.text.dialects.table import DIALECTS
from harness.text.reply import answer_part

# A model may miss the edge of an image by a little; a wrong frame misses it by more than this share of an axis.
_SLACK = 0.02
# Boxes that all end within this share of both axes are in a smaller frame than the one they are taken for.
_CORNER = 0.12
# Fewer boxes may lie in a corner by chance.
_LEAST_BOXES = 5
# Of these the numbers are the indices of tokens or bins, which are whole.
_WHOLE = ("loc_1024", "loc_1023", "bins_1000_centre", "patches_32")
_PLAIN = ("pixels", "resized", "unit", "percent", "per_mille", "per_999", *_WHOLE[:3], "padded_square_unit")
_PLANE_ORDERS, _SPACE_ORDERS = ("xyxy", "yxyx", "xywh"), ("zyxzyx", "xyzxyz")
_MOST_WORDS = 60


class _Written(NamedTuple):
    """The numbers of one box as a reply writes them, and where."""

    sample_id: str
    numbers: Numbers
    size: Size
    reply: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFit:
    """One frame in one order.

    Attributes:
        frame, order: Their names; `declared` says that the run was made with them.
        outside, reversed, no_token: Numbers of boxes that contradict it, by the reason.
        corner: All boxes lie in a corner of their images, if the frame is this one.
        example: Sample and reply of the first contradiction; empty without one.
    """

    frame: str
    order: str
    declared: bool
    boxes: int
    outside: int
    reversed: int
    no_token: int
    corner: bool
    example: str = ""

    @property
    def contradicting(self) -> int:
        """Number of boxes that contradict it."""
        return self.outside + self.reversed + self.no_token

    @property
    def verdict(self) -> str:
        """`fits`, `contradicted by N of M boxes`, or that all boxes would lie in a corner."""
        if self.contradicting:
            return f"contradicted by {self.contradicting} of {self.boxes} boxes"
        return "unlikely: all boxes in one corner" if self.corner else "fits"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameReport:
    """What is known of a run's frame.

    Attributes:
        replies: Replies in words to questions about images.
        read: Those in which a box can be read.
        dialect: The dialect in which the boxes were read; empty for brackets of any kind.
        declared: The dialect and frame of the run; empty if none is declared.
        fits: Every frame and order, those that fit first.
    """

    replies: int
    read: int
    dialect: str
    declared: str
    fits: tuple[FrameFit, ...]

    def to_json(self) -> dict[str, Json]:
        """Return the report as `harness doctor frames --json` writes it."""
        rows = [
            {
                "frame": fit.frame,
                "order": fit.order,
                "declared": fit.declared,
                "verdict": fit.verdict,
                "outside": fit.outside,
                "reversed": fit.reversed,
                "no_token": fit.no_token,
                "example": fit.example,
            }
            for fit in self.fits
        ]
        boxes_read = self.fits[0].boxes if self.fits else 0
        names = {"dialect": self.dialect, "declared": self.declared}
        return {"replies": self.replies, "read": self.read, "boxes": boxes_read, **names, "frames": rows}


def frame_report(run_folder: Path) -> FrameReport:
    """Return which frames and orders the answers of a run fit and which they contradict.

    Raises:
        SpecError: `run_folder` is no run directory, or holds no reply in which a box can be read.
        DataError: Its plan is damaged.
    """
    directory = RunDirectory(run_folder)
    run = directory.read_run()
    reader = _reader(run["model"])
    replies = list(_replies(directory))
    dialect, found = _boxes(replies, reader)
    if not found:
        how = f" in the dialect {reader.dialect.name}" if reader else ""
        raise SpecError(
            f"{run_folder}: {len(replies)} replies about images, and none of them holds a box that can be read{how}; "
            "docs/models.md shows how each dialect is written"
        )
    axes = len(found[0].size)
    same = [box for box in found if len(box.size) == axes]
    orders = _PLANE_ORDERS if axes == 2 else _SPACE_ORDERS
    frames = [ReplyFrame(name) for name in _PLAIN if axes in FRAMES[name].axes and name != "resized"]
    if axes == 2:
        frames.insert(1, ReplyFrame("resized"))
    if reader is not None and reader.frame not in frames:
        frames = [reader.frame, *frames] if reader.frame.name == "patches_32" else [*frames, reader.frame]
    order = "" if reader is None else reader.frame.order or (reader.dialect.order if axes == 2 else orders[0])
    fits = [
        _fit(frame, each, same, declared=reader is not None and frame == reader.frame and each == order)
        for frame in frames
        for each in orders
    ]
    fits.sort(key=lambda fit: (fit.contradicting, fit.corner))
    return FrameReport(
        replies=len(replies),
        read=len({(box.sample_id, box.reply) for box in found}),
        dialect=dialect,
        declared="" if reader is None else str(reader),
        fits=tuple(fits),
    )


def _reader(model: dict[str, Any]) -> ReplyReader | None:
    """Return the reader with which the run was made; None if its model declares none."""
    stored = model.get("reply")
    if stored is None:
        return None
    frame = dict(stored["frame"])
    name = frame.pop("name")
    frame.pop("version")
    if stored["dialect"] == "mask_files":
        raise SpecError("doctor frames: the run's replies are names of mask files, which hold no numbers")
    return declared({"dialect": stored["dialect"], "frame": name, "frame_args": frame}, "run.json: model.reply")


def _replies(directory: RunDirectory) -> Iterator[tuple[str, str, Size]]:
    """Yield (sample id, reply, size of the image as it was shown) of every answer in words about an image or volume."""
    cells, _ = directory.read_cells()
    asked: dict[str, tuple[str, Size]] = {}
    for task, cell in cells.items():
        if cell.unsupported is not None:
            continue
        for row in plan_file.read(directory.plan_path(task)):
            media = request_from_json(json.loads(row.request)).media if row.request else ()
            if media and media[0].record.size:
                asked[row.key] = (row.sample.id, tuple(media[0].record.size))
    if not directory.predictions_path.is_file():
        return
    for value in directory.read_values():
        text = value.get("text")
        if text and value.get("key") in asked:
            sample_id, size = asked[value["key"]]
            yield sample_id, text, size


def _boxes(replies: Sequence[tuple[str, str, Size]], reader: ReplyReader | None) -> tuple[str, list[_Written]]:
    """Return the name of the dialect in which most replies hold a box, and the boxes as they are written in it."""
    names = [reader.dialect.name] if reader else [name for name, each in DIALECTS.items() if each.frame is None]
    best: tuple[str, int, list[_Written]] = ("", 0, [])
    # `bare` last, which also reads the brackets of others; the first of several that read as much counts.
    for name in sorted(names, key=lambda each: each == "bare"):
        found = []
        for sample_id, text, size in replies:
            part = answer_part(text)
            if part is None or len(size) not in DIALECTS[name].axes:
                continue
            shapes = DIALECTS[name].read(part, len(size)).shapes
            found += [_Written(sample_id, shape.numbers, size, text) for shape in shapes if shape.kind == "box"]
        read = len({(box.sample_id, box.reply) for box in found})
        if read > best[1]:
            best = (name, read, found)
    if best[1] or reader is not None:
        return best[0], best[2]
    found = []
    for sample_id, text, size in replies:
        for box in boxes.read_boxes(plain_characters(answer_part(text) or ""), 2 * len(size)):
            if not box.percent:
                found.append(_Written(sample_id, box.corners, size, text))
    return "", found


def _fit(frame: ReplyFrame, order: str, found: Sequence[_Written], *, declared: bool) -> FrameFit:
    counts = {"outside": 0, "reversed": 0, "no_token": 0}
    example, reach = "", 0.0
    for box in found:
        lengths = box.size[::-1] if len(box.size) == 2 else box.size
        try:
            corners = frame.box(box.numbers, box.size, order)
        except DataError:  # an image that smart_resize refuses says nothing of the frame
            continue
        half = len(corners) // 2
        shares = [value / length for value, length in zip(corners, (*lengths, *lengths), strict=True)]
        reach = max(reach, *shares)
        reason = ""
        if frame.name in _WHOLE and any(value != int(value) for value in box.numbers):
            reason = "no_token"
        elif any(start > end for start, end in zip(corners[:half], corners[half:], strict=True)):
            reason = "reversed"
        elif min(shares) < -_SLACK or max(shares) > 1 + _SLACK:
            reason = "outside"
        if reason:
            counts[reason] += 1
            example = example or f"{box.sample_id}: {' '.join(box.reply.split())[:_MOST_WORDS]}"
    shown = frame.name + (str(tuple(frame.arguments.values())) if frame.arguments else "")
    return FrameFit(
        frame=shown,
        order=order,
        declared=declared,
        boxes=len(found),
        corner=len(found) >= _LEAST_BOXES and reach < _CORNER,
        example=example,
        **counts,
    )
