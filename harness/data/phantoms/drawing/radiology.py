"""Modalities of radiology and nuclear medicine: CT of the abdomen, MR of the brain, chest X-ray, whole-body PET."""

from math import pi

import numpy as np

from harness.data.phantoms.drawing.canvas import Canvas, Floats, blob, clouds, grid, softened, stretch, tube
from harness.data.phantoms.drawing.modality import ModalityPhantom, PhantomCase, Structure, scatter


def _draw_ct(case: PhantomCase) -> Canvas:
    """Draw an axial slice of an abdomen in a soft-tissue window, the patient's right on the image's left.

    The order of painting matters: a structure covers what was painted before it, and is cut out of its mask.
    """
    canvas, random = Canvas.blank(192, 240, 4.0), case.anatomy
    shape, shift = canvas.shape, case.anatomy.normal(0, 0.02, 8)
    size = 1 - 0.08 * case.position - 0.15 * case.position**2
    inside = _draw_body_wall(canvas, case)
    _draw_bowel(canvas, case)
    liver = (-0.43 + shift[0], -0.12 + shift[1])
    field = np.minimum(blob(random, shape, liver, (0.45 * size, 0.40 * size), rough=0.12), inside - 0.02)
    canvas.paint(field, 164, name="liver")
    for _ in range(5):
        end = (liver[0] + random.uniform(-0.33, 0.2), liver[1] + random.uniform(-0.3, 0.3))
        vessel = stretch((liver[0] + 0.25, liver[1] + 0.05), end, (liver[0], liver[1] + random.normal(0, 0.1)), 30)
        lines = tube(shape, vessel, list(np.linspace(0.022, 0.006, 31)))
        canvas.paint(np.minimum(lines, field - 0.01), 184, within=("liver",))
    spleen = (0.66 + shift[2], -0.02 + shift[3])
    field_of_spleen = blob(random, shape, spleen, (0.15, 0.28 * size), angle=-0.3, rough=0.1)
    canvas.paint(np.minimum(field_of_spleen, inside - 0.015), 158, name="spleen")
    kidneys = {}
    for side in (-1, 1):
        kidneys[side] = (side * 0.45 + shift[4], 0.37 + shift[5])
        radii = (0.13 * case.pair(side, 0.24), 0.18 * case.pair(side, 0.24) * size)
        canvas.paint(blob(random, shape, kidneys[side], radii, angle=side * 0.4), 188, name="kidney")
        hilum = (kidneys[side][0] - side * 0.08, kidneys[side][1] - 0.01)
        canvas.paint(blob(random, shape, hilum, (0.055, 0.06), rough=0.15), 100)
        muscle = (side * 0.24, 0.52)
        canvas.paint(blob(random, shape, muscle, (0.09, 0.12), angle=-side * 0.3), 138)
    _draw_spine(canvas, case)
    canvas.paint(blob(random, shape, (0.09 + shift[6], 0.25), (0.066, 0.066), rough=0.02), 200, name="aorta")
    canvas.paint(blob(random, shape, (-0.11 + shift[7], 0.24), (0.075, 0.055), rough=0.05), 176)
    # Blurred, the mask falls below 0.93 near the edge of the liver that is still seen, which keeps lesions inside it.
    room = softened(canvas.masks["liver"][0].astype(np.float64), 40) - 0.93
    for spot in scatter(random, room, case.lesions, gap=0.27):
        radius = random.uniform(0.055, 0.105) * (0.85 + 0.15 * size)
        lesion = blob(random, shape, spot, (radius, radius * random.uniform(0.8, 1)), rough=0.12)
        canvas.paint(lesion, random.uniform(112, 130), name="liver lesion", within=("liver",), soft=1.6)
    if case.sign:
        kidney = kidneys[case.side]
        cyst = (kidney[0] + case.side * 0.10, kidney[1] + random.uniform(-0.08, 0.08))
        radius = random.uniform(0.065, 0.09)
        canvas.paint(
            blob(random, shape, cyst, (radius, radius), rough=0.03), 104, name="kidney cyst", within=("kidney",)
        )
    texture = 4 * clouds(random, shape, 46) + 3 * clouds(random, shape, 12)
    canvas.add(texture * (canvas.pixels[:, :, 0] > 40))
    canvas.add(8 * softened(case.grain.standard_normal(shape), 1) + 2 * case.grain.standard_normal(shape))
    canvas.expose(case.grain.uniform(72, 92))
    return canvas


