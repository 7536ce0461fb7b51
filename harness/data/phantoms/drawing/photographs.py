"""Modalities of visible light: dermoscopy, fundus photography, endoscopy, microscopy of a blood film."""

from math import cos, pi, sin

import numpy as np

from harness.data.phantoms.drawing.canvas import Canvas, Floats, Point, blob, clouds, grid, softened, stretch, tube
from harness.data.phantoms.drawing.modality import ModalityPhantom, PhantomCase, Structure, scatter

Colours = tuple[float, float, float]


def _varied(case: PhantomCase, colour: Colours, spread: float) -> Colours:
    """Return an RGB colour, each channel moved at random by at most `spread`, 0 to 255, per patient."""
    red, green, blue = (level + case.anatomy.uniform(-spread, spread) for level in colour)
    return red, green, blue


def _away(shape: tuple[int, int], centre: Point) -> Floats:
    """Return the distance of every pixel from a point (x, y), float64 (H, W), in the unit of `grid`."""
    x, y = grid(shape)
    return np.sqrt((x - centre[0]) * (x - centre[0]) + (y - centre[1]) * (y - centre[1]))


def _draw_dermoscopy(case: PhantomCase) -> Canvas:
    """Draw a close view of skin through a round lens: a brown lesion with a network, hairs, spots of blood."""
    canvas, random = Canvas.blank(192, 256, _varied(case, (222, 172, 150), 14)), case.anatomy
    shape = canvas.shape
    x, y = grid(shape)
    canvas.add(9 * clouds(random, shape, 5)[:, :, np.newaxis] * np.array([0.6, 1.0, 1.0]))
    canvas.add(6 * clouds(random, shape, 30))
    for _ in range(6):
        start = (random.uniform(-1.2, 1.2), random.uniform(-0.9, 0.9))
        end = (start[0] + random.normal(0, 0.25), start[1] + random.normal(0, 0.25))
        bend = (start[0] + random.normal(0, 0.15), start[1] + random.normal(0, 0.15))
        capillary = tube(shape, stretch(start, end, bend, 40), [0.008] * 41)
        canvas.paint(capillary, (202, 112, 104), soft=2, strength=0.45)
    centre = (random.uniform(-0.42, 0.42), random.uniform(-0.24, 0.24))
    long, turn = random.uniform(0.36, 0.50), random.uniform(0, pi)
    lesion = blob(random, shape, centre, (long, long * random.uniform(0.68, 0.9)), angle=turn, rough=0.16)
    lesion = lesion + 0.03 * clouds(random, shape, 10)
    brown = np.array(_varied(case, (158, 104, 74), 12))
    canvas.paint(lesion, brown, name="skin lesion", soft=5)
    for _ in range(5):
        spot = (centre[0] + random.normal(0, long * 0.4), centre[1] + random.normal(0, long * 0.35))
        dark = blob(random, shape, spot, (long * 0.4, long * 0.3), rough=0.35)
        canvas.paint(np.minimum(dark, lesion), brown * random.uniform(0.62, 0.85), soft=7, strength=0.7)
    # The pigment network: dark lines where smooth noise passes through zero.
    mesh = np.abs(clouds(random, shape, 24))
    canvas.add((-30 * np.clip(lesion * 8, 0, 1) / (1 + 25 * mesh * mesh))[:, :, np.newaxis] * np.array([0.9, 1, 0.9]))
    if case.sign:
        at = (centre[0] + case.side * (0.10 + 0.42 * long), centre[1] + random.normal(0, 0.05))
        scar = blob(random, shape, at, (0.15, 0.20), rough=0.2)
        canvas.paint(scar, (228, 206, 204), name="white scar", within=("skin lesion",), soft=3, strength=0.85)
    room = lesion - 0.10
    # A blood spot that touched the scar would cut its mask.
    for mask in canvas.masks.get("white scar", []):
        room = np.where(softened(mask.astype(np.float64), 8) > 0.01, -1.0, room)
    for spot in scatter(random, room, case.lesions, gap=0.20):
        radius = random.uniform(0.045, 0.065)
        blood = blob(random, shape, spot, (radius, radius), rough=0.12)
        canvas.paint(blood, (126, 22, 34), name="blood spot", within=("skin lesion",), soft=1.8)
        shine = blob(random, shape, (spot[0] - 0.015, spot[1] - 0.018), (0.012, 0.01))
        canvas.paint(shine, (196, 120, 120), within=("skin lesion", "blood spot"), soft=2)
    for _ in range(int(case.grain.integers(3, 8))):
        start = (case.grain.uniform(-1.3, 1.3), case.grain.uniform(-1, 1))
        turn = case.grain.uniform(0, 2 * pi)
        end = (start[0] + 0.9 * cos(turn), start[1] + 0.9 * sin(turn))
        bend = (start[0] + 0.5 * cos(turn + 0.5), start[1] + 0.5 * sin(turn + 0.5))
        hair = tube(shape, stretch(start, end, bend, 120), list(np.linspace(0.011, 0.004, 121)))
        # Hair crosses every structure and hides none: it counts as a part of each, and is cut out of no mask.
        canvas.paint(hair, (54, 38, 32), within=tuple(canvas.masks), soft=1.2)
    canvas.add(4 * softened(case.grain.standard_normal(canvas.pixels.shape), 1))
    rim = np.sqrt(x * x + y * y)
    canvas.multiply(1 - 0.30 * np.clip(rim - 0.45, 0, 1))
    canvas.expose(case.grain.uniform(140, 168), rim < 1.05)
    canvas.multiply(np.clip((1.12 - rim) * 18, 0.04, 1))
    canvas.keep(rim < 1.12, (7.0, 6.0, 6.0))
    return canvas


