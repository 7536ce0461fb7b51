"""Frames: where positions land, that conversions undo each other, and what the messages say."""

import math

import pytest

from harness.errors import DataError, SpecError
from harness.imaging.frames import (
    ORIGINAL,
    PER_MILLE,
    UNIT,
    Frame,
    box_from_frame,
    box_size,
    box_text,
    box_to_frame,
    check_box,
    clip_box,
    padded_square,
    padding,
    points_from_frame,
    points_to_frame,
)
from harness.records import Box, Points

IMAGE = (480, 640)
VOLUME = (10, 20, 40)
BOX = Box(corners=(64.0, 48.0, 320.0, 480.0))
CUBE = Box(corners=(1.0, 2.0, 4.0, 5.0, 20.0, 40.0))
HALF_OPEN = "boxes are half-open, one pixel is (x, y, x + 1, y + 1)"
IN_PIXELS = "boxes are in pixels of the original image"


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        ("original", ORIGINAL),
        ("unit", UNIT),
        (" per_mille ", PER_MILLE),
        ("padded_square(336)", Frame("padded_square", 336)),
    ],
)
def test_frame_is_read_from_its_text(text: str, frame: Frame) -> None:
    assert Frame.parse(text, "x.yaml:3") == frame
    assert str(frame) == text.strip()


@pytest.mark.parametrize(
    ("text", "ending"),
    [
        ("per_mile", "got 'per_mile' (did you mean 'per_mille'?)"),
        ("padded_squre(336)", "got 'padded_squre(336)' (did you mean 'padded_square'?)"),
        ("padded_square", "got 'padded_square'"),
        ("padded_square(0)", "got 'padded_square(0)'"),
        ("unit(3)", "got 'unit(3)'"),
        ("", "got ''"),
    ],
)
def test_unknown_frame_is_refused_with_the_known_ones(text: str, ending: str) -> None:
    with pytest.raises(SpecError) as caught:
        Frame.parse(text, "x.yaml:3: frame")
    assert str(caught.value) == (
        f"x.yaml:3: frame: expected one of the frames original, unit, per_mille, padded_square(n), {ending}"
    )


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        ((480, 640), 336, ((252, 336), (42, 0))),
        ((480, 640), 256, ((192, 256), (32, 0))),
        ((4, 3), 4, ((4, 3), (0, 0))),  # the odd pixel goes to the right
        ((3, 4), 4, ((3, 4), (0, 0))),  # and to the bottom
        ((1, 1000), 10, ((1, 10), (4, 0))),
        ((512, 512), 336, ((336, 336), (0, 0))),
    ],
)
def test_padding_is_symmetric_with_the_odd_pixel_last(
    size: tuple[int, int], side: int, expected: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    assert padding(size, side) == expected


@pytest.mark.parametrize(
    ("frame", "corners"),
    [
        (ORIGINAL, (64, 48, 320, 480)),
        (UNIT, (0.1, 0.1, 0.5, 1.0)),
        (PER_MILLE, (100, 100, 500, 1000)),
        (padded_square(336), (33.6, 67.2, 168, 294)),
    ],
)
def test_image_box_lands_in_each_frame_and_comes_back(frame: Frame, corners: tuple[float, ...]) -> None:
    assert box_to_frame(BOX, IMAGE, frame) == pytest.approx(corners)
    assert box_from_frame(corners, IMAGE, frame).corners == pytest.approx(BOX.corners)


@pytest.mark.parametrize(
    ("frame", "corners"),
    [
        (ORIGINAL, (1, 2, 4, 5, 20, 40)),
        (UNIT, (0.1, 0.1, 0.1, 0.5, 1, 1)),
        (PER_MILLE, (100, 100, 100, 500, 1000, 1000)),
    ],
)
def test_volume_box_lands_in_each_frame_and_comes_back(frame: Frame, corners: tuple[float, ...]) -> None:
    assert box_to_frame(CUBE, VOLUME, frame) == pytest.approx(corners)
    assert box_from_frame(corners, VOLUME, frame).corners == pytest.approx(CUBE.corners)


def test_point_is_the_centre_of_its_pixel() -> None:
    point = Points(points=((0.0, 479.0),), labels=(1,))
    assert points_to_frame(point, IMAGE, UNIT)[0] == pytest.approx((0.5 / 640, 479.5 / 480))
    assert points_to_frame(point, IMAGE, PER_MILLE)[0] == pytest.approx((500 / 640, 479500 / 480))
    assert points_to_frame(point, IMAGE, padded_square(320))[0] == pytest.approx((0.25, 40 + 239.75))
    assert points_to_frame(point, IMAGE, ORIGINAL) == point.points


@pytest.mark.parametrize("frame", [ORIGINAL, UNIT, PER_MILLE, padded_square(256)])
def test_every_pixel_of_an_odd_sized_image_comes_back(frame: Frame) -> None:
    size = (13, 37)
    points = Points(points=tuple((float(x), float(y)) for x in range(37) for y in range(13)), labels=(1,) * (13 * 37))
    assert points_from_frame(points_to_frame(points, size, frame), points.labels, size, frame) == points


@pytest.mark.parametrize("frame", [ORIGINAL, UNIT, PER_MILLE])
def test_voxel_is_x_y_z_and_comes_back(frame: Frame) -> None:
    points = Points(points=((39.0, 0.0, 9.0),), labels=(0,))
    assert points_from_frame(points_to_frame(points, VOLUME, frame), (0,), VOLUME, frame) == points


def test_position_outside_names_the_nearest_pixel() -> None:
    far = points_from_frame([(1.0, 1.0), (-0.2, 0.5)], (1, 1), IMAGE, UNIT)
    assert far.points == ((639.0, 479.0), (0.0, 240.0))
    in_padding = points_from_frame([(10.0, 3.0)], (1,), IMAGE, padded_square(640))
    assert in_padding.points == ((10.0, 0.0),)


def test_padded_square_of_a_volume_is_refused() -> None:
    message = (
        r"^padded_square\(336\) is a frame of 2-D images, found a volume of size \(10, 20, 40\); use unit or per_mille$"
    )
    with pytest.raises(SpecError, match=message):
        box_to_frame(CUBE, VOLUME, padded_square(336))
    with pytest.raises(SpecError, match=message):
        points_from_frame([(1.0, 2.0, 3.0)], (1,), VOLUME, padded_square(336))


def test_wrong_count_of_numbers_is_refused() -> None:
    with pytest.raises(DataError, match=r"^box: expected 4 numbers, found 6$"):
        box_to_frame(CUBE, IMAGE, UNIT)
    with pytest.raises(DataError, match=r"^box: expected 6 numbers, found 4$"):
        box_from_frame(BOX.corners, VOLUME, UNIT)
    with pytest.raises(DataError, match=r"^box: expected 4 numbers, found 6$"):
        clip_box(CUBE, IMAGE)
    with pytest.raises(DataError, match=r"^point: expected 2 numbers, found 3$"):
        points_from_frame([(1.0, 2.0, 3.0)], (1,), IMAGE, UNIT)


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (ORIGINAL, "[64, 48, 320, 480]"),
        (UNIT, "[0.100, 0.100, 0.500, 1.000]"),
        (PER_MILLE, "[100, 100, 500, 1000]"),
        (padded_square(336), "[34, 67, 168, 294]"),
    ],
)
def test_box_text_of_an_image(frame: Frame, text: str) -> None:
    assert box_text(BOX, IMAGE, frame) == text