def _draw_body_wall(canvas: Canvas, case: PhantomCase) -> Floats:
    """Draw skin, muscle, ribs and the fat inside; return the field of the cavity, float64 (H, W)."""
    random, shape = case.anatomy, canvas.shape
    wide = random.uniform(0.96, 1.04)
    skin = blob(random, shape, (0, 0.03), (1.10 * wide, 0.86), rough=0.02)
    canvas.paint(skin, 78)
    canvas.paint(0.012 - np.abs(skin - 0.008), 128)
    wall = blob(random, shape, (0, 0.04), (1.00 * wide, 0.76), rough=0.02)
    canvas.paint(wall, 140)
    for number in range(9):
        turn = pi * (number + random.uniform(0.3, 0.7)) / 9 * 1.5 - 0.25 * pi
        rib = (0.955 * wide * float(np.cos(turn)), 0.04 + 0.70 * float(np.sin(turn)))
        canvas.paint(blob(random, shape, rib, (0.05, 0.028), angle=turn + pi / 2), 232)
    inside = blob(random, shape, (0, 0.0), (0.90 * wide, 0.65), rough=0.02)
    canvas.paint(inside, 84)
    return inside


def _draw_bowel(canvas: Canvas, case: PhantomCase) -> None:
    """Fill the belly with loops, and the stomach with fluid under gas."""
    random, shape = case.anatomy, canvas.shape
    for _ in range(13):
        loop = (random.uniform(-0.25, 0.6), random.uniform(-0.42, 0.22))
        radius = random.uniform(0.06, 0.1)
        field = blob(random, shape, loop, (radius * 1.25, radius), angle=random.uniform(0, pi), rough=0.16)
        canvas.paint(field, random.uniform(140, 152))
        canvas.paint(field - 0.028, random.uniform(106, 126))
    stomach = blob(random, shape, (0.30, -0.30), (0.26, 0.17), angle=0.4, rough=0.12)
    canvas.paint(stomach, 150)
    canvas.paint(stomach - 0.03, 118)
    level = -0.34 + random.uniform(-0.03, 0.03)
    canvas.paint(np.minimum(stomach - 0.03, level - grid(shape)[1]), 10)


def _draw_spine(canvas: Canvas, case: PhantomCase) -> None:
    """Draw a vertebra: arch, spinous process, body, and the canal last, which is cut out of the bone."""
    random, shape = case.anatomy, canvas.shape
    for side in (-1, 1):
        arch = stretch((side * 0.10, 0.52), (side * 0.2, 0.62), (side * 0.15, 0.6), 12)
        canvas.paint(tube(shape, arch, [0.03] * 13), 222)
    canvas.paint(tube(shape, stretch((0, 0.62), (0, 0.76), (0, 0.7), 10), [0.028] * 11), 222)
    canvas.paint(blob(random, shape, (0, 0.60), (0.12, 0.09), rough=0.05), 226)
    body = blob(random, shape, (0, 0.44), (0.17, 0.13), rough=0.06)
    canvas.paint(body, 234)
    canvas.paint(body - 0.025, 196)
    canvas.paint(blob(random, shape, (0, 0.60), (0.07, 0.055), rough=0.03), 132)


