"""Every mask metric against independent libraries on 500 random pairs, empty ones among them.

MONAI and surface-distance are no dependencies: their numbers stand in mask_libraries.json, its `source` says how they
were made. pycocotools and scipy are asked in the test itself.
"""

import json
import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco
from scipy.spatial import cKDTree
from scipy.spatial.distance import dice as scipy_dice

from harness.imaging import masks
from harness.metrics.masks import overlap, surface
from harness.metrics.metric import Outcome, sample_values
from harness.records import Entity, Media, Prediction, Sample, Target
from tests.support.random_mask_pairs import MaskPair, digest, mask_pairs

GOLDEN = json.loads(Path(__file__).with_name("mask_libraries.json").read_text(encoding="utf-8"))
ROWS = {(row.name, row.protocol): row for row in (*overlap.METRICS, *surface.METRICS)}
PLACES = {
    "monai_dice": ("dice", "monai-ignore-empty"),
    "monai_iou": ("iou", "monai-ignore-empty"),
    "monai_nsd": ("nsd", "standard"),
    "monai_hd95": ("hd95", "standard"),
    "sd_dice": ("dice", "surface-distance"),
    "sd_nsd": ("nsd", "surface-distance"),
    "sd_hd95": ("hd95", "surface-distance"),
}
SINGLE_PRECISION = ("monai_nsd", "monai_hd95")


@cache
def pairs() -> list[MaskPair]:
    return list(mask_pairs(GOLDEN["seed"], len(GOLDEN["rows"])))


@cache
def records() -> list[tuple[Sample, Prediction]]:
    found = []
    for pair in pairs():
        media = Media(path="", sha256=None, size=pair.target.shape, spacing_mm=pair.spacing_mm)
        target = Target(entities=(Entity(name="target", mask=masks.encode(pair.target)),))
        prediction = Prediction(key="", status="ok", masks=(masks.encode(pair.prediction),))
        found.append((Sample(id="random", media=(media,), target=target), prediction))
    return found


def outcomes(name: str, protocol: str) -> list[Outcome]:
    row = ROWS[name, protocol]
    if name == "nsd":
        tolerances = [pair.tolerance_mm for pair in pairs()]
        return [row.score(*pair, tolerance_mm=limit) for pair, limit in zip(records(), tolerances, strict=True)]
    return [row.score(*pair) for pair in records()]


def values(name: str, protocol: str, place: int = 0) -> list[float | None]:
    row = ROWS[name, protocol]
    return [
        sample_values(row, outcome.stats)[place] if outcome.status == "ok" else None
        for outcome in outcomes(name, protocol)
    ]


def diagonal(pair: MaskPair) -> float:
    return math.hypot(*(length * step for length, step in zip(pair.target.shape, pair.spacing_mm, strict=True)))


def test_the_masks_are_those_that_the_libraries_were_given() -> None:
    assert digest(pairs()) == GOLDEN["digest"]
    empties = [(pair.prediction.any(), pair.target.any()) for pair in pairs()]
    assert min(empties.count((False, False)), empties.count((True, False)), empties.count((False, True))) >= 10
    assert {pair.target.ndim for pair in pairs()} == {2, 3}


@pytest.mark.parametrize("column", GOLDEN["columns"])
def test_the_librarys_number_is_met(column: str) -> None:
    name, protocol = PLACES[column]
    place = GOLDEN["columns"].index(column)
    tolerance = 1e-5 if column in SINGLE_PRECISION else 1e-6
    for pair, found, row in zip(pairs(), values(name, protocol), GOLDEN["rows"], strict=True):
        expected = row[place]
        if name == "hd95" and pair.prediction.any() != pair.target.any():
            assert expected in (None, "inf")
            # Ours counts the diagonal in place of what no mean could hold.
            assert found == (None if protocol == "surface-distance" else pytest.approx(diagonal(pair)))
        elif expected is None or not (pair.prediction | pair.target).any():
            assert expected in (None, "inf")
            assert found is None
        else:
            assert found == pytest.approx(expected, rel=tolerance, abs=tolerance)


