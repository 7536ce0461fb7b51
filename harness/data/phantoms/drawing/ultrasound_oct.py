"""Modalities made of echoes: ultrasound of the thyroid, optical coherence tomography of the retina."""

import numpy as np

from harness.data.phantoms.drawing.canvas import Canvas, blob, clouds, grid, softened, speckle
from harness.data.phantoms.drawing.modality import ModalityPhantom, PhantomCase, Structure, scatter


def _draw_ultrasound(case: PhantomCase) -> Canvas:
    """Draw a fan of speckled tissue: a gland with nodules under layers of muscle, shadows and a vessel."""
    canvas, random = Canvas.blank(200, 260, 84.0), case.anatomy
    shape = canvas.shape
    x, y = grid(shape)
    waves = 0.05 * clouds(random, shape, 4)
    for depth, grey in ((-0.92, 140.0), (-0.74, 70.0), (-0.60, 112.0), (-0.46, 66.0), (0.46, 96.0), (0.70, 58.0)):
        level = y - depth - waves + 0.06 * x * x
        canvas.paint(level, grey + random.uniform(-10, 10), soft=2)
        canvas.paint(0.010 - np.abs(level) - 0.006 * np.abs(clouds(random, shape, 9)), 196, soft=2)
    lobe = case.lean * random.uniform(0.20, 0.32)
    gland = blob(random, shape, (lobe, -0.04), (0.68, 0.33), rough=0.06)
    canvas.paint(gland, 150, name="thyroid gland", soft=2)
    canvas.paint(0.012 - np.abs(gland), 168, soft=2, strength=0.6)
    room = gland - 0.13
    # Beams meet 1.9 above the image's middle; enhancement, shadows and the edges of the fan below all point there.
    factor = np.ones(shape)
    if case.sign:
        centre = (case.side * random.uniform(0.62, 0.72), random.uniform(0.12, 0.26))
        vessel = blob(random, shape, centre, (0.12, 0.10), rough=0.04)
        canvas.paint(vessel + 0.018, 176, soft=1.5, strength=0.7)
        canvas.paint(vessel, 12, name="vessel")
        across, down = x - centre[0], y - centre[1]
        room = np.minimum(room, np.sqrt(across * across + down * down) - 0.30)
    for spot in scatter(random, room, case.lesions, gap=0.31):
        radius = random.uniform(0.08, 0.125)
        nodule = blob(random, shape, spot, (radius * 1.2, radius), rough=0.12)
        canvas.paint(nodule + 0.02, 158, soft=2, strength=0.6)
        canvas.paint(nodule, random.uniform(38, 58), name="nodule", within=("thyroid gland",))
        beam = x - spot[0] * (y + 1.9) / (spot[1] + 1.9)
        # Fluid absorbs little, so tissue behind a nodule is brighter.
        behind = np.clip((radius * 0.8 - np.abs(beam)) * 12, 0, 1) * np.clip((y - spot[1] - radius) * 8, 0, 1)
        factor += 0.35 * behind
    for _ in range(int(random.integers(1, 3))):
        turn = random.uniform(-0.45, 0.45)
        factor *= 1 - 0.45 * np.clip((0.03 * (y + 1.9) - np.abs(x - turn * (y + 1.9))) * 30, 0, 1)
    canvas.multiply(factor)
    canvas.multiply(1 + 0.12 * clouds(random, shape, 14))
    canvas.multiply((0.28 + 0.72 * speckle(case.grain, shape, 2)) * (1.15 - 0.22 * (y + 1)))
    # In place of the scanner's logarithm, which is not the same to the last bit on every machine.
    canvas.pixels = 15.5 * np.sqrt(np.maximum(canvas.pixels, 0))
    distance = np.sqrt(x * x + (y + 1.9) * (y + 1.9))
    fan = (np.abs(x) < 0.60 * (y + 1.9)) & (distance > 1.0) & (distance < 2.84)
    canvas.keep(fan, 0.0)
    canvas.expose(case.grain.uniform(88, 116), fan)
    return canvas


