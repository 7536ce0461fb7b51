"""Synthetic patients as figures of articles, for the pipeline `pubmedvision`; its filters drop some of them."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from harness.data.construction.pubmedvision.figures import FILE, FOLDER
from harness.data.phantoms.patients.images import TURNS, Study
from harness.data.phantoms.writers.mecovqa import report
from harness.data.phantoms.writers.medical_vqa import draw_modalities
from harness.data.phantoms.writers.samed2d import write_png
from harness.records import Json

MODALITIES = ("ct", "us", "mr", "xray", "micro", "oct")
# Images of figures are printed twice as large as the phantoms, whose sides are below the filter's least.
SCALE = 2
# Every so many figures: a chart, an image as small as it was drawn, a caption of few words, one that was printed
# before, a figure of two images.
CHART, SMALL, TERSE, REPEATED, PAIR = 12, 10, 8, 9, 5

ABOUT = (
    "The patient had a history of abdominal surgery and no fever.",
    "Acute symptoms had begun two days before admission, and laboratory results were normal.",
    "After treatment the lesion was followed up by ultrasound and computed tomography.",
    "A biopsy confirmed the diagnosis, and the patient left the hospital without complications.",
    "Chronic disease of the kidney and hypertension were known.",
)


def write_pubmed_figures(root: Path, seed: int, *, patients: int = len(TURNS)) -> None:
    """Write `pubmed_figures/` below `root`; the same arguments give the same bytes.

    Args:
        root: The data root; made if it is missing.
        seed: Random seed, at least 0.
        patients: Number of patients of each modality, with one image each.
    """
    random = np.random.default_rng([seed, 21])
    lines: list[str] = []
    before: dict[str, Json] = {}
    last: NDArray[np.uint8] | None = None
    for image, found in draw_modalities(seed, MODALITIES, range(patients)):
        number = found.number
        pixels = image.pixels if number % SMALL == SMALL - 1 else _enlarged(image.pixels)
        if number % CHART == CHART - 1:
            pixels = _chart(random)
        names = [f"images/{_figure(found)}.png"]
        images = [pixels]
        if number % PAIR == PAIR - 1 and last is not None:
            names.append(f"images/{_figure(found)}b.png")
            images.append(last)
        for name, shown in zip(names, images, strict=True):
            path = root / FOLDER / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_png(path, shown)
        record: dict[str, Json] = {
            "id": _figure(found),
            "images": names,
            "caption": " ".join(_caption(found, random, terse=number % TERSE == TERSE - 1)),
            "mentions": [ABOUT[int(random.integers(len(ABOUT)))]],
            "article": f"pmc_{number // 2:05}",
            "origin": "phantom figures",
        }
        if number % REPEATED == REPEATED - 1:
            record |= {"caption": before["caption"], "mentions": before["mentions"]}
        lines.append(json.dumps(record) + "\n")
        before, last = record, pixels
    (root / FILE).write_text("".join(lines), encoding="utf-8")


def _figure(found: Study) -> str:
    return f"pmc_{found.number // 2:05}_f{found.number % 2 + 1}"


def _enlarged(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels.repeat(SCALE, axis=0).repeat(SCALE, axis=1)


def _caption(found: Study, random: Generator, *, terse: bool) -> Iterator[str]:
    if terse:
        yield "Results of our series."
        return
    yield report(found)
    age = int(random.integers(20, 90))
    yield f"Image of a {age}-year-old patient with {('acute', 'chronic')[age % 2]} symptoms, before treatment."
    parts = sorted({part.structure.name for part in found.parts})
    place = int(random.integers(10, 400))
    yield f"Anatomy in view: {', '.join(parts)}. Case {found.number} of the series, slice {place}."


def _chart(random: Generator) -> NDArray[np.uint8]:
    """Return bars on white with axes, uint8 (400, 480, 3)."""
    pixels = np.full((400, 480, 3), 255, np.uint8)
    pixels[360:364, 40:460] = 0
    pixels[40:360, 40:44] = 0
    for bar in range(5):
        height = int(random.integers(40, 300))
        pixels[360 - height : 360, 70 + bar * 76 : 110 + bar * 76] = (40, 90, 170)
    return pixels
