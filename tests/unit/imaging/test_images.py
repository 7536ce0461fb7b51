"""Images are opened by one rule: pixels as stored, three channels, no rotation, no silent scaling."""

import contextlib
import io
import random
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from harness.errors import DataError, SpecError
from harness.imaging.images import (
    ORIENTATION_TAG,
    PIXEL_CAP,
    StoredAs,
    StoredMask,
    examine_image,
    image_size,
    read_image,
    read_stored_mask,
    stored_as,
    upright,
)
from harness.imaging.windowing import MIN_MAX

COLOURS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[9, 8, 7], [0, 0, 0], [255, 255, 255]]], dtype=np.uint8)
GREYS = np.array([[0, 100, 200], [1, 2, 255]], dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def opened(data: bytes, window: tuple[float, float] | None = None) -> np.ndarray:
    return read_image(data, window=window, where="release/a.png")


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """Return a PNG of a header and rows that Pillow itself would not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_colour_files_come_back_as_they_are(kind: str) -> None:
    pixels = opened(encoded(Image.fromarray(COLOURS), kind))
    np.testing.assert_array_equal(pixels, COLOURS)
    assert pixels.dtype == np.uint8
    assert pixels.flags.writeable


def test_jpeg_keeps_rows_before_columns() -> None:
    pixels = opened(encoded(Image.new("RGB", (30, 20), (200, 10, 10)), "JPEG"))
    assert pixels.shape == (20, 30, 3)
    assert abs(int(pixels[0, 0, 0]) - 200) < 4


def test_grey_is_repeated_on_three_channels() -> None:
    np.testing.assert_array_equal(opened(encoded(Image.fromarray(GREYS))), np.repeat(GREYS[:, :, None], 3, axis=2))


def test_one_bit_becomes_black_and_white() -> None:
    pixels = opened(encoded(Image.fromarray(np.array([[True, False]]))))
    np.testing.assert_array_equal(pixels[:, :, 0], [[255, 0]])


def test_palette_is_expanded_with_and_without_transparency() -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    expected = [[[10, 20, 30], [40, 50, 60], [70, 80, 90]]]
    np.testing.assert_array_equal(opened(encoded(image)), expected)
    np.testing.assert_array_equal(opened(encoded(image, transparency=bytes([0, 128, 255]))), expected)


def test_alpha_is_dropped_without_blending() -> None:
    transparent = np.dstack([COLOURS, np.zeros(COLOURS.shape[:2], dtype=np.uint8)])
    np.testing.assert_array_equal(opened(encoded(Image.fromarray(transparent))), COLOURS)
    grey = np.dstack([GREYS, np.zeros_like(GREYS)])
    np.testing.assert_array_equal(opened(encoded(Image.fromarray(grey)))[:, :, 1], GREYS)


def test_exif_rotation_is_reported_and_not_applied() -> None:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = 6
    data = encoded(Image.new("RGB", (30, 20)), "JPEG", exif=exif)
    assert opened(data).shape == (20, 30, 3)
    facts = examine_image(data, window=None, where="a.jpg")
    assert (facts.orientation, facts.size, facts.suffix) == (6, (20, 30), ".jpg")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_upright_image_is_what_viewers_show(form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    data = encoded(Image.fromarray(COLOURS), form, exif=exif)
    assert stored_as(data) == StoredAs(orientation=orientation, turned=orientation != 1)
    with Image.open(io.BytesIO(data)) as image:
        shown = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(upright(opened(data), orientation), shown)


def test_the_tag_of_a_tiff_is_applied_in_decoding() -> None:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = 6
    data = encoded(Image.fromarray(COLOURS), "TIFF", exif=exif)
    np.testing.assert_array_equal(opened(data), upright(COLOURS, 6))
    facts = examine_image(data, window=None, where="a.tif")
    assert (facts.size, facts.orientation) == ((COLOURS.shape[1], COLOURS.shape[0]), 1)
    assert stored_as(data) == StoredAs(orientation=1, turned=True)  # a program that reads the file itself meets the tag


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF"])
def test_a_file_of_one_bit_says_so(form: str) -> None:
    assert stored_as(encoded(Image.fromarray(np.array([[True, False]])), form)) == StoredAs(one_bit=True)
    assert stored_as(encoded(Image.fromarray(GREYS), form)) == StoredAs()


def test_a_file_that_is_no_image_says_nothing() -> None:
    assert stored_as(b"Exif\0 no image") == StoredAs()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\0\0\0\x0cjP  \r\n\x87\n", "found JPEG 2000; convert it to PNG, for example with Pillow"),
        (b"\xff\x4f\xff\x51\0", "found JPEG 2000; convert it to PNG, for example with Pillow"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "found JPEG XL; convert it to PNG, for example with pillow-jxl-plugin"),
        (b"\0\0\0\x18ftypheic\0\0", "found HEIC; convert it to PNG, for example with pillow-heif"),
        (b"\0\0\0\x1cftypavif\0\0", "found AVIF; convert it to PNG, for example with Pillow"),
        (b"\0" * 128 + b"DICM\2\0", "found DICOM; give its name the suffix .dcm"),
        (b"NRRD0004\ntype: short", "found NRRD; convert it to NIfTI, for example with SimpleITK"),
        (b"ObjectType = Image\nNDims = 3", "found MetaImage; convert it to NIfTI, for example with SimpleITK"),
        (b"%PDF-1.7", "found PDF; save its picture as PNG"),
    ],
)
def test_an_unsupported_format_is_named_with_what_to_do(data: bytes, words: str) -> None:
    for read in (opened, lambda data: image_size(data, where="release/a.png")):
        with pytest.raises(DataError) as caught:
            read(data)
        assert str(caught.value) == f"release/a.png: expected an image as PNG, JPEG, BMP, TIFF, GIF, WEBP, {words}"


@pytest.mark.parametrize("orientation", [0, 1, 9])
def test_an_orientation_that_says_nothing_is_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    data = encoded(Image.new("RGB", (3, 2)), "JPEG", exif=exif)
    assert examine_image(data, window=None, where="a.jpg").orientation == 1


def test_deep_grey_is_cut_by_its_window() -> None:
    values = np.array([[0, 1000, 1500, 2000, 65535]], dtype=np.uint16)
    pixels = opened(encoded(Image.fromarray(values)), (1000, 2000))
    np.testing.assert_array_equal(pixels[0, :, 0], [0, 0, 128, 255, 255])
    assert pixels.shape == (1, 5, 3)


def test_float_grey_is_cut_by_its_window_and_no_number_is_black() -> None:
    values = np.array([[-1.0, 0.5, np.nan]], dtype=np.float32)
    pixels = opened(encoded(Image.fromarray(values), "TIFF"), (0, 1))
    np.testing.assert_array_equal(pixels[0, :, 0], [0, 128, 0])


def test_a_window_leaves_8_bit_images_alone() -> None:
    np.testing.assert_array_equal(opened(encoded(Image.fromarray(GREYS)), (100, 101))[:, :, 0], GREYS)


@pytest.mark.parametrize("read", [opened, lambda data: examine_image(data, window=None, where="release/a.png")])
def test_deep_grey_without_a_window_says_what_to_add(read: Any) -> None:
    data = encoded(Image.fromarray(np.zeros((2, 2), dtype=np.uint16)))
    message = r"release/a.png: holds grey values of more than 8 bits .* add `window: \[low, high\]` to the task"
    with pytest.raises(DataError, match=message):
        read(data)


def test_facts_say_that_an_image_is_deep() -> None:
    data = encoded(Image.fromarray(np.zeros((2, 3), dtype=np.uint16)))
    facts = examine_image(data, window=(0, 1), where="a.png")
    assert (facts.window, facts.size) == ((0, 1), (2, 3))
    assert examine_image(encoded(Image.fromarray(GREYS)), window=(0, 1), where="a.png").window is None


def test_a_window_of_percentiles_is_that_of_the_image() -> None:
    data = encoded(Image.fromarray(np.array([[100, 300, 500]], dtype=np.uint16)))
    assert examine_image(data, window=MIN_MAX, where="a.png").window == (100, 500)
    np.testing.assert_array_equal(read_image(data, window=MIN_MAX, where="a.png")[0, :, 0], [0, 128, 255])


def stored(image: Image.Image, kind: str = "PNG", **options: Any) -> StoredMask:
    return read_stored_mask(encoded(image, kind, **options), where="m.png")


def test_stored_values_are_palette_indices_and_grey_values_of_any_depth() -> None:
    palette = Image.fromarray(np.array([[0, 2]], dtype=np.uint8), mode="L").convert("P")
    palette.putpalette([9, 9, 9] * 256)
    palette.putdata([0, 2])
    np.testing.assert_array_equal(stored(palette).values, [[0, 2]])
    np.testing.assert_array_equal(stored(Image.fromarray(np.array([[0, 700]], dtype=np.uint16))).values, [[0, 700]])
    bits = np.array([[False, True]])
    assert stored(Image.fromarray(bits)).values.dtype == np.bool_
    np.testing.assert_array_equal(stored(Image.fromarray(bits)).values, bits)
    share = np.array([[0.25, 1.0]], dtype=np.float32)
    np.testing.assert_array_equal(stored(Image.fromarray(share), "TIFF").values, share)


@pytest.mark.parametrize("mode", ["LA", "RGB", "RGBA", "RGBX"])
def test_equal_channels_are_one_and_alpha_is_dropped(mode: str) -> None:
    grey = Image.fromarray(np.array([[0, 3]], dtype=np.uint8))
    kind = "TIFF" if mode == "RGBX" else "PNG"
    assert stored(grey.convert(mode), kind).values.tolist() == [[0, 3]]


def test_colours_that_differ_are_no_labels() -> None:
    for colour in ([1, 2, 3], [0, 0, 1]):
        data = encoded(Image.fromarray(np.array([[colour]], dtype=np.uint8)))
        with pytest.raises(DataError, match=r"m.png: expected one channel of labels or equal ones, found colours"):
            read_stored_mask(data, where="m.png")


def test_a_mask_in_the_alpha_channel_is_found_there() -> None:
    for shade in (0, 255):
        pixels = np.full((2, 2, 4), shade, dtype=np.uint8)
        pixels[..., 3] = [[0, 255], [0, 128]]
        found = stored(Image.fromarray(pixels))
        assert (found.from_alpha, found.values.tolist()) == (True, [[0, 255], [0, 128]])
    assert not stored(Image.fromarray(np.full((2, 2, 4), 255, dtype=np.uint8))).from_alpha


def test_colours_and_alpha_that_are_two_masks_are_refused() -> None:
    pixels = np.array([[[255, 255, 255, 0], [0, 0, 0, 255]]], dtype=np.uint8)
    with pytest.raises(DataError, match=r"^m.png: expected one mask, found colours and an alpha channel that differ"):
        stored(Image.fromarray(pixels))
    pixels[0, 0] = 0  # a transparent pixel without a value is background by both
    pixels[0, 1] = 255
    assert stored(Image.fromarray(pixels)).values.tolist() == [[0, 255]]


def test_formats_that_change_values_say_so() -> None:
    disc = Image.fromarray(np.kron(np.eye(2, dtype=np.uint8), np.full((8, 8), 255, dtype=np.uint8)))
    assert [stored(disc, kind).lossy for kind in ("PNG", "BMP", "TIFF", "GIF", "JPEG")] == [False] * 4 + [True]
    assert stored(disc, "TIFF", compression="jpeg").lossy
    assert [stored(disc, "WEBP", lossless=whole).lossy for whole in (True, False)] == [False, True]
    assert stored(disc.convert("RGB"), "JPEG").values.shape == (16, 16)


def test_channels_that_a_lossy_format_moved_apart_are_one() -> None:
    colours = np.zeros((16, 16, 3), dtype=np.uint8)
    colours[:, 8:] = (250, 255, 252)
    found = stored(Image.fromarray(colours), "JPEG", quality=95, subsampling=0).values
    assert found.shape == (16, 16)
    assert abs(found[:, 8:].astype(int) - 252).max() <= 4
    with pytest.raises(DataError, match="found colours that differ"):
        stored(Image.fromarray(colours))


def test_a_window_runs_upwards() -> None:
    data = encoded(Image.fromarray(np.zeros((2, 2), dtype=np.uint16)))
    with pytest.raises(SpecError, match=r"window: expected \[low, high\] with low < high, found \[5, 5\]"):
        opened(data, (5, 5))


def test_deep_colour_is_refused_not_cut() -> None:
    data = png(1, 1, 16, 2, b"\0" + struct.pack(">HHH", 300, 301, 302))
    with pytest.raises(DataError, match=r"release/a.png: expected 8 bits a colour channel, found 16"):
        opened(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP"])
def test_truncated_files_are_data_errors(kind: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    whole = encoded(Image.fromarray(pixels), kind)
    with pytest.raises(DataError, match=r"release/a.png: cannot be read as an image \(.*\); replace the file"):
        opened(whole[: len(whole) // 2])


def test_other_files_are_data_errors_without_addresses() -> None:
    with pytest.raises(DataError, match=r"a.png: cannot be read as an image \(no known format or a broken header\)"):
        opened(b"%!PS-Adobe no image")
    with pytest.raises(DataError, match="no known format"):
        opened(b"")


def test_several_frames_are_refused() -> None:
    frames = [Image.fromarray(COLOURS), Image.fromarray(255 - COLOURS)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="expected one image, found 2 frames; write each to a file of its own"):
        opened(data)


@pytest.mark.parametrize("side", [13_100, 20_000])
def test_images_above_the_cap_are_refused_from_their_header(side: int) -> None:
    assert side * side > PIXEL_CAP
    data = png(side, side, 8, 0, b"\0")
    for read in (opened, image_size):
        with pytest.raises(DataError, match="expected at most 170,000,000 pixels, found more; tile or shrink"):
            read(data)


def test_large_images_below_the_cap_give_no_warning() -> None:
    assert image_size(png(12_000, 9_000, 8, 0, b"\0")) == (9_000, 12_000)


def test_a_bomb_in_a_text_chunk_is_a_data_error() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "x" * 70_000_000, zip=True)
    with pytest.raises(DataError, match="cannot be read as an image"):
        opened(encoded(Image.fromarray(GREYS), pnginfo=text))


def test_image_size_is_height_then_width() -> None:
    assert image_size(encoded(Image.new("L", (30, 20)))) == (20, 30)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP"])
def test_damage_of_any_kind_is_a_data_error_or_an_image(kind: str) -> None:
    draw = random.Random(kind)
    whole = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)), kind)
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(draw.randrange(1, 6)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        with contextlib.suppress(DataError):
            if np.prod(image_size(bytes(data))) < 1_000_000:
                assert opened(bytes(data), (0, 1)).ndim == 3


def test_a_broken_mask_is_named() -> None:
    with pytest.raises(DataError, match=r"masks/m.png: cannot be read as an image"):
        read_stored_mask(b"nothing", where="masks/m.png")
