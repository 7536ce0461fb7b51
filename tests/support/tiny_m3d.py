"""M3D's releases with a few tiny volumes: what the construction pipelines read."""

import json
from pathlib import Path

import numpy as np

REPORTS = (
    "The liver measures 120 mm and holds a cyst. The spleen is normal. The right kidney holds a tumor.",
    "The liver is normal. The spleen measures 80 mm. The left kidney holds a cyst.",
    "The stomach is full. The liver holds a tumor. The pancreas is normal.",
    "The spleen holds a cyst. The liver is normal. The right kidney is normal.",
)
SPLITS = ("train", "train", "validation", "test")


def write_tiny_cap(root: Path) -> Path:
    """Write `M3D_Cap_npy/` with one volume of each report below `root`; return `root`."""
    lists: dict[str, list[dict[str, str]]] = {"train": [], "validation": [], "test": []}
    for number, (report, split) in enumerate(zip(REPORTS, SPLITS, strict=True)):
        case = f"M3D_Cap_npy/ct_case/{number:06}"
        (root / case).mkdir(parents=True)
        voxels = np.linspace(0, 1, 4 * 8 * 8, dtype=np.float32).reshape(1, 4, 8, 8) * (number + 1) / 4
        np.save(root / case / "Axial_C__arterial_phase.npy", voxels)
        (root / case / "text.txt").write_text(report, encoding="utf-8")
        lists[split].append({"image": f"{case}/Axial_C__arterial_phase.npy", "text": f"{case}/text.txt"})
    (root / "M3D_Cap_npy" / "M3D_Cap.json").write_text(json.dumps(lists), encoding="utf-8")
    return root


def write_tiny_seg(root: Path) -> Path:
    """Write `M3D_Seg_npy/` and `M3D_RefSeg_npy/` with two cases each below `root`; return `root`."""
    voxels = np.linspace(0, 1, 4 * 8 * 8, dtype=np.float32).reshape(1, 4, 8, 8)
    seg = root / "M3D_Seg_npy"
    listing: dict[str, list[dict[str, str]]] = {"train": [], "test": []}
    for case, split in (("a", "train"), ("b", "test")):
        (seg / "0003" / case / "masks").mkdir(parents=True)
        np.save(seg / "0003" / case / "image.npy", voxels * (1 if case == "a" else 0.5))
        for index in range(3):
            mask = np.zeros((1, 4, 8, 8), dtype=bool)
            # The third class is one slice thick, so that its box has no volume.
            mask[0, 1 : 2 + (index < 2), index : index + 4, 1:6] = True
            np.save(seg / "0003" / case / "masks" / f"mask_{index}.npy", mask)
            listing[split].append({"image": f"0003/{case}/image.npy", "label": f"0003/{case}/masks/mask_{index}.npy"})
    (seg / "0003" / "0003.json").write_text(json.dumps(listing), encoding="utf-8")
    (seg / "dataset_info.json").write_text(json.dumps({"0003": ["liver", "spleen", "kidney"]}), encoding="utf-8")
    terms = {"liver": ["It makes bile."], "spleen": ["It filters blood."], "kidney": ["It makes urine."]}
    (seg / "term_dictionary.json").write_text(json.dumps(terms), encoding="utf-8")
    for number in (1, 2):
        folder = root / "M3D_RefSeg_npy" / f"s{number:04}"
        folder.mkdir(parents=True)
        np.save(folder / "ct.npy", voxels)
        labels = np.zeros((1, 4, 8, 8), dtype=np.float32)
        labels[0, 1:3, 2:5, 2:5] = 1
        np.save(folder / "mask.npy", labels)
        texts = {"1": f"A {number + 3} mm cyst in the liver.", "2": "A region that the mask has lost."}
        (folder / "text.json").write_text(json.dumps(texts), encoding="utf-8")
    return root
