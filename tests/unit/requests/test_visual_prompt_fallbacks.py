"""How a request points at what the model takes no prompt for: in words, in paint, by a crop, and when none will do."""

from typing import Any

import numpy as np
import pytest

from harness.imaging import masks
from harness.records import Box, Crop, Media, Overlay, Points, Region, VisualPrompt
from harness.requests.visual_prompt_fallbacks import ShownRequest, VisualPromptFallbacks
from harness.tasks.fallbacks import COLOURS, FALLBACKS, PHRASES

SIZE = (512, 1024)
IMAGE = Media(path="a.png", sha256="1" * 64, size=SIZE)
SECOND = Media(path="b.png", sha256="2" * 64, size=(10, 10))
VOLUME = Media(path="a.nii.gz", sha256="3" * 64, kind="volume", size=(4, 512, 1024))
BOX = Box(corners=(100, 50, 200, 150))
REGION = Region(mask=masks.from_box(BOX, SIZE))
FAR = Box(corners=(900, 400, 950, 450))
POINT = Points(points=((120, 60),), labels=(1,))
GREEN, MAGENTA = COLOURS["green"], COLOURS["magenta"]


def pointing(
    fallbacks: dict[str, str | float], *prompts: VisualPrompt, takes: str = "text image", media: Any = (IMAGE,)
) -> VisualPromptFallbacks:
    return VisualPromptFallbacks(prompts=prompts, media=media, fallbacks=fallbacks, takes=frozenset(takes.split()))


def applied(
    fallbacks: dict[str, str | float], *prompts: VisualPrompt, text: str = "What is <region>?", **more: Any
) -> ShownRequest:
    asked = pointing(fallbacks, *prompts, **more)
    assert asked.missing() == []
    return asked.apply(text)


@pytest.mark.parametrize(
    ("style", "words", "width", "opacity"),
    [("outline", "(the region outlined in green)", 8, 100), ("fill", "(the region shaded in green)", 0, 40)],
)
def test_a_region_is_painted_and_called_by_its_colour(style: Any, words: str, width: int, opacity: int) -> None:
    found = applied({"region_as_overlay": style}, REGION, media=(IMAGE, SECOND))
    assert found.text == f"What is {words}?"
    assert (found.native, found.crop) == ((), None)
    (drawn,) = found.media[0].drawn
    assert drawn == Overlay(prompt=REGION, style=style, colour=GREEN, width=width, opacity=opacity)
    assert found.media[1] == SECOND


def test_a_box_and_points_are_painted_in_the_colour_that_is_next() -> None:
    fallbacks: dict[str, str | float] = {"box_as_overlay": "outline", "point_as_overlay": "dot"}
    two = Points(points=((1, 2), (3, 4)), labels=(1, 1))
    found = applied(fallbacks, BOX, two, text="<box> or <point>?")
    assert found.text == "(the green box) or (the magenta dots)?"
    assert [(overlay.prompt, overlay.colour, overlay.width) for overlay in found.media[0].drawn] == [
        (BOX, GREEN, 8),
        (two, MAGENTA, 16),
    ]
    assert applied(fallbacks, POINT, text="<point>?").text == "(the green dot)?"


def test_a_small_image_still_has_a_line() -> None:
    found = applied({"box_as_overlay": "outline"}, Box(corners=(1, 1, 2, 2)), media=(SECOND,))
    assert found.media[0].drawn[0].width == 1


def test_a_region_is_cropped_to_and_the_others_move_along() -> None:
    found = applied({"region_as_crop": 0.1}, REGION, POINT, takes="text image point", media=(IMAGE, SECOND))
    assert found.text == "What is (the part shown in this image)?"
    assert found.crop == Crop(corners=(90, 40, 210, 160), original=SIZE)
    assert (found.media[0].crop, found.media[0].size) == (found.crop, (120, 120))
    assert found.native == (Points(points=((30, 20),), labels=(1,)),)
    assert found.media[1] == SECOND


def test_what_is_painted_or_said_with_a_crop_is_in_its_frame() -> None:
    fallbacks: dict[str, str | float] = {"region_as_crop": 0.1, "box_as_text": "original", "point_as_overlay": "dot"}
    found = applied(fallbacks, REGION, BOX, POINT, text="<region> <box> <point>")
    assert found.text == "(the part shown in this image) [10, 10, 110, 110] (the green dot)"
    (drawn,) = found.media[0].drawn
    assert (drawn.prompt, drawn.width) == (Points(points=((30, 20),), labels=(1,)), 2)  # a line of a 120-pixel image