def _draw_mr(case: PhantomCase) -> Canvas:
    """Draw an axial FLAIR slice of a brain: dark ventricles, grey and white matter, bright lesions."""
    canvas, random = Canvas.blank(208, 176, 2.0), case.anatomy
    shape, size = canvas.shape, 1 - 0.06 * case.position - 0.12 * case.position**2
    folds, fine = clouds(random, shape, 15), clouds(random, shape, 22)
    head = blob(random, shape, (0, 0), (0.76 * size, 0.93 * size), rough=0.012)
    canvas.paint(head, 148)
    canvas.paint(head - 0.05, 16)
    canvas.paint(np.minimum(head - 0.065, 0.105 - head), 62)
    brain = blob(random, shape, (0, 0), (0.655 * size, 0.825 * size), rough=0.02)
    canvas.paint(brain, 122)
    ridge = brain - 0.085 - 0.035 * folds
    canvas.paint(ridge, 92, soft=2.5)
    sulcus = np.minimum(0.014 - 0.06 * np.abs(fine), np.minimum(brain - 0.005, 0.15 - brain))
    canvas.paint(sulcus, 30, soft=1.4)
    gap = np.minimum(brain - 0.02, 0.011 - np.abs(grid(shape)[0] + 0.012 * folds))
    canvas.paint(np.minimum(gap, np.abs(grid(shape)[1]) - 0.30), 36)
    for side in (-1, 1):
        nucleus = (side * 0.2, 0.02)
        canvas.paint(blob(random, shape, nucleus, (0.10, 0.19), angle=side * 0.35), 116, soft=2.5)
        radii = (0.072 * case.pair(side, 0.34), 0.26 * size * case.pair(side, 0.14))
        bent = (side * 0.115, -0.04)
        canvas.paint(blob(random, shape, bent, radii, angle=side * 0.22, rough=0.1), 24, name="ventricle")
    free = brain - 0.16
    if case.sign:
        centre = (case.side * random.uniform(0.30, 0.38), random.uniform(-0.36, 0.36))
        radius = random.uniform(0.12, 0.19) * size
        edema = blob(random, shape, centre, (radius * 1.5, radius * 1.35), rough=0.35)
        canvas.paint(np.minimum(edema, brain - 0.05), 158, soft=4, strength=0.8)
        tumor = np.minimum(blob(random, shape, centre, (radius, radius * 0.85), rough=0.22), brain - 0.03)
        canvas.paint(tumor, 206, name="tumor", soft=1.5)
        canvas.paint(blob(random, shape, centre, (radius * 0.45, radius * 0.35), rough=0.2), 122, within=("tumor",))
        across, down = (axis - at for axis, at in zip(grid(shape), centre, strict=True))
        free = np.minimum(free, np.sqrt(across * across + down * down) - 1.6 * radius)
    # A lesion that touched a ventricle would cut its mask.
    for mask in canvas.masks["ventricle"]:
        free = np.where(softened(mask.astype(np.float64), 10) > 0.01, -1.0, free)
    for spot in scatter(random, free, case.lesions, gap=0.18):
        radius = random.uniform(0.035, 0.055)
        lesion = blob(random, shape, spot, (radius, radius * random.uniform(0.7, 1)), rough=0.15)
        canvas.paint(lesion, 200, name="white matter lesion", soft=1.6)
    canvas.multiply(1 + 0.10 * clouds(random, shape, 3))
    canvas.add(3 * clouds(random, shape, 40) * (brain > 0))
    canvas.expose(case.grain.uniform(52, 70))
    # Rician noise: an MR image is the length of a complex signal with normal noise in both parts.
    real, imaginary = (5 * case.grain.standard_normal(shape)[:, :, np.newaxis] for _ in range(2))
    canvas.pixels = np.sqrt((canvas.pixels + real) * (canvas.pixels + real) + imaginary * imaginary)
    return canvas