def test_standard_overlap_equals_pycocotools_and_scipy() -> None:
    for pair, iou, dice in zip(pairs(), values("iou", "standard"), values("dice", "standard"), strict=True):
        if not (pair.prediction | pair.target).any():
            assert iou is dice is None
            continue
        flat = [np.asfortranarray(mask.reshape(1, -1).astype(np.uint8)) for mask in (pair.prediction, pair.target)]
        first, second = (coco.encode(mask) for mask in flat)
        assert iou == pytest.approx(float(coco.iou([first], [second], [0])[0, 0]), abs=1e-12)
        assert dice == pytest.approx(1 - scipy_dice(flat[0][0] > 0, flat[1][0] > 0), abs=1e-12)


def test_released_overlap_follows_from_dense_counts() -> None:
    found = {place: values(*place) for place in ROWS if place[1] in ("medplib", "sam-med2d", "m3d", "segvol")}
    for index, (prediction, target, _, _) in enumerate(pairs()):
        both, either = np.count_nonzero(prediction & target), np.count_nonzero(prediction | target)
        total = np.count_nonzero(prediction) + np.count_nonzero(target)
        iou = both / either if either else None
        assert found["iou", "medplib"][index] == pytest.approx(iou, abs=1e-6)
        assert found["dice", "medplib"][index] == pytest.approx(iou and 2 * iou / (1 + iou), abs=1e-6)
        assert found["iou", "sam-med2d"][index] == pytest.approx((both + 1e-7) / (either + 1e-7), abs=1e-6)
        assert found["dice", "sam-med2d"][index] == pytest.approx((2 * both + 1e-7) / (total + 1e-7), abs=1e-6)
        assert found["dice", "m3d"][index] == found["dice", "segvol"][index] == pytest.approx(2 * both / (total + 1))


def test_pooled_volume_and_no_target_values_follow_from_dense_counts() -> None:
    counts = [
        (np.count_nonzero(pair.prediction), np.count_nonzero(pair.target), np.prod(pair.spacing_mm)) for pair in pairs()
    ]
    stats = [outcome.stats for outcome in outcomes("ciou", "standard") if outcome.status == "ok"]
    both = sum(np.count_nonzero(pair.prediction & pair.target) for pair in pairs())
    either = sum(np.count_nonzero(pair.prediction | pair.target) for pair in pairs())
    assert ROWS["ciou", "standard"].combine(np.sum(stats, axis=0))[0] == pytest.approx(both / either, abs=1e-12)
    found = zip(pairs(), counts, values("volume_error", "standard"), values("volume_error", "standard", 1), strict=True)
    for pair, (predicted, target, voxel), relative, signed in found:
        assert relative == (pytest.approx(abs(predicted - target) / target) if target else None)
        known = target and pair.target.ndim == 3
        assert signed == (pytest.approx((predicted - target) * voxel / 1000) if known else None)
    for (predicted, target, _), right in zip(counts, values("no_target_accuracy", "standard"), strict=True):
        assert right == (None if target else float(predicted == 0))


def test_boundary_distances_equal_those_of_a_search_tree() -> None:
    places = zip(pairs(), values("nsd", "standard"), values("hd95", "standard"), strict=True)
    for pair, nsd, hd95 in places:
        if not (pair.prediction.any() and pair.target.any()):
            continue
        first, second = (boundary_points(mask, pair.spacing_mm) for mask in (pair.prediction, pair.target))
        distances = [cKDTree(second).query(first)[0], cKDTree(first).query(second)[0]]
        within = sum(int(np.count_nonzero(part <= pair.tolerance_mm + 1e-9)) for part in distances)
        assert nsd == pytest.approx(within / (len(first) + len(second)), abs=1e-12)
        assert hd95 == pytest.approx(max(np.quantile(part, 0.95) for part in distances), abs=1e-9)


def boundary_points(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], spacing: tuple[float, ...]) -> np.ndarray:  # type: ignore[type-arg]
    """Return the centres in mm of the pixels with a neighbour outside, found without morphology."""
    padded = np.pad(mask, 1)
    surrounded = padded.copy()
    for axis in range(mask.ndim):
        surrounded &= np.roll(padded, 1, axis) & np.roll(padded, -1, axis)
    return (np.argwhere(padded & ~surrounded) - 1) * np.array(spacing)
