"""A synthetic abdomen in three dimensions: organs as fields in millimetres, grey values near those of a CT.

As on the drawing board of the images, values come from additions, multiplications, divisions and square roots of
doubles, whose results IEEE 754 fixes, and from NumPy's generators.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from harness.data.phantoms.drawing.canvas import Bools, Floats

Plane = Literal["axial", "coronal", "sagittal"]
Phase = Literal["non contrast", "arterial", "portal venous", "delayed"]
Triple = tuple[float, float, float]

# (D, H, W) of every volume: as many slices as M3D prepares, (32, 256, 256), of a quarter of its height and width.
SHAPE = (32, 64, 64)
# Millimetres that a volume covers: along H and W; along D; and along D of a sagittal one, which must reach from side to
# side of a body that is up to about 330 mm wide.
WIDE, DEEP, DEEP_FROM_SIDE = 360.0, 256.0, 336.0

# Width of an edge in millimetres: about a pixel, as the partial volume effect of a scanner blurs it.
SOFTNESS = 5.0

# Grey values in Hounsfield units of all that takes up contrast medium. The phases can be distinguished as in life: an
# arterial aorta is brightest, the liver enhances in the portal venous phase, urine is bright only when delayed.
ENHANCEMENT: Mapping[str, Mapping[Phase, float]] = {
    "liver": {"non contrast": 56, "arterial": 72, "portal venous": 112, "delayed": 92},
    "spleen": {"non contrast": 48, "arterial": 128, "portal venous": 120, "delayed": 94},
    "kidney": {"non contrast": 34, "arterial": 168, "portal venous": 186, "delayed": 150},
    "pancreas": {"non contrast": 40, "arterial": 102, "portal venous": 90, "delayed": 70},
    "aorta": {"non contrast": 40, "arterial": 310, "portal venous": 170, "delayed": 118},
    "vein": {"non contrast": 38, "arterial": 60, "portal venous": 178, "delayed": 120},
    "tumor": {"non contrast": 36, "arterial": 136, "portal venous": 62, "delayed": 50},
    "cyst": {"non contrast": 4, "arterial": 5, "portal venous": 6, "delayed": 5},
    "bladder": {"non contrast": 8, "arterial": 8, "portal venous": 10, "delayed": 240},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    """A request for `count` lesions of one kind in one organ."""

    organ: str
    kind: Literal["cyst", "tumor"]
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnLesion:
    """A lesion as it was drawn.

    Attributes:
        organ: The organ that holds it.
        kind: `cyst` or `tumor`.
        centre: (x, y, z) in mm, as in `coordinates`.
        radius_mm: Its radius.
        mask: Boolean (D, H, W); parts beyond the organ's edge are left out.
    """

    organ: str
    kind: str
    centre: Triple
    radius_mm: float
    mask: Bools


def coordinates(plane: Plane) -> tuple[Floats, Floats, Floats]:
    """Return x, y and z of the voxel centres in mm, float64, each (D, H, W) with two axes of length 1.

    x grows to the patient's left, y to the back, z to the head, with 0 in the middle of the volume. Slices are turned
    as for a radiologist: the patient's right side on the left of an axial or coronal slice, the front on the left of a
    sagittal one.
    """
    deep = DEEP_FROM_SIDE if plane == "sagittal" else DEEP
    along = [
        ((np.arange(length) + 0.5) / length - 0.5) * extent
        for length, extent in zip(SHAPE, (deep, WIDE, WIDE), strict=True)
    ]
    slices, rows, columns = along[0][:, None, None], along[1][None, :, None], along[2][None, None, :]
    if plane == "axial":
        return columns, rows, slices
    if plane == "coronal":
        return columns, slices, -rows
    return slices, columns, -rows


def spacing_mm(plane: Plane) -> Triple:
    """Return the voxel size in mm along (D, H, W)."""
    deep = DEEP_FROM_SIDE if plane == "sagittal" else DEEP
    return deep / SHAPE[0], WIDE / SHAPE[1], WIDE / SHAPE[2]


@dataclass(slots=True, kw_only=True)
class Abdomen:
    """An abdomen in the making.

    Attributes:
        random: Draws the place and the size of everything.
        plane: Plane of the slices.
        phase: When the contrast medium is seen.
        absent: Organs that the patient lacks.
        grey: float64 (D, H, W) in Hounsfield units; air at first.
        organs: Boolean (D, H, W) mask of each organ, in the order of drawing.
        lesions: The lesions drawn so far.
    """

    random: Generator
    plane: Plane
    phase: Phase
    absent: frozenset[str] = frozenset()
    grey: Floats = field(default_factory=lambda: np.full(SHAPE, -1000.0))
    organs: dict[str, Bools] = field(default_factory=dict)
    lesions: list[DrawnLesion] = field(default_factory=list)
    _fields: dict[str, Floats] = field(default_factory=dict)

    def draw(self, ordered: tuple[Ordered, ...]) -> None:
        """Draw the whole abdomen, with the ordered lesions as far as their organs have room for them.

        Each step draws from the same generator, so their order is part of every volume's bytes.
        """
        waves = _clouds(self.random, 5)
        self._draw_wall(waves)
        self._draw_bowel(waves)
        self._draw_solid_organs(waves)
        self._draw_vessels_and_bones()
        for order in ordered:
            for _ in range(order.count):
                self._draw_lesion(order)
        # Texture in tissue only: neither lungs nor the air outside have any.
        self.grey += 5 * _clouds(self.random, 14) * (self.grey > -300)
        self.grey += 9 * self.random.standard_normal(SHAPE)

    @property
    def voxels(self) -> NDArray[np.float32]:
        """The finished volume, float32 (D, H, W), in whole Hounsfield units."""
        return np.rint(self.grey).astype(np.float32)

    def _ball(self, centre: Triple, radii: Triple, waves: Floats | None = None, rough: float = 0.0) -> Floats:
        """Return the field of an ellipsoid, float64 (D, H, W): the distance to its surface in mm, positive inside.

        Args:
            centre: (x, y, z) in mm.
            radii: Half axes along x, y and z in mm.
            waves: Smooth noise (D, H, W) of unit height that makes the surface uneven.
            rough: Relative height of the waves.
        """
        distance = sum(
            ((axis - middle) / radius) * ((axis - middle) / radius)
            for axis, middle, radius in zip(coordinates(self.plane), centre, radii, strict=True)
        )
        outline = 1.0 if waves is None else 1.0 + rough * waves
        found: Floats = (outline - np.sqrt(distance)) * min(radii)
        return found

    def _rod(self, x: float, y: float, radii: tuple[float, float]) -> Floats:
        """Return the field in mm of an elliptic cylinder from head to foot, float64 (D, H, W)."""
        axes = coordinates(self.plane)
        across, down = (axes[0] - x) / radii[0], (axes[1] - y) / radii[1]
        return np.broadcast_to((1.0 - np.sqrt(across * across + down * down)) * min(radii), SHAPE)

    def _paint(self, shape: Floats, value: float, name: str | None = None) -> None:
        """Fill a shape with a grey value; a named one becomes an organ and is cut out of those drawn before it."""
        self.grey += (value - self.grey) * np.clip(shape / SOFTNESS + 0.5, 0.0, 1.0)
        inside = shape > 0
        if name is not None and inside.any():
            for other in self.organs:
                self.organs[other] = self.organs[other] & ~inside
            self.organs[name] = inside
            self._fields[name] = shape

    def _place(self, centre: Triple, radii: Triple) -> tuple[Triple, Triple]:
        """Return centre and half axes of an organ in this patient, in mm, given the usual ones."""
        shift, scale = self.random.normal(0, 5, 3), self.random.uniform(0.86, 1.12, 3)
        moved = tuple(float(middle + by) for middle, by in zip(centre, shift, strict=True))
        sized = tuple(float(radius * by) for radius, by in zip(radii, scale, strict=True))
        return (moved[0], moved[1], moved[2]), (sized[0], sized[1], sized[2])

    def _organ(self, name: str, value: float, centre: Triple, radii: Triple, waves: Floats, rough: float = 0.1) -> None:
        # Drawn for an absent organ too, so that its absence moves no other organ.
        place, size = self._place(centre, radii)
        if name not in self.absent:
            self._paint(np.minimum(self._ball(place, size, waves, rough), self._fields["wall"] - 4), value, name)

    def _draw_wall(self, waves: Floats) -> None:
        """Draw skin, fat, muscle and the fat inside, and the lungs above it."""
        thick = self.random.uniform(8, 22)
        self._paint(self._rod(0, 0, (142 + thick, 98 + thick)) + 2 * waves, -95)
        muscle = self._rod(0, 0, (142, 98)) + 2 * waves
        self._paint(muscle, 52)
        self._fields["wall"] = muscle - 10
        self._paint(self._fields["wall"], -88)
        sides = [self._ball((side * 66.0, 2.0, 132.0), (60, 74, 74), waves, 0.04) for side in (-1, 1)]
        self._paint(np.minimum(np.maximum(*sides), self._fields["wall"] + 4), -850, "lungs")

    def _draw_bowel(self, waves: Floats) -> None:
        for _ in range(14):
            loop = (self.random.uniform(-95, 95), self.random.uniform(-60, 5), self.random.uniform(-105, -25))
            radius = float(self.random.uniform(14, 24))
            shape = np.minimum(self._ball(loop, (radius, radius, radius), waves, 0.2), self._fields["wall"])
            self._paint(shape, float(self.random.uniform(25, 45)))
            self._paint(shape - 7, float(self.random.choice([-120.0, 12.0, 18.0])))

    def _draw_solid_organs(self, waves: Floats) -> None:
        grey = {name: by_phase[self.phase] for name, by_phase in ENHANCEMENT.items()}
        self._organ("liver", grey["liver"], (-62, -12, 38), (70, 66, 60), waves, 0.14)
        self._organ("stomach", 22, (50, -42, 42), (40, 32, 38), waves, 0.12)
        self._organ("spleen", grey["spleen"], (97, 30, 44), (29, 42, 44), waves)
        self._organ("pancreas", grey["pancreas"], (14, -10, 4), (52, 13, 15), waves, 0.2)
        self._organ("gallbladder", 9, (-50, -50, -8), (17, 19, 26), waves, 0.05)
        for side, name in ((-1, "right kidney"), (1, "left kidney")):
            self._organ(name, grey["kidney"], (side * 68.0, 42, -22), (28, 29, 50), waves, 0.06)
        self._organ("bladder", grey["bladder"], (0, -18, -118), (40, 36, 32), waves, 0.05)

    def _draw_vessels_and_bones(self) -> None:
        self._paint(self._rod(-17, 22, (12, 10)), ENHANCEMENT["vein"][self.phase])
        self._paint(self._rod(13, 24, (11, 11)), ENHANCEMENT["aorta"][self.phase], "aorta")
        bone = float(self.random.uniform(260, 340))
        spine = np.maximum(self._rod(0, 58, (24, 20)), self._rod(0, 88, (9, 22)))
        self._paint(spine, bone, "spine")
        height = coordinates(self.plane)[2] + float(self.random.uniform(0, 32))
        gap = 4.5 - np.abs(height - 32 * np.rint(height / 32))
        self._paint(np.minimum(np.broadcast_to(gap, SHAPE), self._rod(0, 56, (24, 20))), 70)
        self._paint(self._rod(0, 78, (8, 7)), 28)
        for side in (-1, 1):
            wing = self._ball((side * 92.0, 28, -124), (24, 44, 42))
            self._paint(np.minimum(wing, self._fields["wall"] + 3), bone)

    def _draw_lesion(self, order: Ordered) -> None:
        """Draw one lesion at a random place, deep inside its organ and at least 8 mm from the others."""
        if order.organ not in self.organs:
            return
        radius = float(self.random.uniform(11, 19))
        room = np.where(self.organs[order.organ], self._fields[order.organ], -1.0)
        for lesion in self.lesions:
            room = np.where(self._ball(lesion.centre, (lesion.radius_mm,) * 3) > -radius - 8, -1.0, room)
        places = np.argwhere(room > 0.55 * min(radius, float(room.max())))
        if room.max() <= 4 or not places.size:
            return
        index = places[int(self.random.integers(len(places)))]
        axes = np.broadcast_arrays(*coordinates(self.plane))
        centre = (float(axes[0][tuple(index)]), float(axes[1][tuple(index)]), float(axes[2][tuple(index)]))
        shape = np.minimum(self._ball(centre, (radius,) * 3), np.where(self.organs[order.organ], radius, -1.0))
        self._paint(shape, ENHANCEMENT[order.kind][self.phase])
        drawn = DrawnLesion(organ=order.organ, kind=order.kind, centre=centre, radius_mm=radius, mask=shape > 0)
        self.lesions.append(drawn)


def _clouds(random: Generator, cells: float) -> Floats:
    """Return smooth noise, float64 (D, H, W), of about unit height with `cells` bumps along H and W.

    As `canvas.clouds`, with bumps half as many voxels long along D, where voxels are larger.
    """
    pitch = SHAPE[1] / cells
    pitches = (pitch / 2, pitch, pitch)
    values = (
        random.standard_normal([ceil(length / step) + 3 for length, step in zip(SHAPE, pitches, strict=True)]) * 2.2
    )
    for axis, (length, step) in enumerate(zip(SHAPE, pitches, strict=True)):
        at = (np.arange(length) + 0.5) / step + 1
        first = np.floor(at).astype(np.int64)
        t = (at - first).reshape([-1 if number == axis else 1 for number in range(3)])
        before, here, after = (np.take(values, first + by, axis=axis) for by in (-1, 0, 1))
        values = before * (1 - t) * (1 - t) / 2 + here * (0.5 + t - t * t) + after * t * t / 2
    return values
