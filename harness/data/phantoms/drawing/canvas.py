"""The drawing board of the phantoms: shapes as fields, tissue and noise, and the masks of the painted structures.

A shape is a field: a float64 array that is positive inside the shape and falls off with the distance to its edge.
Lengths are in the unit of `grid`, in which the image is 2 high.

Pixels come from additions, multiplications, divisions and square roots of doubles, whose results IEEE 754 fixes, and
from NumPy's generators. No exponential, no matrix product and no resampling of another library takes part, since those
differ in the last bit from machine to machine. Sines and cosines are taken of single angles only.
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

# Value of a field far from its shape, where the distance is not computed.
FAR = -1.0


@cache
def grid(shape: Size) -> tuple[Floats, Floats]:
    """Return x and y of every pixel centre, float64 (H, W) each; y runs from -1 to 1 down the image, x to the right."""
    # One unit for both axes, half the height, so that a circle stays a circle in an image of any shape.
    height, width = shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    return (2 * x + 1 - width) / height, (2 * y + 1 - height) / height


def _window(shape: Size, centre: Point, reach: float) -> tuple[slice, slice]:
    """Return the slices of rows and columns within `reach` of a point, both in the unit of `grid`.

    Fields are computed in such a window only, since a small lesion would otherwise cost as much as the whole image.
    """
    height, width = shape
    column, row = (centre[0] * height + width - 1) / 2, (centre[1] * height + height - 1) / 2
    half = ceil(reach * height / 2) + 1
    rows = slice(min(max(0, int(row) - half), height), max(0, min(height, int(row) + half + 2)))
    return rows, slice(min(max(0, int(column) - half), width), max(0, min(width, int(column) + half + 2)))


def blob(
    random: Generator, shape: Size, centre: Point, radii: Point, *, angle: float = 0.0, rough: float = 0.05
) -> Floats:
    """Return the field of an ellipse with a wavy outline, float64 (H, W): about the distance to its edge.

    Args:
        random: Draws the waves.
        shape: (H, W) of the image.
        centre: (x, y) in the unit of `grid`.
        radii: Half axes along x and y in the unit of `grid`, before the ellipse is turned.
        angle: Turn of the ellipse in radians.
        rough: Relative height of the waves.
    """
    # Waves begin with the second: the first would only shift the ellipse. Heights are cut at 1.3, so that all five
    # together raise the outline by at most 2.7 times `rough` and the shape stays within the window.
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
    # (real, imaginary) is the direction's second, third, ... complex power, that is cosine and sine of the multiple
    # angle, by multiplications alone.
    for height, phase in waves:
        real, imaginary = real * u - imaginary * v, real * v + imaginary * u
        outline += height * (cos(phase) * real - sin(phase) * imaginary)
    found = np.full(shape, FAR)
    found[window] = (outline - distance) * min(radii)
    return found


def tube(shape: Size, points: Sequence[Point], radii: Sequence[float]) -> Floats:
    """Return the field of a line of discs, float64 (H, W).

    Args:
        shape: (H, W) of the image.
        points: (x, y) of the centres in the unit of `grid`.
        radii: One radius per point, in the same unit.
    """
    x, y = grid(shape)
    found = np.full(shape, FAR)
    for point, radius in zip(points, radii, strict=True):
        window = _window(shape, point, radius + 0.03)
        across, down = x[window] - point[0], y[window] - point[1]
        np.maximum(found[window], radius - np.sqrt(across * across + down * down), out=found[window])
    return found


def stretch(start: Point, end: Point, bend: Point, steps: int) -> list[Point]:
    """Return the `steps` + 1 points of a quadratic Bezier curve from `start` to `end`, pulled towards `bend`."""
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
    """Return smooth noise, float64 (H, W), of about unit height with `cells` bumps over the height."""
    # Quadratic B-splines are sums of products, so they need no resampling of a library; 1.8 makes up for the variance
    # that they average away.
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
    """Return an array (H, W, ...) blurred along its first two axes by the kernel 1 2 1, `times` times.

    The image's borders wrap around.
    """
    # Repeated small kernels approach a Gaussian without an exponential.
    for _ in range(times):
        for axis in (0, 1):
            values = (np.roll(values, 1, axis) + 2 * values + np.roll(values, -1, axis)) / 4
    return values


def speckle(random: Generator, shape: Size, times: int) -> Floats:
    """Return multiplicative noise, float64 (H, W), of mean 1 whose grains are `times` blurs wide."""
    # The envelope of coherent waves is the length of two independent normal fields (Rayleigh distributed).
    real, imaginary = (softened(random.standard_normal(shape), times) for _ in range(2))
    length: Floats = np.sqrt(real * real + imaginary * imaginary)
    return length / float(length.mean())


@dataclass(slots=True)
class Canvas:
    """An image in the making.

    Attributes:
        pixels: float64 (H, W, channels), 0 to 255; one channel if grey, three in colour.
        masks: The boolean (H, W) masks of the instances of each class.
    """

    pixels: Floats
    masks: dict[str, list[Bools]] = field(default_factory=dict)

    @classmethod
    def blank(cls, height: int, width: int, colour: Colour = 0.0) -> "Canvas":
        """Return an image of one colour, grey or RGB."""
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
        """Draw a shape over everything drawn before, and cut it out of the masks that it covers.

        Args:
            shape: Field, float64 (H, W), positive inside.
            colour: Grey value, RGB, or an array (H, W, channels) with a colour per pixel.
            name: Its class; None if no question asks about it. It then covers masks only at full strength.
            within: Classes that the shape is a part of; it is cut out of the masks of all others.
            soft: Width of the edge, 1 being about two pixels.
            strength: Opacity, 0 to 1.
        """
        # Coverage, below, falls to 0 half an edge outside the shape: 0.5 / 40 in the unit of `grid`.
        touched = shape > -0.0125 * soft
        rows, columns = np.flatnonzero(touched.any(axis=1)), np.flatnonzero(touched.any(axis=0))
        if rows.size == 0:
            return
        window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        tint = np.asarray(colour, dtype=np.float64)
        tint = tint[window] if tint.ndim == 3 else tint
        coverage = np.clip(shape[window] * (40.0 / soft) + 0.5, 0.0, 1.0)[:, :, np.newaxis] * strength
        self.pixels[window] += (tint - self.pixels[window]) * coverage
        if name is None and strength < 1.0:
            return
        inside = shape > 0
        for other, parts in self.masks.items():
            if other != name and other not in within:
                parts[:] = [part & ~inside for part in parts]
        if name is not None:
            self.masks.setdefault(name, []).append(inside)

    def multiply(self, factor: Floats) -> None:
        """Scale every pixel by its factor, float64 (H, W)."""
        self.pixels = self.pixels * factor[:, :, np.newaxis]

    def add(self, values: Floats) -> None:
        """Add a float64 array, (H, W) or (H, W, channels), to the pixels."""
        self.pixels = self.pixels + (values[:, :, np.newaxis] if values.ndim == 2 else values)

    def keep(self, inside: Bools, outside: Colour) -> None:
        """Give everything outside the field of view one colour, and cut the masks to the field of view.

        Args:
            inside: Field of view, boolean (H, W).
            outside: Colour of the rest.
        """
        self.pixels[~inside] = outside
        self.masks = {name: [part & inside for part in parts] for name, parts in self.masks.items()}

    def expose(self, level: float, inside: Bools | None = None) -> None:
        """Scale the image to the mean `level` over `inside`, so that its brightness does not give away its content.

        Args:
            level: Mean grey value, 0 to 255.
            inside: Field of view, boolean (H, W); None for the whole image.
        """
        # The last bits of a mean depend on the order in which NumPy adds, hence on the processor; rounding drops them.
        seen = self.pixels if inside is None else self.pixels[inside]
        self.pixels = self.pixels * (level / max(round(float(np.clip(seen, 0, 255).mean()), 6), 1.0))

    def finished(self) -> NDArray[np.uint8]:
        """Return the finished image, uint8 (H, W), or (H, W, 3) if in colour."""
        pixels = np.rint(np.clip(self.pixels, 0, 255)).astype(np.uint8)
        return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
