"""Synthetic patients as a hospital would deliver them: a folder of images, nnU-Net's folders, and DICOM."""

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.phantoms.patients.volumes import VolumeStudy, draw_volumes
from harness.data.phantoms.writers.dicom import DrawnSeries, write_segmentation, write_slice
from harness.data.phantoms.writers.samed2d import write_json, write_png
from harness.data.releases.folders.dicom import FOLDER as DICOM
from harness.data.releases.folders.images import FOLDER as IMAGES
from harness.data.releases.folders.images import NAMES
from harness.data.releases.folders.nifti import FOLDER as NIFTI
from harness.data.releases.folders.nifti import PARTS
from harness.errors import DataError
from harness.imaging.windowing import windowed

# Organs that are asked about. Up to half of the patients lack one of them, so that targets may be absent.
ORGANS = ("liver", "spleen", "right kidney", "left kidney", "gallbladder")
LESION = "lesion"
LABELS = {name: value for value, name in enumerate((*ORGANS, LESION), 1)}
# Soft tissue window of the image folder's slices, in Hounsfield units.
WINDOW = (-160.0, 240.0)

IMAGE_PATIENTS, IMAGES_EACH = 10, 2
NIFTI_PATIENTS = 16
DICOM_PATIENTS = 5
# Every second slice of a volume is written, which keeps the number of files small.
DICOM_STEP = 2


def write_image_folder(root: Path, seed: int) -> None:
    """Write `segmentation/` with `images/`, `masks/` and `labels.json`: slices with a label image each.

    The same seed gives the same bytes.
    """
    folder = root / IMAGES
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for study in _studies(seed, IMAGE_PATIENTS):
        labels = label_volume(study)
        for place in _fullest(labels, IMAGES_EACH):
            name = f"p{study.number:03}_{place:02}.png"
            write_png(folder / "images" / name, windowed(study.voxels[place], WINDOW))
            write_png(folder / "masks" / name, labels[place].astype(np.uint8))
    write_json(folder / NAMES, LABELS)


def write_nifti_folder(root: Path, seed: int) -> None:
    """Write `nifti_seg/` as nnU-Net has it: `dataset.json`, images and labels of train and test.

    Volumes are stored in two orientations, since real folders mix them and a reader must undo that.

    Raises:
        DataError: nibabel is not installed.
    """
    folder = root / NIFTI
    for study in _studies(seed, NIFTI_PATIENTS):
        images, labels = PARTS["test" if study.split == "test" else "train"]
        turned = study.number % 2 == 1
        _save(folder / images / f"case_{study.number:03}_0000.nii.gz", study.voxels, study, turned=turned)
        _save(folder / labels / f"case_{study.number:03}.nii.gz", label_volume(study), study, turned=turned)
    write_json(
        folder / "dataset.json",
        {"channel_names": {"0": "CT"}, "labels": {"background": 0, **LABELS}, "file_ending": ".nii.gz"},
    )


def write_dicom_folder(root: Path, seed: int) -> None:
    """Write `dicom_seg/` with a folder per patient: a CT series and a DICOM SEG.

    Raises:
        DataError: pydicom is not installed.
    """
    for study in _studies(seed, DICOM_PATIENTS):
        folder = root / DICOM / f"patient_{study.number:03}"
        series = DrawnSeries(
            name=f"{seed}/{study.number}", number=3, spacing=study.spacing_mm[1:], inverted=study.number % 3 == 2
        )
        places = range(0, len(study.voxels), DICOM_STEP)
        positions = [(-20.0, -30.0, 100.0 + place * study.spacing_mm[0]) for place in places]
        # File names are shuffled and instance numbers count down, since only positions give the order of slices.
        names = np.random.default_rng([seed, study.number, 9]).permutation(len(places))
        for at, place in enumerate(places):
            path = folder / "ct" / f"IM{names[at]:04}.dcm"
            write_slice(path, series, len(places) - at, positions[at], study.voxels[place])
        labels = label_volume(study)[::DICOM_STEP]
        found = {name: labels == value for name, value in LABELS.items() if (labels == value).any()}
        write_segmentation(folder / "seg" / "segmentation.dcm", series, found, positions)


def _studies(seed: int, patients: int) -> Iterator[VolumeStudy]:
    return draw_volumes(seed=seed, patients=patients, planes=("axial",))


def label_volume(study: VolumeStudy) -> NDArray[np.uint8]:
    """Return the value of each voxel's label, uint8 (D, H, W), 0 for background."""
    # Lesions come last: each is inside an organ, and a voxel has one label.
    labels = np.zeros(study.voxels.shape, dtype=np.uint8)
    for organ in study.organs:
        if organ.name in LABELS:
            labels[organ.mask] = LABELS[organ.name]
    for lesion in study.lesions:
        labels[lesion.mask] = LABELS[LESION]
    return labels


def _fullest(labels: NDArray[np.uint8], wanted: int) -> Sequence[int]:
    """Return the numbers of the `wanted` slices with most labels, an eighth of the volume apart at least, in order."""
    counts = [len(np.unique(plane)) for plane in labels]
    found: list[int] = []
    for place in sorted(range(len(counts)), key=lambda place: (-counts[place], place)):
        if all(abs(place - other) >= len(counts) // 8 for other in found):
            found.append(place)
    return sorted(found[:wanted])


def _save(path: Path, voxels: NDArray[Any], study: VolumeStudy, *, turned: bool) -> None:
    """Write a NIfTI file of voxels (z, y, x), with x to the patient's left and y to the back.

    Args:
        path: The file; its folder is made if it is missing.
        voxels: Float grey values or an unsigned label volume.
        study: Source of the voxel size.
        turned: Whether to store x to the right instead, and z first.
    """
    try:
        nibabel: Any = import_module("nibabel")  # heavy, optional, and only partly typed
    except ImportError:
        raise DataError("drawing NIfTI files needs nibabel; pip install 'medground[medical]'") from None
    depth, height, width = study.spacing_mm
    # NIfTI's world runs to the right, the front and the head, so that x and y of a voxel step against it.
    stored, affine = voxels.transpose(2, 1, 0), np.diag([-width, -height, depth, 1.0])
    if turned:
        affine[:3, 3] = affine[:3, :3] @ [stored.shape[0] - 1, 0, 0]
        affine[0, 0] *= -1
        stored, affine = stored[::-1].transpose(2, 0, 1), affine[:, [2, 0, 1, 3]]
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(stored.astype(np.int16 if voxels.dtype.kind == "f" else np.uint8), affine), path)