def _draw_xray(case: PhantomCase) -> Canvas:
    """Draw a chest film from the front: bone and fluid bright, air dark, the heart on the image's right."""
    canvas, random = Canvas.blank(232, 208, 18.0), case.anatomy
    shape = canvas.shape
    x, y = grid(shape)
    turned = random.uniform(-0.02, 0.02)
    trunk = np.maximum(
        blob(random, shape, (turned, 0.42), (0.84, 1.05), rough=0.01),
        tube(shape, stretch((-0.75, -0.42), (0.75, -0.42), (0, -0.95), 40), [0.26] * 41),
    )
    trunk = np.maximum(trunk, tube(shape, stretch((turned, -1.1), (turned, -0.6), (turned, -0.8), 20), [0.2] * 21))
    canvas.paint(trunk, 148, soft=5)
    canvas.paint(0.10 - np.abs(x - turned - 0.01 * y), 196, soft=4)
    lungs = {}
    for side in (-1, 1):
        radii = (0.33 * case.pair(side, 0.16), 0.66)
        field = blob(random, shape, (side * 0.42 + turned, -0.03), radii, angle=-side * 0.10, rough=0.04)
        dome = blob(random, shape, (side * 0.42, 0.80 - 0.05 * (side < 0)), (0.46, 0.42), rough=0.03)
        lungs[side] = np.minimum(np.minimum(field, -dome), side * (x - turned) - 0.1)
        canvas.paint(lungs[side], 76, name="lung", soft=2)
    both = np.maximum(lungs[-1], lungs[1])
    heart = blob(random, shape, (0.13 + turned, 0.26), (0.34, 0.30), angle=0.5, rough=0.05)
    heart = np.maximum(heart, blob(random, shape, (0.03 + turned, -0.12), (0.15, 0.3), rough=0.05))
    knob = blob(random, shape, (0.13 + turned, -0.30), (0.09, 0.1), rough=0.03)
    heart = np.maximum(heart, knob)
    canvas.paint(heart, 186, name="heart", soft=2.5)
    for side in (-1, 1):
        for branch in range(9):
            root = (side * 0.15 + turned, 0.0 + 0.1 * random.normal())
            end = (side * random.uniform(0.3, 0.62), -0.5 + 0.125 * branch + 0.05 * random.normal())
            line = stretch(root, end, (side * 0.3, (root[1] + end[1]) / 2), 40)
            field = np.minimum(tube(shape, line, list(np.linspace(0.03, 0.004, 41))), both)
            canvas.paint(field, 132, soft=3, strength=0.5)
    room = np.minimum(both - 0.09, -heart - 0.10)
    if case.sign:
        level = random.uniform(0.12, 0.26)
        fluid = y - level - 0.30 * (0.6 - np.abs(x)) + 0.015 * clouds(random, shape, 5)
        effusion = np.minimum(fluid, np.minimum(lungs[case.side], -heart))
        canvas.paint(effusion, 172, name="pleural effusion", soft=2.5)
        room = np.minimum(room, -fluid - 0.08)
    for spot in scatter(random, np.minimum(room, 0.72 - np.abs(x)), case.lesions, gap=0.3, middle=0.24):
        radius = random.uniform(0.06, 0.1)
        nodule = blob(random, shape, spot, (radius, radius * random.uniform(0.85, 1)), rough=0.1)
        canvas.paint(nodule, 158, name="lung nodule", within=("lung",), soft=2.5)
    _draw_chest_bones(canvas, turned)
    canvas.paint(0.045 - np.abs(x - turned) - np.maximum(0, y + 0.25), 118, soft=3, strength=0.6)
    steps = np.abs(((y + 1) * 7.5) % 1 - 0.5)
    canvas.paint(np.minimum(0.09 - np.abs(x - turned), 0.02 - 0.1 * steps), 168, soft=2, strength=0.35)
    canvas.pixels = softened(canvas.pixels, 1)
    canvas.add(5 * clouds(random, shape, 5))
    canvas.expose(case.grain.uniform(104, 128))
    # Counting noise: its deviation is the root of the count.
    quanta = np.sqrt(np.clip(canvas.pixels[:, :, 0], 0, 255)) * 0.42
    canvas.add(quanta * case.grain.standard_normal(shape))
    return canvas