def test_words_without_a_mark_are_followed_by_what_is_pointed_at() -> None:
    assert applied({"region_as_crop": 0.0}, REGION, text="What?").text == "What? (the part shown in this image)"
    assert applied({"region_as_overlay": "outline"}, REGION, text="What?").text == (
        "What? (the region outlined in green)"
    )
    assert applied({"region_as_box_text": "original"}, REGION, text="What?").text == "What? [100, 50, 200, 150]"


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (("region_as_crop", "region_as_overlay"), "region_as_crop: 0.1"),
        (("region_as_overlay", "region_as_crop"), "region_as_overlay: fill"),
    ],
)
def test_of_several_fallbacks_for_a_kind_the_first_is_used(order: tuple[str, ...], expected: str) -> None:
    values: dict[str, str | float] = {"region_as_crop": 0.1, "region_as_overlay": "fill"}
    asked = pointing({"box_as_text": "unit"} | {name: values[name] for name in order}, REGION)
    assert asked.used() == (expected,)
    assert (asked.apply("?").crop is None) == (expected == "region_as_overlay: fill")


def test_a_fallback_is_left_alone_where_the_model_takes_the_prompt() -> None:
    asked = pointing({"region_as_overlay": "outline"}, REGION, takes="text image region")
    assert (asked.used(), asked.missing()) == ((), [])
    assert asked.apply("<region>?") == ShownRequest(text="<region>?", media=(IMAGE,), native=(REGION,), crop=None)


MANY = tuple(Box(corners=(x, 0, x + 1, 1)) for x in range(5))
BACKGROUND = Points(points=((1, 2), (3, 4)), labels=(1, 0))


@pytest.mark.parametrize(
    ("fallbacks", "prompts", "media", "expected"),
    [
        ({}, (REGION,), IMAGE, "takes region"),
        ({"box_as_overlay": "outline"}, (REGION,), IMAGE, "takes region"),
        (
            {"region_as_overlay": "fill"},
            (REGION,),
            VOLUME,
            "takes region (region_as_overlay works on images only)",
        ),
        ({"box_as_crop": 0.1}, (BOX,), VOLUME, "takes box (box_as_crop works on images only)"),
        ({"box_as_crop": 0.1}, (BOX, FAR), IMAGE, "takes box (box_as_crop can show one thing only)"),
        (
            {"region_as_crop": 0.1},
            (REGION, FAR),
            IMAGE,
            "takes region (region_as_crop would cut off a box that is pointed at too)",
        ),
        (
            {"box_as_overlay": "outline"},
            MANY,
            IMAGE,
            "takes box (box_as_overlay has 4 colours, and 5 things are pointed at)",
        ),
        (
            {"point_as_overlay": "dot"},
            (BACKGROUND,),
            IMAGE,
            "takes point (point_as_overlay cannot show background points)",
        ),
    ],
)
def test_a_fallback_that_cannot_do_its_work_says_why(
    fallbacks: dict[str, str | float], prompts: tuple[VisualPrompt, ...], media: Media, expected: str
) -> None:
    takes = "text image volume" if expected.startswith("takes box") else "text image volume box"
    lacks = pointing(fallbacks, *prompts, takes=takes, media=(media,)).missing()
    assert dict.fromkeys(lacks) == {expected: None}


def test_a_coordinate_fallback_works_on_volumes_too() -> None:
    box = Box(corners=(1, 50, 100, 2, 150, 200))
    assert applied({"box_as_text": "original"}, box, text="<box>", media=(VOLUME,)).text == (
        "[1, 50, 100, 2, 150, 200]"
    )


def test_every_style_has_its_words_and_every_colour_can_be_told_apart() -> None:
    styles = {(row.kind, option) for row in FALLBACKS.values() if row.way == "overlay" for option in row.options}
    assert styles == set(PHRASES)
    colours = np.array(list(COLOURS.values()), dtype=int)
    distances = np.abs(colours[:, None] - colours[None]).sum(axis=2) + 1000 * np.eye(len(colours), dtype=int)
    assert distances.min() >= 255
