"""The pointing game: the place that an answer points at, and the target that it is held against."""

from typing import Any

import numpy as np

from harness.imaging import masks, soft_masks
from harness.metrics.grounding import pointing_game
from harness.metrics.metric import Metric, sample_values
from harness.records import Box, Entity, Mask, PredictedEntity, Prediction, Sample, Target

POINTING = pointing_game.METRICS[0]


def block(left: int, right: int, size: tuple[int, int] = (2, 10)) -> Mask:
    return masks.from_box(Box(corners=(left, 0, right, size[0])), size)


LEFT, RIGHT, NOTHING = block(0, 4), block(6, 10), block(0, 0)


def sample(*entities: tuple[str, Mask | None]) -> Sample:
    return Sample(id="d/test/1", target=Target(entities=tuple(Entity(name=name, mask=mask) for name, mask in entities)))


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


def test_a_mask_points_at_its_pixel_nearest_to_its_centre() -> None:
    ring = masks.encode(np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]]))
    above = masks.encode(np.array([[0, 1, 0], [0, 1, 0], [0, 0, 0]]))
    centre = masks.encode(np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]]))
    assert values(POINTING, sample(("x", above)), prediction(("x", ring))) == (1.0,)
    assert values(POINTING, sample(("x", centre)), prediction(("x", ring))) == (0.0,)


def test_probabilities_point_at_their_peak() -> None:
    dense = np.full((2, 10), 0.6)
    dense[1, 9] = 0.9
    soft = (soft_masks.encode(dense),)
    answer = prediction(("spleen", block(0, 10)), soft_masks=soft)
    assert values(POINTING, sample(("spleen", RIGHT)), answer) == (1.0,)
    assert values(POINTING, sample(("spleen", LEFT)), answer) == (0.0,)


def test_boxes_and_unnamed_masks_answer_the_targets_in_order() -> None:
    boxes = (Box(corners=(0, 0, 4, 2)), Box(corners=(0, 0, 3, 2)))
    assert values(POINTING, BOTH, Prediction(key="k", status="ok", boxes=boxes)) == (0.5,)
    outside = (Box(corners=(-8, 0, 0, 2)), Box(corners=(0, 0, 3, 2, 1, 1)))
    assert values(POINTING, BOTH, Prediction(key="k", status="ok", boxes=outside)) == (0.0,)
    assert values(POINTING, BOTH, prediction(stray=(LEFT,))) == (0.5,)


def test_boxes_of_volumes_point_in_array_order() -> None:
    volume = np.zeros((4, 5, 6), dtype=np.bool_)
    volume[1, 2, 3] = True
    answer = Prediction(key="k", status="ok", boxes=(Box(corners=(0, 1, 2, 3, 4, 5)),))
    assert values(POINTING, sample(("x", masks.encode(volume))), answer) == (1.0,)


def test_points_answer_the_targets_in_order() -> None:
    def pointed(*points: tuple[float, ...]) -> tuple[float | None, ...]:
        return values(POINTING, BOTH, Prediction(key="k", status="ok", points=points))

    (y1, x1), (y2, x2) = (np.argwhere(masks.decode(mask))[0] for mask in (LEFT, RIGHT))
    assert pointed((x1 + 0.9, y1 + 0.1), (x2 + 0.5, y2 + 0.5)) == (1.0,)
    assert pointed((x2 + 0.5, y2 + 0.5), (x2 + 0.5, y2 + 0.5)) == (0.5,)
    assert pointed((-0.5, y1), (float(x2), y2, 0.0)) == (0.0,)


def test_entities_are_met_by_name_each_once() -> None:
    twice = sample(("nodule", LEFT), ("nodule", RIGHT))
    assert values(POINTING, twice, prediction(("Nodule", LEFT), ("nodule", RIGHT))) == (1.0,)
    assert values(POINTING, twice, prediction(("nodule", LEFT))) == (0.5,)
    assert values(POINTING, twice, prediction(("nodule", None), ("x", LEFT))) == (0.0,)
    assert values(POINTING, twice, prediction(("nodule", NOTHING))) == (0.0,)


def test_a_target_without_pixels_cannot_be_pointed_at() -> None:
    assert POINTING.score(sample(("x", NOTHING), ("y", None)), prediction(("x", LEFT))).status == "undefined"
