"""Panoptic quality as MONAI and panoptica compute it, beside their own numbers in tests/golden/test_peers.py."""

import numpy as np
import pytest

from harness.imaging import masks
from harness.metrics import bind
from harness.metrics.instances.panoptic_released import METRICS, components
from harness.metrics.metric import sample_values
from harness.records import Entity, Mask, Prediction, Sample, Target

ROWS = {row.protocol: row for row in METRICS}


def line(*pixels: int) -> Mask:
    return masks.encode(np.array([pixels], dtype=bool))


def pair(found: tuple[Mask, ...], wanted: tuple[Mask, ...]) -> tuple[Sample, Prediction]:
    entities = tuple(Entity(name="target", mask=mask) for mask in wanted)
    sample = Sample(id="x", target=Target(entities=entities, absent=not entities))
    return sample, Prediction(key="", status="ok", masks=found)


def test_diagonal_pixels_are_apart_in_an_image_and_together_in_a_volume() -> None:
    flat = np.eye(2, dtype=bool)
    assert len(components(masks.encode(flat))) == 2
    assert len(components(masks.encode(flat), faces_in_2d=False)) == 1
    assert len(components(masks.encode(np.stack([flat, flat[::-1]])))) == 1
    assert components(None) == components(line(0, 0)) == ()


def test_an_iou_of_exactly_a_half_matches_in_panoptica_only() -> None:
    given = pair((line(1, 1, 0),), (line(1, 0, 0),))
    found = {name: sample_values(row, row.score(*given).stats)[0] for name, row in ROWS.items()}
    assert found == {"monai": 0.0, "panoptica": 0.5}


def test_panoptica_takes_the_best_pair_first() -> None:
    given = pair((line(1, 1, 1, 0, 1, 1, 0),), (line(1, 1, 0, 0, 1, 1, 0),))
    assert ROWS["panoptica"].score(*given).stats == pytest.approx((5 / 3, 9 / 5, 2.0, 0.0, 0.0))


def test_below_a_half_the_greatest_sum_decides_in_monai() -> None:
    row = bind(ROWS["monai"], {"threshold": 0.3}, "test")
    given = pair((line(1, 1, 1, 0), line(0, 0, 0, 1)), (line(1, 0, 0, 0), line(0, 1, 1, 1)))
    assert row.score(*given).stats == pytest.approx((2 / 3, 2.0, 0.0, 0.0))


def test_nothing_at_all_is_0_in_monai_and_undefined_in_panoptica() -> None:
    given = pair((), ())
    assert sample_values(ROWS["monai"], ROWS["monai"].score(*given).stats)[0] == ROWS["monai"].ceiling(given[0]) == 0.0
    assert ROWS["panoptica"].score(*given).status == "undefined"
    assert ROWS["panoptica"].ceiling(given[0]) is None


def test_a_failed_answer_misses_every_part() -> None:
    sample, _ = pair((), (line(1, 0, 1),))
    assert (ROWS["monai"].worst(sample), ROWS["panoptica"].worst(sample)) == ((0, 0, 0, 1), (0, 0, 0, 0, 2))