def _draw_fundus(case: PhantomCase) -> Canvas:
    """Draw the back of an eye: optic disc with its vessels, dark macula, bleedings and yellow exudates."""
    canvas, random = Canvas.blank(216, 244, _varied(case, (176, 84, 40), 12)), case.anatomy
    shape = canvas.shape
    canvas.add(12 * clouds(random, shape, 4)[:, :, np.newaxis] * np.array([1.0, 0.8, 0.5]))
    canvas.add(5 * clouds(random, shape, 26)[:, :, np.newaxis] * np.array([1.0, 0.8, 0.3]))
    # A right eye or a left one: the optic disc lies towards the nose, the macula away from it.
    eye = case.lean
    disc = (eye * random.uniform(0.40, 0.52), random.uniform(-0.10, 0.10))
    macula = (disc[0] - eye * 0.62, disc[1] + 0.06)
    away = _away(shape, macula)
    canvas.multiply(1 - 0.36 / (1 + 28 * away * away))
    field = blob(random, shape, disc, (0.135, 0.155), rough=0.03)
    canvas.paint(field + 0.02, (206, 128, 66), soft=5, strength=0.6)
    canvas.paint(field, (238, 188, 116), name="optic disc", soft=2.5)
    cup = blob(random, shape, (disc[0] + 0.01, disc[1]), (0.065, 0.075), rough=0.05)
    canvas.paint(cup, (250, 226, 174), within=("optic disc",), soft=3)
    # Where no bleeding may be: disc, macula and, below, exudates.
    taken = np.maximum(field + 0.09, 0.13 - away)
    if case.sign:
        at = (case.side * random.uniform(0.22, 0.5), random.choice([-1, 1]) * random.uniform(0.32, 0.5))
        spots = [(at[0] + random.normal(0, 0.055), at[1] + random.normal(0, 0.055)) for _ in range(9)]
        patch = np.max(
            [blob(random, shape, spot, (random.uniform(0.02, 0.045),) * 2, rough=0.2) for spot in spots], axis=0
        )
        canvas.paint(patch, (240, 212, 110), name="exudate", soft=1.6)
        taken = np.maximum(taken, 0.24 - _away(shape, at))
    for up in (-1, 1):
        for toward in (-1, 1):
            for red, width in (((118, 34, 20), 0.021), ((146, 48, 26), 0.015)):
                _grow_vessel(canvas, case, disc, (up, toward * eye, width), red)
    rim = _away(shape, (0.0, 0.0))
    room = np.minimum(-taken, 0.78 - rim)
    for spot in scatter(random, room, case.lesions, gap=0.24):
        radius = random.uniform(0.05, 0.075)
        bleeding = blob(random, shape, spot, (radius, radius * random.uniform(0.75, 1)), rough=0.3)
        canvas.paint(bleeding, (92, 14, 12), name="hemorrhage", soft=2.2)
    canvas.pixels = softened(canvas.pixels, 1)
    canvas.multiply(1.06 - 0.34 * rim * rim)
    canvas.add(3 * softened(case.grain.standard_normal(canvas.pixels.shape), 1))
    canvas.expose(case.grain.uniform(78, 98), rim < 0.95)
    canvas.multiply(np.clip((0.965 - rim) * 40, 0, 1))
    canvas.keep(rim < 0.96, (4.0, 3.0, 3.0))
    return canvas


