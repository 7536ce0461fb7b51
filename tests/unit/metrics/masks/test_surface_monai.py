"""Distances as MONAI gives them: what an empty side does, and distances of exactly the tolerance."""

import numpy as np
import pytest

from harness.imaging import masks
from harness.metrics import bind
from harness.metrics.masks.surface_monai import METRICS
from harness.metrics.metric import sample_values
from harness.records import Entity, Media, Prediction, Sample, Target

ROWS = {(row.name, row.protocol): row for row in METRICS}
DOT, NONE = np.eye(4, dtype=bool)[:1].repeat(4, axis=0), np.zeros((4, 4), dtype=bool)


def pair(found: np.ndarray, wanted: np.ndarray, spacing: float = 1.0) -> tuple[Sample, Prediction]:
    media = Media(path="", sha256=None, size=(4, 4), spacing_mm=(spacing, spacing))
    target = Target(entities=(Entity(name="target", mask=masks.encode(wanted)),))
    return Sample(id="x", media=(media,), target=target), Prediction(key="", status="ok", masks=(masks.encode(found),))


def test_an_empty_side_leaves_hd95_and_makes_the_mean_distance_infinite() -> None:
    assert ROWS["hd95", "monai"].score(*pair(NONE, DOT)).status == "undefined"
    row = ROWS["hausdorff", "monai"]
    infinite, finite = row.score(*pair(NONE, DOT)), row.score(*pair(DOT, DOT))
    assert (infinite.stats, finite.stats) == ((0.0, 1.0, 1.0), (0.0, 1.0, 0.0))
    assert np.isnan(row.combine(np.add(infinite.stats, finite.stats))).all()
    assert row.score(*pair(NONE, NONE)).status == "undefined"


def test_a_failed_answer_counts_as_the_diagonal() -> None:
    sample, _ = pair(NONE, DOT)
    diagonal = float(np.hypot(4, 4))
    assert [ROWS[name, "monai"].floor(sample) for name in ("hd95", "hausdorff")] == [diagonal, diagonal]


@pytest.mark.parametrize("protocol", ["monai", "monai-subvoxel"])
def test_a_distance_of_the_tolerance_in_single_precision_counts(protocol: str) -> None:
    row = bind(ROWS["nsd", protocol], {"tolerance_mm": 0.3}, "test")
    moved = np.roll(DOT, 1, axis=1)
    assert sample_values(row, row.score(*pair(moved, DOT, spacing=0.1 + 0.2)).stats)[0] == pytest.approx(1.0)
