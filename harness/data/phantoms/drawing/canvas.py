"""The drawing board of the phantoms: shapes as fields, tissue and noise, and the masks of what was painted.

Pixels come from additions, multiplications, divisions and square roots of doubles, whose results IEEE 754 fixes, and
from NumPy's generators. No exponential, no matrix product and no resampling of another library takes part, since those
differ in the last bit from machine to machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from math import ceil, cos, pi, sin

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Colour = float | tuple[float, float, float] | Floats
Point = tuple[float, float]
Size = tuple[int, int]

FAR = -1.0
"""Value of a field where a shape certainly is not."""


@cache
def grid(shape: Size) -> tuple[Floats, Floats]:
    """Return (x, y) of every pixel centre: -1 to 1 over the height, the width in the same unit."""
    height, width = shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    return (2 * x + 1 - width) / height, (2 * y + 1 - height) / height


def _window(shape: Size, centre: Point, reach: float) -> tuple[slice, slice]:
    """Return the rows and columns within `reach` of a point, in the unit of `grid`."""
    height, width = shape
    column, row = (centre[0] * height + width - 1) / 2, (centre[1] * height + height - 1) / 2
    half = ceil(reach * height / 2) + 1
    rows = slice(min(max(0, int(row) - half), height), max(0, min(height, int(row) + half + 2)))
    return rows, slice(min(max(0, int(column) - half), width), max(0, min(width, int(column) + half + 2)))


def blob(
    random: Generator, shape: Size, centre: Point, radii: Point, *, angle: float = 0.0, rough: float = 0.05
) -> Floats:
    """Return the field of an ellipse with a wavy outline: about the distance to its edge, positive inside.

    Args:
        random: Draws the waves.
        shape: (H, W) of the picture.
        centre: (x, y) in the unit of `grid`.
        radii: Half axes along x and y before turning by `angle` (radians).
        rough: Relative height of the waves.
    """
    heights = np.clip(random.normal(0, 1, 5), -1.3, 1.3)
    phases = random.uniform(0, 2 * pi, 5)
    waves = [(1.4 * rough / wave * float(heights[wave - 2]), float(phases[wave - 2])) for wave in range(2, 7)]
    window = _window(shape, centre, max(radii) * (1.15 + 3 * rough) + 0.1)
    x, y = (axis[window] for axis in grid(shape))
    x, y = x - centre[0], y - centre[1]
    u, v = (x * cos(angle) + y * sin(angle)) / radii[0], (y * cos(angle) - x * sin(angle)) / radii[1]
    distance = np.sqrt(u * u + v * v)
    safe = np.maximum(distance, 1e-9)
    u, v = u / safe, v / safe
    outline, real, imaginary = np.ones(u.shape), u, v
    for height, phase in waves:  # (real, imaginary) is the direction's second, third, ... power
        real, imaginary = real * u - imaginary * v, real * v + imaginary * u
        outline += height * (cos(phase) * real - sin(phase) * imaginary)
    found = np.full(shape, FAR)
    found[window] = (outline - distance) * min(radii)
    return found


def tube(shape: Size, points: Sequence[Point], radii: Sequence[float]) -> Floats:
    """Return the field of a line of discs: points in the unit of `grid`, one radius each."""
    x, y = grid(shape)
    found = np.full(shape, FAR)
    for point, radius in zip(points, radii, strict=True):
        window = _window(shape, point, radius + 0.03)
        across, down = x[window] - point[0], y[window] - point[1]
        np.maximum(found[window], radius - np.sqrt(across * across + down * down), out=found[window])
    return found


def stretch(start: Point, end: Point, bend: Point, steps: int) -> list[Point]:
    """Return the points of a curve from start to end that is pulled towards `bend` (a quadratic Bezier curve)."""
    found = []
    for step in range(steps + 1):
        t = step / steps
        weights = ((1 - t) * (1 - t), 2 * t * (1 - t), t * t)
        found.append(
            (
                weights[0] * start[0] + weights[1] * bend[0] + weights[2] * end[0],
                weights[0] * start[1] + weights[1] * bend[1] + weights[2] * end[1],
            )
        )
    return found


def clouds(random: Generator, shape: Size, cells: float) -> Floats:
    """Return smooth noise (H, W) of about unit height, `cells` bumps over the height (quadratic B-splines)."""
    pitch = shape[0] / cells
    values = random.standard_normal((ceil(cells) + 3, ceil(shape[1] / pitch) + 3)) * 1.8
    for axis in (0, 1):
        at = (np.arange(shape[axis]) + 0.5) / pitch + 1
        first = np.floor(at).astype(np.int64)
        t = (at - first).reshape((-1, 1) if axis == 0 else (1, -1))
        before, here, after = (np.take(values, first + step, axis=axis) for step in (-1, 0, 1))
        values = before * (1 - t) * (1 - t) / 2 + here * (0.5 + t - t * t) + after * t * t / 2
    return values


def softened(values: Floats, times: int) -> Floats:
    """Return an array blurred along its first two axes by a small kernel, several times."""
    for _ in range(times):
        for axis in (0, 1):
            values = (np.roll(values, 1, axis) + 2 * values + np.roll(values, -1, axis)) / 4
    return values


def speckle(random: Generator, shape: Size, times: int) -> Floats:
    """Return multiplicative noise of mean 1 (H, W): the length of two blurred normal fields, as coherent waves give."""
    real, imaginary = (softened(random.standard_normal(shape), times) for _ in range(2))
    length: Floats = np.sqrt(real * real + imaginary * imaginary)
    return length / float(length.mean())


@dataclass(slots=True)
class Canvas:
    """A picture in the making.

    Attributes:
        pixels: (H, W, channels), 0 to 255.
        masks: Per class the boolean (H, W) masks of its instances.
    """

    pixels: Floats
    masks: dict[str, list[Bools]] = field(default_factory=dict)

    @classmethod
    def blank(cls, height: int, width: int, colour: Colour = 0.0) -> "Canvas":
        """Return a picture of one colour, grey or RGB."""
        channels = np.atleast_1d(np.asarray(colour, dtype=np.float64))
        return cls(np.broadcast_to(channels, (height, width, channels.size)).copy())

    @property
    def shape(self) -> Size:
        """(H, W)."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def paint(
        self,
        shape: Floats,
        colour: Colour,
        *,
        name: str | None = None,
        within: Sequence[str] = (),
        soft: float = 1.0,
        strength: float = 1.0,
    ) -> None:
        """Draw a shape over what is there.

        Args:
            shape: Field (H, W), positive inside.
            colour: Grey value, RGB, or one of them per pixel.
            name: Its class; None for what nobody asks about.
            within: Classes it is a part of; it is cut out of the masks of all others.
            soft: Width of the edge, 1 being about two pixels.
            strength: Share of the colour, 1 covers.
        """
        touched = shape > -0.0125 * soft
        rows, columns = np.flatnonzero(touched.any(axis=1)), np.flatnonzero(touched.any(axis=0))
        if rows.size == 0:
            return
        window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        tint = np.asarray(colour, dtype=np.float64)
        tint = tint[window] if tint.ndim == 3 else tint
        coverage = np.clip(shape[window] * (40.0 / soft) + 0.5, 0.0, 1.0)[:, :, np.newaxis] * strength
        self.pixels[window] += (tint - self.pixels[window]) * coverage
        if name is not None or strength == 1.0:
            self._mark(shape > 0, name, within)

    def _mark(self, inside: Bools, name: str | None, within: Sequence[str]) -> None:
        for other, parts in self.masks.items():
            if other != name and other not in within:
                parts[:] = [part & ~inside for part in parts]
        if name is not None:
            self.masks.setdefault(name, []).append(inside)

    def multiply(self, factor: Floats) -> None:
        """Scale every pixel by (H, W) factors."""
        self.pixels = self.pixels * factor[:, :, np.newaxis]

    def add(self, values: Floats) -> None:
        """Add (H, W) or (H, W, channels) to every pixel."""
        self.pixels = self.pixels + (values[:, :, np.newaxis] if values.ndim == 2 else values)

    def keep(self, inside: Bools, outside: Colour) -> None:
        """Give everything beyond the field of view one colour, and cut the masks to it."""
        self.pixels[~inside] = outside
        self.masks = {name: [part & inside for part in parts] for name, parts in self.masks.items()}

    def expose(self, level: float, inside: Bools | None = None) -> None:
        """Scale the picture to the mean `level` over `inside`, so that brightness tells nothing of its content."""
        seen = self.pixels if inside is None else self.pixels[inside]
        self.pixels = self.pixels * (level / max(round(float(np.clip(seen, 0, 255).mean()), 6), 1.0))

    def finished(self) -> NDArray[np.uint8]:
        """Return uint8 (H, W), or (H, W, 3) in colour."""
        pixels = np.rint(np.clip(self.pixels, 0, 255)).astype(np.uint8)
        return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
