"""Mask-to-entity F1, GLaMM's recall, hallucination and the pointing game: names, stray masks, empties, failures."""

from typing import Any

import numpy as np
import pytest

from harness.errors import DataError
from harness.imaging import masks
from harness.metrics.grounding import mask_to_entity, pointing_game
from harness.metrics.metric import Metric, bind, sample_values
from harness.records import Box, Entity, Mask, PredictedEntity, Prediction, Sample, Target

ROWS = {(row.name, row.protocol): row for row in (*mask_to_entity.METRICS, *pointing_game.METRICS)}
ALL_ROWS = pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: f"{row.name}-{row.protocol}")
MIMO, STRICT = ROWS["mask_to_entity_f1", "mimo"], ROWS["mask_to_entity_f1", "strict"]
RECALL, HALLUCINATION = ROWS["glamm_recall", "exact-name"], ROWS["hallucination", "standard"]
POINTING = ROWS["phrase_grounding_pointing_game", "standard"]


def block(left: int, right: int, size: tuple[int, int] = (2, 10)) -> Mask:
    return masks.from_box(Box(corners=(left, 0, right, size[0])), size)


LEFT, RIGHT, NOTHING = block(0, 4), block(6, 10), block(0, 0)


def sample(*entities: tuple[str, Mask | None], absent: bool = False) -> Sample:
    named = tuple(Entity(name=name, mask=mask) for name, mask in entities)
    return Sample(id="d/test/1", target=Target(entities=named, absent=absent))


def prediction(*entities: tuple[str, Mask | None], stray: tuple[Mask, ...] = (), **fields: Any) -> Prediction:
    found = [mask for _, mask in entities if mask is not None]
    places = iter(range(len(found)))
    named = tuple(PredictedEntity(name=name, mask=None if mask is None else next(places)) for name, mask in entities)
    return Prediction(key="k", status="ok", masks=(*found, *stray), entities=named, **fields)


def values(row: Metric, target: Sample, answer: Prediction) -> tuple[Any, ...]:
    outcome = row.score(target, answer)
    assert outcome.status == "ok"
    return sample_values(row, outcome.stats)


BOTH = sample(("liver", LEFT), ("spleen", RIGHT))
RIGHT_ANSWER = prediction(("liver", LEFT), ("spleen", RIGHT))


@ALL_ROWS
def test_a_right_answer_reaches_the_ceiling_and_a_failed_one_the_floor(row: Metric) -> None:
    best, worst = (0.0, 1.0) if not row.higher_is_better else (1.0, 0.0)
    assert values(row, BOTH, RIGHT_ANSWER)[0] == row.ceiling(BOTH) == best
    assert row.floor(BOTH) == worst
    assert len(row.worst(BOTH)) == len(row.stats)


@ALL_ROWS
def test_a_crash_where_there_is_nothing_to_find_is_worst(row: Metric) -> None:
    nothing = sample(("liver", NOTHING), absent=True)
    assert row.floor(nothing) == (0.0 if row.higher_is_better else 1.0)
    assert row.ceiling(nothing) is None


# --- mask-to-entity F1


def test_counts_stand_beside_the_shares() -> None:
    answer = prediction(("liver", LEFT), ("kidney", RIGHT), ("aorta", None))
    expected = (0.4, 1 / 3, 0.5, 1.0, 3.0, 2.0, 0.4, 1 / 3, 0.5)
    assert values(MIMO, BOTH, answer) == pytest.approx(expected)


def test_a_corpus_has_the_mean_of_the_samples_and_the_micro_values() -> None:
    answers = [RIGHT_ANSWER, prediction(("liver", LEFT), ("a", None), ("b", None))]
    sums = np.asarray([MIMO.score(BOTH, answer).stats for answer in answers]).sum(axis=0)
    found = dict(zip(MIMO.values, MIMO.combine(sums).tolist(), strict=True))
    assert MIMO.corpus
    assert (found["f1"], found["precision"], found["recall"]) == pytest.approx((0.7, 2 / 3, 0.75))
    assert (found["n_correct"], found["n_predicted"], found["n_target"]) == (3.0, 5.0, 4.0)
    assert (found["micro_f1"], found["micro_precision"], found["micro_recall"]) == pytest.approx((2 / 3, 0.6, 0.75))


def test_half_is_enough_and_strict_asks_for_more() -> None:
    target, answer = sample(("liver", block(0, 8))), prediction(("liver", LEFT))
    assert values(MIMO, target, answer)[0] == 1.0
    assert values(STRICT, target, answer)[0] == 0.0


def test_names_are_compared_without_case_punctuation_and_blanks() -> None:
    target = sample(("Left  Kidney.", LEFT))
    assert values(MIMO, target, prediction(("left kidney", LEFT)))[0] == 1.0
    assert values(MIMO, target, prediction(("the left kidney", LEFT)))[0] == 0.0


def test_two_masks_of_one_name_are_matched_so_that_both_count() -> None:
    target = sample(("nodule", block(0, 6)), ("nodule", block(2, 8)))
    answer = prediction(("nodule", block(1, 7)), ("nodule", block(0, 4)))
    assert values(MIMO, target, answer)[0] == 1.0


def test_a_target_is_found_once_however_often_it_is_named() -> None:
    assert values(MIMO, sample(("liver", LEFT)), prediction(("liver", LEFT), ("liver", LEFT)))[:3] == pytest.approx(
        (2 / 3, 0.5, 1.0)
    )


