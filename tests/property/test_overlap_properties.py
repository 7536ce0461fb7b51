"""Laws that Dice and IoU keep under every protocol."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from harness.imaging import masks
from harness.metrics.masks import overlap
from harness.metrics.metric import Metric, Outcome, sample_values
from harness.records import Entity, Prediction, Sample, Target

Bools = NDArray[np.bool_]
Draw = Any

ROWS = {(row.name, row.protocol): row for row in overlap.METRICS}
SHARES = [row for row in overlap.METRICS if row.name in ("dice", "iou", "ciou")]


@st.composite
def pairs(draw: Draw) -> tuple[Bools, Bools]:
    shape = draw(arrays.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=8))
    first, second = (draw(arrays.arrays(np.bool_, shape, fill=st.booleans())) for _ in range(2))
    return first, second


def score(row: Metric, predicted: Bools, target: Bools) -> Outcome:
    sample = Sample(id="x", target=Target(entities=(Entity(name="x", mask=masks.encode(target)),)))
    return row.score(sample, Prediction(key="x", status="ok", masks=(masks.encode(predicted),)))


def value(row: Metric, predicted: Bools, target: Bools) -> float | None:
    outcome = score(row, predicted, target)
    return sample_values(row, outcome.stats)[0] if outcome.status == "ok" else None


@given(pairs())
def test_standard_equals_the_dense_definition(pair: tuple[Bools, Bools]) -> None:
    first, second = pair
    both, either = np.count_nonzero(first & second), np.count_nonzero(first | second)
    expected = (2 * both / (both + either), both / either) if either else (None, None)
    assert (value(ROWS["dice", "standard"], *pair), value(ROWS["iou", "standard"], *pair)) == expected


@pytest.mark.parametrize("protocol", ["standard", "medplib", "monai-ignore-empty"])
@given(pair=pairs())
def test_dice_follows_from_iou(protocol: str, pair: tuple[Bools, Bools]) -> None:
    dice, iou = value(ROWS["dice", protocol], *pair), value(ROWS["iou", protocol], *pair)
    if iou is None:
        assert dice is None
    else:
        assert dice == pytest.approx(2 * iou / (1 + iou), abs=1e-12)


@given(pair=pairs())
def test_prediction_and_target_may_change_places(pair: tuple[Bools, Bools]) -> None:
    for row in SHARES:
        if row.protocol != "monai-ignore-empty":
            assert value(row, *pair) == value(row, *pair[::-1]), row


@given(pair=pairs())
def test_values_lie_between_zero_and_one(pair: tuple[Bools, Bools]) -> None:
    for row in SHARES:
        found = value(row, *pair)
        assert found is None or 0 <= found <= 1, row
        perfect = np.array_equal(*pair) and found is not None and row.protocol not in ("m3d", "segvol")
        assert (found == 1) == perfect, row


@given(drawn=st.lists(pairs(), min_size=1, max_size=5), data=st.data())
def test_pooled_values_do_not_depend_on_order(drawn: list[tuple[Bools, Bools]], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(drawn))
    for row in overlap.METRICS:
        assert pooled(row, drawn) == pooled(row, shuffled), row


def pooled(row: Metric, drawn: list[tuple[Bools, Bools]]) -> tuple[float | None, ...]:
    stats = [outcome.stats for outcome in (score(row, *pair) for pair in drawn) if outcome.status == "ok"]
    return sample_values(row, tuple(map(math.fsum, zip(*stats, strict=True)))) if stats else ()
