"""Synthetic volumes as an M3D-RefSeg folder: regions that are named, or asked for in a roundabout way."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from harness.data.phantoms.drawing.abdomen_ct import SHAPE
from harness.data.phantoms.drawing.canvas import Bools
from harness.data.phantoms.patients.volumes import HOSTS, VolumeStudy, draw_volumes
from harness.data.phantoms.writers.m3d_seg import normalised, save, write_m3d_seg
from harness.data.phantoms.writers.samed2d import write_json
from harness.data.releases.m3d.refseg import COLUMNS, PREPARED, RAW, TABLES

PATIENTS = 32
# Healthy organs per patient that are asked for, beside all lesions.
ORGANS_ASKED = 2

# Organ -> its function, by which a riddle asks for it; each is true of one organ only.
DOES: Mapping[str, str] = {
    "liver": "makes bile",
    "spleen": "takes old blood cells out of the blood",
    "right kidney": "makes urine on the patient's right",
    "left kidney": "makes urine on the patient's left",
    "stomach": "takes in food first",
    "pancreas": "makes insulin",
}
CLUES: Mapping[str, str] = {"cyst": "A pocket of fluid", "tumor": "A solid growth"}
LESION_WORDINGS = (
    "Please mark the {size} mm {name} in the {organ}.",
    "Outline the {name} of {size} mm that lies in the {organ}.",
    "Segment the {organ}'s {name}, {size} mm wide.",
)
LESION_RIDDLES = (
    "{clue} of {size} mm sits in the organ that {does}. Segment it.",
    "In the organ that {does}, something {size} mm wide is not normal: {clue_small}. Where is it?",
)
ORGAN_WORDINGS = ("Please mark the {organ}.", "Outline the {organ} in this scan.", "Segment the {organ}.")
ORGAN_RIDDLES = ("Which organ {does}? Segment it.", "Mark the organ that {does}.")
ANSWERS = ("Here is the mask: [SEG].", "It is marked as [SEG].", "[SEG]")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Region:
    """A region that is asked for.

    Attributes:
        mask: Boolean (D, H, W).
        description: Its text in `text.json`.
        questions: In the order of `Question_Type`: a direct request, a riddle.
    """

    mask: Bools
    description: str
    questions: tuple[str, str]


def write_m3d_volumes(root: Path, seed: int, *, patients: int = PATIENTS, prepared: bool = True) -> None:
    """Write M3D-Seg and M3D-RefSeg of the same patients below `root`; the same arguments give the same bytes.

    Args:
        root: The data root; made if it is missing.
        seed: Random seed, at least 0.
        patients: Number of patients; half of them train, three in eight test, and those of validation are in neither
            release.
        prepared: Whether to write arrays, as M3D's scripts prepare them; else the raw layout, which needs nibabel.
    """
    studies = list(draw_volumes(seed=seed, patients=patients, planes=("axial",)))
    write_m3d_seg(root, studies, prepared=prepared)
    write_m3d_refseg(root, studies, seed=seed, prepared=prepared)


def write_m3d_refseg(root: Path, studies: Iterable[VolumeStudy], *, seed: int, prepared: bool = True) -> None:
    """Write `M3D_RefSeg_npy/`, or `M3D_RefSeg/` with NIfTI volumes, below `root`.

    Args:
        root: The data root.
        studies: Patients with axial slices; those of validation are left out.
        seed: Random seed of the questions, at least 0.
        prepared: As in `write_m3d_volumes`.
    """
    # Split by patient. The release is split by row, so that its test set asks for regions of its training set.
    folder = root / (PREPARED if prepared else RAW)
    rows: dict[str, list[Sequence[str]]] = {"train": [], "test": []}
    for study in studies:
        if study.split == "validation":
            continue
        random = np.random.default_rng([seed, study.number, 8])
        case = f"s{study.number:04}"
        regions = [*_lesions(study, random), *_organs(study, random)]
        labels = np.zeros(SHAPE, dtype=np.float32)
        for value, region in enumerate(regions, start=1):
            labels[region.mask] = value
            # The tables name NIfTI files whatever the layout, as the release's do.
            names = (f"{case}/ct.nii.gz", f"{case}/mask.nii.gz", str(value))
            for question_type, question in enumerate(region.questions):
                rows[study.split].append((*names, str(question_type), question, _one(ANSWERS, random)))
        _write_volume(folder / case, study, labels, prepared=prepared)
        write_json(folder / case / "text.json", {str(value): one.description for value, one in enumerate(regions, 1)})
    for split, table in (*rows.items(), ("all", [*rows["train"], *rows["test"]])):
        write_table(folder / TABLES[split][0], table)


def _lesions(study: VolumeStudy, random: Generator) -> Iterator[_Region]:
    """Yield the lesions that are unique by name, organ and size."""
    said = [(one.name, one.organ, one.size_mm) for one in study.lesions]
    for lesion in study.lesions:
        if said.count((lesion.name, lesion.organ, lesion.size_mm)) > 1:
            continue
        clue = CLUES[lesion.name]
        words = {
            "name": lesion.name,
            "organ": lesion.organ,
            "size": lesion.size_mm,
            "does": DOES[lesion.organ],
            "clue": clue,
            "clue_small": clue[0].lower() + clue[1:],
        }
        questions = tuple(_one(wordings, random).format(**words) for wordings in (LESION_WORDINGS, LESION_RIDDLES))
        description = f"{lesion.size_mm} mm {lesion.name} in the {lesion.organ}."
        yield _Region(mask=lesion.mask, description=description, questions=(questions[0], questions[1]))


def _organs(study: VolumeStudy, random: Generator) -> Iterator[_Region]:
    """Yield up to `ORGANS_ASKED` organs without lesions, drawn at random."""
    healthy = [organ for organ in study.organs if organ.name in DOES and not study.lesions_in(organ.name)]
    for pick in random.permutation(len(healthy))[:ORGANS_ASKED]:
        organ = healthy[int(pick)]
        words = {"organ": organ.name, "does": DOES[organ.name]}
        questions = tuple(_one(wordings, random).format(**words) for wordings in (ORGAN_WORDINGS, ORGAN_RIDDLES))
        state = "without lesion" if organ.name in HOSTS else "unremarkable"
        description = f"{organ.name.capitalize()}, {state}."
        yield _Region(mask=organ.mask, description=description, questions=(questions[0], questions[1]))


def _one(wordings: Sequence[str], random: Generator) -> str:
    return wordings[int(random.integers(len(wordings)))]


def _write_volume(folder: Path, study: VolumeStudy, labels: NDArray[np.float32], *, prepared: bool) -> None:
    if prepared:
        save(folder / "ct.npy", normalised(study.voxels))
        save(folder / "mask.npy", labels[np.newaxis])
        return
    nibabel: Any = import_module("nibabel")  # heavy, optional, and only partly typed
    folder.mkdir(parents=True, exist_ok=True)
    depth, height, width = study.spacing_mm
    affine = np.diag([-width, -height, depth, 1.0])  # columns run to the patient's left, rows to the back
    for name, voxels in (("ct", study.voxels.astype(np.int16)), ("mask", labels.astype(np.uint8))):
        image = nibabel.Nifti1Image(voxels.T, affine)
        nibabel.save(image, folder / f"{name}.nii.gz")


def write_table(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Write a CSV file of the release: its header, then `rows` in the order of its columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