def test_an_entity_without_mask_and_two_empty_masks_never_match() -> None:
    assert values(MIMO, sample(("liver", LEFT)), prediction(("liver", None)))[:6] == (0.0, 0.0, 0.0, 0.0, 1.0, 1.0)
    assert values(MIMO, sample(("liver", NOTHING)), prediction(("liver", NOTHING)))[0] == 0.0
    assert MIMO.ceiling(sample(("liver", NOTHING), ("spleen", RIGHT), ("aorta", None))) == 0.5


def test_stray_masks_count_only_where_asked() -> None:
    answer = prediction(("liver", LEFT), ("spleen", RIGHT), stray=(NOTHING, LEFT))
    assert MIMO.score(BOTH, answer).detail == {"n_stray": 2}
    assert values(MIMO, BOTH, answer)[4] == 2.0
    counting = bind(MIMO, {"count_stray": True}, "t")
    assert values(counting, BOTH, answer)[:5] == pytest.approx((2 / 3, 0.5, 1.0, 2.0, 4.0))


def test_loc_mode_looks_at_entities_named_on_both_sides() -> None:
    loc = bind(MIMO, {"mode": "loc", "count_stray": True}, "t")
    answer = prediction(("liver", RIGHT), ("liver", LEFT), ("kidney", LEFT), stray=(LEFT,))
    assert values(loc, BOTH, answer)[:6] == pytest.approx((2 / 3, 0.5, 1.0, 1.0, 2.0, 1.0))
    assert loc.score(BOTH, prediction(("kidney", LEFT))).status == "undefined"


def test_nothing_named_on_either_side_is_undefined_and_on_one_side_zero() -> None:
    assert MIMO.score(sample(absent=True), prediction()).status == "undefined"
    assert values(MIMO, sample(absent=True), prediction(("liver", LEFT)))[0] == 0.0
    assert values(MIMO, BOTH, prediction())[:3] == (0.0, 0.0, 0.0)


@ALL_ROWS
def test_a_mask_of_another_size_is_refused(row: Metric) -> None:
    if row is HALLUCINATION:
        return  # it looks at names, and at no mask of the target
    with pytest.raises(DataError, match=r"^d/test/1: predicted mask is \(2, 9\), image is \(2, 10\)"):
        row.score(BOTH, prediction(("liver", block(0, 4, size=(2, 9)))))


# --- GLaMM's recall


def test_recall_of_a_corpus_is_the_share_of_all_target_names() -> None:
    stats = [RECALL.score(BOTH, answer).stats for answer in (RIGHT_ANSWER, prediction(("liver", LEFT)))]
    assert stats == [(2.0, 2.0), (1.0, 2.0)]
    assert RECALL.corpus
    assert RECALL.combine(np.asarray(stats).sum(axis=0)).tolist() == [0.75]
    assert RECALL.combine(np.zeros(2)).tolist() == [0.0]


def test_a_wrong_name_at_the_best_pair_ends_the_search() -> None:
    found = prediction(("kidney", LEFT), ("spleen", block(6, 9)))
    assert values(RECALL, BOTH, found) == (0.0,)
    assert values(RECALL, BOTH, prediction(("kidney", block(0, 3)), ("spleen", RIGHT))) == (0.5,)


def test_names_and_masks_are_paired_by_their_place_as_released() -> None:
    skipped = prediction(("aorta", None), ("liver", LEFT))
    assert values(RECALL, sample(("liver", LEFT)), skipped) == (0.0,)


def test_a_mask_beyond_the_names_costs_the_image_all_its_matches() -> None:
    outcome = RECALL.score(BOTH, prediction(("liver", LEFT), stray=(RIGHT,)))
    assert (outcome.stats, outcome.detail) == ((0.0, 2.0), {"rule": "more_masks_than_names"})
    harmless = prediction(("liver", LEFT), ("spleen", RIGHT), stray=(NOTHING,))
    assert values(RECALL, BOTH, harmless) == (1.0,)


def test_two_empty_masks_count_as_the_best_pair_as_released() -> None:
    target = sample(("liver", LEFT), ("spleen", NOTHING))
    assert values(RECALL, target, prediction(("liver", LEFT), ("spleen", NOTHING))) == (1.0,)
    assert values(RECALL, target, prediction(("liver", LEFT), ("x", NOTHING))) == (0.0,)


def test_another_similarity_of_names_may_be_handed_in() -> None:
    alike = mask_to_entity.glamm_recall(lambda _target, _predicted: 0.5, BOTH, prediction(("a", LEFT), ("b", RIGHT)))
    apart = mask_to_entity.glamm_recall(lambda _target, _predicted: 0.49, BOTH, RIGHT_ANSWER)
    assert (alike.stats, apart.stats) == ((2.0, 2.0), (0.0, 2.0))


# --- hallucination


def test_only_grounded_entities_that_the_target_lacks_are_hallucinated() -> None:
    answer = prediction(("liver.", LEFT), ("aorta", RIGHT), ("kidney", None), ("heart", NOTHING), ("Liver", LEFT))
    outcome = HALLUCINATION.score(BOTH, answer)
    assert (outcome.stats, outcome.detail) == ((1.0, 2.0), {"hallucinated": ["aorta"]})
    assert not HALLUCINATION.higher_is_better


def test_an_answer_without_entities_hallucinates_nothing_that_could_be_counted() -> None:
    assert HALLUCINATION.score(BOTH, prediction()).status == "undefined"


def test_everything_is_hallucinated_where_there_is_nothing_to_find() -> None:
    assert values(HALLUCINATION, sample(("liver", NOTHING), absent=True), prediction(("liver", LEFT))) == (1.0,)