def _draw_oct(case: PhantomCase) -> Canvas:
    """Draw a section through the macula: layers of the retina, the choroid below, dark fluid, lifted epithelium."""
    canvas, random = Canvas.blank(184, 264, 14.0), case.anatomy
    shape = canvas.shape
    x, y = grid(shape)
    tilt, bow = random.uniform(-0.06, 0.06), random.uniform(0.02, 0.10)
    base = random.uniform(0.10, 0.22) + tilt * x + bow * x * x + 0.012 * clouds(random, shape, 3)[:1]
    # The foveal pit: a rational bump in place of a Gaussian, which would need an exponential.
    near = (x - random.uniform(-0.15, 0.15)) / 0.34
    pit = 1 / (1 + near * near * (1 + 0.5 * near * near))
    lift = np.zeros(shape)
    if case.sign:
        away = (x - case.side * random.uniform(0.55, 0.85)) / random.uniform(0.20, 0.28)
        lift = random.uniform(0.17, 0.23) * np.clip(1 - away * away, 0, None)
    bottom = base - lift
    top = base - 0.66 + 0.24 * pit - 0.55 * lift
    retina = np.minimum(y - top, bottom - y)
    choroid = np.minimum(y - base, base + 0.48 + 0.05 * clouds(random, shape, 5) - y)
    canvas.paint(choroid, 138 - 100 * np.clip(y - base, 0, 1)[:, :, np.newaxis], soft=3)
    canvas.add(26 * clouds(random, shape, 18) * np.clip(choroid * 8, 0, 1))
    canvas.paint(retina, 104, name="retina", soft=1.5)
    depth = (y - top) / np.maximum(bottom - top, 0.05)
    # (start, end, grey value): layers by their share of the retina's thickness, from the vitreous to the epithelium.
    layers = ((0.0, 0.12, 178), (0.28, 0.36, 84), (0.36, 0.48, 130), (0.52, 0.72, 62), (0.78, 0.81, 158))
    for start, end, grey in layers:
        layer = np.minimum(depth - start, end - depth) * 0.5
        canvas.paint(np.minimum(layer, retina), grey, within=("retina",), soft=1.6, strength=0.85)
    canvas.paint(0.028 - np.abs(y - bottom + 0.02), 208, within=("retina",), soft=1.5, strength=0.95)
    if case.sign:
        inside = np.minimum(y - bottom - 0.012, base - y)
        canvas.paint(inside, 44, name="epithelial detachment", within=("retina",), soft=1.5)
        canvas.paint(0.008 - np.abs(y - base), 128, within=("retina", "epithelial detachment"), soft=1.5, strength=0.7)
    room = np.minimum(np.minimum(depth - 0.30, 0.72 - depth) * 0.5, 1.1 - np.abs(x))
    # Not above a detachment, where the retina is thinner.
    for spot in scatter(random, np.where(lift > 0.02, -1.0, room), case.lesions, gap=0.34):
        radii = (random.uniform(0.09, 0.13), random.uniform(0.07, 0.09))
        cyst = blob(random, shape, spot, radii, rough=0.1)
        canvas.paint(cyst, 20, name="fluid pocket", within=("retina",), soft=1.4)
    grain = speckle(case.grain, shape, 1)
    canvas.multiply(0.30 + 0.70 * grain)
    canvas.add(7 * np.abs(softened(case.grain.standard_normal(shape), 1)))
    shade = 1 + 0.10 * clouds(random, shape, 3)[:1]
    canvas.multiply(np.broadcast_to(shade, shape))
    canvas.pixels = 12.5 * np.sqrt(np.maximum(canvas.pixels, 0))
    canvas.expose(case.grain.uniform(66, 88))
    return canvas


ULTRASOUND = ModalityPhantom(
    prefix="ultrasound_00",
    code="us",
    source="PhantomThyroid",
    native_2d=True,
    modality="ultrasound",
    aliases=("ultrasound image", "sonogram"),
    region="neck",
    organ="NECK",
    view="An ultrasound image of the neck",
    structures=(
        Structure(name="thyroid gland", plural="thyroid glands"),
        Structure(name="nodule", plural="nodules", role="lesion"),
        Structure(name="vessel", plural="vessels", role="sign", normal=True),
    ),
    draw=_draw_ultrasound,
)
OCT = ModalityPhantom(
    prefix="oct_00",
    code="oct",
    source="PhantomMacula",
    native_2d=True,
    modality="OCT",
    aliases=("OCT image", "optical coherence tomography scan"),
    region="macula",
    organ="EYE",
    view="An OCT section through the macula",
    structures=(
        Structure(name="retina", plural="retinas"),
        Structure(name="fluid pocket", plural="fluid pockets", role="lesion"),
        Structure(name="epithelial detachment", plural="epithelial detachments", role="sign"),
    ),
    draw=_draw_oct,
)
