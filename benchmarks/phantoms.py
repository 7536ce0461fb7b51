"""How long it takes to generate synthetic patients as three releases, and how large they are.

python benchmarks/phantoms.py [--images 2000] [--workers 2] [--sheet FILE.png]
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from harness.data.phantoms.drawing import MODALITY_PHANTOMS
from harness.data.phantoms.families import SLICES, write_phantoms
from harness.data.phantoms.patients.images import PhantomImage, draw_image

TARGET_IMAGES, TARGET_SECONDS = 2000, 60.0
# Colours of the outlines, one per structure; no modality has more structures.
COLOURS = ((255, 70, 70), (70, 230, 90), (80, 160, 255), (255, 220, 40), (255, 90, 255), (60, 235, 235))
# Width and height of an image, space between two, height of a line of words; pixels.
TILE, GAP, LINE = (196, 160), 6, 15
# Eight of each of the ten modalities; the richest image among them is shown.
PATIENTS_SEEN = 80
# Colours of the palette that are set aside for grey images; the others go to the few modalities in colour.
GREYS = 64


def contact_sheet(seed: int) -> Image.Image:
    """Return a palette image with one patient of every modality, as generated and with the masks outlined in colour."""
    width, height = TILE[0] + GAP, TILE[1] + GAP + 2 * LINE
    sheet = Image.new("RGB", (4 * width + GAP, (len(MODALITY_PHANTOMS) + 1) // 2 * height + GAP), (24, 26, 30))
    lines = Image.new("L", sheet.size, 0)
    for place, modality in enumerate(MODALITY_PHANTOMS):
        # Modalities alternate over the patients. Half of all images have no lesion, so the image with most structures,
        # and of those the one with most instances, is shown.
        patients = range(place, PATIENTS_SEEN, len(MODALITY_PHANTOMS))
        image = max(
            (draw_image(seed=seed, patient=patient, index=0, slices=SLICES) for patient in patients),
            key=lambda image: (sum(map(bool, image.masks.values())), sum(map(len, image.masks.values()))),
        )
        left, top = GAP + place % 2 * 2 * width, GAP + place // 2 * height
        words = ImageDraw.Draw(sheet)
        words.text((left, top), f"{modality.modality}: {modality.region}", (226, 230, 236))
        tile = Image.fromarray(image.pixels).convert("RGB")
        tile.thumbnail(TILE, Image.Resampling.LANCZOS)
        for column in range(2):
            corner = (left + column * width + (TILE[0] - tile.width) // 2, top + 2 * LINE)
            sheet.paste(tile, corner)
        lines.paste(_contours(image, tile.size), corner)
        label = ImageDraw.Draw(lines)
        label.fontmode = "1"  # without soft edges, which would be other structures' numbers
        at = float(left)
        for number, name in enumerate(image.masks, 1):
            label.text((at, top + LINE), name, number, font_size=11)
            at += label.textlength(name, font_size=11) + 2 * GAP
    return _with_lines(sheet, np.asarray(lines))


def _contours(phantom: PhantomImage, size: tuple[int, int]) -> Image.Image:
    """Return a grey image with the number of a structure, from 1, along its outlines, and 0 elsewhere.

    Args:
        phantom: The image with its masks.
        size: (width, height) of the result in pixels.
    """
    found = np.zeros((size[1], size[0]), dtype=np.uint8)
    for number, masks in enumerate(phantom.masks.values(), 1):
        for mask in masks:
            small = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
            # Outlines are drawn at the size of the sheet; at the original size the shrinking would break them.
            inner = small.copy()
            for axis in (0, 1):
                inner &= np.roll(small, 1, axis) & np.roll(small, -1, axis)
            found[small & ~inner] = number
    return Image.fromarray(found)


def _with_lines(sheet: Image.Image, lines: NDArray[np.uint8]) -> Image.Image:
    """Return the sheet in a palette whose last colours are those of the lines, so that none is lost.

    Args:
        sheet: RGB image.
        lines: uint8 (H, W): number of a colour, from 1; 0 where the sheet shows.
    """
    kept = 256 - len(COLOURS)
    # Only pixels whose channels differ by more than 12 choose colours: the grey ones are far more and would take nearly
    # the whole palette.
    vivid = Image.fromarray(np.where(np.ptp(np.asarray(sheet), axis=2, keepdims=True) > 12, np.asarray(sheet), 0))
    hues = (vivid.quantize(kept - GREYS, kmeans=2).getpalette() or [])[: 3 * (kept - GREYS)]
    greys = [255 * grey // (GREYS - 1) for grey in range(GREYS) for _ in range(3)]
    palette = Image.new("P", (1, 1))
    palette.putpalette([*hues, *greys])
    plain = sheet.quantize(palette=palette, dither=Image.Dither.NONE)
    colours = (plain.getpalette() or [])[: 3 * kept]
    values = np.where(lines > 0, kept - 1 + lines, np.asarray(plain)).astype(np.uint8)
    found = Image.fromarray(values).convert("P")
    found.putdata(values.ravel().tolist())
    found.putpalette([*colours, *([0] * (3 * kept - len(colours))), *(level for colour in COLOURS for level in colour)])
    return found


def main() -> None:
    """Generate, time and print; or write the contact sheet of the documentation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=TARGET_IMAGES)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--sheet", type=Path, help="write the contact sheet to this file, and time nothing")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.sheet is not None:
        contact_sheet(arguments.seed).save(arguments.sheet, optimize=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        patients = max(1, arguments.images // SLICES)
        write_phantoms(Path(folder), seed=arguments.seed, patients=patients, workers=arguments.workers)
        seconds = time.perf_counter() - began
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    images = patients * SLICES
    # The time grows with the images, so other counts have the same target per image.
    allowed = TARGET_SECONDS * images / TARGET_IMAGES
    met = "met" if seconds <= allowed else "MISSED"
    print(f"{'images':>8}{'workers':>9}{'seconds':>9}{'ms each':>9}{'MB':>7}{'target':>8}")
    numbers = f"{images:>8}{arguments.workers:>9}{seconds:>9.1f}{1000 * seconds / images:>9.1f}{size / 1e6:>7.0f}"
    print(f"{numbers}{allowed:>8.1f}  {met}")


if __name__ == "__main__":
    main()
