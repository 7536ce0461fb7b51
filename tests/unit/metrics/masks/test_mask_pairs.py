"""Which masks of a sample and a prediction are compared, how their pixels are counted, and on which grid they lie."""

import numpy as np
import pytest

from harness.errors import DataError
from harness.imaging import masks, soft_masks
from harness.metrics.masks import mask_pairs
from harness.records import Box, Entity, Mask, Media, PredictedEntity, Prediction, Sample, Target

SIZE = (4, 10)


def block(left: int, right: int) -> Mask:
    return masks.from_box(Box(corners=(left, 0, right, SIZE[0])), SIZE)


def sample(*targets: Mask | None, media: tuple[Media, ...] = ()) -> Sample:
    entities = tuple(Entity(name=f"entity {index}", mask=mask) for index, mask in enumerate(targets))
    return Sample(id="d/test/1", media=media, target=Target(entities=entities))


FIRST, SECOND = block(0, 4), block(2, 6)
BOTH = Prediction(key="k", status="ok", masks=(SECOND, FIRST))


def test_overlapping_masks_of_a_side_count_once() -> None:
    overlap = mask_pairs.all_masks(sample(FIRST), BOTH)
    assert (overlap.first, overlap.second, overlap.intersection, overlap.union) == (24, 16, 16, 24)
    assert mask_pairs.dice_stats(overlap) == (32.0, 40.0)
    assert mask_pairs.iou_stats(overlap) == (16.0, 24.0)


def test_the_first_masks_are_those_of_the_first_entity_that_has_one() -> None:
    overlap = mask_pairs.first_masks(sample(None, FIRST, SECOND), BOTH)
    assert (overlap.first, overlap.second, overlap.intersection) == (16, 16, 8)


def test_a_side_without_a_mask_is_empty() -> None:
    assert mask_pairs.targets(sample(None)) == ()
    nothing = Prediction(key="k", status="ok")
    counts = [mask_pairs.all_masks(sample(FIRST), nothing), mask_pairs.all_masks(sample(None), BOTH)]
    assert [(overlap.first, overlap.second, overlap.intersection) for overlap in counts] == [(0, 16, 0), (24, 0, 0)]
    assert mask_pairs.area(()) == 0


def test_the_worst_answer_weighs_as_much_as_the_target_and_at_least_one_pixel() -> None:
    assert mask_pairs.miss_all(sample(FIRST, SECOND)) == (0.0, 24.0)
    assert mask_pairs.miss_all(sample(None)) == (0.0, 1.0)
    assert (mask_pairs.ceiling_all(sample(FIRST)), mask_pairs.ceiling_all(sample(block(0, 0)))) == (1.0, None)


def test_spacing_is_that_of_the_image_of_this_size() -> None:
    other = Media(path="a", sha256=None, size=(8, 20), spacing_mm=(9.0, 9.0))
    own = Media(path="b", sha256=None, size=SIZE, spacing_mm=(0.5, 2.0))
    assert mask_pairs.media_of(sample(FIRST, media=(other, own)), SIZE) == own
    assert mask_pairs.media_of(sample(FIRST, media=(other,)), SIZE) is None


def test_a_predicted_mask_of_another_size_is_refused_unless_there_is_no_target() -> None:
    wrong = (masks.full((10, 4)),)
    with pytest.raises(DataError, match=r"^d/test/1: predicted mask is \(10, 4\), image is \(4, 10\)"):
        mask_pairs.checked(sample(FIRST), wrong, (FIRST,))
    assert mask_pairs.checked(sample(None), wrong, ()) == wrong


def ignoring(*ignored: Mask) -> Sample:
    entities = (Entity(name="a", mask=FIRST),)
    return Sample(id="d/test/1", target=Target(entities=entities, ignore=masks.merge(ignored) if ignored else None))


def test_ignored_pixels_leave_every_predicted_mask() -> None:
    item, given = ignoring(block(4, 7)), Prediction(key="k", status="ok", masks=(SECOND, FIRST))
    found = mask_pairs.without_ignored(item, given)
    assert found.masks == (block(2, 4), FIRST)
    assert mask_pairs.all_masks(item, found) == (16, 16, 16)
    assert mask_pairs.without_ignored(ignoring(), given) is given


def test_a_mask_wholly_in_ignored_pixels_goes_with_its_score_and_its_entity() -> None:
    entities = (
        PredictedEntity(name="gone", mask=0),
        PredictedEntity(name="kept", mask=1),
        PredictedEntity(name="named"),
        PredictedEntity(name="empty", mask=2),
    )
    nothing = masks.empty(SIZE)
    given = Prediction(
        key="k", status="ok", masks=(block(7, 9), FIRST, nothing), mask_scores=(0.9, 0.8, 0.7), entities=entities
    )
    found = mask_pairs.without_ignored(ignoring(block(6, 10)), given)
    assert (found.masks, found.mask_scores) == ((FIRST, nothing), (0.8, 0.7))
    assert [(entity.name, entity.mask) for entity in found.entities] == [("kept", 0), ("named", None), ("empty", 1)]


def test_ignored_pixels_have_no_probability_and_the_masks_stay_one_a_probability() -> None:
    probabilities = np.where(masks.decode(SECOND), 0.75, 0.25)
    for encode in (soft_masks.encode, soft_masks.exact):
        given = Prediction(key="k", status="ok", masks=(SECOND,), soft_masks=(encode(probabilities),))
        found = mask_pairs.without_ignored(ignoring(SECOND), given)
        assert found.masks == (masks.empty(SIZE),)
        expected = np.where(masks.decode(SECOND), 0.0, 0.25)
        np.testing.assert_array_equal(soft_masks.decode(found.soft_masks[0]), expected)
        assert bool(found.soft_masks[0].levels) == (encode is soft_masks.encode)


def test_a_mask_of_another_size_stays_for_the_metric_to_refuse() -> None:
    other = masks.full((3, 3))
    soft = soft_masks.exact(np.ones((3, 3)))
    given = Prediction(key="k", status="ok", masks=(other,), soft_masks=(soft,))
    assert mask_pairs.without_ignored(ignoring(SECOND), given) == given