def test_box_text_of_a_volume_begins_with_z() -> None:
    assert box_text(CUBE, VOLUME, PER_MILLE) == "[100, 100, 100, 500, 1000, 1000]"


def test_box_text_rounds_half_up() -> None:
    assert box_text(Box(corners=(1.0, 0.5, 3.0, 16.0)), (16, 16), PER_MILLE) == "[63, 31, 188, 1000]"


def test_clipping_keeps_what_is_inside() -> None:
    assert clip_box(Box(corners=(-5.0, 10.0, 700.0, 500.0)), IMAGE).corners == (0, 10, 640, 480)
    assert clip_box(Box(corners=(-1.0, -1.0, -1.0, 11.0, 21.0, 41.0)), VOLUME).corners == (0, 0, 0, 10, 20, 40)
    assert box_size(clip_box(Box(corners=(700.0, 0.0, 800.0, 10.0)), IMAGE)) == (10, 0)


def test_box_size_follows_the_array_axes() -> None:
    assert box_size(BOX) == (432, 256)
    assert box_size(CUBE) == (4, 18, 36)


def test_good_boxes_pass_the_check() -> None:
    check_box(Box(corners=(0.0, 0.0, 640.0, 480.0)), IMAGE, "x")
    check_box(CUBE, VOLUME, "x")


@pytest.mark.parametrize(
    ("corners", "size", "message"),
    [
        ((1, 2, 3), IMAGE, "a:7: box: expected 4 numbers, found 3"),
        ((1, 2, 3, 4), VOLUME, "a:7: box: expected 6 numbers, found 4"),
        ((1, math.nan, 3, 4), IMAGE, "a:7: box: expected finite numbers, found y1 = nan"),
        ((1, 2, 3, 4, 5, math.inf), VOLUME, "a:7: box: expected finite numbers, found x2 = inf"),
        (
            (1, 8, 3, 4),
            IMAGE,
            f"a:7: box: expected y1 < y2, found y1 = 8 and y2 = 4; {HALF_OPEN}",
        ),
        (
            (3, 1, 3, 4),
            IMAGE,
            f"a:7: box: expected x1 < x2, found x1 = 3 and x2 = 3; {HALF_OPEN}",
        ),
        (
            (1, 2, 641, 4),
            IMAGE,
            f"a:7: box: expected x within 0 and 640, found x1 = 1 and x2 = 641; {IN_PIXELS}",
        ),
        (
            (-1, 2, 3, 4, 5, 6),
            VOLUME,
            f"a:7: box: expected z within 0 and 10, found z1 = -1 and z2 = 4; {IN_PIXELS}",
        ),
    ],
)
def test_bad_box_is_refused_with_what_is_wrong(corners: tuple[float, ...], size: tuple[int, ...], message: str) -> None:
    with pytest.raises(DataError) as caught:
        check_box(Box(corners=corners), size, "a:7")
    assert str(caught.value) == message