def _draw_chest_bones(canvas: Canvas, turned: float) -> None:
    """Draw ribs and clavicles over lungs and heart, with the spine at x = `turned` in the unit of `grid`."""
    for side in (-1, 1):
        for number in range(8):
            top = -0.66 + 0.155 * number
            start, end = (side * 0.08 + turned, top), (side * (0.58 + 0.03 * number), top + 0.36)
            line = stretch(start, end, (side * (0.62 + 0.03 * number), top - 0.07), 60)
            canvas.paint(tube(canvas.shape, line, [0.027] * 61), 218, soft=1.6, strength=0.22)
        line = stretch((side * 0.08, -0.62), (side * 0.72, -0.74), (side * 0.35, -0.56), 50)
        clavicle = tube(canvas.shape, line, [0.034] * 51)
        canvas.paint(clavicle, 214, name="clavicle", within=("lung", "lung nodule"), soft=1.6, strength=0.5)


def _draw_pet(case: PhantomCase) -> Canvas:
    """Draw a projection of the whole body from the front: the more tracer, the darker."""
    canvas, random = Canvas.blank(264, 152, 3.0), case.anatomy
    shape = canvas.shape
    x, y = grid(shape)
    # Tracer is painted on a board of its own: noise depends on its amount, and the film is its negative.
    uptake = Canvas.blank(264, 152, 0.0)
    body = blob(random, shape, (0, -0.78), (0.14, 0.17), rough=0.02)
    body = np.maximum(body, tube(shape, stretch((0, -0.75), (0, -0.5), (0, -0.6), 10), [0.07] * 11))
    torso = stretch((0, -0.42), (0, 0.18), (0, -0.2), 30)
    body = np.maximum(body, tube(shape, torso, [0.24 + 0.03 * abs(step - 15) / 15 for step in range(31)]))
    for side in (-1, 1):
        leg = stretch((side * 0.13, 0.2), (side * 0.13, 1.1), (side * 0.17, 0.6), 40)
        body = np.maximum(body, tube(shape, leg, list(np.linspace(0.135, 0.085, 41))))
        arm = stretch((side * 0.24, -0.48), (side * 0.42, 0.3), (side * 0.40, -0.35), 40)
        body = np.maximum(body, tube(shape, arm, list(np.linspace(0.085, 0.045, 41))))
    uptake.paint(body, 34, soft=4)
    for side in (-1, 1):
        lung = blob(random, shape, (side * 0.12, -0.27), (0.085, 0.15), rough=0.05)
        uptake.paint(lung, 18, soft=4, strength=0.8)
    uptake.paint(blob(random, shape, (-0.09, 0.0), (0.14, 0.10), angle=0.2, rough=0.08), 66, name="liver", soft=3)
    brain = blob(random, shape, (0, -0.82), (0.105, 0.10), rough=0.04)
    uptake.paint(brain, 176, name="brain", soft=3)
    for side in (-1, 1):
        kidney = blob(random, shape, (side * 0.13, 0.11), (0.035, 0.06), angle=side * 0.2)
        uptake.paint(kidney, 92, soft=3)
    for _ in range(7):
        start = (random.uniform(-0.13, 0.13), random.uniform(0.08, 0.25))
        end = (start[0] + random.normal(0, 0.08), start[1] + random.normal(0, 0.05))
        uptake.paint(tube(shape, stretch(start, end, (start[0], end[1]), 12), [0.018] * 13), 60, soft=4, strength=0.6)
    uptake.paint(blob(random, shape, (0, 0.33), (0.06, 0.045), rough=0.05), 228, name="bladder", soft=2.5)
    free = np.minimum(np.minimum(body - 0.05, 0.75 - y), np.minimum(y + 0.55, 0.22 - np.abs(x)))
    if case.sign:
        centre = (case.side * random.uniform(0.385, 0.40), random.uniform(-0.08, 0.08))
        vein = tube(shape, stretch(centre, (case.side * 0.33, -0.36), (case.side * 0.42, -0.2), 30), [0.014] * 31)
        uptake.paint(vein, 96, soft=3, strength=0.8)
        site = blob(random, shape, centre, (0.035, random.uniform(0.045, 0.065)), rough=0.1)
        uptake.paint(site, 200, name="injection site", soft=2.5)
    # A lesion that touched bladder or liver would cut their masks.
    for mask in (*uptake.masks["bladder"], *uptake.masks["liver"]):
        free = np.where(softened(mask.astype(np.float64), 12) > 0.01, -1.0, free)
    for spot in scatter(random, free, case.lesions, gap=0.17, middle=0.02):
        radius = random.uniform(0.032, 0.05)
        lesion = blob(random, shape, spot, (radius, radius * random.uniform(0.8, 1)), rough=0.12)
        uptake.paint(lesion, 190, name="hot lesion", soft=2.5)
    signal = softened(uptake.pixels, 3)[:, :, 0]
    signal = signal * (1 + 0.08 * clouds(random, shape, 18))
    noise = softened(case.grain.standard_normal(shape), 2)
    # Counting noise again, blurred as reconstruction blurs it.
    signal = signal + 2.4 * np.sqrt(np.maximum(signal, 0) + 3) * noise
    canvas.pixels = (np.clip(signal, 0, None) * case.grain.uniform(0.95, 1.1))[:, :, np.newaxis]
    canvas.expose(case.grain.uniform(24, 34))
    canvas.pixels = 238 - canvas.pixels
    canvas.masks = uptake.masks
    return canvas


