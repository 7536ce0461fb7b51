"""Reading a reply: a declared dialect in a declared frame becomes boxes, points and masks of the original image."""

import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from math import isfinite
from pathlib import Path, PurePosixPath
from typing import Literal

from harness.errors import DataError, SpecError, nearest
from harness.records import Box, Json, Mask, Size
from harness.text.boxes import is_possible
from harness.text.dialects.frames import ReplyFrame
from harness.text.dialects.shapes import Numbers, Shape
from harness.text.dialects.table import DIALECTS, Dialect
from harness.text.reply import answer_span

_FOLDER = "folder"  # of `mask_files`, in frame_args
_GLUED = re.compile(r"(?:assistant)?(?:analysis|commentary)(?=[\[{<(`])")
_GLUED_FINAL = "assistantfinal"
_HALF_MARK = re.compile(
    r"<\s*/?\s*(?:think|thought|reason|seed:think|unused9[45])"
    r"|\b(?:think(?:ing)?|thoughts?|reason(?:ing)?|unused9[45])\s*>|[◁▷]|(?:begin|end)_of_thought",
    re.IGNORECASE,
)
_MOST_PICTURE = 2**24  # pixels of a mask in the words of a reply
_HALF = 127  # of 255, as Google's notebooks for Gemini 2.5 cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """The name and the confidence of a box, point or mask; an empty name and None where the reply gives none."""

    label: str = ""
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a reply says, in the frame of the original image.

    Attributes:
        status: `unparsed` if nothing can be read; a reply that says in its dialect that there is nothing is `ok`.
        boxes: In the order of the reply, in pixels, neither rounded nor clipped, of possible corners only.
        points: (x, y) or (x, y, z) of each point in pixels, a pixel's centre being half a pixel behind its index.
        masks: Of the size of the image.
        phrases: (name, span in the reply) of each mask that the model gives beside its words; a span may be None.
        box_names, point_names, mask_names: One per box, point and mask.
    """

    status: Literal["ok", "unparsed"] = "unparsed"
    boxes: tuple[Box, ...] = ()
    points: tuple[Numbers, ...] = ()
    masks: tuple[Mask, ...] = ()
    phrases: tuple[tuple[str, tuple[int, int] | None], ...] = ()
    box_names: tuple[Named, ...] = ()
    point_names: tuple[Named, ...] = ()
    mask_names: tuple[Named, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of boxes, points and phrases, in this order."""
        names = (*self.box_names, *self.point_names)
        return (*(name.label for name in names), *(label for label, _ in self.phrases))


