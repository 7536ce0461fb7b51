"""Frames of the numbers in replies: what a number of a model stands for in pixels of the original image.

Every frame is affine on each axis. Results are floats, neither rounded nor clipped.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, floor, sqrt

from harness.errors import DataError, SpecError, nearest
from harness.imaging.frames import padding
from harness.records import Json, Size

_TEXT = re.compile(r"(\w+)(?:\(([\d\s,.]*)\))?")
# Of smart_resize in transformers' Qwen2-VL: a patch of 14 times a merge of 2, and 4 and 1,280 of those squared.
_FACTOR, _MIN_PIXELS, _MAX_PIXELS = 28, 56 * 56, 28 * 28 * 1280
_MOST_ELONGATED = 200
_PLANE_ORDERS = ("xyxy", "yxyx", "xywh")
_SPACE_ORDERS = ("zyxzyx", "xyzxyz")


@dataclass(frozen=True, slots=True)
class FrameKind:
    """One line of the table of frames.

    Attributes:
        summary: What a number n stands for, on an axis of length L.
        divisor: n / divisor is the share of the axis; None if the frame has another rule.
        shift: Added to n before the division.
        arguments: Names that `frame_args` may hold.
        axes: Numbers of axes that it has a meaning for.
        version: Raised by any change of the rule.
    """

    summary: str
    divisor: float | None = None
    shift: float = 0.0
    arguments: tuple[str, ...] = ()
    axes: tuple[int, ...] = (2, 3)
    version: int = 1


FRAMES: Mapping[str, FrameKind] = {
    "pixels": FrameKind("n: pixels or voxels of the original"),
    "unit": FrameKind("n L", divisor=1),
    "percent": FrameKind("n L / 100", divisor=100),
    "per_mille": FrameKind("n L / 1000", divisor=1000),
    "per_999": FrameKind("n L / 999", divisor=999),
    "loc_1024": FrameKind("n L / 1024", divisor=1024),
    "loc_1023": FrameKind("n L / 1023", divisor=1023),
    "bins_1000_centre": FrameKind("(n + 0.5) L / 1000, the centre of the bin", divisor=1000, shift=0.5),
    "patches_32": FrameKind("cells of a grid of 32 x 32 over the image", divisor=32, axes=(2,)),
    "padded_square_unit": FrameKind("n S - (S - L) // 2, S = the longer side, as the image is padded", axes=(2,)),
    "padded_square": FrameKind(
        "pixels of the image after it is resized to a longest side of `side` and padded", arguments=("side",), axes=(2,)
    ),
    "resized": FrameKind(
        "pixels of the resized image: `height` and `width`, or `factor`, `min_pixels` and `max_pixels` of smart_resize",
        arguments=("factor", "min_pixels", "max_pixels", "height", "width"),
        axes=(2,),
    ),
    "none": FrameKind("the reply holds no numbers"),
}


@dataclass(frozen=True, slots=True)
class ReplyFrame:
    """A frame with its arguments, as it is declared for a model.

    Attributes:
        name: A name in FRAMES.
        arguments: Whole numbers by name.
        order: Order of a box's numbers, such as `yxyx`; None: that of the dialect.
    """

    name: str
    arguments: Mapping[str, int] = field(default_factory=dict)
    order: str | None = None

    @classmethod
    def read(cls, text: str, arguments: Mapping[str, Json], where: str = "frame") -> "ReplyFrame":
        """Return the frame that a name such as `per_mille`, `padded_square(336)` or `resized(448, 448)` stands for.

        Args:
            text: The name, perhaps with numbers behind it: `side` of `padded_square`, `height, width` of `resized`.
            arguments: `frame_args`: the frame's arguments by name, and `order`.
            where: Begins the messages.
        Raises:
            SpecError: There is no such frame, or an argument is missing, unknown or no whole number of at least 1.
        """
        match = _TEXT.fullmatch(text.strip()) if isinstance(text, str) else None
        name = match[1] if match else str(text)
        if match is None or name not in FRAMES:
            raise SpecError(f"{where}: expected one of {', '.join(FRAMES)}, got '{text}'{nearest(name, list(FRAMES))}")
        if not isinstance(arguments, Mapping):
            raise SpecError(f'{where}_args: expected an object such as {{"factor": 28}}, got {arguments!r}')
        given = dict(arguments)
        order = given.pop("order", None)
        orders = (*_PLANE_ORDERS, *_SPACE_ORDERS)
        if order is not None and order not in orders:
            raise SpecError(f"{where}_args: order: expected one of {', '.join(orders)}, got {order!r}")
        kind = FRAMES[name]
        if match[2]:
            names = ("height", "width") if name == "resized" else kind.arguments
            numbers = [part.strip() for part in match[2].split(",")]
            if len(numbers) != len(names) or not all(number.isdigit() for number in numbers):
                raise SpecError(f"{where}: expected {name}({', '.join(names)}) in whole numbers, got '{text}'")
            given |= {key: int(number) for key, number in zip(names, numbers, strict=True)}
        for key, value in given.items():
            if key not in kind.arguments:
                accepted = ", ".join((*kind.arguments, "order"))
                raise SpecError(
                    f"{where}_args: {name} has no argument '{key}'{nearest(key, kind.arguments)}; it accepts {accepted}"
                )
            if type(value) is not int or value < 1:
                raise SpecError(f"{where}_args: {key}: expected a whole number of at least 1, got {value!r}")
        if name == "padded_square" and "side" not in given:
            raise SpecError(f"{where}: expected the side of the square, as in padded_square(336), got '{text}'")
        if ("height" in given) != ("width" in given):
            raise SpecError(f"{where}_args: expected height and width together, got one of them")
        return cls(name, given, order)

    def identity(self) -> dict[str, Json]:
        """Return what decides the meaning of a number, for the key of a request."""
        order = {} if self.order is None else {"order": self.order}
        return {"name": self.name, "version": FRAMES[self.name].version, **self.arguments, **order}

    def check_axes(self, axes: int) -> None:
        """Check that the frame has a meaning for an image (2 axes) or a volume (3).

        Raises:
            DataError: It has none.
        """
        if axes not in FRAMES[self.name].axes:
            raise DataError(f"frame {self.name}: is for images (H, W), found {axes} axes; volumes have unit or pixels")
        if self.order is not None and self.order not in (_PLANE_ORDERS if axes == 2 else _SPACE_ORDERS):
            orders = ", ".join(_PLANE_ORDERS if axes == 2 else _SPACE_ORDERS)
            raise DataError(f"frame {self.name}: order {self.order} does not fit {axes} axes; expected one of {orders}")

    def axes(self, size: Size) -> tuple[tuple[float, float], ...]:
        """Return (pixels per number, pixels at number 0) for each array axis, in the order of `size`.

        Raises:
            DataError: The frame has no meaning for an image of this size.
        """
        self.check_axes(len(size))
        kind = FRAMES[self.name]
        if kind.divisor is not None:
            scales = [length / kind.divisor for length in size]
            return tuple((scale, kind.shift * scale) for scale in scales)
        if self.name == "padded_square_unit":
            side = max(size)
            return tuple((float(side), float(-((side - length) // 2))) for length in size)
        if self.name == "padded_square":
            lengths, before = padding(size, self.arguments["side"])
            resized = zip(lengths, before, size, strict=True)
            return tuple((length / new, -start * length / new) for new, start, length in resized)
        if self.name == "resized":
            return tuple((old / new, 0.0) for old, new in zip(size, self.resized_size(size), strict=True))
        return tuple((1.0, 0.0) for _ in size)

    def resized_size(self, size: Size) -> tuple[int, int]:
        """Return (height, width) of an image after it was resized as `resized` says.

        Source: smart_resize of transformers, models/qwen2_vl.

        Raises:
            DataError: One side is more than 200 times the other, which smart_resize refuses.
        """
        height, width = size
        if "height" in self.arguments:
            return self.arguments["height"], self.arguments["width"]
        if max(size) > _MOST_ELONGATED * min(size):
            raise DataError(
                f"frame resized: expected sides within {_MOST_ELONGATED} times each other, found {height} x {width}"
            )
        factor = self.arguments.get("factor", _FACTOR)
        least = self.arguments.get("min_pixels", _MIN_PIXELS)
        most = self.arguments.get("max_pixels", _MAX_PIXELS)
        new = [round(length / factor) * factor for length in size]  # Python's round, half to even, as in the source
        if new[0] * new[1] > most:
            shrink = sqrt(height * width / most)
            new = [max(factor, floor(length / shrink / factor) * factor) for length in size]
        elif new[0] * new[1] < least:
            grow = sqrt(least / (height * width))
            new = [ceil(length * grow / factor) * factor for length in size]
        return new[0], new[1]

    def box(self, numbers: Sequence[float], size: Size, order: str) -> tuple[float, ...]:
        """Return x1 y1 x2 y2 (3-D: z1 y1 x1 z2 y2 x2) in pixels of a box whose numbers stand in `order`."""
        half = len(size)
        starts, ends = tuple(numbers[:half]), tuple(numbers[half:])
        if order == "xywh":
            ends = tuple(start + extent for start, extent in zip(starts, ends, strict=True))
        # Into array order, in which the axes are; then into that of boxes, which is x y in 2-D.
        backwards = order[0] == "x"
        scaled = [self._placed(corner[::-1] if backwards else corner, size) for corner in (starts, ends)]
        return tuple(value for corner in scaled for value in (corner[::-1] if half == 2 else corner))

    def point(self, numbers: Sequence[float], size: Size, order: str) -> tuple[float, ...]:
        """Return (x, y) or (x, y, z) in pixels of a point whose numbers stand in the order of a box's corners."""
        return self._placed(tuple(numbers)[::-1] if order[0] == "x" else tuple(numbers), size)[::-1]

    def _placed(self, position: Sequence[float], size: Size) -> tuple[float, ...]:
        """Return a position in array order in pixels."""
        placed = zip(position, self.axes(size), strict=True)
        return tuple(value * scale + offset for value, (scale, offset) in placed)
