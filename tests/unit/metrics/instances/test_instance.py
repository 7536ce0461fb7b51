"""mIoU, precision at 0.5, panoptic quality and detection F1: what matches, what is empty and what a failure weighs."""

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.errors import DataError
from harness.imaging import masks
from harness.metrics.instances.instance import METRICS
from harness.metrics.metric import Metric, sample_values
from harness.records import Box, Entity, Mask, Media, Prediction, Sample, Target

ROWS = {(row.name, row.protocol): row for row in METRICS}
ALL_ROWS = pytest.mark.parametrize("row", METRICS, ids=lambda row: f"{row.name}-{row.protocol}")
MIOU, PQ, F1 = ROWS["miou", "standard"], ROWS["panoptic_quality", "standard"], ROWS["detection_f1", "standard"]


def strip(start: int, end: int, length: int = 20) -> Mask:
    """Return a mask of one row whose pixels [start, end) are set."""
    dense = np.zeros((1, length), dtype=np.bool_)
    dense[:, start:end] = True
    return masks.encode(dense)


NOTHING = strip(0, 0)


def sample(*targets: Mask | None, absent: bool = False, media: tuple[Media, ...] = ()) -> Sample:
    entities = tuple(Entity(name="target", mask=mask) for mask in targets)
    return Sample(id="d/test/1", media=media, target=Target(entities=entities, absent=absent))


def prediction(*found: Mask) -> Prediction:
    return Prediction(key="k", status="ok", masks=found)


def values(row: Metric, target: Sample, answer: Prediction) -> tuple[Any, ...]:
    outcome = row.score(target, answer)
    assert outcome.status == "ok"
    return sample_values(row, outcome.stats)


@ALL_ROWS
def test_a_perfect_answer_reaches_the_ceiling_and_a_failed_one_the_floor(row: Metric) -> None:
    both = sample(strip(0, 4), strip(6, 9))
    assert values(row, both, prediction(strip(6, 9), strip(0, 4)))[0] == row.ceiling(both) == 1.0
    assert row.floor(both) == 0.0
    assert len(row.worst(both)) == len(row.stats) == len(row.score(both, prediction()).stats)


@ALL_ROWS
def test_a_crash_on_an_image_without_targets_is_not_undefined(row: Metric) -> None:
    assert row.floor(sample(absent=True)) == 0.0


@ALL_ROWS
def test_a_mask_where_there_is_nothing_to_find_is_worst(row: Metric) -> None:
    assert values(row, sample(NOTHING, absent=True), prediction(strip(0, 4)))[0] == 0.0


@ALL_ROWS
def test_nothing_against_nothing_is_undefined_but_zero_as_released(row: Metric) -> None:
    for target in (sample(), sample(NOTHING), sample(absent=True)):
        for answer in (prediction(), prediction(NOTHING)):
            outcome = row.score(target, answer)
            if row.protocol == "glamm":
                assert sample_values(row, outcome.stats) == (row.ceiling(target),) == (0.0,)
            else:
                assert (outcome.status, row.ceiling(target)) == ("undefined", None)


@ALL_ROWS
def test_a_mask_of_another_size_is_refused(row: Metric) -> None:
    with pytest.raises(DataError, match=r"^d/test/1: predicted mask is \(1, 7\), image is \(1, 20\)"):
        row.score(sample(strip(0, 4)), prediction(strip(0, 4, length=7)))


def test_released_miou_ignores_missed_targets_and_spurious_masks() -> None:
    target, answer = sample(strip(0, 4), strip(10, 14)), prediction(strip(0, 3), strip(17, 20))
    assert values(ROWS["miou", "glamm"], target, answer) == (0.75,)
    assert values(MIOU, target, answer) == (0.375,)


def test_released_miou_takes_the_best_pair_first_and_standard_the_best_sum() -> None:
    target = sample(strip(0, 10), strip(10, 20))
    answer = prediction(strip(4, 14), strip(0, 4))  # 6/14 and 4/16 with the first mask, 4/10 and 0 with the second
    assert values(ROWS["miou", "glamm"], target, answer) == (pytest.approx(6 / 14),)
    assert values(MIOU, target, answer) == (pytest.approx((0.25 + 0.4) / 2),)


def test_standard_miou_prefers_one_good_pair_to_two_poor_ones() -> None:
    target = sample(strip(0, 10), strip(10, 11))
    answer = prediction(strip(0, 11), strip(9, 10))  # 10/11 and 1/11 with the first mask, 1/10 and 0 with the second
    assert values(MIOU, target, answer) == (pytest.approx(10 / 11 / 2),)


def test_a_repeated_mask_finds_no_second_target_and_a_mask_too_many_costs() -> None:
    left, right, both = (masks.from_box(Box(corners=corners), (4, 4)) for corners in _HALVES)
    target = Target(entities=(Entity(name="a", mask=left), Entity(name="b", mask=right)))

    def miou(*found: Mask) -> float | None:
        outcome = MIOU.score(Sample(id="s", target=target), Prediction(key="k", status="ok", masks=found))
        return sample_values(MIOU, outcome.stats)[0]

    assert (miou(both), miou(both, both), miou(both, both, both, both)) == (0.25, 0.25, 0.125)
    assert miou(left, right) == 1.0


_HALVES = ((0.0, 0.0, 2.0, 4.0), (2.0, 0.0, 4.0, 4.0), (0.0, 0.0, 4.0, 4.0))


