"""The defects that M3D-Seg and M3D-RefSeg have, planted on purpose into phantom ones in the prepared layout."""

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.phantoms.defects.planting import Planted, check_names
from harness.data.phantoms.writers.m3d_refseg import write_table
from harness.data.phantoms.writers.samed2d import write_json
from harness.data.releases.m3d import refseg
from harness.data.releases.m3d.seg_layout import CLASSES, PREPARED, TERMS

# The dataset that gets the defects, the first of the three.
CODE = "0003"
LISTING = f"{PREPARED}/{CODE}/{CODE}.json"

Content = dict[str, list[dict[str, str]]]
Rows = list[dict[str, str]]
PlantSeg = Callable[[Path, Content, int], str]
PlantRefSeg = Callable[[Path, Rows, Rows, int], str]


def plant_m3d_seg(root: Path, defects: frozenset[str]) -> tuple[Planted, ...]:
    """Plant each defect once into the test part of a phantom M3D-Seg's first dataset, always in the same places.

    Args:
        root: A data root that `write_m3d_volumes` has filled with prepared files.
        defects: Keys of `SEG_DEFECTS`.
    Raises:
        SpecError: There is no such defect.
    """
    check_names(defects, SEG_DEFECTS)
    # Every defect has a number of its own, wanted or not, so that one never moves another.
    content = _read(root / LISTING)
    planted = tuple(
        Planted(name, put(root, content, number))
        for number, (name, put) in enumerate(SEG_DEFECTS.items())
        if name in defects
    )
    write_json(root / LISTING, content)
    return planted


def plant_m3d_refseg(root: Path, defects: frozenset[str]) -> tuple[Planted, ...]:
    """Plant each defect once into the test table of a phantom M3D-RefSeg, always in the same places.

    Args:
        root: A data root that `write_m3d_volumes` has filled with prepared files.
        defects: Keys of `REFSEG_DEFECTS`.
    Raises:
        SpecError: There is no such defect.
    """
    check_names(defects, REFSEG_DEFECTS)
    paths = [root / refseg.PREPARED / refseg.TABLES[split][0] for split in ("test", "train")]
    test, train = (_read_table(path) for path in paths)
    planted = tuple(
        Planted(name, put(root, test, train, number))
        for number, (name, put) in enumerate(REFSEG_DEFECTS.items())
        if name in defects
    )
    for path, rows in zip(paths, (test, train), strict=True):
        write_table(path, [list(row.values()) for row in rows])
    return planted


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _read_table(path: Path) -> Rows:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _mask(root: Path, content: Content, number: int) -> Path:
    """Return the mask of the first class, which every patient has, in the number-th case of test."""
    labels = [entry["label"] for entry in content["test"] if entry["label"].endswith("mask_0.npy")]
    return root / PREPARED / labels[number]


def _below(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _spoiling(change: Callable[[Path], object]) -> PlantSeg:
    """Return a planter that spoils a mask file."""

    def put(root: Path, content: Content, number: int) -> str:
        path = _mask(root, content, number)
        change(path)
        return _below(root, path)

    return put


def _prefix(root: Path, content: Content, number: int) -> str:
    del root
    entry = content["test"][number]
    entry["image"] = f"PATH/data/{PREPARED}/{entry['image']}"
    return f"{LISTING}: test[{number}]"


def _respell(root: Path, content: Content, number: int) -> str:
    del root, number
    content["training"] = content.pop("train")
    return f"{LISTING}: training[0]"


def _drop_class(root: Path, content: Content, number: int) -> str:
    del root, number
    entry = content["test"].pop()
    return f"{PREPARED}/{entry['image'].rpartition('/')[0]}"


def _repeat_class(root: Path, content: Content, number: int) -> str:
    """Give the second class of the second dataset the name of the first."""
    del content, number
    classes = _read(root / PREPARED / CLASSES)
    classes["0011"][1] = classes["0011"][0]
    write_json(root / PREPARED / CLASSES, classes)
    return f"{PREPARED}/{CLASSES}: 0011"


def _share(root: Path, content: Content, number: int) -> str:
    """List a case of test in train too."""
    del root, number
    entry = content["test"][0]
    # `list_key`, planted before, renames the list.
    content["training" if "training" in content else "train"].append(dict(entry))
    return f"{PREPARED}/{entry['image'].rpartition('/')[0].rpartition(f'{PREPARED}/')[2]}"


def _undefine(root: Path, content: Content, number: int) -> str:
    del content, number
    terms = _read(root / PREPARED / TERMS)
    del terms["pancreas"]
    write_json(root / PREPARED / TERMS, terms)
    return f"{TERMS}: pancreas"


# Name -> how the defect is planted; returns the place. The position in this table decides where a defect goes.
SEG_DEFECTS: Mapping[str, PlantSeg] = {
    "missing_file": _spoiling(Path.unlink),
    "unreadable_file": _spoiling(lambda path: path.write_bytes(path.read_bytes()[:200])),
    "size_mismatch": _spoiling(lambda path: np.save(path, np.load(path)[..., ::2, ::2])),
    "path_prefix": _prefix,
    "list_key": _respell,
    "class_not_listed": _drop_class,
    "duplicate_class": _repeat_class,
    "train_test_overlap": _share,
    "no_definition": _undefine,
}


def _erase_region(root: Path, test: Rows, train: Rows, number: int) -> str:
    """Take a region out of its mask, as resizing to the nearest voxel did to small regions of the release."""
    del train
    row = test[number]
    path = root / refseg.PREPARED / row["Mask"].replace(refseg.NIFTI, refseg.NPY)
    labels = np.load(path)
    np.save(path, np.where(labels == float(row["Mask_ID"]), 0, labels).astype(labels.dtype))
    return f"{_below(root, path)}: {row['Mask_ID']}"


def _share_region(root: Path, test: Rows, train: Rows, number: int) -> str:
    """Ask for a region of test in train too."""
    del root, number
    train.append(dict(test[-1]))
    mask = test[-1]["Mask"].replace(refseg.NIFTI, refseg.NPY)
    return f"{refseg.PREPARED}/{mask}: {test[-1]['Mask_ID']}"


def _setting(column: str, value: str) -> PlantRefSeg:
    """Return a planter that writes another value into a row."""

    def put(root: Path, test: Rows, train: Rows, number: int) -> str:
        del root, train
        # Beyond the first rows, which ask for the region that `_erase_region` takes.
        test[4 + number][column] = value
        return f"{refseg.PREPARED}/{refseg.TABLES['test'][0]}[{4 + number}]"

    return put


# Name -> how the defect is planted; returns the place.
REFSEG_DEFECTS: Mapping[str, PlantRefSeg] = {
    "empty_mask": _erase_region,
    "train_test_overlap": _share_region,
    "missing_value": _setting("Mask_ID", ""),
    "unknown_value": _setting("Question_Type", "7"),
}