def _grow_vessel(canvas: Canvas, case: PhantomCase, disc: Point, plan: tuple[int, int, float], colour: Colours) -> None:
    """Draw one arcade from the disc with four side branches.

    Args:
        canvas: The fundus, its disc painted.
        case: Source of the random numbers.
        disc: Centre of the optic disc, (x, y) in the unit of `grid`.
        plan: -1 for an upper arcade or 1 for a lower one; -1 or 1 for left or right; half width at the disc.
        colour: RGB.
    """
    random = case.anatomy
    up, toward, width = plan
    reach = random.uniform(0.95, 1.15) if toward * disc[0] < 0 else random.uniform(0.3, 0.5)
    end = (disc[0] + toward * reach, disc[1] + up * random.uniform(0.45, 0.8))
    bend = (disc[0] + toward * 0.05, disc[1] + up * random.uniform(0.55, 0.85))
    path = stretch(disc, end, bend, 90)
    wobble = random.normal(0, 0.01, 91)
    path = [(x + wobble[i] * 0.4, y + 0.01 * sin(i / 5 + wobble[0] * 300)) for i, (x, y) in enumerate(path)]
    field = tube(canvas.shape, path, list(np.linspace(width, width * 0.35, 91)))
    for _ in range(4):
        start = path[int(random.integers(12, 75))]
        away = (start[0] + random.normal(0, 0.22), start[1] + up * random.uniform(-0.35, 0.35))
        curve = (start[0] + toward * 0.12, (start[1] + away[1]) / 2)
        branch = tube(canvas.shape, stretch(start, away, curve, 50), list(np.linspace(width * 0.5, width * 0.15, 51)))
        field = np.maximum(field, branch)
    canvas.paint(field, colour, within=tuple(canvas.masks), soft=1.6, strength=0.8)


