"""What is painted, and that nothing else is."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest

from harness.imaging import masks
from harness.imaging.views import prompt_overlays
from harness.records import Box, Crop, Media, Overlay, Points, Region, VisualPrompt

SIZE = (40, 60)
GREEN = (0, 255, 0)
BOX = Box(corners=(20, 10, 40, 30))
MEDIA = Media(path="a.png", sha256="0", size=SIZE)


@pytest.fixture
def image() -> Any:
    """Pixels of which hardly two are equal, and none is pure green."""
    pixels = np.random.default_rng(0).integers(1, 255, (*SIZE, 3), dtype=np.uint8)
    pixels.setflags(write=False)
    return pixels


def overlay(
    prompt: VisualPrompt, style: Literal["outline", "fill", "dot"] = "outline", width: int = 2, opacity: int = 100
) -> Overlay:
    return Overlay(prompt=prompt, style=style, colour=GREEN, width=width, opacity=opacity)


def region(*corners: float) -> Region:
    return Region(mask=masks.from_box(Box(corners=corners), SIZE))


@pytest.mark.parametrize("prompt", [BOX, region(20, 10, 40, 30)])
def test_an_outline_runs_around_what_it_marks_and_hides_none_of_it(image: Any, prompt: VisualPrompt) -> None:
    pixels = prompt_overlays.apply_crop_and_overlays(image, replace(MEDIA, drawn=(overlay(prompt),)))
    green = (pixels == GREEN).all(axis=2)
    near = np.zeros(SIZE, dtype=bool)
    near[8:32, 18:42] = True
    inside = np.zeros(SIZE, dtype=bool)
    inside[10:30, 20:40] = True
    assert green.sum() == (near & ~inside).sum() - 12  # of four pixels at a corner one is near enough
    assert not (green & (inside | ~near)).any()
    np.testing.assert_array_equal(pixels[~green], image[~green])


def test_an_outline_is_as_wide_as_it_says_and_follows_the_shape(image: Any) -> None:
    dense = np.zeros(SIZE, dtype=bool)
    dense[20, 10:50] = True
    dense[10:30, 30] = True
    drawn = overlay(Region(mask=masks.encode(dense)), width=1)
    pixels = prompt_overlays.apply_crop_and_overlays(image, replace(MEDIA, drawn=(drawn,)))
    green = (pixels == GREEN).all(axis=2)
    neighbours = np.zeros(SIZE, dtype=bool)
    neighbours[1:] |= dense[:-1]
    neighbours[:-1] |= dense[1:]
    neighbours[:, 1:] |= dense[:, :-1]
    neighbours[:, :-1] |= dense[:, 1:]
    np.testing.assert_array_equal(green, neighbours & ~dense)


def test_where_the_image_ends_the_outline_runs_inside(image: Any) -> None:
    pixels = prompt_overlays.apply_crop_and_overlays(image, replace(MEDIA, drawn=(overlay(region(0, 0, 60, 40)),)))
    green = (pixels == GREEN).all(axis=2)
    expected = np.ones(SIZE, dtype=bool)
    expected[2:-2, 2:-2] = False
    np.testing.assert_array_equal(green, expected)


def test_a_fill_tints_the_region_and_nothing_else(image: Any) -> None:
    pixels = prompt_overlays.apply_crop_and_overlays(
        image, replace(MEDIA, drawn=(overlay(region(20, 10, 40, 30), "fill", 0, 40),))
    )
    inside = np.zeros(SIZE, dtype=bool)
    inside[10:30, 20:40] = True
    expected = np.floor(image[inside] * 0.6 + np.array(GREEN) * 0.4 + 0.5)
    np.testing.assert_array_equal(pixels[inside], expected)
    np.testing.assert_array_equal(pixels[~inside], image[~inside])


def test_a_dot_is_a_disc_on_each_point(image: Any) -> None:
    points = Points(points=((30, 20), (0, 0)), labels=(1, 1))
    pixels = prompt_overlays.apply_crop_and_overlays(image, replace(MEDIA, drawn=(overlay(points, "dot", 3),)))
    green = (pixels == GREEN).all(axis=2)
    rows, columns = np.indices(SIZE)
    expected = (np.hypot(rows - 20, columns - 30) <= 3) | (np.hypot(rows, columns) <= 3)
    np.testing.assert_array_equal(green, expected)
    np.testing.assert_array_equal(pixels[~green], image[~green])


def test_a_crop_is_cut_out_before_anything_is_painted(image: Any) -> None:
    cut = replace(MEDIA, size=(20, 30), crop=Crop(corners=(10, 5, 40, 25), original=SIZE))
    pixels = prompt_overlays.apply_crop_and_overlays(image, cut)
    np.testing.assert_array_equal(pixels, image[5:25, 10:40])
    marked = prompt_overlays.apply_crop_and_overlays(
        image, replace(cut, drawn=(overlay(Points(points=((0, 0),), labels=(1,)), "dot", 0),))
    )
    assert marked[0, 0].tolist() == list(GREEN)
    np.testing.assert_array_equal(marked[1:], image[6:25, 10:40])


def test_what_is_painted_later_lies_on_top_and_the_stored_pixels_stay(image: Any) -> None:
    red = replace(overlay(region(0, 0, 60, 40), "fill"), colour=(255, 0, 0))
    pixels = prompt_overlays.apply_crop_and_overlays(
        image, replace(MEDIA, drawn=(overlay(region(0, 0, 60, 40), "fill"), red))
    )
    assert (pixels == (255, 0, 0)).all()
    assert not (image == (255, 0, 0)).all(axis=2).any()


def test_an_empty_region_has_no_outline(image: Any) -> None:
    pixels = prompt_overlays.apply_crop_and_overlays(image, replace(MEDIA, drawn=(overlay(region(0, 0, 0, 0)),)))
    np.testing.assert_array_equal(pixels, image)
