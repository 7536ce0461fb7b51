"""A real prediction of a spine against its reference: every label agrees with a computation on dense arrays.

The volumes are the examples of panoptica (Apache-2.0); they are not part of the repository.
"""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from harness.imaging import mask_files, masks
from harness.imaging.target_size import target_size
from harness.metrics.masks import overlap, surface
from harness.metrics.metric import bind, sample_values
from harness.records import Entity, Media, Prediction, Sample, Target

ROWS = {row.name: row for row in (*overlap.METRICS, *surface.METRICS) if row.protocol == "standard"}


class Spine(NamedTuple):
    """Labels of both volumes, (z, y, x) in RAS+ orientation, and the voxel size along these axes in mm."""

    prediction: NDArray[Any]
    reference: NDArray[Any]
    spacing_mm: tuple[float, ...]


@pytest.fixture(scope="module")
def spine(test_data: Path) -> Spine:
    nibabel = pytest.importorskip("nibabel")
    paths = [test_data / "volumes" / f"spine_{side}.nii.gz" for side in ("prediction", "reference")]
    if not all(path.is_file() for path in paths):
        pytest.skip(f"no spine volumes below {test_data}")
    images = [nibabel.as_closest_canonical(nibabel.load(path)) for path in paths]
    prediction, reference = (np.asarray(image.dataobj).transpose(2, 1, 0) for image in images)
    spacing = tuple(float(step) for step in images[1].header.get_zooms()[::-1])
    return Spine(prediction, reference, spacing)


def test_a_label_read_from_the_file_is_the_same_mask(spine: Spine, test_data: Path) -> None:
    label = int(np.unique(spine.reference)[1])
    found = mask_files.read_file(test_data / "volumes" / "spine_reference.nii.gz", label, "spine")
    assert found == masks.encode(spine.reference == label)


def test_every_label_agrees_with_dense_arrays(spine: Spine) -> None:
    labels = sorted((set(np.unique(spine.reference)) | set(np.unique(spine.prediction))) - {0})
    assert len(labels) > 5
    for label in labels:
        found = [part == label for part in (spine.prediction, spine.reference)]
        expected = dense_values(found[0], found[1], spine.spacing_mm)
        for name, value in harness_values(found[0], found[1], spine.spacing_mm).items():
            assert value == pytest.approx(expected[name], rel=1e-9, abs=1e-12), (label, name)


def harness_values(
    predicted: NDArray[np.bool_], target: NDArray[np.bool_], spacing: tuple[float, ...]
) -> dict[str, float | None]:
    media = Media(path="spine", sha256=None, kind="volume", size=target.shape, spacing_mm=spacing)
    entity = Entity(name="label", mask=masks.encode(target))
    sample = Sample(id="spine", media=(media,), target=Target(entities=(entity,)))
    prediction = Prediction(key="", status="ok", masks=(masks.encode(predicted),))
    values: dict[str, float | None] = {}
    for name in ("dice", "iou", "nsd", "hd95", "volume_error"):
        row = bind(ROWS[name], {"tolerance_mm": 1.0} if name == "nsd" else {}, "test")
        outcome = row.score(sample, prediction)
        values[name] = sample_values(row, outcome.stats)[0] if outcome.status == "ok" else None
    return values


def dense_values(
    prediction: NDArray[np.bool_], target: NDArray[np.bool_], spacing: tuple[float, ...]
) -> dict[str, float | None]:
    both, total = np.count_nonzero(prediction & target), np.count_nonzero(prediction) + np.count_nonzero(target)
    if not (prediction.any() and target.any()):
        diagonal = float(np.linalg.norm(np.multiply(target.shape, spacing)))
        return {
            "dice": 0.0, "iou": 0.0, "nsd": 0.0, "hd95": diagonal, "volume_error": 1.0 if target.any() else None
        }  # fmt: skip
    first, second = (boundary(mask, spacing) for mask in (prediction, target))
    distances = [cKDTree(second).query(first)[0], cKDTree(first).query(second)[0]]
    within = sum(np.count_nonzero(part <= 1.0 + 1e-9) for part in distances)
    size = np.count_nonzero(target)
    return {
        "dice": 2 * both / total,
        "iou": both / (total - both),
        "nsd": within / (len(first) + len(second)),
        "hd95": max(float(np.percentile(part, 95)) for part in distances),
        "volume_error": abs(total - 2 * size) / size,
    }


def boundary(mask: NDArray[np.bool_], spacing: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the centres in mm of the voxels with a face neighbour outside of the mask or of the volume."""
    neighbours = ndimage.convolve(mask.astype(np.int8), cross(), mode="constant")
    return np.argwhere(mask & (neighbours < 7)) * np.array(spacing)


@cache
def cross() -> NDArray[np.int8]:
    return ndimage.generate_binary_structure(3, 1).astype(np.int8)


def test_strata_by_size_follow_from_millilitres(spine: Spine) -> None:
    voxel = float(np.prod(spine.spacing_mm))
    labels, counts = np.unique(spine.reference[spine.reference > 0], return_counts=True)
    for label, count in zip(labels, counts, strict=True):
        millilitres = count * voxel / 1000
        expected = "small" if millilitres < 1 else "medium" if millilitres <= 10 else "large"
        assert target_size(int(count), spine.reference.shape, spine.spacing_mm) == expected, label