def _draw_endoscopy(case: PhantomCase) -> Canvas:
    """Draw the inside of a colon: folds around a dark lumen, wet highlights, polyps and blood."""
    canvas, random = Canvas.blank(200, 248, _varied(case, (206, 116, 92), 12)), case.anatomy
    shape = canvas.shape
    x, y = grid(shape)
    lumen = (random.uniform(-0.40, 0.40), random.uniform(-0.30, 0.20))
    away = _away(shape, lumen) * (1 + 0.06 * clouds(random, shape, 3))
    phase = random.uniform(0, 1)
    folds = (2.6 * away / (0.35 + away) * 2.2 + phase + 0.10 * clouds(random, shape, 4)) % 1
    ridge = 4 * folds * (1 - folds)
    canvas.multiply(0.70 + 0.34 * ridge * np.sqrt(ridge))
    canvas.multiply(0.34 + 0.80 * away / (0.30 + away))
    for _ in range(9):
        start = (random.uniform(-1.1, 1.1), random.uniform(-0.9, 0.9))
        end = (start[0] + random.normal(0, 0.3), start[1] + random.normal(0, 0.3))
        bend = (start[0] + random.normal(0, 0.2), start[1] + random.normal(0, 0.2))
        canvas.paint(
            tube(shape, stretch(start, end, bend, 50), list(np.linspace(0.010, 0.003, 51))),
            (150, 44, 42),
            soft=2.5,
            strength=0.35,
        )
    hole = blob(random, shape, lumen, (0.17, 0.145), angle=random.uniform(0, pi), rough=0.10)
    canvas.paint(hole + 0.05, (92, 34, 26), soft=8, strength=0.7)
    canvas.paint(hole, (34, 9, 8), name="lumen", soft=4)
    rim = np.sqrt(x * x * 0.78 + y * y)
    room = np.minimum(away - 0.42, 0.72 - rim)
    if case.sign:
        side = np.minimum(case.side * x - 0.12, room)
        for at in scatter(random, side, 1, gap=0.1):
            pool = blob(random, shape, at, (0.19, 0.13), angle=random.uniform(0, pi), rough=0.35)
            canvas.paint(pool, (124, 8, 14), name="fresh blood", soft=2.5, strength=0.9)
            canvas.paint(pool - 0.05, (92, 4, 10), within=("fresh blood",), soft=5, strength=0.7)
            room = np.minimum(room, _away(shape, at) - 0.40)
    for spot in scatter(random, room, case.lesions, gap=0.42):
        radius = random.uniform(0.12, 0.17)
        polyp = blob(random, shape, spot, (radius, radius * 0.85), angle=random.uniform(0, pi), rough=0.10)
        shadow = blob(random, shape, (spot[0] + 0.03, spot[1] + 0.05), (radius * 1.1, radius), rough=0.1)
        canvas.paint(shadow, (120, 48, 40), soft=7, strength=0.55)
        round_off = np.clip(_away(shape, (spot[0] - 0.04, spot[1] - 0.05)) / (1.5 * radius), 0, 1)[:, :, np.newaxis]
        skin = np.array([226.0, 122.0, 104.0]) * (1.08 - 0.42 * round_off * round_off)
        canvas.paint(polyp, skin + 7 * clouds(random, shape, 30)[:, :, np.newaxis], name="polyp", soft=2)
        shine = blob(random, shape, (spot[0] - 0.05, spot[1] - 0.06), (0.028, 0.018), angle=0.5, rough=0.2)
        canvas.paint(shine, (255, 244, 238), within=("polyp",), soft=2.5, strength=0.9)
    for at in scatter(random, np.minimum(away - 0.3, 0.8 - rim), 12, gap=0.08):
        wet = blob(random, shape, at, (random.uniform(0.012, 0.035), 0.010), angle=random.uniform(0, pi), rough=0.3)
        canvas.paint(wet, (255, 240, 232), within=tuple(canvas.masks), soft=2, strength=0.85)
    canvas.add(5 * clouds(random, shape, 34))
    canvas.add(3.5 * softened(case.grain.standard_normal(canvas.pixels.shape), 1))
    canvas.multiply(1.05 - 0.30 * rim * rim)
    screen = np.minimum(1.0 - np.abs(y), 1.24 - np.abs(x))
    corners = 1.62 - np.abs(x) - np.abs(y)
    inside = (screen > 0.03) & (corners > 0)
    canvas.expose(case.grain.uniform(84, 108), inside)
    canvas.keep(inside, (5.0, 5.0, 6.0))
    return canvas


def _draw_microscopy(case: PhantomCase) -> Canvas:
    """Draw a stained blood film: red cells, white cells with lobed nuclei, platelets, perhaps a parasite."""
    canvas, random = Canvas.blank(200, 264, _varied(case, (236, 228, 224), 6)), case.anatomy
    shape = canvas.shape
    canvas.add(4 * clouds(random, shape, 3))
    x, y = grid(shape)
    inner = np.minimum(1.05 - np.abs(x), 0.72 - np.abs(y))
    # One more than the dealt number: no blood film is without a white cell.
    whites = scatter(random, inner, case.lesions + 1, gap=0.62)
    free = np.ones(shape)
    for at in whites:
        free = np.minimum(free, _away(shape, at) - 0.36)
    cells = scatter(random, free, 34, gap=0.235)
    for at in cells:
        radius = random.uniform(0.105, 0.125)
        cell = blob(random, shape, at, (radius, radius * random.uniform(0.88, 1)), rough=0.05)
        canvas.paint(cell, (214, 140, 142), soft=1.8)
        pale = blob(random, shape, at, (radius * 0.45, radius * 0.42), rough=0.08)
        canvas.paint(pale, (232, 184, 180), soft=6, strength=0.8)
        canvas.paint(0.010 - np.abs(cell - 0.008), (192, 112, 120), soft=2, strength=0.5)
    for at in whites:
        radius = random.uniform(0.20, 0.235)
        body = blob(random, shape, at, (radius, radius * 0.94), rough=0.05)
        canvas.paint(body, (206, 192, 214), name="white cell", soft=1.8)
        for lobe in range(int(random.integers(2, 5))):
            turn = 2.1 * lobe + random.uniform(0, 1)
            spot = (at[0] + 0.40 * radius * cos(turn), at[1] + 0.40 * radius * sin(turn))
            nucleus = np.minimum(blob(random, shape, spot, (radius * 0.48, radius * 0.40), rough=0.15), body - 0.02)
            canvas.paint(nucleus, (104, 62, 140), within=("white cell",), soft=1.8)
    canvas.add(np.clip(canvas.pixels[:, :, 1] * -0.10 + 16, 0, 10) * clouds(random, shape, 36))
    _draw_parasite(canvas, case, [at for at in cells if abs(at[0]) < 1.1 and abs(at[1]) < 0.8])
    # Platelets last: they lie in the gaps that white and red cells leave.
    clear = free
    for at in cells:
        clear = np.minimum(clear, _away(shape, at) - 0.15)
    for at in scatter(random, np.minimum(clear, inner + 0.15), int(random.integers(2, 5)), gap=0.12):
        platelet = blob(random, shape, at, (0.038, 0.032), rough=0.25)
        canvas.paint(platelet, (148, 96, 162), name="platelet", soft=1.8)
    canvas.pixels = softened(canvas.pixels, 1)
    canvas.add(3 * softened(case.grain.standard_normal(canvas.pixels.shape), 1))
    canvas.multiply(1.03 - 0.10 * (x * x * 0.6 + y * y))
    canvas.expose(case.grain.uniform(176, 200))
    return canvas