CT = ModalityPhantom(
    prefix="ct_00",
    code="ct",
    source="PhantomAbdomen",
    native_2d=False,
    modality="CT",
    aliases=("CT image", "computed tomography scan"),
    region="abdomen",
    organ="ABD",
    view="An axial CT slice of the abdomen",
    structures=(
        Structure(name="liver", plural="livers"),
        Structure(name="spleen", plural="spleens"),
        Structure(name="kidney", plural="kidneys", paired=True),
        Structure(name="aorta", plural="aortas"),
        Structure(name="liver lesion", plural="liver lesions", role="lesion"),
        Structure(name="kidney cyst", plural="kidney cysts", role="sign"),
    ),
    draw=_draw_ct,
)
MR = ModalityPhantom(
    prefix="mr_flair",
    code="mr",
    source="PhantomBrain",
    native_2d=False,
    modality="MRI",
    aliases=("MR image", "magnetic resonance image"),
    region="brain",
    organ="HEAD",
    view="An axial FLAIR slice of the brain",
    structures=(
        Structure(name="ventricle", plural="ventricles", paired=True),
        Structure(name="tumor", plural="tumors", role="sign"),
        Structure(name="white matter lesion", plural="white matter lesions", role="lesion"),
    ),
    draw=_draw_mr,
)
XRAY = ModalityPhantom(
    prefix="x_ray",
    code="xray",
    source="PhantomChest",
    native_2d=True,
    modality="X-ray",
    aliases=("radiograph", "plain film"),
    region="chest",
    organ="CHEST",
    view="A frontal X-ray of the chest",
    structures=(
        Structure(name="lung", plural="lungs", paired=True),
        Structure(name="heart", plural="hearts"),
        Structure(name="clavicle", plural="clavicles"),
        Structure(name="lung nodule", plural="lung nodules", role="lesion"),
        Structure(name="pleural effusion", plural="pleural effusions", role="sign"),
    ),
    draw=_draw_xray,
)
PET = ModalityPhantom(
    prefix="pet_00",
    code="pet",
    source="PhantomWholeBody",
    native_2d=True,
    modality="PET",
    aliases=("PET image", "positron emission scan"),
    region="whole body",
    organ="BODY",
    view="A frontal PET projection of the whole body",
    structures=(
        Structure(name="brain", plural="brains"),
        Structure(name="liver", plural="livers"),
        Structure(name="bladder", plural="bladders"),
        Structure(name="hot lesion", plural="hot lesions", role="lesion"),
        Structure(name="injection site", plural="injection sites", role="sign", normal=True),
    ),
    draw=_draw_pet,
)
