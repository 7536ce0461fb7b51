"""A small SA-Med2D-20M folder of drawn patients: CT, MR, ultrasound and dermoscopy looks with known masks."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import cos, pi, sin
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from harness.releases.samed2d import CLASSES, FOLDER, LISTING

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Colour = float | tuple[float, float, float]

EDGE = 40.0
"""How fast a shape's coverage rises across its edge, per unit of its field: about two pixels wide."""


def write_samed2d(folder: Path, *, seed: int, patients: int = 12, slices: int = 2) -> None:
    """Write `SAMed2Dv1/` with images, masks and both JSON files below `folder`.

    The looks take turns over the patients. Slices of a native 2-D look (ultrasound, dermoscopy) are cases of their
    own, as in the release. The same arguments give the same bytes.

    Args:
        folder: The data root; made where it is missing.
        seed: Draws another set of patients.
        patients: Number of patients, at least 0.
        slices: Images per patient, at least 0.
    """
    for name in ("images", "masks"):
        (folder / FOLDER / name).mkdir(parents=True, exist_ok=True)
    listing: dict[str, list[str]] = {}
    for patient in range(patients):
        look = LOOKS[patient % len(LOOKS)]
        for index in range(slices):
            anatomy = np.random.default_rng([seed, patient])
            scene = look.draw(anatomy, np.random.default_rng([seed, patient, index]), _position(index, slices))
            image, masks = _write_scene(folder / FOLDER, look, look.stem(patient, index), scene)
            listing[image] = masks
    classes = {look.source: {name: f"{look.class_id(name):04}" for name in look.classes} for look in LOOKS}
    _write_json(folder / LISTING, listing)
    _write_json(folder / CLASSES, classes)


def _position(index: int, slices: int) -> float:
    """Return where a slice lies in the patient, in (-1, 1)."""
    return (2 * index + 1) / slices - 1


def _write_scene(folder: Path, look: "_Look", stem: str, scene: "_Scene") -> tuple[str, list[str]]:
    image = f"images/{stem}.png"
    _write_png(folder / image, scene.finished())
    masks = []
    for name in look.classes:
        for instance, mask in enumerate(part for part in scene.masks.get(name, ()) if part.any()):
            masks.append(f"masks/{stem}--{look.class_id(name):04}_{instance:03}.png")
            _write_png(folder / masks[-1], mask.astype(np.uint8) * 255)
    return image, masks


def _write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    Image.fromarray(pixels).save(path, format="PNG")


def _write_json(path: Path, value: Mapping[str, object]) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


@dataclass(slots=True)
class _Scene:
    """A picture in the making.

    Attributes:
        pixels: (H, W, channels), 0 to 255.
        masks: Per class the boolean (H, W) masks of its instances.
    """

    pixels: Floats
    masks: dict[str, list[Bools]] = field(default_factory=dict)

    @classmethod
    def blank(cls, height: int, width: int, colour: Colour = 0.0) -> "_Scene":
        channels = np.atleast_1d(np.asarray(colour, dtype=np.float64))
        return cls(np.broadcast_to(channels, (height, width, channels.size)).copy())

    @property
    def shape(self) -> tuple[int, int]:
        return self.pixels.shape[0], self.pixels.shape[1]

    def paint(self, shape: Floats, colour: Colour, *, name: str | None = None, within: str | None = None) -> None:
        """Draw a shape over what is there.

        Args:
            shape: Field (H, W), positive inside.
            colour: Grey value or RGB.
            name: Its class; None for what nobody asks about.
            within: Class that it is a part of; it is cut out of the masks of all others.
        """
        coverage = np.clip(shape * EDGE + 0.5, 0.0, 1.0)[:, :, np.newaxis]
        self.pixels = self.pixels * (1 - coverage) + np.asarray(colour, dtype=np.float64) * coverage
        inside = shape > 0
        for other, parts in self.masks.items():
            if other not in (name, within):
                parts[:] = [part & ~inside for part in parts]
        if name is not None:
            self.masks.setdefault(name, []).append(inside)

    def finished(self) -> NDArray[np.uint8]:
        """Return uint8 (H, W), or (H, W, 3) in colour."""
        pixels = np.rint(np.clip(self.pixels, 0, 255)).astype(np.uint8)
        return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """One modality.

    Attributes:
        prefix: First part of a file name.
        source: The made-up dataset.
        native_2d: Images are no slices of a volume.
        classes: Names, in the order of their ids.
        draw: (random numbers of the patient, of the slice, position in (-1, 1)) -> picture.
    """

    prefix: str
    source: str
    native_2d: bool
    classes: tuple[str, ...]
    draw: Callable[[Generator, Generator, float], _Scene]

    def class_id(self, name: str) -> int:
        return self.classes.index(name) + 1

    def stem(self, patient: int, index: int) -> str:
        case = f"case_{patient:04}"
        view = f"--{case}_{index}--2d_none" if self.native_2d else f"--{case}--z_{index:04}"
        return f"{self.prefix}--{self.source}{view}"


