"""What a number of a reply stands for, frame by frame, and what is said of frames that do not exist."""

from typing import Any

import pytest

from harness.errors import DataError, SpecError
from harness.text.dialects.frames import FRAMES, ReplyFrame

WIDE = (100, 200)


def frame(text: str, **arguments: Any) -> ReplyFrame:
    return ReplyFrame.read(text, arguments)


@pytest.mark.parametrize(
    ("text", "arguments", "numbers", "pixels"),
    [
        ("pixels", {}, (1, 2, 3, 4), (1, 2, 3, 4)),
        ("unit", {}, (0.1, 0.2, 0.5, 1), (20, 20, 100, 100)),
        ("percent", {}, (10, 20, 50, 100), (20, 20, 100, 100)),
        ("per_mille", {}, (100, 200, 500, 1000), (20, 20, 100, 100)),
        ("per_999", {}, (0, 0, 999, 999), (0, 0, 200, 100)),
        ("loc_1024", {}, (0, 256, 512, 1024), (0, 25, 100, 100)),
        ("loc_1023", {}, (0, 0, 1023, 1023), (0, 0, 200, 100)),
        ("bins_1000_centre", {}, (0, 0, 999, 999), (0.1, 0.05, 199.9, 99.95)),
        ("patches_32", {}, (0, 8, 16, 32), (0, 25, 100, 100)),
        ("padded_square_unit", {}, (0, 0.25, 1, 0.75), (0, 0, 200, 100)),
        ("padded_square(50)", {}, (0, 12, 50, 37), (0, 0, 200, 100)),
        ("padded_square", {"side": 50}, (0, 12, 50, 37), (0, 0, 200, 100)),
        ("resized(50, 400)", {}, (40, 5, 400, 50), (20, 10, 200, 100)),
        ("resized", {"height": 50, "width": 400}, (40, 5, 400, 50), (20, 10, 200, 100)),
        # 100 x 200 becomes 112 x 196: 100 / 28 = 3.57 and 200 / 28 = 7.14.
        ("resized", {}, (0, 56, 196, 112), (0, 50, 200, 100)),
        ("resized", {"factor": 28, "max_pixels": 10_000}, (0, 0, 140, 56), (0, 0, 200, 100)),
        ("resized", {"min_pixels": 100_000}, (0, 0, 448, 224), (0, 0, 200, 100)),
        ("per_mille", {"order": "yxyx"}, (200, 100, 1000, 500), (20, 20, 100, 100)),
        ("per_mille", {"order": "xywh"}, (100, 200, 400, 800), (20, 20, 100, 100)),
    ],
)
def test_numbers_become_pixels(text: str, arguments: dict[str, Any], numbers: Any, pixels: Any) -> None:
    found = frame(text, **arguments)
    assert found.box(numbers, WIDE, found.order or "xyxy") == pytest.approx(pixels, abs=1e-9)


def test_an_odd_pixel_of_padding_lies_behind_the_image() -> None:
    # (201 - 100) // 2 = 50, as expand2square of LLaVA pads.
    assert frame("padded_square_unit").box((0, 0, 1, 1), (100, 201), "xyxy") == (0, -50, 201, 151)


def test_boxes_and_points_of_volumes() -> None:
    size = (10, 20, 40)
    assert frame("unit").box((0.1, 0.2, 0.3, 0.5, 0.5, 0.5), size, "zyxzyx") == (1, 4, 12, 5, 10, 20)
    assert frame("unit").box((0.3, 0.2, 0.1, 0.5, 0.5, 0.5), size, "xyzxyz") == (1, 4, 12, 5, 10, 20)
    assert frame("unit").point((0.1, 0.2, 0.3), size, "zyxzyx") == (12, 4, 1)
    assert frame("unit").point((0.3, 0.2, 0.1), size, "xyzxyz") == (12, 4, 1)
    assert frame("unit").point((0.2, 0.1), WIDE, "yxyx") == (20, 20)


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("permille", {}, r"^frame: expected one of pixels, .*, none, got 'permille' \(did you mean 'per_mille'\?\)$"),
        ("per_mille(", {}, r"^frame: expected one of .* got 'per_mille\('"),
        ("per_mille", {"factor": 2}, r"^frame_args: per_mille has no argument 'factor'; it accepts order$"),
        (
            "resized",
            {"facto": 2},
            r"^frame_args: resized has no argument 'facto' \(did you mean 'factor'\?\); it accepts factor, min_pixels, "
            r"max_pixels, height, width, order$",
        ),
        ("resized", {"factor": 0}, r"^frame_args: factor: expected a whole number of at least 1, got 0$"),
        ("resized", {"factor": 2.5}, r"^frame_args: factor: expected a whole number of at least 1, got 2.5$"),
        ("resized", {"height": 5}, r"^frame_args: expected height and width together, got one of them$"),
        ("resized(5)", {}, r"^frame: expected resized\(height, width\) in whole numbers, got 'resized\(5\)'$"),
        ("unit(5)", {}, r"^frame: expected unit\(\) in whole numbers, got 'unit\(5\)'$"),
        ("padded_square", {}, r"^frame: expected the side of the square, as in padded_square\(336\)"),
        ("unit", {"order": "yx"}, r"^frame_args: order: expected one of xyxy, yxyx, xywh, zyxzyx, xyzxyz, got 'yx'$"),
    ],
)
def test_a_frame_that_does_not_exist_is_named(text: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        ReplyFrame.read(text, arguments)


def test_frame_args_are_an_object() -> None:
    with pytest.raises(SpecError, match=r'^frame_args: expected an object such as \{"factor": 28\}, got \[28\]$'):
        ReplyFrame.read("resized", [28])  # type: ignore[arg-type]


def test_a_frame_says_where_it_has_no_meaning() -> None:
    message = r"^frame patches_32: is for images \(H, W\), found 3 axes; volumes have unit or pixels$"
    with pytest.raises(DataError, match=message):
        frame("patches_32").axes((2, 3, 4))
    with pytest.raises(DataError, match=r"^frame unit: order xyzxyz does not fit 2 axes; expected one of xyxy, yxyx"):
        frame("unit", order="xyzxyz").axes(WIDE)
    message = r"^frame resized: expected sides within 200 times each other, found 1 x 201$"
    with pytest.raises(DataError, match=message):
        frame("resized").axes((1, 201))


def test_what_decides_a_number_is_part_of_the_identity() -> None:
    found = frame("resized", factor=28, order="yxyx").identity()
    assert found == {"name": "resized", "version": 1, "factor": 28, "order": "yxyx"}
    assert all(kind.version >= 1 and kind.summary for kind in FRAMES.values())
