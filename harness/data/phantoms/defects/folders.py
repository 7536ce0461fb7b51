"""The defects that a hospital's own folders have, planted on purpose into phantom ones."""

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

# (data root, number of a file among many) -> the place that the integrity report names.
Plant = Callable[[Path, int], str]


def plant_segmentation(root: Path, defects: frozenset[str]) -> tuple[Planted, ...]:
    """Plant each defect once below `root`, in the layout that has it and in a place of its own.

    Args:
        root: A data root with the layouts of `defects`, as `writers.folders` writes them.
        defects: Keys of `DEFECTS`.
    Raises:
        SpecError: There is no such defect.
    """
    check_names(defects, DEFECTS)
    # Every defect has a number of its own, wanted or not, so that one never moves another.
    return tuple(
        Planted(name, plant(root, number)) for number, (name, plant) in enumerate(DEFECTS.items()) if name in defects
    )


def _file(root: Path, folder: str, number: int) -> Path:
    files = sorted((root / folder).iterdir())
    return files[number % len(files)]


def _place(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _patient(root: Path, number: int) -> Path:
    """Return the number-th patient of the DICOM folder."""
    return sorted((root / DICOM).iterdir())[number]


def _remove_mask(root: Path, number: int) -> str:
    path = _file(root, f"{IMAGES}/masks", number)
    path.unlink()
    return _place(root, path)


def _tear_image(root: Path, number: int) -> str:
    path = _file(root, f"{IMAGES}/images", number + 1)  # its neighbour lost its mask
    path.write_bytes(path.read_bytes()[:40])
    return _place(root, path)


def _redrawing(change: Callable[[Any], Any]) -> Plant:
    """Return a planter that changes the pixels of a mask."""

    def put(root: Path, number: int) -> str:
        # Two further than its number: `_remove_mask` and `_tear_image` have spoilt the cases before.
        path = _file(root, f"{IMAGES}/masks", number + 2)
        with Image.open(path) as image:
            pixels = np.array(image)
        write_png(path, change(pixels))
        return _place(root, path)

    return put


def _add_value(pixels: Any) -> Any:
    pixels[0, 0] = max(LABELS.values()) + 1
    return pixels


def _shift(root: Path, number: int) -> str:
    """Move a label volume by a centimetre against its image."""
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


# Each defect of DICOM has a patient to itself, by its number below.


def _remove_slice(root: Path, number: int) -> str:
    """Remove the slice in the middle of a patient, where the gap cannot pass for a shorter scan."""
    del number
    pydicom: Any = import_module("pydicom")
    folder = _patient(root, 0) / "ct"
    heights = {
        path: float(pydicom.dcmread(path, stop_before_pixels=True).ImagePositionPatient[2]) for path in folder.iterdir()
    }
    sorted(heights, key=heights.__getitem__)[len(heights) // 2].unlink()
    return _place(root, folder)


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


def _remove_image(root: Path, number: int) -> str:
    image = _file(root, f"{IMAGES}/images", number)
    image.unlink()
    return _place(root, root / IMAGES / "masks" / image.name)


def _add_attributes(root: Path, number: int) -> str:
    """Add what macOS keeps of an image beside it on disks that are not its own."""
    image = _file(root, f"{IMAGES}/images", number)
    path = image.with_name(f"._{image.name}")
    path.write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    return _place(root, path)


# Name -> how the defect is planted. The integrity report uses the same names, but calls `no_segmentation` `no_mask`.
DEFECTS: Mapping[str, Plant] = {
    "missing_file": _remove_mask,
    "unreadable_file": _tear_image,
    "size_mismatch": _redrawing(lambda pixels: np.ascontiguousarray(pixels[::2, ::2])),
    "unknown_label": _redrawing(_add_value),
    "full_mask": _redrawing(np.ones_like),
    "frame_mismatch": _shift,
    "no_mask": _remove_label,
    "missing_slices": _remove_slice,
    "doubled_slices": _repeat_slice,
    "other_series": _add_localizer,
    "not_dicom": _add_text,
    "no_segmentation": _remove_segmentation,
    "missing_image": _remove_image,
    "passed_over": _add_attributes,
}
