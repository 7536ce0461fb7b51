"""Hit rate and instance F1 after the wording of the ReXrank board, and the choices that are ours."""

import numpy as np
import pytest

from harness.imaging import masks
from harness.metrics.instances.rexrank import METRICS
from harness.metrics.metric import sample_values
from harness.records import Entity, Mask, Prediction, Sample, Target

ROWS = {row.name: row for row in METRICS}


def pixels(*rows: str) -> Mask:
    return masks.encode(np.array([[mark == "x" for mark in row] for row in rows]))


def pair(found: Mask | None, wanted: Mask | None) -> tuple[Sample, Prediction]:
    entities = () if wanted is None else (Entity(name="finding", mask=wanted),)
    sample = Sample(id="x", target=Target(entities=entities, absent=wanted is None))
    return sample, Prediction(key="", status="ok", masks=() if found is None else (found,))


def test_no_row_bears_the_name_of_the_board() -> None:
    for row in METRICS:
        assert row.protocol == "rexrank-wording"
        assert row.caveat is not None
        assert "no public scorer" in row.caveat


@pytest.mark.parametrize(("found", "hit"), [("x" + "." * 18, 1.0), ("x" + "." * 19, 0.0), ("." * 19, 0.0)])
def test_a_finding_is_hit_at_a_dice_of_a_tenth(found: str, hit: float) -> None:
    row = ROWS["hit_rate"]
    assert row.score(*pair(pixels(found), pixels("x" * len(found)))).stats == (hit, 1.0)


def test_parts_are_found_at_a_dice_of_a_fifth_and_touch_at_corners_too() -> None:
    row = ROWS["instance_f1"]
    wanted = pixels("x..xxxxxxxxx", ".x..........")
    found = pixels("x..x........", ".x.........x")
    assert row.score(*pair(found, wanted)).stats == (2.0, 1.0, 0.0)
    assert sample_values(row, (2.0, 1.0, 0.0)) == pytest.approx((0.8, 2 / 3, 1.0))


def test_a_finding_without_a_mask_is_none() -> None:
    for given in (pair(pixels("x"), None), pair(pixels("x"), pixels("."))):
        assert ROWS["hit_rate"].score(*given).status == "undefined"
        assert ROWS["hit_rate"].floor(given[0]) is ROWS["hit_rate"].ceiling(given[0]) is None
        assert ROWS["instance_f1"].score(*given).stats == (0.0, 1.0, 0.0)
    assert ROWS["instance_f1"].score(*pair(None, None)).status == "undefined"
    assert ROWS["instance_f1"].worst(pair(None, pixels("x.x"))[0]) == (0.0, 0.0, 2.0)
