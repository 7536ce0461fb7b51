"""Laws of metrics that match masks: ranges, sides and orders that may change places, and how AP grows."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.imaging import masks
from harness.metrics.grounding import mask_to_entity
from harness.metrics.instances import average_precision, instance
from harness.metrics.instances.average_precision import average_precision as interpolated
from harness.metrics.metric import Metric, Outcome, Stats, sample_values
from harness.records import Entity, Mask, PredictedEntity, Prediction, Sample, Target

FEW = settings(max_examples=40, deadline=None)  # the first matching of a process imports scipy's solver
Named = tuple[str, Mask]
Scored = tuple[list[Mask], list[Mask], list[float]]

ROWS = {
    (row.name, row.protocol): row for row in (*average_precision.METRICS, *instance.METRICS, *mask_to_entity.METRICS)
}
SYMMETRIC = [ROWS[key] for key in (("detection_f1", "standard"), ("mask_to_entity_f1", "mimo"))]


def row_mask(bits: int) -> Mask:
    return masks.encode(np.array([[bits >> place & 1 for place in range(6)]], dtype=np.bool_))


some_masks = st.lists(st.integers(0, 63).map(row_mask), max_size=4)
names = st.sampled_from(["liver", "spleen", "Liver"])
sides = st.lists(st.tuples(names, st.integers(0, 63).map(row_mask)), max_size=4)


@st.composite
def scored_images(draw: Any) -> Scored:
    found = draw(some_masks)
    scores = draw(st.lists(st.integers(1, 4).map(float), min_size=len(found), max_size=len(found)))
    return draw(some_masks), found, scores


def score(row: Metric, predicted: list[Named], targets: list[Named], scores: tuple[float, ...] = ()) -> Outcome:
    sample = Sample(id="x", target=Target(entities=tuple(Entity(name=name, mask=mask) for name, mask in targets)))
    entities = tuple(PredictedEntity(name=name, mask=place) for place, (name, _) in enumerate(predicted))
    found = tuple(mask for _, mask in predicted)
    return row.score(sample, Prediction(key="x", status="ok", masks=found, mask_scores=scores, entities=entities))


def detections(row: Metric, image: Scored) -> Stats:
    targets, found, scores = image
    return score(row, [("x", mask) for mask in found], [("x", mask) for mask in targets], tuple(scores)).stats


def pooled(row: Metric, stats: list[Stats]) -> float:
    assert row.pool is not None
    return float(row.pool(stats, np.ones(len(stats)))[0])


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: f"{row.name}-{row.protocol}")
@FEW
@given(predicted=sides, targets=sides)
def test_shares_lie_between_zero_and_one(row: Metric, predicted: list[Named], targets: list[Named]) -> None:
    outcome = score(row, predicted, targets)
    values = sample_values(row, outcome.stats) if outcome.stats else ()
    shares = [value for name, value in zip(row.values, values, strict=False) if not name.startswith("n_")]
    assert all(value is None or 0 <= value <= 1 for value in shares)


@pytest.mark.parametrize("row", SYMMETRIC, ids=lambda row: str(row.name))
@FEW
@given(predicted=sides, targets=sides)
def test_f1_stays_and_precision_and_recall_change_places_with_the_sides(
    row: Metric, predicted: list[Named], targets: list[Named]
) -> None:
    here, there = score(row, predicted, targets), score(row, targets, predicted)
    assert here.status == there.status
    if here.status == "ok":
        f1, precision, recall = sample_values(row, here.stats)[:3]
        assert sample_values(row, there.stats)[:3] == (f1, recall, precision)


@FEW
@given(predicted=some_masks, targets=some_masks)
def test_panoptic_quality_stays_when_the_sides_change_places(predicted: list[Mask], targets: list[Mask]) -> None:
    row = ROWS["panoptic_quality", "standard"]
    ours, theirs = [("x", mask) for mask in predicted], [("x", mask) for mask in targets]
    here, there = score(row, ours, theirs), score(row, theirs, ours)
    assert here.status == there.status
    if here.status == "ok":
        assert sample_values(row, here.stats) == pytest.approx(sample_values(row, there.stats), nan_ok=True)


@pytest.mark.parametrize(
    "key",
    [
        ("miou", "standard"),
        ("panoptic_quality", "standard"),
        ("detection_f1", "standard"),
        ("mask_to_entity_f1", "mimo"),
    ],
    ids=lambda key: key[0],
)
@FEW
@given(predicted=sides, targets=sides, data=st.data())
def test_the_order_of_masks_and_targets_changes_nothing(
    key: tuple[str, str], predicted: list[Named], targets: list[Named], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(predicted)), data.draw(st.permutations(targets))
    assert score(ROWS[key], *shuffled).stats == pytest.approx(score(ROWS[key], predicted, targets).stats)


@FEW
@given(images=st.lists(scored_images(), min_size=1, max_size=4), data=st.data())
def test_average_precision_of_different_scores_does_not_depend_on_the_order_of_images(
    images: list[Scored], data: st.DataObject
) -> None:
    row, place = ROWS["ap", "glamm"], iter(range(100))
    distinct = [(targets, found, [1 / (1 + next(place)) for _ in found]) for targets, found, _ in images]
    stats = [detections(row, image) for image in distinct]
    shuffled = data.draw(st.permutations(stats))
    assert pooled(row, shuffled) == pytest.approx(pooled(row, stats), abs=1e-12, nan_ok=True)


@FEW
@given(hits=st.lists(st.booleans(), max_size=12), missed=st.integers(1, 4))
def test_a_true_positive_ranked_first_never_lowers_average_precision(hits: list[bool], missed: int) -> None:
    ranked = np.asarray(hits, dtype=np.float64)
    targets = float(ranked.sum()) + missed
    assert interpolated(np.concatenate(([1.0], ranked)), targets) >= interpolated(ranked, targets) - 1e-12


@FEW
@given(images=st.lists(scored_images(), min_size=1, max_size=3), bits=st.integers(1, 63))
def test_finding_one_more_target_with_the_best_score_never_lowers_ap50(images: list[Scored], bits: int) -> None:
    row, extra = ROWS["ap50", "glamm"], row_mask(bits)
    missing = [detections(row, image) for image in (*images, ([extra], [], []))]
    finding = [detections(row, image) for image in (*images, ([extra], [extra], [9.0]))]
    assert pooled(row, finding) >= pooled(row, missing) - 1e-12


@FEW
@given(images=st.lists(scored_images(), min_size=1, max_size=3), bits=st.integers(1, 63))
def test_a_false_alarm_ranked_last_costs_nothing_and_ranked_first_something_or_nothing(
    images: list[Scored], bits: int
) -> None:
    row, alarm = ROWS["ap50", "glamm"], row_mask(bits)
    before = pooled(row, [detections(row, image) for image in images])
    last, first = (pooled(row, [detections(row, one) for one in (*images, ([], [alarm], [s]))]) for s in (0.5, 9.0))
    if np.isnan(before):
        assert np.isnan(last)
        assert np.isnan(first)
    else:
        assert last == pytest.approx(before, abs=1e-12)
        assert first <= before + 1e-12


@FEW
@given(images=st.lists(scored_images(), min_size=1, max_size=4), data=st.data())
def test_a_weight_counts_as_that_many_copies(images: list[Scored], data: st.DataObject) -> None:
    row = ROWS["ap50", "glamm"]
    stats = [detections(row, image) for image in images]
    weights = data.draw(st.lists(st.integers(0, 3), min_size=len(stats), max_size=len(stats)))
    copies = [one for one, weight in zip(stats, weights, strict=True) for _ in range(weight)]
    assert row.pool is not None
    weighted: NDArray[np.float64] = row.pool(stats, np.asarray(weights, dtype=np.float64))
    assert weighted[0] == pytest.approx(pooled(row, copies) if copies else np.nan, abs=1e-12, nan_ok=True)
