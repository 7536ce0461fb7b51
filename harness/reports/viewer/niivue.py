"""Volumes for NiiVue, a WebGL viewer of the field, where it is installed; the pages of samples do without.

NiiVue (BSD-2, https://github.com/niivue/niivue) is never part of this repository. `make setup` puts its one file below
the environment where npm is there; it is used only if its digest is the one below.
"""

import base64
import gzip
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.imaging import masks
from harness.imaging.media_store import SLICE_PERCENTILES, MediaStore
from harness.imaging.nifti import import_nibabel
from harness.imaging.windowing import limits, windowed
from harness.records import Mask, Media
from harness.reports.viewer.drawing import masks_of
from harness.reports.viewer.samples import SampleReader

VERSION = "0.69.0"
SHA256 = "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"
# Below the environment, where `make setup` puts it; nothing of an environment is in the repository.
PLACE = Path("share", "medground", "niivue.umd.js")
# Longest side of a volume on a page in voxels, and volumes of a page: about 2 MB beside the 2.3 MB of the viewer.
SIDE = 96
MOST = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A volume and its masks as compressed NIfTI, base64; a mask without foreground is empty.

    Attributes:
        title: Of the sample.
        value: Of the headline metric; None if it has none.
        oriented: Whether the file gives the orientation of the volume in the patient.
        grey: uint8 voxels, windowed as the model saw them, at most SIDE along an axis.
        target, prediction: 0 and 1 on the same grid; a voxel is 1 if any that it replaces is.
    """

    title: str
    value: float | None
    oriented: bool
    grey: str
    target: str
    prediction: str


@cache
def niivue_source() -> str | None:
    """Return the source of NiiVue; None where it is not installed, or is not the file that was tried."""
    try:
        content = (Path(sys.prefix) / PLACE).read_bytes()
    except OSError:
        return None
    return content.decode() if hashlib.sha256(content).hexdigest() == SHA256 else None


def scenes_of(reader: SampleReader) -> list[Scene]:
    """Return the first volumes of a task's chosen samples; none where their voxels are not shown.

    Args:
        reader: Of the chosen samples.
    """
    store = reader.store
    found: list[Scene] = []
    if store is None:
        return found
    for sample in reader:
        if len(found) >= MOST:
            break
        media = sample.row.sample.media[0] if sample.row.sample.media else None
        if media is None or media.kind != "volume" or len(media.size) != 3 or min(media.size) == 1:
            continue
        try:
            named = masks_of(sample.row.sample, sample.prediction)
            of = {kind: [one.mask for one in named if one.kind == kind] for kind in ("target", "prediction")}
            found.append(
                Scene(
                    title=sample.row.sample.id,
                    value=sample.value,
                    oriented=media.affine is not None,
                    grey=_nifti(_grey(store, media, sample.windows), media),
                    target=_nifti(_pooled(of["target"], media), media),
                    prediction=_nifti(_pooled(of["prediction"], media), media),
                )
            )
        except DataError:  # without its voxels, or with masks of another size: the page of slices says why
            continue
    return found


def scenes_json(scenes: Sequence[Scene]) -> str:
    """Return scenes as JSON that may stand in a script element."""
    data = [asdict(scene) for scene in scenes]
    # `<` could end the element.
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


def _step(media: Media) -> int:
    return -(-max(media.size) // SIDE)


def _grey(store: MediaStore, media: Media, windows: tuple[tuple[float, float], ...]) -> NDArray[np.uint8]:
    step = _step(media)
    voxels = store.volume(replace(media, slice=None, view=None))[::step, ::step, ::step]
    window = windows[0] if windows else media.window or limits(SLICE_PERCENTILES, voxels, media.path)
    return windowed(voxels, window)


def _pooled(found: Sequence[Mask], media: Media) -> NDArray[np.uint8] | None:
    """Return the union of masks on the coarser grid; None if there are none."""
    if not found:
        return None
    union = masks.merge(found)
    masks.check_size(union, media.size, "overlay", what="mask")
    dense = masks.decode(union)
    for axis, length in enumerate(media.size):
        # Any voxel counts, because a small lesion must not vanish.
        dense = np.logical_or.reduceat(dense, range(0, length, _step(media)), axis=axis)
    return dense.astype(np.uint8)


def _nifti(voxels: NDArray[np.uint8] | None, media: Media) -> str:
    if voxels is None:
        return ""
    nibabel = import_nibabel("NIfTI", f"{media.path}: ")
    step = _step(media)
    if media.affine is not None:
        affine = np.array(media.affine, dtype=np.float64).reshape(4, 4)
        affine[:3, 3] += affine[:3, :3] @ np.full(3, (step - 1) / 2)
        affine[:3, :3] *= step
    else:
        spacing = media.spacing_mm or (1.0, 1.0, 1.0)
        # As stored: columns to the right of the screen and rows down, which are the patient's left and back there.
        affine = np.diag([*(step * length for length in spacing[::-1]), 1.0]) * [[-1.0], [-1.0], [1.0], [1.0]]
    # Volumes are (z, y, x) here and (x, y, z) in NIfTI. No time in the archive: the same volume, the same bytes.
    content = gzip.compress(nibabel.Nifti1Image(voxels.T, affine).to_bytes(), mtime=0)
    return base64.b64encode(content).decode()
