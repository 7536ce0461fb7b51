"""Outlines over images: the two masks stay apart without colour, and nothing leaks where pixels may not be shown."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from harness.errors import DataError
from harness.imaging import drawing, masks
from harness.records import Box, Entity, Mask, Media, Points, Region, Sample, Target

SIZE = (64, 96)


def _block(top: int, left: int, bottom: int, right: int) -> Mask:
    return masks.from_box(Box(corners=(left, top, right, bottom)), SIZE)


def _pixels(png: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def _is(png: bytes, colour: tuple[int, ...]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (_pixels(png) == colour).all(axis=2)
    return found


def _sample(mask: Mask, size: tuple[int, ...] = SIZE) -> Sample:
    target = Target(entities=(Entity(name="spleen", mask=mask),))
    return Sample(id="s", media=(Media(path="a.png", sha256=None, size=size),), target=target)


def test_the_target_is_a_closed_line_and_the_prediction_a_broken_one() -> None:
    block = _block(10, 10, 50, 80)
    solid = _is(drawing.draw(SIZE, target=block, side=96), drawing.TARGET)
    dashed = _is(drawing.draw(SIZE, prediction=block, side=96), drawing.PREDICTION)
    top = slice(10, 80)
    assert solid[10, top].all()
    assert 0.3 < dashed[10, top].mean() < 0.7
    assert 0.3 < dashed[10:50, 10].mean() < 0.7
    assert not (dashed & ~solid).any()


def test_a_dashed_outline_is_broken_in_every_direction() -> None:
    rows, columns = np.indices((400, 400))
    disc = masks.encode((rows - 200) ** 2 + (columns - 200) ** 2 < 150**2)
    dashes = _is(drawing.draw((400, 400), prediction=disc, side=400), drawing.PREDICTION)
    angle = np.arctan2(rows - 200, columns - 200)
    line = _is(drawing.draw((400, 400), target=disc, side=400), drawing.TARGET)
    for start in np.linspace(-np.pi, np.pi, 24, endpoint=False):
        sector = line & (angle >= start) & (angle < start + np.pi / 12)
        assert 0.15 < dashes[sector].mean() < 0.85


def test_where_both_outlines_run_together_both_are_seen() -> None:
    block = _block(10, 10, 50, 80)
    png = drawing.draw(SIZE, target=block, prediction=block, side=96)
    assert _is(png, drawing.TARGET)[10, 10:80].any()
    assert _is(png, drawing.PREDICTION)[10, 10:80].any()


def test_without_an_image_nothing_but_ground_and_lines_is_drawn() -> None:
    png = drawing.draw(SIZE, target=_block(10, 10, 30, 30), prediction=_block(20, 20, 50, 50))
    colours = {tuple(map(int, colour)) for colour in np.unique(_pixels(png).reshape(-1, 3), axis=0)}
    assert colours == {drawing.GROUND, drawing.SHADE, drawing.TARGET, drawing.PREDICTION}


def test_an_image_shows_through_where_no_line_runs() -> None:
    image = np.full((*SIZE, 3), (90, 160, 40), dtype=np.uint8)
    found = _pixels(drawing.draw(SIZE, target=_block(10, 10, 30, 30), image=image, side=96))
    assert tuple(found[60, 90]) == (90, 160, 40)
    assert tuple(found[20, 20]) == (90, 160, 40)
    assert tuple(found[10, 20]) == drawing.TARGET


def test_a_single_pixel_of_a_large_image_stays_visible() -> None:
    speck = masks.from_box(Box(corners=(2000, 1000, 2001, 1001)), (2048, 4096))
    png = drawing.draw((2048, 4096), target=speck, side=256)
    assert _pixels(png).shape == (128, 256, 3)
    assert _is(png, drawing.TARGET).any()


def test_an_outline_along_the_border_of_the_image_is_drawn() -> None:
    line = _is(drawing.draw(SIZE, target=masks.full(SIZE), side=96), drawing.TARGET)
    assert line[0].all()
    assert line[:, 0].all()
    assert line[-1].all()
    assert line[:, -1].all()
    assert not line[5:-5, 5:-5].any()


def test_a_small_image_is_enlarged_only_so_far() -> None:
    assert drawing.scaled_size((20, 30), 256) == (40, 60)
    assert drawing.scaled_size((1, 5000), 250) == (1, 250)


def test_the_same_sample_gives_the_same_bytes() -> None:
    image = np.random.default_rng(0).integers(0, 255, (*SIZE, 3)).astype(np.uint8)
    first, second = (drawing.draw(SIZE, target=_block(1, 1, 9, 9), image=image) for _ in range(2))
    assert first == second


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(DataError, match=r"overlay: mask is \(8, 8\), image is \(64, 96\)"):
        drawing.draw(SIZE, target=masks.full((8, 8)))


def test_every_kind_of_visual_prompt_has_a_place() -> None:
    assert masks.area(drawing.prompt_mask(Box(corners=(1, 2, 4, 6)), SIZE)) == 12
    assert masks.area(drawing.prompt_mask(Points(points=((30.0, 20.0), (60.0, 20.0)), labels=(1, 0)), SIZE)) == 50
    assert masks.area(drawing.prompt_mask(Points(points=(), labels=()), SIZE)) == 0
    region = _block(3, 3, 5, 5)
    assert drawing.prompt_mask(Region(mask=region), SIZE) == region
    drawn = drawing.draw_sample(_sample(_block(0, 0, 5, 5)), (), prompts=[Box(corners=(40, 20, 60, 40))], side=96)
    assert drawn is not None
    assert _is(drawn.png, drawing.PROMPT)[20, 45]


def test_several_masks_are_drawn_as_one() -> None:
    drawn = drawing.draw_sample(_sample(_block(0, 0, 5, 5)), [_block(10, 10, 20, 20), _block(10, 20, 20, 30)])
    union = drawing.draw(SIZE, target=_block(0, 0, 5, 5), prediction=_block(10, 10, 20, 30))
    assert drawn is not None
    assert drawn.png == union


def test_a_volume_is_shown_at_the_slice_that_holds_most_of_the_target() -> None:
    volume = np.zeros((5, *SIZE), dtype=np.bool_)
    volume[1, :4, :4] = True
    volume[3, 10:30, 10:30] = True
    drawn = drawing.draw_sample(_sample(masks.encode(volume), volume.shape), ())
    assert drawn is not None
    assert drawn.slice == 3
    assert drawn.png == drawing.draw(SIZE, target=_block(10, 10, 30, 30))


def test_a_volume_without_target_is_shown_at_the_slice_of_the_prediction() -> None:
    volume = np.zeros((5, *SIZE), dtype=np.bool_)
    volume[1, 10:30, 10:30] = True
    absent = _sample(masks.empty(volume.shape), volume.shape)
    assert drawing.slice_to_draw(absent, [masks.encode(volume)]) == 1
    assert drawing.slice_to_draw(absent, []) == 2
    assert drawing.slice_to_draw(_sample(_block(0, 0, 5, 5)), []) is None


def test_a_slice_of_a_volume_is_drawn_over_its_pixels() -> None:
    volume = np.zeros((5, *SIZE), dtype=np.bool_)
    volume[3, 10:30, 10:30] = True
    pixels = np.full((*SIZE, 3), 200, dtype=np.uint8)
    drawn = drawing.draw_sample(_sample(masks.encode(volume), volume.shape), (), image=pixels)
    assert drawn is not None
    assert drawn.png == drawing.draw(SIZE, target=_block(10, 10, 30, 30), image=pixels)


def test_an_empty_volume_is_shown_at_its_middle() -> None:
    assert drawing.fullest_slice(masks.empty((9, 4, 4))) == 4


def test_a_sample_without_image_and_masks_has_no_drawing() -> None:
    assert drawing.draw_sample(Sample(id="words only"), ()) is None
