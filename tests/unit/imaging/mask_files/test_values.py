"""What the stored numbers of a mask mean: rounding, NaN, thresholds, soft masks against label images."""

import io
import re
from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from harness.errors import DataError
from harness.imaging.images import read_stored_mask
from harness.imaging.mask_files.values import FEW, MaskValues, counted, read_values, threshold_fault

Array = np.ndarray[Any, Any]

DISC = np.asarray(Image.new("L", (96, 80)))
_drawn = Image.new("L", (96, 80))
ImageDraw.Draw(_drawn).ellipse((20, 12, 70, 60), fill=255)
DISC = np.asarray(_drawn)


def values_of(stored: Array, named: Sequence[int] | None = (), **rest: Any) -> MaskValues:
    return read_values(stored, where="m", named=named, **rest)


def refused(message: str, stored: Array, named: Sequence[int] | None = (), **rest: Any) -> None:
    with pytest.raises(DataError, match=f"^m: {message}"):
        values_of(stored, named, **rest)


def kinds(found: MaskValues) -> list[str]:
    return [note.kind for note in found.notes]


# --- numbers beside whole ones


@pytest.mark.parametrize("named", [None, (), (1,), (1, 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("foreground", [0.99999994, 0.9999, 1.0001, 1.00000005])
def test_numbers_within_a_ten_thousandth_are_rounded(foreground: float, dtype: Any, named: Any) -> None:
    stored = np.array([[0, foreground, -0.00001]], dtype=dtype)
    assert values_of(stored, named).labels.tolist() == [[0, 1, 0]]


def test_large_labels_are_rounded_too() -> None:
    stored = np.array([[0, 1000.0001, 65534.9999]], dtype=np.float32)
    assert values_of(stored, None).labels.tolist() == [[0, 1000, 65535]]


def test_probabilities_are_refused_with_the_value_and_the_remedy() -> None:
    stored = np.array([[0, 0.93, 0.93, 1]], dtype=np.float32)
    refused(
        r"expected labels, whole numbers of at least 0, found 0\.93 and 1 other numbers that are not whole "
        r"between 0 and 1, as in a map of probabilities; threshold it first, or declare the threshold, such",
        stored,
    )
    refused(r".*found 0\.9998 between 0 and 1, as in a map", np.array([[0, 0.9998]]), None)


def test_logits_are_refused_with_their_range() -> None:
    refused(
        r".*found -3\.25 and 1 other numbers that are not whole, from -3\.25 to 4\.5 as logits are; threshold them",
        np.array([[-3.25, 4.5, 1.0]]),
    )


def test_interpolated_labels_are_refused() -> None:
    refused(r".*found 1\.5, as in labels that were interpolated; resample labels by nearest", np.array([[0, 1.5, 2]]))


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_negative_labels_are_refused_by_name(dtype: Any) -> None:
    refused(r".*found -1 as the lowest; give the background the value 0$", np.array([[0, -1, 1]], dtype=dtype), None)


def test_labels_beyond_sixteen_bits_are_refused() -> None:
    refused("expected labels of at most 65535, found 70000$", np.array([[0, 70000]], dtype=np.int32))
    refused("expected labels of at most 65535, found 1000", np.array([[0, 1e30]]))


def test_other_kinds_of_values_are_refused() -> None:
    refused("expected numbers, found complex128", np.zeros((1, 1), dtype=complex))


def test_nan_is_background_and_said() -> None:
    found = values_of(np.array([[np.nan, 1, 0, np.nan]], dtype=np.float32), (1,))
    assert found.labels.tolist() == [[0, 1, 0, 0]]
    assert found.notes == (("nan_background", "NaN in 2 of 4 pixels, read as background"),)
    refused(".*found nothing but NaN$", np.full((2, 2), np.nan))
    refused(".*found inf$", np.array([[np.nan, np.inf, 1]]))
    refused(r".*found 0\.5 between 0 and 1", np.array([[np.nan, 0.5]]))


# --- a declared threshold


@pytest.mark.parametrize(
    ("stored", "threshold", "expected"),
    [
        ([[0, 0.49, 0.5, 0.93]], 0.5, [[0, 0, 1, 1]]),
        ([[np.nan, 0.2, 0.9, 1]], 0.9, [[0, 0, 1, 1]]),
        ([[-4.0, -0.1, 0.0, 3.0]], 0, [[0, 0, 1, 1]]),
        ([[0, 100, 127, 128, 255]], 127.5, [[0, 0, 0, 1, 1]]),
        ([[0, 255, 0]], 0.5, [[0, 1, 0]]),
        ([[0, 1, 0]], 0.5, [[0, 1, 0]]),
        ([[0, 0.3, 0.2]], 0.5, [[0, 0, 0]]),
        ([[0, 0, 0]], 127.5, [[0, 0, 0]]),
        ([[0, 1, 2, 7]], 1, [[0, 1, 1, 1]]),
    ],
)
def test_a_threshold_cuts_where_it_says(stored: Any, threshold: float, expected: Any) -> None:
    found = values_of(np.array(stored, dtype=np.float32), threshold=threshold)
    assert found.labels.tolist() == expected
    assert kinds(found) == (["nan_background"] if np.isnan(stored).any() else [])
    assert values_of(np.array(stored, dtype=np.float32), (9,), threshold=threshold).labels.max() in (0, 9)


@pytest.mark.parametrize(
    ("stored", "threshold", "message"),
    [
        ([[0, 30, 255]], 0.5, "threshold 0.5 makes every value above 0 foreground, because the file holds whole"),
        ([[0, 0.4, 0.9]], 127.5, "threshold 127.5 is above every value, from 0 to 0.9; give it in the file's values"),
        ([[0, 1, 0]], 0, "threshold 0 makes every pixel foreground, because the lowest value is 0"),
        ([[0.2, 1, 0.5]], -1, "threshold -1 makes every pixel foreground, because the lowest value is 0.2"),
    ],
)
def test_a_threshold_that_says_nothing_is_refused(stored: Any, threshold: float, message: str) -> None:
    refused(re.escape(message), np.array(stored, dtype=np.float32), threshold=threshold)


@pytest.mark.parametrize(("value", "right"), [(None, True), (0.5, True), (1, True), (True, False), ("0.5", False)])
def test_a_threshold_is_a_finite_number(value: Any, right: bool) -> None:
    assert (threshold_fault(value) == "") is right
    for number in (float("inf"), float("nan"), 10**400):
        expected = "expected a number in the values of the file, such as 0.5, found "
        assert threshold_fault(number) == f"{expected}{number!r:.80}"


# --- masks of two values that hold more


def jpeg(pixels: Array, quality: int = 75) -> Array:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=quality)
    return np.asarray(read_stored_mask(content.getvalue(), where="m").values)


def smoothed(pixels: Array) -> Array:
    """Return a mask as it is after its size was changed with anti-aliasing."""
    large = Image.fromarray(np.kron(pixels, np.ones((3, 3), dtype=np.uint8)))
    return np.asarray(large.rotate(1, Image.Resampling.BILINEAR).resize(pixels.shape[::-1], Image.Resampling.BILINEAR))


def probabilities(width: float = 3.0) -> Array:
    y, x = np.mgrid[:80, :96]
    return np.asarray(255 / (1 + np.exp((np.hypot(y - 36, x - 45) - 24) / width))).round().astype(np.uint8)


SOFT = {
    "jpeg": (jpeg(DISC), True),
    "jpeg_of_low_quality": (jpeg(DISC, 30), True),
    "jpeg_saved_as_png": (jpeg(DISC), False),
    "smoothed_edges": (smoothed(DISC), False),
    "probabilities": (probabilities(), False),
    "narrow_probabilities": (probabilities(1.0), False),
    "wide_probabilities": (probabilities(9.0), False),
    "probabilities_as_jpeg": (jpeg(probabilities()), True),
    "sixteen_bits": (smoothed(DISC).astype(np.uint16) * 257, False),
}


@pytest.mark.parametrize("seed", range(30))
def test_random_masks_are_cut_at_half_whatever_softened_them(seed: int) -> None:
    random = Random(seed)
    picture = Image.new("L", (random.randrange(33, 160), random.randrange(40, 120)))
    for _ in range(random.randrange(1, 4)):
        ends = [(random.randrange(picture.width), random.randrange(picture.height)) for _ in range(5)]
        if random.random() < 0.5:
            ImageDraw.Draw(picture).polygon(ends, fill=255)
        else:
            ImageDraw.Draw(picture).line(ends, fill=255, width=random.randrange(4, 7))
    hard = np.asarray(picture)
    quality = random.choice((30, 50, 75, 90, 98))
    size = (picture.width * 3 // 2, picture.height * 4 // 3)
    for stored, lossy in (
        (jpeg(hard, quality), True),
        (jpeg(hard, quality), False),
        (np.asarray(picture.resize(size, Image.Resampling.BICUBIC)), False),
        (np.asarray(picture.filter(ImageFilter.GaussianBlur(1))), False),
    ):
        found = values_of(stored, lossy=lossy)
        np.testing.assert_array_equal(found.labels, (stored >= 128) * 255)
        assert kinds(found) == ["soft_mask"]


@pytest.mark.parametrize("name", SOFT)
@pytest.mark.parametrize("by_name", [True, False])
def test_soft_masks_are_cut_at_half_and_said(name: str, by_name: bool) -> None:
    stored, lossy = SOFT[name]
    full = 65535 if stored.dtype == np.uint16 else 255
    found = values_of(stored, (full,) if by_name else (), lossy=lossy)
    np.testing.assert_array_equal(found.labels, (stored > full / 2) * full)
    assert kinds(found) == ["soft_mask"]
    others = (stored != 0) & (stored != full)
    assert found.notes[0].detail == (
        f"{np.unique(stored[others]).size} values beside 0 and {full} in {others.sum():,} of 7,680 pixels, "
        f"{stored[others].min()} to {stored[others].max()}; cut at half, from {(full + 1) // 2} on"
    )


def test_a_mask_of_low_contrast_is_cut_at_half_of_its_named_value() -> None:
    grey = (smoothed(DISC).astype(float) * 200 / 255).astype(np.uint8)
    found = values_of(grey, (200,))
    np.testing.assert_array_equal(found.labels, (grey >= 100) * 200)
    # A value that is not that of the mask is no reason to read it otherwise; the reader compares values and labels.
    assert np.unique(values_of(SOFT["jpeg"][0], (1,), lossy=True).labels).tolist() == [0, 255]


@pytest.mark.parametrize("named", [None, (), (1,), (255,), (65535,), (1000,)])
@pytest.mark.parametrize("value", [1, 255, 65535, 1000])
def test_two_values_are_left_as_they_are(value: int, named: Any) -> None:
    stored = (DISC > 0).astype(np.uint16) * np.uint16(value)
    found = values_of(stored, named)
    np.testing.assert_array_equal(found.labels, stored)
    assert found.notes == ()


def test_booleans_and_empty_masks_are_masks() -> None:
    assert values_of(np.array([[False, True]])).labels.tolist() == [[0, 1]]
    assert not values_of(np.zeros((2, 2), dtype=np.uint8), lossy=True).labels.any()


def areas(*values: int, dtype: Any = np.uint8) -> Array:
    """Return a label image of vertical stripes, the first and last of them background."""
    return np.repeat(np.repeat(np.array([[0, *values, 0]], dtype=dtype), 6, axis=1), 20, axis=0)


@pytest.mark.parametrize("shown", [(1, 2, 3), (85, 170, 255), (128, 255), (1, 255), (1, 2, 255), (1000, 2000)])
def test_label_images_are_left_as_they_are(shown: tuple[int, ...]) -> None:
    stored = areas(*shown, dtype=np.uint16)
    for named in (None, shown, (shown[0],), (shown[-1],)):
        found = values_of(stored, named)
        np.testing.assert_array_equal(found.labels, stored)
        assert found.notes == ()
    merged = values_of(stored)
    np.testing.assert_array_equal(merged.labels, stored)
    listed = ", ".join(map(str, shown))
    assert merged.notes == (("merged_values", f"no label names the values {listed}; all of them count as foreground"),)


def test_one_value_between_is_a_second_label_however_thin() -> None:
    vessels = np.zeros((30, 30), dtype=np.uint8)
    vessels[5, 3:27], vessels[3:27, 20] = 128, 255
    np.testing.assert_array_equal(values_of(vessels, (255,)).labels, vessels)
    assert kinds(values_of(vessels)) == ["merged_values"]
    noise = vessels.copy()  # but not beside empty or full
    noise[noise == 128] = 254
    assert kinds(values_of(noise, (255,))) == ["soft_mask"]


def test_instances_are_labels_however_many() -> None:
    cells = np.zeros((60, 60), dtype=np.uint16)
    for number in range(100):
        row, column = divmod(number, 10)
        cells[row * 6 : row * 6 + 5, column * 6 : column * 6 + 5] = number + 200
    found = values_of(cells)
    np.testing.assert_array_equal(found.labels, cells)
    assert kinds(found) == ["merged_values"]
    assert found.notes[0].detail.startswith("no label names the values 200, 201, 202, ")
    assert ", 209, ...; all" in found.notes[0].detail


def test_an_atlas_is_no_soft_mask_although_its_values_are_many() -> None:
    atlas = np.zeros((6, 60, 60), dtype=np.uint8)
    for number in range(144):
        row, column = divmod(number, 12)
        atlas[:, row * 5 : row * 5 + 5, column * 5 : column * 5 + 5] = number + 112
    np.testing.assert_array_equal(values_of(atlas, (112,)).labels, atlas)
    assert kinds(values_of(atlas)) == ["merged_values"]
    assert len(np.unique(atlas)) > FEW


def test_several_labels_in_a_lossy_file_are_refused() -> None:
    stored = jpeg(areas(128, 255))
    for lossy in (True, False):  # a JPEG may have been saved as PNG afterwards
        refused("expected 0 and 255, found areas of values between that vary, as of labels", stored, lossy=lossy)
    large = np.kron(areas(128, 255), np.ones((4, 4), dtype=np.uint8))
    words = "expected 0 and 255 in a file whose format changes values, found areas of values between, up to 255; save"
    refused(words, large, (255,), lossy=True)
    refused(
        r"expected only 128, 255, found \d+ other values such as \d+; the file's format changes values, so several "
        "labels cannot be separated: save masks as PNG$",
        stored,
        (128, 255),
        lossy=True,
    )
    refused("expected labels as they were written, found 1 other values such as 1; ", areas(1), None, lossy=True)
    exact = areas(128, 255)
    np.testing.assert_array_equal(values_of(exact, (128, 255), lossy=True).labels, exact)


def test_a_lossy_file_of_ones_does_not_say_what_it_is() -> None:
    refused("expected 0 and 255 in a file whose format changes values, found none above 1; save", areas(1), lossy=True)


def test_shares_without_a_full_value_are_refused() -> None:
    percent = (probabilities().astype(int) * 100 // 255).astype(np.uint8)
    refused(
        r"expected labels or a mask of two values, found \d+ values from 1 to 100 that form no areas, as in a map of "
        r"probabilities; threshold it first, or declare the threshold, such as `threshold: 50`$",
        percent,
    )
    np.testing.assert_array_equal(values_of(percent, threshold=50).labels, percent >= 50)


def test_values_are_counted_plane_by_plane() -> None:
    volume = np.array([[[0, 3]], [[3, 1]]], dtype=np.uint8)
    assert counted(volume).tolist() == [1, 1, 0, 2]
    assert counted(volume[0]).tolist() == [1, 0, 0, 1]