def test_released_miou_of_two_empty_masks_ends_the_search() -> None:
    target, answer = sample(NOTHING, strip(0, 4)), prediction(NOTHING, strip(0, 4))
    assert values(ROWS["miou", "glamm"], target, answer) == (0.0,)
    assert values(MIOU, target, answer) == (1.0,)


@pytest.mark.parametrize(("end", "hit"), [(5, 1.0), (4, 0.0)])
def test_precision_compares_the_masks_together_with_the_targets_together(end: int, hit: float) -> None:
    row = ROWS["precision_at_0.5", "standard"]
    outcome = row.score(sample(strip(0, 6), strip(6, 10)), prediction(strip(0, 2), strip(2, end)))
    assert sample_values(row, outcome.stats) == (hit,)
    assert outcome.detail["iou"] == end / 10


def test_panoptic_quality_is_its_two_parts_multiplied() -> None:
    target = sample(strip(0, 4), strip(10, 14), strip(16, 18))
    answer = prediction(strip(0, 3), strip(10, 14), strip(5, 7), NOTHING)
    assert PQ.score(target, answer).stats == (1.75, 2.0, 1.0, 1.0)
    pq, sq, rq = values(PQ, target, answer)
    assert (sq, rq) == (0.875, 2 / 3)
    assert pq == pytest.approx(sq * rq)


def test_panoptic_quality_needs_more_than_half_and_detection_half() -> None:
    target, answer = sample(strip(0, 4)), prediction(strip(0, 2))
    assert values(PQ, target, answer) == (0.0, 0.0, 0.0)
    assert values(F1, target, answer)[:3] == (1.0, 1.0, 1.0)


def test_panoptic_quality_of_several_images_is_that_of_the_summed_counts() -> None:
    sums = np.asarray([[0.9, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]]).sum(axis=0)
    assert PQ.combine(sums).tolist() == [0.45, 0.9, 0.5]
    assert PQ.corpus


def test_detection_matches_as_many_as_can_be_matched() -> None:
    target = sample(strip(0, 6), strip(2, 8))
    answer = prediction(strip(1, 7), strip(0, 4))  # the first fits both targets, the second only the first
    assert values(F1, target, answer)[:3] == (1.0, 1.0, 1.0)


def test_detection_counts_misses_and_false_alarms() -> None:
    found = values(F1, sample(strip(0, 4), strip(10, 14)), prediction(strip(0, 4), strip(5, 6), strip(7, 8)))
    assert found[:3] == (pytest.approx(0.4), pytest.approx(1 / 3), 0.5)


def test_detection_recall_is_split_by_the_size_of_the_target() -> None:
    target = sample(strip(0, 1, 200), strip(10, 20, 200), strip(30, 40, 200), strip(60, 81, 200))
    answer = prediction(strip(0, 1, 200), strip(10, 20, 200))
    assert values(F1, target, answer)[3:] == (1.0, 0.5, 0.0)
    assert values(F1, sample(strip(0, 1, 200)), answer)[3:] == (1.0, None, None)
    assert F1.worst(target) == (0.0, 0.0, 4.0, 0.0, 1.0, 0.0, 2.0, 0.0, 1.0)


def test_the_size_of_a_target_in_a_volume_follows_from_the_spacing() -> None:
    target = masks.full((10, 10, 10))
    media = (Media(path="x", sha256=None, kind="volume", size=(10, 10, 10), spacing_mm=(0.5, 1.0, 1.0)),)
    assert values(F1, sample(target, media=media), prediction(target))[3:] == (1.0, None, None)
    assert values(F1, sample(target), prediction(target))[3:] == (None, None, 1.0)


def dense_iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float((first & second).sum() / (first | second).sum())


def every_matching(found: int, targets: int) -> list[list[tuple[int, int]]]:
    """Return every way to give each mask a target of its own, or none."""
    places = [*range(targets), *(-1 for _ in range(found))]
    return [[pair for pair in enumerate(order) if pair[1] >= 0] for order in set(permutations(places, found))]


@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 4)])
def test_random_sets_agree_with_dense_masks_and_a_search_through_all_matchings(shape: tuple[int, ...]) -> None:
    generator = np.random.default_rng(len(shape))
    for _ in range(250):
        base = generator.random((4, *shape)) < generator.choice([0.0, 0.1, 0.5])
        targets = base[: generator.integers(0, 4)]
        found = base[generator.permutation(4)[: generator.integers(0, 4)]] ^ (generator.random(shape) < 0.15)
        target = sample(*map(masks.encode, targets))
        answer = prediction(*map(masks.encode, found))
        kept = [one for one in found if one.any()], [one for one in targets if one.any()]
        if not kept[0] and not kept[1]:
            assert {row.score(target, answer).status for row in METRICS if row.protocol == "standard"} == {"undefined"}
            continue
        iou = np.array([[dense_iou(one, other) for other in kept[1]] for one in kept[0]]).reshape(
            len(kept[0]), len(kept[1])
        )
        ways = [[float(iou[pair]) for pair in way] for way in every_matching(len(kept[0]), len(kept[1]))]
        assert MIOU.score(target, answer).stats[0] == pytest.approx(max(map(sum, ways)))
        hits = max(sum(value >= 0.5 for value in way) for way in ways)
        assert F1.score(target, answer).stats[:3] == (hits, len(kept[0]) - hits, len(kept[1]) - hits)
        above = max((sum(value > 0.5 for value in way), sum(value for value in way if value > 0.5)) for way in ways)
        assert PQ.score(target, answer).stats[:2] == (pytest.approx(above[1]), above[0])