def _grid(shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Return (x, y) of every pixel centre: -1 to 1 over the height, the width in the same unit."""
    height, width = shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    return (2 * x + 1 - width) / height, (2 * y + 1 - height) / height


def _blob(
    random: Generator,
    shape: tuple[int, int],
    centre: tuple[float, float],
    radii: tuple[float, float],
    *,
    angle: float = 0.0,
    rough: float = 0.05,
) -> Floats:
    """Return the field of an ellipse with a wavy outline: about the distance to it in units of half the height.

    Args:
        centre: (x, y) in the unit of `_grid`.
        radii: Half axes along x and y before turning by `angle` (radians).
        rough: Relative height of the waves.
    """
    x, y = _grid(shape)
    x, y = x - centre[0], y - centre[1]
    u, v = (x * cos(angle) + y * sin(angle)) / radii[0], (y * cos(angle) - x * sin(angle)) / radii[1]
    turns = np.linspace(-pi, pi, 361)
    outline = np.ones(turns.size)
    for wave in range(2, 7):
        outline += rough / wave * random.normal() * 2 * np.cos(wave * turns + random.uniform(0, 2 * pi))
    return (np.interp(np.arctan2(v, u), turns, outline) - np.hypot(u, v)) * min(radii)


def _clouds(random: Generator, shape: tuple[int, int], cells: int) -> Floats:
    """Return smooth noise (H, W) of about unit height, `cells` bumps across."""
    coarse = Image.fromarray(random.standard_normal((cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((shape[1], shape[0]), Image.Resampling.BICUBIC), dtype=np.float64)


def _softened(values: Floats, times: int) -> Floats:
    """Return (H, W) blurred by a small kernel, several times."""
    for _ in range(times):
        for axis in (0, 1):
            values = (np.roll(values, 1, axis) + 2 * values + np.roll(values, -1, axis)) / 4
    return values


def _draw_ct(anatomy: Generator, grain: Generator, position: float) -> _Scene:
    """An axial slice of an abdomen: liver with a lesion or none, spleen, two kidneys, spine, aorta, bowel gas."""
    scene = _Scene.blank(192, 240)
    shape, shift = scene.shape, anatomy.normal(0, 0.02, 8)
    size = 1 - 0.12 * position - 0.2 * position**2
    scene.paint(_blob(anatomy, shape, (0, 0.05), (1.08, 0.84), rough=0.02), 88)
    scene.paint(_blob(anatomy, shape, (0, 0.05), (0.98, 0.74), rough=0.03), 132)
    scene.paint(_blob(anatomy, shape, (0, 0.0), (0.90, 0.62), rough=0.03), 100)
    for _ in range(14):
        bowel = (anatomy.uniform(-0.5, 0.55), anatomy.uniform(-0.4, 0.3))
        scene.paint(_blob(anatomy, shape, bowel, (0.11, 0.09), rough=0.2), anatomy.uniform(118, 138))
    liver = (-0.42 + shift[0], -0.1 + shift[1])
    scene.paint(_blob(anatomy, shape, liver, (0.45 * size, 0.42 * size), rough=0.12), 168, name="liver")
    spleen = (0.66 + shift[2], -0.02 + shift[3])
    scene.paint(_blob(anatomy, shape, spleen, (0.16, 0.28 * size), angle=-0.3, rough=0.08), 160, name="spleen")
    for side in (-1, 1):
        kidney = (side * 0.44 + shift[4], 0.36 + shift[5])
        scene.paint(_blob(anatomy, shape, kidney, (0.13, 0.18 * size), angle=side * 0.4), 186, name="kidney")
        scene.paint(_blob(anatomy, shape, (kidney[0] - side * 0.06, kidney[1]), (0.05, 0.06)), 120, within="kidney")
    scene.paint(_blob(anatomy, shape, (0, 0.46), (0.17, 0.15), rough=0.08), 226)
    scene.paint(_blob(anatomy, shape, (0, 0.63), (0.07, 0.06)), 140)
    scene.paint(_blob(anatomy, shape, (0.08, 0.22), (0.065, 0.065), rough=0.02), 196, name="aorta")
    for _ in range(3):
        gas = (anatomy.uniform(-0.1, 0.45), anatomy.uniform(-0.45, -0.25))
        scene.paint(_blob(anatomy, shape, gas, (0.06, 0.04), rough=0.2), 12)
    if anatomy.random() < 0.8:
        lesion = (liver[0] + anatomy.uniform(-0.15, 0.15), liver[1] + anatomy.uniform(-0.15, 0.15))
        radius = anatomy.uniform(0.04, 0.13) * size
        scene.paint(
            _blob(anatomy, shape, lesion, (radius, radius * 0.9), rough=0.15), 138, name="liver lesion", within="liver"
        )
    noise = 7 * _softened(grain.standard_normal(shape), 1) + 3 * _clouds(grain, shape, 24)
    scene.pixels += noise[:, :, np.newaxis]
    return scene


def _draw_mr(anatomy: Generator, grain: Generator, position: float) -> _Scene:
    """An axial FLAIR slice of a brain: dark ventricles and, mostly, a bright tumor with a core."""
    scene = _Scene.blank(208, 176)
    shape, size = scene.shape, 1 - 0.08 * position - 0.15 * position**2
    scene.paint(_blob(anatomy, shape, (0, 0), (0.74 * size, 0.92 * size), rough=0.015), 150)
    scene.paint(_blob(anatomy, shape, (0, 0), (0.69 * size, 0.87 * size), rough=0.015), 14)
    brain = _blob(anatomy, shape, (0, 0), (0.64 * size, 0.82 * size), rough=0.02)
    scene.paint(brain, 104)
    folds = _clouds(anatomy, shape, 16)
    scene.paint(np.minimum(brain, 0.1 - np.abs(brain - 0.07) - 0.05 * np.abs(folds)), 138)
    scene.paint(np.minimum(np.minimum(brain, 0.12 - brain), 0.02 - 0.1 * np.abs(folds)), 36)
    scene.paint(np.minimum(brain - 0.02, 0.008 - np.abs(_grid(shape)[0] + 0.01 * folds)), 40)
    for side in (-1, 1):
        ventricle = (side * 0.13, -0.05)
        radii = (0.06 + 0.04 * anatomy.random(), 0.26 * size)
        scene.paint(_blob(anatomy, shape, ventricle, radii, angle=side * 0.25, rough=0.08), 26, name="ventricle")
    if anatomy.random() < 0.85:
        side = 1 if anatomy.random() < 0.5 else -1
        centre = (side * anatomy.uniform(0.24, 0.36), anatomy.uniform(-0.4, 0.4))
        radius = anatomy.uniform(0.07, 0.2) * size
        scene.paint(_blob(anatomy, shape, centre, (radius, radius * 0.85), rough=0.25), 214, name="tumor")
        scene.paint(_blob(anatomy, shape, centre, (radius * 0.4, radius * 0.3), rough=0.2), 128, within="tumor")
    bias = 1 + 0.10 * _clouds(grain, shape, 4)[:, :, np.newaxis]
    real, imaginary = (6 * grain.standard_normal(scene.pixels.shape) for _ in range(2))
    scene.pixels = np.hypot(scene.pixels * bias + real, imaginary)
    return scene


def _draw_ultrasound(anatomy: Generator, grain: Generator, position: float) -> _Scene:
    """A fan of speckled tissue layers with a dark nodule and, often, a vessel."""
    scene = _Scene.blank(200, 260, 92.0)
    shape = scene.shape
    x, y = _grid(shape)
    waves = 0.05 * _clouds(anatomy, shape, 5)
    for depth in (-0.72, -0.5, -0.15, 0.35):
        level = y - depth - waves - anatomy.uniform(-0.06, 0.06)
        scene.paint(np.minimum(level, 0.22 - level), anatomy.uniform(60, 150))
        scene.paint(0.012 - np.abs(level), 205)
    centre = (anatomy.uniform(-0.4, 0.4) + 0.05 * position, anatomy.uniform(-0.25, 0.35))
    radius = anatomy.uniform(0.12, 0.27) * (1 - 0.15 * position)
    nodule = _blob(anatomy, shape, centre, (radius * 1.25, radius), rough=0.12)
    scene.paint(nodule + 0.03, 150)
    scene.paint(nodule, 34, name="nodule")
    behind = (np.abs(x - centre[0]) < radius) & (y > centre[1] + radius)
    scene.pixels[behind] *= 1.35
    if anatomy.random() < 0.75:
        vessel = (-np.sign(centre[0]) * anatomy.uniform(0.45, 0.6), anatomy.uniform(-0.2, 0.3))
        scene.paint(_blob(anatomy, shape, vessel, (0.11, 0.09), rough=0.04), 6, name="vessel")
    real, imaginary = (_softened(grain.standard_normal(shape), 2) for _ in range(2))
    speckle = np.hypot(real, imaginary)
    speckle /= speckle.mean()
    scene.pixels *= (0.25 + 0.75 * speckle * np.exp(-0.25 * (y + 1)))[:, :, np.newaxis]
    distance, turn = np.hypot(x, y + 1.9), np.arctan2(x, y + 1.9)
    fan = (np.abs(turn) < 0.56) & (distance > 1.0) & (distance < 2.82)
    scene.pixels[~fan] = 0.0
    scene.masks = {name: [part & fan for part in parts] for name, parts in scene.masks.items()}
    return scene


def _draw_dermoscopy(anatomy: Generator, grain: Generator, position: float) -> _Scene:
    """A close view of skin: a brown lesion with a darker network, hairs, a dark rim."""
    skin = (226.0 + anatomy.uniform(-12, 8), 178.0 + anatomy.uniform(-16, 10), 156.0 + anatomy.uniform(-18, 10))
    scene = _Scene.blank(192, 256, skin)
    shape = scene.shape
    centre = (anatomy.uniform(-0.2, 0.2) + 0.1 * position, anatomy.uniform(-0.15, 0.15))
    radius = anatomy.uniform(0.3, 0.55)
    turn = anatomy.uniform(0, pi)
    lesion = _blob(anatomy, shape, centre, (radius, radius * anatomy.uniform(0.65, 0.95)), angle=turn, rough=0.14)
    scene.paint(lesion / 4, (150, 92, 66), name="skin lesion")
    for _ in range(5):
        patch = (centre[0] + anatomy.normal(0, radius * 0.35), centre[1] + anatomy.normal(0, radius * 0.3))
        dark = _blob(anatomy, shape, patch, (radius * 0.35, radius * 0.28), rough=0.3)
        scene.paint(np.minimum(dark, lesion) / 4, (96, 54, 42), within="skin lesion")
    network = np.abs(_clouds(anatomy, shape, 26))
    scene.pixels -= (np.clip(lesion * 6, 0, 1) * 34 * np.exp(-6 * network))[:, :, np.newaxis]
    x, y = _grid(shape)
    for _ in range(grain.integers(2, 7)):
        slope, bend, at = grain.uniform(-2, 2), grain.uniform(-0.6, 0.6), grain.uniform(-1, 1)
        strand = np.abs(y - at - slope * x - bend * x * x) / np.hypot(1, slope + 2 * bend * x)
        scene.pixels *= (1 - 0.7 * np.clip(1.6 - strand / 0.008, 0, 1))[:, :, np.newaxis]
    scene.pixels += (5 * _clouds(grain, shape, 40) + 8 * _clouds(grain, shape, 6))[:, :, np.newaxis]
    scene.pixels += 3 * grain.standard_normal(scene.pixels.shape)
    scene.pixels *= (1 - 0.35 * np.clip(np.hypot(x / 1.33, y) - 0.75, 0, 1))[:, :, np.newaxis]
    return scene


LOOKS: tuple[_Look, ...] = (
    _Look(
        prefix="ct_00",
        source="PhantomAbdomen",
        native_2d=False,
        classes=("liver", "spleen", "kidney", "aorta", "liver lesion"),
        draw=_draw_ct,
    ),
    _Look(
        prefix="ultrasound_00",
        source="PhantomNodule",
        native_2d=True,
        classes=("nodule", "vessel"),
        draw=_draw_ultrasound,
    ),
    _Look(
        prefix="dermoscopy_00",
        source="PhantomSkin",
        native_2d=True,
        classes=("skin lesion",),
        draw=_draw_dermoscopy,
    ),
    _Look(
        prefix="mr_flair",
        source="PhantomBrain",
        native_2d=False,
        classes=("ventricle", "tumor"),
        draw=_draw_mr,
    ),
)
