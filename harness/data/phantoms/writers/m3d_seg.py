"""Synthetic volumes as an M3D-Seg folder, prepared or raw: three datasets, with definitions in our own words."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.data.phantoms.drawing.abdomen_ct import SHAPE
from harness.data.phantoms.drawing.canvas import Bools
from harness.data.phantoms.patients.volumes import VolumeStudy
from harness.data.phantoms.writers.samed2d import write_json
from harness.data.releases.m3d.seg_layout import CLASSES, PREPARED, RAW, SOURCES, TERMS
from harness.data.releases.m3d.wording import FILE, OURS, packaged_wording
from harness.records import Json

KIDNEYS = ("right kidney", "left kidney")
# Code -> class -> organs or lesions that it joins. The codes are those that the paper scores: AbdomenCT-1K,
# TotalSegmentator and CT-ORG.
DATASETS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "0003": {"liver": ("liver",), "kidney": KIDNEYS, "spleen": ("spleen",), "pancreas": ("pancreas",)},
    "0011": {
        "aorta": ("aorta",),
        "gallbladder": ("gallbladder",),
        "kidney left": ("left kidney",),
        "kidney right": ("right kidney",),
        "spleen": ("spleen",),
        "stomach": ("stomach",),
        "cyst": ("cyst",),
        "tumor": ("tumor",),
    },
    "0012": {
        "liver": ("liver",),
        "bladder": ("bladder",),
        "lungs": ("lungs",),
        "kidneys": KIDNEYS,
        "bone": ("spine",),
        "gallbladder": ("gallbladder",),
    },
}

# Class -> definitions of it. The release's dictionary, too, has several for each of its terms.
DEFINITIONS: Mapping[str, tuple[str, ...]] = {
    "liver": (
        "The largest solid organ of the belly, below the right lung; it makes bile.",
        "A wedge-shaped organ on the patient's right that clears the blood of what the gut takes up.",
    ),
    "kidney": (
        "Either of the two bean-shaped organs beside the spine that make urine.",
        "A paired organ at the back of the belly through which all blood is filtered.",
    ),
    "spleen": (
        "A soft organ under the left ribs that takes old blood cells out of the circulation.",
        "The organ on the patient's left, behind the stomach, that stores blood and defends against germs.",
    ),
    "pancreas": (
        "A slender gland that lies across the spine behind the stomach and makes insulin.",
        "The organ whose juice helps to digest fat and whose hormones set the level of sugar in the blood.",
    ),
    "aorta": (
        "The body's main artery, which runs down in front of the spine.",
        "A round vessel left of the middle that carries blood away from the heart.",
    ),
    "gallbladder": (
        "A small pouch under the liver that stores bile.",
        "The pear-shaped sac from which bile is let into the gut after a meal.",
    ),
    "kidney left": (
        "The bean-shaped organ on the patient's left that makes urine.",
        "Of the two organs that filter the blood, the one below the spleen.",
    ),
    "kidney right": (
        "The bean-shaped organ on the patient's right that makes urine.",
        "Of the two organs that filter the blood, the one below the liver.",
    ),
    "stomach": (
        "The bag on the patient's left into which food falls first.",
        "A hollow organ between gullet and gut, where acid begins the digestion.",
    ),
    "cyst": (
        "A round pocket of fluid that does not belong where it is.",
        "A thin-walled bubble of water inside an organ.",
    ),
    "tumor": (
        "A solid growth that does not belong where it is.",
        "A round lump of tissue which takes up contrast medium early.",
    ),
    "bladder": (
        "The sac low in the pelvis that holds urine.",
        "A hollow organ in the middle, far below, which fills from both kidneys.",
    ),
    "lungs": (
        "The two organs full of air above the belly.",
        "Both of the dark, spongy organs with which one breathes.",
    ),
    "kidneys": (
        "Both of the bean-shaped organs beside the spine that make urine.",
        "The pair of organs at the back of the belly through which all blood is filtered.",
    ),
    "bone": (
        "The hard tissue that carries the body; here the column in its middle.",
        "The brightest tissue of all, of which the spine is made.",
    ),
}


def write_m3d_seg(root: Path, studies: Iterable[VolumeStudy], *, prepared: bool = True) -> None:
    """Write `M3D_Seg_npy/`, or `M3D_Seg/` in the raw layout, below `root`.

    The release has no validation split; those patients are left out. The datasets take turns within each split.

    Args:
        root: The data root; made if it is missing.
        studies: Patients with axial slices.
        prepared: Whether to write a mask file per class; else one sparse matrix per volume, as the raw release does.
    """
    folder = root / (PREPARED if prepared else RAW)
    listings: dict[str, dict[str, list[Json]]] = {code: {"train": [], "test": []} for code in DATASETS}
    turns: Counter[str] = Counter()
    for study in studies:
        if study.split == "validation":
            continue
        code = tuple(DATASETS)[turns[study.split] % len(DATASETS)]
        turns[study.split] += 1
        write = _write_prepared if prepared else _write_raw
        listings[code][study.split] += write(folder, f"{code}/case{study.number:03}", study, DATASETS[code])
    for code, lists in listings.items():
        write_json(folder / code / f"{code}.json", {"name": SOURCES[code], **lists})
    write_json(folder / CLASSES, {code: list(classes) for code, classes in DATASETS.items()})
    write_json(folder / TERMS, {name: list(texts) for name, texts in DEFINITIONS.items()})
    (folder / FILE).write_bytes(packaged_wording(OURS))


def class_mask(study: VolumeStudy, parts: Sequence[str]) -> Bools:
    """Return the union of the organs and lesions of these names, boolean (D, H, W); empty if none is seen."""
    named = [*((organ.name, organ.mask) for organ in study.organs), *((one.name, one.mask) for one in study.lesions)]
    found = np.zeros(SHAPE, dtype=np.bool_)
    for name, mask in named:
        if name in parts:
            found |= mask
    return found


def normalised(voxels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return grey values (D, H, W) scaled to 0 to 1, float32 (1, D, H, W), as M3D's scripts prepare them."""
    low, high = float(voxels.min()), float(voxels.max())
    return ((voxels - low) / (high - low)).astype(np.float32)[np.newaxis]