def _draw_parasite(canvas: Canvas, case: PhantomCase, cells: list[Point]) -> None:
    """Draw a ring with a dark dot into one red cell on the side that the case asks for.

    Without a cell there the image has no parasite; answers are read off the masks and stay right.
    """
    hosts = [at for at in cells if at[0] * case.side > 0.12]
    if not case.sign or not hosts:
        return
    random = case.anatomy
    at = hosts[int(random.integers(len(hosts)))]
    away = _away(canvas.shape, at)
    disc = 0.066 - away
    canvas.paint(disc, (216, 150, 156), name="parasite", soft=1.5)
    canvas.paint(0.016 - np.abs(away - 0.050), (92, 52, 146), within=("parasite",), soft=1.5)
    dot = (at[0] + 0.045, at[1] - 0.025)
    canvas.paint(blob(random, canvas.shape, dot, (0.026, 0.026)), (126, 20, 92), within=("parasite",), soft=1.5)


DERMOSCOPY = ModalityPhantom(
    prefix="dermoscopy_00",
    code="derm",
    source="PhantomSkin",
    native_2d=True,
    modality="dermoscopy",
    aliases=("dermoscopic image", "dermatoscope picture"),
    region="skin",
    organ="SKIN",
    view="A dermoscopic picture of skin",
    structures=(
        Structure(name="skin lesion", plural="skin lesions"),
        Structure(name="blood spot", plural="blood spots", role="lesion"),
        Structure(name="white scar", plural="white scars", role="sign"),
    ),
    draw=_draw_dermoscopy,
)
FUNDUS = ModalityPhantom(
    prefix="fundus_photography",
    code="fundus",
    source="PhantomEye",
    native_2d=True,
    modality="fundus photography",
    aliases=("fundus photograph", "photograph of the retina"),
    region="eye",
    organ="EYE",
    view="A fundus photograph",
    structures=(
        Structure(name="optic disc", plural="optic discs"),
        Structure(name="hemorrhage", plural="hemorrhages", role="lesion"),
        Structure(name="exudate", plural="exudates", role="sign"),
    ),
    draw=_draw_fundus,
)
ENDOSCOPY = ModalityPhantom(
    prefix="endoscopy_00",
    code="endo",
    source="PhantomColon",
    native_2d=True,
    modality="endoscopy",
    aliases=("endoscopic image", "colonoscopy picture"),
    region="colon",
    organ="COLON",
    view="An endoscopic view of the colon",
    structures=(
        Structure(name="lumen", plural="lumens"),
        Structure(name="polyp", plural="polyps", role="lesion"),
        Structure(name="fresh blood", plural="fresh blood", role="sign", mass=True),
    ),
    draw=_draw_endoscopy,
)
MICROSCOPY = ModalityPhantom(
    prefix="microscopy_00",
    code="micro",
    source="PhantomBloodFilm",
    native_2d=True,
    modality="microscopy",
    aliases=("microscope image", "light micrograph"),
    region="blood",
    organ="BLOOD",
    view="A stained blood film under the microscope",
    structures=(
        Structure(name="platelet", plural="platelets"),
        Structure(name="white cell", plural="white cells", role="lesion", normal=True),
        Structure(name="parasite", plural="parasites", role="sign"),
    ),
    draw=_draw_microscopy,
)
