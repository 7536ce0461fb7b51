"""The window around something, and everything that goes into it and comes back."""

from typing import Any

import numpy as np
import pytest

from harness.errors import DataError
from harness.imaging import crops, masks
from harness.records import (
    Box,
    Crop,
    Entity,
    Media,
    MediaPart,
    Overlay,
    Points,
    Region,
    Request,
    Target,
    TextPart,
    Turn,
)

SIZE = (100, 200)
CROP = Crop(corners=(60, 20, 110, 60), original=SIZE)
INSIDE = Box(corners=(70, 30, 80, 50))


def random_mask(size: tuple[int, int], seed: int = 0) -> Any:
    return np.random.default_rng(seed).random(size) < 0.5


@pytest.mark.parametrize(
    ("corners", "margin", "expected"),
    [
        ((60, 20, 110, 60), 0.0, (60, 20, 110, 60)),
        ((60, 20, 110, 60), 0.1, (55, 15, 115, 65)),  # 5 pixels on every side: a tenth of the longer one
        ((60.5, 20.5, 109.5, 59.5), 0.0, (60, 20, 110, 60)),
        ((0, 0, 50, 40), 0.5, (0, 0, 75, 65)),
        ((150, 60, 200, 100), 0.5, (125, 35, 200, 100)),
        ((0, 0, 200, 100), 10.0, (0, 0, 200, 100)),
        ((100, 50, 103, 53), 0.0, (86, 36, 118, 68)),  # 3 pixels become LEAST_SIDE
        ((0, 97, 3, 100), 0.0, (0, 68, 32, 100)),
    ],
)
def test_a_window_has_its_margin_ends_with_the_image_and_is_not_tiny(
    corners: tuple[float, ...], margin: float, expected: tuple[int, ...]
) -> None:
    assert crops.around(Box(corners=corners), SIZE, margin) == Crop(corners=expected, original=SIZE)  # type: ignore[arg-type]


def test_an_image_smaller_than_the_least_side_is_shown_whole() -> None:
    assert crops.around(Box(corners=(1, 1, 2, 2)), (5, 7), 0.0).corners == (0, 0, 7, 5)


def test_a_mask_of_a_crop_comes_back_equal_inside_and_empty_outside() -> None:
    found = random_mask((40, 50))
    back = masks.decode(crops.uncrop_mask(masks.encode(found), CROP, where="m"))
    assert back.shape == SIZE
    np.testing.assert_array_equal(back[20:60, 60:110], found)
    assert back.sum() == found.sum() > 0


def test_a_mask_goes_into_a_crop_as_its_part_there() -> None:
    whole = random_mask(SIZE)
    inside = crops.crop_mask(masks.encode(whole), CROP)
    np.testing.assert_array_equal(masks.decode(inside), whole[20:60, 60:110])
    assert crops.crop_mask(crops.uncrop_mask(inside, CROP, where="m"), CROP) == inside


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (
            SIZE,
            "masks[0]: predicted mask is (100, 200), which is the whole image; the crop that the model was shown is ",
        ),
        (
            (50, 40),
            "masks[0]: predicted mask is (50, 40); the crop that the model was shown is (40, 50) as (H, W); masks",
        ),
    ],
)
def test_a_mask_of_another_frame_is_refused(size: tuple[int, int], expected: str) -> None:
    with pytest.raises(DataError) as caught:
        crops.uncrop_mask(masks.full(size), CROP, where="masks[0]")
    assert str(caught.value).startswith(expected)
    assert str(caught.value).endswith("masks must lie in the frame of what .image() returns")


@pytest.mark.parametrize(
    "prompt",
    [
        INSIDE,
        Region(mask=masks.from_box(INSIDE, SIZE)),
        Points(points=((60, 20), (109, 59)), labels=(1, 0)),
    ],
)
def test_a_prompt_inside_a_crop_keeps_its_place(prompt: Any) -> None:
    inside = crops.crop_prompt(prompt, CROP)
    assert inside is not None
    assert inside != prompt
    assert crops.uncrop_prompt(inside, CROP) == prompt


def test_prompts_go_into_a_crop_by_its_first_pixel_and_are_cut_at_its_edge() -> None:
    assert crops.crop_prompt(INSIDE, CROP) == Box(corners=(10, 10, 20, 30))
    assert crops.crop_prompt(Box(corners=(0, 0, 200, 30)), CROP) == Box(corners=(0, 0, 50, 10))
    region = crops.crop_prompt(Region(mask=masks.full(SIZE)), CROP)
    assert region == Region(mask=masks.full((40, 50)))


@pytest.mark.parametrize(
    "prompt",
    [
        Box(corners=(0, 0, 60, 100)),
        Region(mask=masks.from_box(Box(corners=(0, 0, 60, 100)), SIZE)),
        Points(points=((70, 30), (110, 30)), labels=(1, 1)),
    ],
)
def test_a_prompt_outside_a_crop_is_gone(prompt: Any) -> None:
    assert crops.crop_prompt(prompt, CROP) is None


def test_a_target_is_cut_like_what_is_shown() -> None:
    outside = Box(corners=(0, 0, 10, 10))
    mask = masks.from_box(INSIDE, SIZE)
    target = Target(answers=("yes",), entities=(Entity(name="a", mask=mask), Entity(name="b")), boxes=(INSIDE, outside))
    cut = crops.crop_target(target, CROP)
    assert cut == Target(
        answers=("yes",),
        entities=(Entity(name="a", mask=crops.crop_mask(mask, CROP)), Entity(name="b")),
        boxes=(Box(corners=(10, 10, 20, 30)),),
    )


def test_a_cropped_image_has_the_size_of_the_crop() -> None:
    media = crops.crop_media(Media(path="a.png", sha256="0", size=SIZE), CROP)
    assert (media.size, media.crop) == ((40, 50), CROP)


def test_a_report_on_the_whole_image_shows_every_prompt() -> None:
    native, painted = Box(corners=(1, 2, 3, 4)), Points(points=((5, 6),), labels=(1,))
    overlay = Overlay(prompt=painted, style="dot", colour=(0, 255, 0), width=2, opacity=100)
    plain = Media(path="a.png", sha256="0", size=SIZE, drawn=(overlay,))
    for media, expected in (
        (plain, (native, painted)),
        (
            crops.crop_media(plain, CROP),
            (
                Box(corners=(60, 20, 110, 60)),
                Box(corners=(61, 22, 63, 24)),
                Points(points=((65, 26),), labels=(1,)),
            ),
        ),
    ):
        turn = Turn(role="user", parts=(MediaPart(media=media), TextPart(text="?")))
        assert crops.prompts_in_original(Request(messages=(turn,), visual_prompts=(native,))) == expected
    assert crops.prompts_in_original(Request()) == ()
