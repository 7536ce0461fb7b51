"""The defects that a hospital's own folders have, planted on purpose into drawn ones."""

import shutil
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.data.phantoms.defects.planting import Planted, check_names
from harness.data.phantoms.writers.dicom import DrawnSeries, write_slice
from harness.data.phantoms.writers.folders import LABELS
from harness.data.phantoms.writers.samed2d import write_png
from harness.data.releases.folders.dicom import FOLDER as DICOM
from harness.data.releases.folders.images import FOLDER as IMAGES
from harness.data.releases.folders.nifti import FOLDER as NIFTI
from harness.data.releases.folders.nifti import PARTS

Plant = Callable[[Path, int], str]
"""(data root, which file of many) -> the place that the integrity report names."""


def plant_segmentation(root: Path, defects: frozenset[str]) -> tuple[Planted, ...]:
    """Plant each defect once below `root`, in the layout that has it and in a place of its own.

    Raises:
        SpecError: There is no such defect.
    """
    check_names(defects, DEFECTS)
    return tuple(
        Planted(name, plant(root, number)) for number, (name, plant) in enumerate(DEFECTS.items()) if name in defects
    )


def _file(root: Path, folder: str, number: int) -> Path:
    files = sorted((root / folder).iterdir())
    return files[number % len(files)]


def _place(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _remove_mask(root: Path, number: int) -> str:
    path = _file(root, f"{IMAGES}/masks", number)
    path.unlink()
    return _place(root, path)


def _tear_image(root: Path, number: int) -> str:
    path = _file(root, f"{IMAGES}/images", number + 1)  # its neighbour lost its mask
    path.write_bytes(path.read_bytes()[:40])
    return _place(root, path)


def _shrink(root: Path, number: int) -> str:
    return _redraw(root, number, lambda pixels: np.ascontiguousarray(pixels[::2, ::2]))


def _add_value(root: Path, number: int) -> str:
    def paint(pixels: Any) -> Any:
        pixels[0, 0] = max(LABELS.values()) + 1
        return pixels

    return _redraw(root, number, paint)


def _fill(root: Path, number: int) -> str:
    return _redraw(root, number, np.ones_like)


def _redraw(root: Path, number: int, change: Callable[[Any], Any]) -> str:
    path = _file(root, f"{IMAGES}/masks", number)
    with Image.open(path) as image:
        pixels = np.array(image)
    write_png(path, change(pixels))
    return _place(root, path)


def _shift(root: Path, number: int) -> str:
    nibabel: Any = import_module("nibabel")
    path = _file(root, f"{NIFTI}/{PARTS['test'][1]}", number)
    stored = nibabel.load(path)
    affine = stored.affine.copy()
    affine[:3, 3] += 10.0
    nibabel.save(nibabel.Nifti1Image(np.asarray(stored.dataobj), affine), path)
    return _place(root, path)


def _remove_label(root: Path, number: int) -> str:
    label = _file(root, f"{NIFTI}/{PARTS['test'][1]}", number)
    label.unlink()
    return _place(root, root / NIFTI / PARTS["test"][0] / label.name.replace(".nii.gz", "_0000.nii.gz"))


def _patient(root: Path, number: int) -> Path:
    """Return the number-th patient, so that each defect of DICOM has one to itself."""
    return sorted((root / DICOM).iterdir())[number]


def _remove_slice(root: Path, number: int) -> str:
    del number
    folder = _patient(root, 0) / "ct"
    by_position = sorted(folder.iterdir(), key=_height)
    by_position[len(by_position) // 2].unlink()
    return _place(root, folder)


def _height(path: Path) -> float:
    pydicom: Any = import_module("pydicom")
    return float(pydicom.dcmread(path, stop_before_pixels=True).ImagePositionPatient[2])


def _repeat_slice(root: Path, number: int) -> str:
    del number
    folder = _patient(root, 1) / "ct"
    first = min(folder.iterdir())
    shutil.copy(first, folder / "again.dcm")
    return _place(root, folder)


def _add_localizer(root: Path, number: int) -> str:
    del number
    folder = _patient(root, 2)
    series = DrawnSeries(name=f"localizer of {folder.name}", number=1, orientation=(1.0, 0.0, 0.0, 0.0, 0.0, -1.0))
    write_slice(folder / "localizer.dcm", series, 1, (0.0, 0.0, 0.0), np.zeros((32, 32)))
    return _place(root, folder)


def _add_text(root: Path, number: int) -> str:
    del number
    path = _patient(root, 3) / "readme.txt"
    path.write_text("exported by hand\n")
    return _place(root, path)


def _remove_segmentation(root: Path, number: int) -> str:
    del number
    folder = _patient(root, 4)
    shutil.rmtree(folder / "seg")
    return _place(root, folder)


DEFECTS: Mapping[str, Plant] = {
    "missing_file": _remove_mask,
    "unreadable_file": _tear_image,
    "size_mismatch": lambda root, number: _shrink(root, number + 2),
    "unknown_label": lambda root, number: _add_value(root, number + 2),
    "full_mask": lambda root, number: _fill(root, number + 2),
    "frame_mismatch": _shift,
    "no_mask": _remove_label,
    "missing_slices": _remove_slice,
    "doubled_slices": _repeat_slice,
    "other_series": _add_localizer,
    "not_dicom": _add_text,
    "no_segmentation": _remove_segmentation,
}
"""Name, as the integrity report has it but for `no_segmentation`, which is `no_mask` there -> how it is planted."""