@dataclass(frozen=True, slots=True)
class ReplyReader:
    """A dialect and a frame, declared for a model.

    Attributes:
        dialect: A line of the table.
        frame: The frame of its numbers.
        folder: Of `mask_files`, where the files are; None for any other dialect.
    """

    dialect: Dialect
    frame: ReplyFrame
    folder: Path | None = None

    @classmethod
    def of(cls, dialect: Json, frame: Json, frame_args: Json = None, where: str = "reply") -> "ReplyReader":
        """Return the reader of a dialect in a frame.

        Args:
            dialect: A name in `DIALECTS`.
            frame: A name in `harness.text.dialects.frames.FRAMES`; None means `none`.
            frame_args: The frame's arguments and `order`, an object or None.
            where: Begins the messages.
        Raises:
            SpecError: There is no such dialect or frame, an argument is wrong, or the two do not belong together.
        """
        if not isinstance(dialect, str) or dialect not in DIALECTS:
            hint = nearest(dialect, list(DIALECTS)) if isinstance(dialect, str) else ""
            raise SpecError(f"{where}: expected a dialect, one of {', '.join(DIALECTS)}, got {dialect!r}{hint}")
        found = DIALECTS[dialect]
        arguments = {} if frame_args is None else frame_args
        folder = None
        if found.name == "mask_files" and isinstance(arguments, Mapping):
            arguments = dict(arguments)
            folder = arguments.pop(_FOLDER, None)
            if not isinstance(folder, str) or not Path(folder).is_dir():
                raise SpecError(f'{where}: {dialect} needs frame_args={{"folder": "..."}}, a folder, got {folder!r}')
        named = "none" if frame is None else frame
        place = ReplyFrame.read(named, arguments, f"{where}: frame")
        if found.frame is not None and place.name != found.frame:
            raise SpecError(f"{where}: {dialect} has the frame {found.frame} and no other, got '{named}'")
        if found.frame is None and place.name in ("none", "patches_32"):
            usual = " or ".join(found.frames)
            raise SpecError(
                f"{where}: {dialect} writes numbers, whose frame must be named (usually {usual}), got '{named}'"
            )
        return cls(found, place, None if folder is None else Path(folder))

    def identity(self) -> dict[str, Json]:
        """Return what decides a reading, versions included: part of the model's identity."""
        return {"dialect": self.dialect.name, "version": self.dialect.version, "frame": self.frame.identity()}

    def __str__(self) -> str:
        arguments = ", ".join(f"{name}={value}" for name, value in self.frame.arguments.items())
        order = "" if self.frame.order is None else f", {self.frame.order}"
        frame = self.frame.name + (f"({arguments})" if arguments else "")
        return f"{self.dialect.name} in {frame}{order} (version {self.dialect.version})"

    def read(self, reply: str, size: Size) -> Reading:
        """Return what a reply says. Any text can be read; a block of reasoning that never ends leaves nothing.

        Args:
            reply: The reply, with its reasoning.
            size: (H, W) of the image or (D, H, W) of the volume, as the model was shown it.
        Raises:
            DataError: The frame has no meaning for a size like this.
        """
        axes = len(size)
        if self.frame.name != "none":
            self.frame.check_axes(axes)
        span = _answer_span(reply)
        if span is None or axes not in self.dialect.axes:
            return Reading()
        written = self.dialect.read(reply[slice(*span)], axes)
        boxes, points, masks = [], [], []
        phrases: list[tuple[str, tuple[int, int] | None]] = []
        names: dict[str, list[Named]] = {"box": [], "point": [], "mask": []}
        for shape in written.shapes:
            name = Named(label=shape.label, score=shape.score)
            if shape.kind == "phrase":
                # The grammar saw the answer alone; a span counts in the whole reply.
                place = None if shape.span is None else (shape.span[0] + span[0], shape.span[1] + span[0])
                phrases.append((shape.label, place))
            elif shape.kind == "box":
                corners = self._corners(shape.numbers, size)
                if is_possible(corners):
                    boxes.append(Box(corners=corners))
                    names["box"].append(name)
            elif shape.kind == "point":
                position = self.frame.point(shape.numbers, size, self._order(axes))
                if all(map(isfinite, position)):
                    points.append(position)
                    names["point"].append(name)
            elif (mask := self._mask(shape, size)) is not None:
                masks.append(mask)
                names["mask"].append(name)
        something = written.none or boxes or points or masks or phrases
        return Reading(
            status="ok" if something else "unparsed",
            boxes=tuple(boxes),
            points=tuple(points),
            masks=tuple(masks),
            phrases=tuple(phrases),
            box_names=tuple(names["box"]),
            point_names=tuple(names["point"]),
            mask_names=tuple(names["mask"]),
        )

    def _order(self, axes: int) -> str:
        return self.frame.order or (self.dialect.order if axes == 2 else "zyxzyx")

    def _corners(self, numbers: Numbers, size: Size) -> Numbers:
        corners = self.frame.box(numbers, size, self._order(len(size)))
        if not self.dialect.last_inside:
            return corners
        half = len(size)
        return (*corners[:half], *(end + 1 for end in corners[half:]))

    def _mask(self, shape: Shape, size: Size) -> Mask | None:
        """Return the mask of a shape; None if it is none of this image."""
        from harness.imaging import mask_files

        if shape.kind == "polygon":
            return self._filled((shape.numbers, *shape.parts), size)
        if shape.kind == "picture":
            return self._within_box(str(shape.value), self._corners(shape.numbers, size), size)
        value = shape.value
        try:
            if shape.kind == "file":
                mask = self._from_file(value)
            elif isinstance(value.get("counts", ""), str) and "path" not in value:
                mask = mask_files.from_json(value, where="reply")
            else:
                # Run lengths as a list may lose their first 0, and nothing tells the mask from its inverse then.
                return None
        except DataError:
            return None
        return mask if mask is not None and mask.size == tuple(size) else None

    def _from_file(self, value: Mapping[str, Json]) -> Mask | None:
        """Return the mask of a file in the declared folder; None for a name that leads out of it."""
        from harness.imaging import mask_files

        name = PurePosixPath(value["file"])
        if self.folder is None or name.is_absolute() or ".." in name.parts:
            return None
        path = (self.folder / name).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            return None
        return mask_files.read_file(path, value["value"], "reply", threshold=value["threshold"])

    def _within_box(self, picture: str, corners: Numbers, size: Size) -> Mask | None:
        """Return the mask of a PNG of probabilities that fills a box: above one half, between its pixels bilinear."""
        import numpy as np
        from PIL import Image
        from scipy.ndimage import map_coordinates

        from harness.imaging import masks

        head, _, data = picture.partition(",")
        if head != "data:image/png;base64" or not is_possible(corners):
            return None
        try:
            with Image.open(BytesIO(b64decode(data, validate=True)), formats=("PNG",)) as image:
                if image.width * image.height > _MOST_PICTURE:
                    return None
                shown = np.asarray(image.convert("L"), dtype=np.float64)
        # Pillow has an exception of its own for each way in which a file can be broken; none of them gives a mask.
        except (ValueError, OSError, SyntaxError, Image.DecompressionBombError):
            return None
        x1, y1, x2, y2 = corners
        rows, columns = (np.arange(length) + 0.5 for length in size)
        inside = ((rows >= y1) & (rows < y2))[:, None] & ((columns >= x1) & (columns < x2))[None, :]
        # A pixel of the image by its centre, and so a pixel of the picture.
        places = np.meshgrid(
            (rows - y1) / (y2 - y1) * shown.shape[0] - 0.5,
            (columns - x1) / (x2 - x1) * shown.shape[1] - 0.5,
            indexing="ij",
        )
        return masks.encode(inside & (map_coordinates(shown, places, order=1, mode="nearest") > _HALF))

    def _filled(self, parts: Sequence[Numbers], size: Size) -> Mask | None:
        """Return the mask of the pixels whose centres lie inside one of the parts or on its edge."""
        import numpy as np
        from skimage.draw import polygon2mask

        from harness.imaging import masks

        order = self._order(len(size))
        filled = np.zeros(size, dtype=np.bool_)
        for part in parts:
            pairs = [self.frame.point(part[place : place + 2], size, order) for place in range(0, len(part), 2)]
            if not all(isfinite(value) for pair in pairs for value in pair):
                return None
            # Rows before columns, and pixel i has its centre at i + 0.5.
            filled |= polygon2mask(size, [(y - 0.5, x - 0.5) for x, y in pairs])
        return masks.encode(filled)


def _answer_span(reply: str) -> tuple[int, int] | None:
    """Return where the answer of a reply stands, as `answer_span` does for replies in words."""
    # The channels of gpt-oss without their special tokens: `answer_span` knows them by the capital of a sentence.
    if _GLUED.match(reply):
        place = reply.rfind(_GLUED_FINAL)
        return None if place < 0 else (place + len(_GLUED_FINAL), len(reply))
    span = answer_span(reply)
    # Half a mark is left where a reply was damaged: what follows it may be reasoning, boxes included.
    return None if span is not None and _HALF_MARK.search(reply, *span) else span


def declared(settings: Mapping[str, Json], where: str) -> ReplyReader:
    """Return the reader that an adapter or a user declares.

    Args:
        settings: `dialect`, `frame` and perhaps `frame_args`.
        where: Begins the messages.
    Raises:
        SpecError: As `ReplyReader.of`, or there is another key.
    """
    unknown = [name for name in settings if name not in ("dialect", "frame", "frame_args")]
    if unknown:
        raise SpecError(f"{where}: expected dialect, frame and frame_args, got '{unknown[0]}'")
    return ReplyReader.of(settings.get("dialect"), settings.get("frame"), settings.get("frame_args"), where)
