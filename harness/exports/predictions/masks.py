"""Masks of images as PNG, and masks of volumes as NIfTI in the space of their volume."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.exports.finished_run import ExportedSample, FinishedRun
from harness.exports.predictions.folder import FOLDER
from harness.imaging import masks as run_lengths
from harness.imaging.mask_files.values import FULL_VALUES
from harness.imaging.nifti import import_nibabel
from harness.records import Json, Mask

# Codes of NIfTI's matrices: 1 is the space of the scanner, 2 one that was chosen, 0 none at all.
_SCANNER, _CHOSEN, _NONE = 1, 2, 0
# Millimetres by which a qform, which cannot hold a shear, may differ from the affine to be written beside it.
_SAME_MATRIX = 1e-3


def axes_of(item: ExportedSample) -> int:
    """Return the number of axes of a sample's masks: 2 for an image, 3 for a volume."""
    found = item.prediction
    if found is not None and found.masks:
        return len(found.masks[0].size)
    return len(item.sample.media[0].size) if item.sample.media else 0


class PngMasks:
    """8-bit PNG of the image's own size, 0 for background and 255 for the mask, a file for each mask."""

    name = "png"

    def begin(self, run: FinishedRun) -> None:
        """Nothing: the files have no place for the name of a model."""

    def refusal(self, item: ExportedSample) -> str | None:
        """Return why a sample's masks cannot be held; None if they can."""
        if axes_of(item) != 3:
            return None
        return (
            f"{item.task.task}: {item.sample.id}: expected masks of an image (H, W), found those of a volume; "
            "`harness export nifti` holds them"
        )

    def write(self, folder: Path, stem: str, item: ExportedSample, masks: Sequence[Mask]) -> list[dict[str, Json]]:  # noqa: ARG002 - a PNG has no place for what the sample says
        """Write a sample's masks; return their entries in a predictions line."""
        from PIL import Image

        entries: list[dict[str, Json]] = []
        for place, mask in enumerate(masks, start=1):
            path = f"{FOLDER}/{stem}_{place}.png"
            pixels = run_lengths.decode(mask).astype(np.uint8) * np.uint8(FULL_VALUES[0])
            Image.fromarray(pixels).save(folder / path)
            entries.append({"path": path})
        return entries


class NiftiMasks:
    """NIfTI-1, gzipped, 0 and 1, with the affine of the volume in mm, a file for each mask.

    The axes are (x, y, z) in the orientation closest to RAS+, in which the harness reads every volume.
    """

    name = "nifti"

    def begin(self, run: FinishedRun) -> None:
        """Nothing: the files have no place for the name of a model."""

    def refusal(self, item: ExportedSample) -> str | None:
        """Return why a sample's masks cannot be held; None if they can."""
        if axes_of(item) != 2:
            return None
        return (
            f"{item.task.task}: {item.sample.id}: expected masks of a volume (D, H, W), found those of an image, whose "
            "place in space is not known; `harness export png` holds them"
        )

    def write(self, folder: Path, stem: str, item: ExportedSample, masks: Sequence[Mask]) -> list[dict[str, Json]]:
        """Write a sample's masks; return their entries in a predictions line."""
        nibabel = import_nibabel("NIfTI")
        found = item.sample.media[0].affine if item.sample.media else None
        # Without an affine the identity, with a code: readers would mirror a volume that has no matrix at all.
        affine = np.eye(4) if found is None else np.asarray(found, dtype=np.float64).reshape(4, 4)
        entries: list[dict[str, Json]] = []
        for place, mask in enumerate(masks, start=1):
            path = f"{FOLDER}/{stem}_{place}.nii.gz"
            image = nibabel.Nifti1Image(run_lengths.decode(mask).astype(np.uint8).T, affine)
            image.header.set_xyzt_units("unknown" if found is None else "mm")
            image.set_sform(affine, _CHOSEN if found is None else _SCANNER)
            image.set_qform(affine, _SCANNER)
            if found is None or not np.allclose(image.get_qform(), affine, atol=_SAME_MATRIX):
                image.set_qform(None, _NONE)
            # Without a time, so that equal masks are equal files.
            (folder / path).write_bytes(gzip.compress(image.to_bytes(), compresslevel=4, mtime=0))
            entries.append({"path": path})
        return entries
