"""Synthetic CT volumes as M3D-Cap: prepared arrays or raw slices, reports, and the listing with its pools."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.data.phantoms.patients.images import SPLITS
from harness.data.phantoms.patients.volumes import VolumeStudy, oblique_series, with_distinct_reports
from harness.data.phantoms.writers.samed2d import write_json, write_png
from harness.data.releases.m3d.cap import LISTING, POOLS
from harness.data.releases.m3d.scans import PREPARED, RAW
from harness.data.releases.m3d.wording import FILE, FINDINGS_MARK, packaged_questions

# Hounsfield units that become 0 and 1, since the release's slices are windowed images.
SOFT_TISSUE = (-160.0, 240.0)
# Each third patient of a split has an oblique series too, in the same case folder, since a case of the release may have
# several series. Texts of the release are shared (120,092 volumes have 42,496); ours are not, or no model could say
# which of two volumes a report is about.
OBLIQUE_EVERY = 3
# The two parts of the release, by the names of their folders.
PARTS = ("ct_case", "ct_quizze")


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One volume of a patient.

    Attributes:
        study: What it shows.
        voxels: float32 (D, H, W), 0 to 1.
    """

    study: VolumeStudy
    voxels: NDArray[np.float32]

    @property
    def case(self) -> str:
        """The patient's folder."""
        return f"{PARTS[self.study.number % len(PARTS)]}/{self.study.number:06}"

    @property
    def name(self) -> str:
        """The name of its file or folder: plane and phase, as `Axial_C__portal_venous_phase`."""
        phase = self.study.phase.replace(" ", "_")
        return f"{self.study.plane.capitalize()}_{phase if phase == 'non_contrast' else f'C__{phase}_phase'}"

    @property
    def image(self) -> str:
        """Its path in the listing."""
        return f"{PREPARED}/{self.case}/{self.name}.npy"

    @property
    def text(self) -> str:
        """The path of its report in the listing; the released preparation copies every text of a case's folder."""
        return f"{PREPARED}/{self.case}/{f'{self.name}.txt' if self.study.plane == 'oblique' else 'text.txt'}"


def series_of(studies: Sequence[VolumeStudy]) -> list[Series]:
    """Return the series of the patients, split by split: one each, and an oblique one of every third patient.

    Raises:
        DataError: Two volumes of a split agree in everything that a report can say.
    """
    low, high = SOFT_TISSUE
    found: list[Series] = []
    for split in SPLITS:
        shown: list[VolumeStudy] = []
        for place, study in enumerate(one for one in studies if one.split == split):
            shown += [study, oblique_series(study)] if place % OBLIQUE_EVERY == 0 else [study]
        for study in with_distinct_reports(shown):
            voxels = np.clip((study.voxels - low) / (high - low), 0.0, 1.0).astype(np.float32)
            found.append(Series(study=study, voxels=voxels))
    return found


def write_m3d_cap(root: Path, series: Sequence[Series], *, seed: int) -> None:
    """Write `M3D_Cap_npy/` below `root`: arrays (1, D, H, W), texts and the listing."""
    for one in series:
        path = root / one.image
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, one.voxels[np.newaxis])
        (root / one.text).write_text(one.study.report, encoding="utf-8")
    write_json(root / PREPARED / LISTING, _listing(series, seed))
    (root / PREPARED / FILE).write_bytes(packaged_questions("ours"))


def write_m3d_cap_raw(root: Path, series: Sequence[Series], *, seed: int) -> None:
    """Write `M3D_Cap/` below `root`: numbered slices in a folder per series, whole texts, and the listing."""
    for one in series:
        folder = root / RAW / one.case / one.name
        folder.mkdir(parents=True, exist_ok=True)
        for number, pixels in enumerate(one.voxels, start=1):
            write_png(folder / f"{number}.png", np.rint(pixels * 255).astype(np.uint8))
        # As in the raw release, only what follows the mark is the report, and line breaks fall anywhere.
        sentences = one.study.report.replace(". ", ".\n")
        text = f"Patient {one.study.number}\nplane: {one.study.plane}\n{FINDINGS_MARK}\n{sentences}\n"
        (folder.parent / one.text.rpartition("/")[2]).write_text(text, encoding="utf-8")
    write_json(root / RAW / LISTING, _listing(series, seed))
    (root / RAW / FILE).write_bytes(packaged_questions("ours"))


def _listing(series: Sequence[Series], seed: int) -> dict[str, list[dict[str, str]]]:
    """Return the lists of splits and pools; each pool is a prefix of the next larger one, in an order of its own."""
    listing: dict[str, list[dict[str, str]]] = {}
    for split in SPLITS:
        listing[split] = [{"image": one.image, "text": one.text} for one in series if one.study.split == split]
    random = np.random.default_rng([seed, 8])
    mixed = [listing["test"][int(place)] for place in random.permutation(len(listing["test"]))]
    for number, pool in enumerate(name for name in POOLS if name not in SPLITS):
        listing[pool] = mixed[: (number + 1) * len(mixed) // len(POOLS)]
    return listing
