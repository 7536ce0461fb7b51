"""A small DICOM series on disk, and the files that pydicom brings along, for tests of DICOM."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data.phantoms.writers.dicom import DrawnSeries, write_slice
from harness.imaging.dicom.headers import read_header
from harness.imaging.dicom.series import Stack, stack

pydicom = pytest.importorskip("pydicom")

VOXELS = np.random.default_rng(3).integers(-900, 1200, (4, 5, 6)).astype(np.float32)
SERIES = DrawnSeries(name="a", spacing=(2.0, 3.0))
STEP = 2.5


def positions(count: int = 4) -> list[tuple[float, float, float]]:
    return [(-10.0, -20.0, 50.0 + STEP * place) for place in range(count)]


def write(folder: Path, series: DrawnSeries = SERIES, skip: Sequence[int] = ()) -> Path:
    """Write the volume with names and instance numbers that go another way than the positions."""
    for place in range(len(VOXELS)):
        if place not in skip:
            name, number = f"{(place * 3) % 4}.dcm", 10 - place
            write_slice(folder / name, series, number, positions()[place], VOXELS[place])
    return folder


def headers(folder: Path) -> list[Any]:
    return [read_header(path.open("rb"), path.name) for path in sorted(folder.iterdir())]


def stacked(folder: Path) -> Stack:
    return stack([header for header in headers(folder) if header and not header.is_seg], "series")


def change(path: Path, **elements: Any) -> None:
    data = pydicom.dcmread(path)
    for name, value in elements.items():
        setattr(data, name, value)
    data.save_as(path)


def bundled(name: str) -> Path:
    found = pydicom.data.get_testdata_file(name, download=False)
    if found is None:
        pytest.skip(f"pydicom does not bring {name} along")
    return Path(found)
