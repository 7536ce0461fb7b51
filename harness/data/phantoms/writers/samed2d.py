"""Synthetic patients as an SA-Med2D-20M folder: images, masks and both JSON files."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.data.phantoms.drawing import MODALITY_PHANTOMS
from harness.data.phantoms.patients.images import PhantomImage, Study, draw_patients, study
from harness.data.releases.samed2d.reader import CLASSES, FOLDER, LISTING
from harness.records import Json


def write_samed2d(folder: Path, *, seed: int, patients: int = 12, slices: int = 2) -> None:
    """Write `SAMed2Dv1/` with images, masks and both JSON files below `folder`.

    The modalities take turns over the patients. Images of a native 2-D modality are cases of their own, as in the
    release. The same arguments give the same bytes.

    Args:
        folder: The data root; made if it is missing.
        seed: Random seed, at least 0.
        patients: Number of patients, at least 0.
        slices: Images per patient, at least 0.
    """
    write_samed2d_images(folder, draw_patients(seed=seed, patients=patients, slices=slices))


def write_samed2d_images(folder: Path, images: Iterable[PhantomImage]) -> list[Study]:
    """Write `SAMed2Dv1/` with these images below `folder`; return a study of each, in the same order."""
    release = folder / FOLDER
    for name in ("images", "masks"):
        (release / name).mkdir(parents=True, exist_ok=True)
    studies = []
    for number, image in enumerate(images):
        studies.append(study(image, number))
        write_png(release / f"images/{image.stem}.png", image.pixels)
        drawn = (mask for masks in image.masks.values() for mask in masks)
        for part, mask in zip(studies[-1].parts, drawn, strict=True):
            write_png(release / part.mask, mask.astype(np.uint8) * 255)
    listing = {f"images/{found.stem}.png": [part.mask for part in found.parts] for found in studies}
    classes = {
        phantom.source: {structure.name: f"{phantom.class_id(structure.name):04}" for structure in phantom.structures}
        for phantom in MODALITY_PHANTOMS
    }
    write_json(folder / LISTING, listing)
    write_json(folder / CLASSES, classes)
    return studies


def write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write a PNG file of uint8 pixels, grey (H, W) or RGB (H, W, 3); its folder must exist."""
    # A stated level: the bytes then depend on nothing but the compressor of the pinned Pillow.
    Image.fromarray(pixels).save(path, format="PNG", compress_level=3)


def write_json(path: Path, value: Mapping[str, Json] | Sequence[Json]) -> None:
    """Write a JSON file, and its folder if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
