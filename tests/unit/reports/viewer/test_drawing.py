"""Shapes over a sample, and their content in words."""

import numpy as np
import pytest

from harness.errors import DataError
from harness.imaging import masks
from harness.records import Box, Entity, Mask, Points, PredictedEntity, Prediction, Sample, Target
from harness.reports.viewer.drawing import MOST_MASKS, colours_of, describe, image_shapes, masks_of, volume_shapes


def _mask(row: int, size: tuple[int, ...] = (10, 10)) -> Mask:
    dense = np.zeros(size, dtype=np.bool_)
    dense[..., row, 0:4] = True
    return masks.encode(dense)


def _sample(*entities: Entity, boxes: tuple[Box, ...] = ()) -> Sample:
    return Sample(id="a/test/1", target=Target(entities=entities, boxes=boxes))


def _prediction(*found: Mask, names: tuple[str, ...] = (), **more: object) -> Prediction:
    entities = tuple(PredictedEntity(name=name, mask=index) for index, name in enumerate(names))
    return Prediction(key="0" * 64, status="ok", masks=found, entities=entities, **more)  # type: ignore[arg-type]


def test_the_same_thing_has_one_colour_in_target_and_prediction() -> None:
    sample = _sample(Entity(name="Left lung", mask=_mask(0)), Entity(name="heart", mask=_mask(1)))
    prediction = _prediction(_mask(2), _mask(3), names=("heart", "left  lung"))
    colours = colours_of(sample, prediction)
    shapes = image_shapes((10, 10), masks_of(sample, prediction), (), sample, prediction, colours)
    assert [(shape.kind, shape.name, shape.classes) for shape in shapes] == [
        ("target", "Left lung", "target e0"),
        ("target", "heart", "target e1"),
        ("prediction", "heart", "prediction e1"),
        ("prediction", "left  lung", "prediction e0"),
    ]


def test_a_single_thing_is_coloured_by_whose_it_is() -> None:
    sample = _sample(Entity(name="polyp", mask=_mask(0)))
    assert colours_of(sample, _prediction(_mask(1))) == {}


def test_of_many_masks_the_last_are_drawn_as_one() -> None:
    prediction = _prediction(*[_mask(row % 10) for row in range(MOST_MASKS + 5)])
    found = masks_of(_sample(), prediction)
    assert len(found) == MOST_MASKS + 1
    assert found[-1].name == "5 more"


def test_boxes_points_and_prompts_are_shapes_too() -> None:
    sample = _sample(boxes=(Box(corners=(1.0, 2.0, 3.5, 4.0)),))
    prediction = _prediction(boxes=(Box(corners=(0.0, 0.0, 2.0, 2.0)),), points=((5.0, 5.0),))
    prompts = (Points(points=((4.0, 4.0),), labels=(1,)),)
    shapes = image_shapes((10, 10), [], prompts, sample, prediction, {})
    assert [(shape.kind, shape.path) for shape in shapes] == [
        ("prompt", "M4 2l2 2l-2 2l-2 -2z"),
        ("target", "M1 2H3.5V4H1z"),
        ("prediction", "M0 0H2V2H0z"),
        ("prediction", "M5 3l2 2l-2 2l-2 -2z"),
    ]


def test_a_mask_of_another_size_cannot_be_drawn() -> None:
    with pytest.raises(DataError, match="overlay"):
        image_shapes((9, 9), masks_of(_sample(), _prediction(_mask(0))), (), _sample(), None, {})


def test_boxes_of_a_volume_are_drawn_on_its_slices() -> None:
    sample = _sample(boxes=(Box(corners=(1.0, 2.0, 2.0, 3.0, 5.0, 6.0)),))
    planes, (shape,) = volume_shapes(sample, (4, 8, 8), [], None, {}, None, ())
    assert (shape.kind, shape.area) == ("target", 2 * 3 * 4)
    assert shape.slices["axial"] == {1: "M2 2h4v3h-4z", 2: "M2 2h4v3h-4z"}
    assert planes[0].places[planes[0].first] == 1


def test_the_content_is_described_in_words() -> None:
    both = masks_of(_sample(Entity(name="a", mask=_mask(0))), _prediction(_mask(0)))
    assert describe(both, gives_masks=True, unit="pixels") == "Target 4 pixels, prediction 4 pixels, overlap 4"
    assert describe(both[:1], gives_masks=True, unit="voxels") == "Target 4 voxels, no prediction mask"
    assert describe([], gives_masks=False, unit="pixels") == ""
