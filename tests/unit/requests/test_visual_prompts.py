"""The visual prompts that a task derives from the target or takes from the release."""

from typing import Any

import numpy as np
import pytest

from harness.errors import DataError
from harness.imaging import masks
from harness.records import (
    Box,
    Entity,
    Points,
    Region,
    Target,
)
from harness.requests.visual_prompts import visual_prompts
from tests.unit.requests.request_cases import BOX, REGION, sample, task


def shown(kind: str, *found: masks.Mask, **changes: Any) -> tuple[Any, ...]:
    target = Target(entities=tuple(Entity(name="liver", mask=mask) for mask in found))
    return visual_prompts(task(visual_prompt=kind), sample(target=target, **changes))


def test_prompts_are_drawn_from_the_target() -> None:
    left, right = (masks.from_box(Box(corners=(x, 10, x + 5, 15)), (100, 200)) for x in (20, 40))
    assert shown("none", left) == ()
    assert shown("box", left, right) == (Box(corners=(20, 10, 45, 15)),)
    assert shown("region", left, right) == (Region(mask=masks.merge([left, right])),)
    assert shown("points", left) == (Points(points=((22, 12),), labels=(1,)),)


def test_the_point_lies_inside_the_mask_as_x_y_z() -> None:
    assert shown("points", masks.full((3, 3))) == (Points(points=((1, 1),), labels=(1,)),)
    voxel = masks.from_box(Box(corners=(2, 1, 3, 3, 2, 4)), (4, 4, 4))
    assert shown("points", voxel) == (Points(points=((3, 1, 2),), labels=(1,)),)
    ring = np.ones((5, 5), dtype=bool)
    ring[1:4, 1:4] = False
    ((x, y),) = shown("points", masks.encode(ring))[0].points
    assert ring[int(y), int(x)]


@pytest.mark.parametrize("kind", ["box", "points", "region"])
def test_an_empty_target_cannot_be_pointed_at(kind: str) -> None:
    with pytest.raises(DataError, match=f"^t/test/1: the task shows a {kind}, but the target's mask is empty$"):
        shown(kind, masks.empty((100, 200)))


def test_the_prompts_of_the_release_are_taken_as_they_are() -> None:
    assert shown("from_sample", visual_prompts=(BOX, REGION)) == (BOX, REGION)
    nothing = Region(mask=masks.empty((100, 200)))
    with pytest.raises(DataError, match=r"^t/test/1: the region that the release points at has no pixel$"):
        shown("from_sample", visual_prompts=(nothing,))


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (
            Region(mask=masks.full((100, 100))),
            "the region that the release points at is (100, 100), its image (100, 200); "
            "`harness prepare` lists such pairs",
        ),
        (Box(corners=(190, 10, 210, 20)), "box: expected x within 0 and 200, found x1 = 190 and x2 = 210; "),
        (Box(corners=(20, 10, 20, 20)), "box: expected x1 < x2, found x1 = 20 and x2 = 20; "),
        (
            Points(points=((1, 2), (200, 5)), labels=(1, 1)),
            "the point (200, 5) that the release points at is outside its image (100, 200)",
        ),
    ],
)
def test_what_the_release_points_at_outside_its_image_is_a_fault_of_the_data(prompt: Any, expected: str) -> None:
    with pytest.raises(DataError) as caught:
        shown("from_sample", visual_prompts=(prompt,))
    assert str(caught.value).startswith(f"t/test/1: {expected}")