def save(path: Path, array: NDArray[np.generic]) -> None:
    """Write an npy file, and its folder if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def _write_prepared(folder: Path, case: str, study: VolumeStudy, classes: Mapping[str, tuple[str, ...]]) -> list[Json]:
    """Write one volume and a mask per class; return the entries of its listing.

    As in the release, a class that a volume does not show is left out of train, and has an empty mask in test.
    """
    save(folder / case / "image.npy", normalised(study.voxels))
    listed: list[Json] = []
    for index, parts in enumerate(classes.values()):
        mask = class_mask(study, parts)
        if not mask.any() and study.split == "train":
            continue
        # An absent class is a single voxel in the release, whatever the size of the volume.
        label = f"{case}/masks/mask_{index}.npy"
        save(folder / label, mask[np.newaxis] if mask.any() else np.zeros((1, 1, 1, 1), dtype=np.bool_))
        listed.append({"image": f"{case}/image.npy", "label": label})
    return listed


def _write_raw(folder: Path, case: str, study: VolumeStudy, classes: Mapping[str, tuple[str, ...]]) -> list[Json]:
    """Write one volume as (1, x, y, z) with its classes as the rows of a sparse matrix."""
    from scipy import sparse

    # The release's raw volumes are z-scored, and their mask files carry the dense shape in their names.
    scaled = (study.voxels - study.voxels.mean()) / study.voxels.std()
    save(folder / case / "image.npy", scaled.T[np.newaxis].astype(np.float32))
    rows = np.stack([class_mask(study, parts).T.ravel() for parts in classes.values()])
    label = f"{case}/mask_{(len(classes), *SHAPE[::-1])}.npz"
    sparse.save_npz(folder / label, sparse.csr_matrix(rows))
    return [{"image": f"{case}/image.npy", "label": label}]
