"""The mask codec: exact on every shape, and closed to everything that is not a mask."""

from typing import Any

import numpy as np
import pytest

from harness.imaging import masks
from harness.records import Box, Mask
from tests.support.small_masks import CUBE, SQUARE, refusal

# --- arrays


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64])
def test_boolean_and_integer_arrays_encode_alike(dtype: type) -> None:
    assert masks.encode(SQUARE.astype(dtype)) == masks.encode(SQUARE)
    assert masks.encode(np.asfortranarray(CUBE.astype(dtype))) == masks.encode(CUBE)


def test_encoding_matches_a_string_worked_out_by_hand() -> None:
    # Columns of a 2 x 2 identity: runs 0 1 2 1; the last is stored as 1 - 1 = 0.
    assert masks.encode(np.eye(2, dtype=bool)) == Mask(size=(2, 2), counts="0120")


def test_volume_keeps_only_its_non_empty_slices() -> None:
    mask = masks.encode(CUBE)
    assert mask.counts is None
    assert mask.slices is not None
    assert [index for index, _ in mask.slices] == [1, 3]


@pytest.mark.parametrize("array", [SQUARE, CUBE, np.zeros((3, 2, 2), dtype=bool), np.ones((1, 1), dtype=bool)])
def test_decoding_gives_the_array_back(array: np.ndarray[Any, Any]) -> None:
    decoded = masks.decode(masks.encode(array))
    assert decoded.dtype == np.bool_
    assert decoded.flags.c_contiguous
    assert decoded.flags.writeable
    np.testing.assert_array_equal(decoded, array)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones(4, dtype=bool), "m: expected an array (H, W) or (D, H, W), found shape (4,)"),
        (np.ones((1, 1, 2, 2), dtype=bool), "m: expected an array (H, W) or (D, H, W), found shape (1, 1, 2, 2)"),
        (np.ones((0, 4), dtype=bool), "m: expected every axis to be at least 1 long, found (0, 4)"),
        (
            np.array([[0, 7], [1, 0]]),
            "m: expected the values 0 and 1, found 7; choose one label or use `array > 0`",
        ),
        (
            np.array([[0, -1]], dtype=np.int8),
            "m: expected the values 0 and 1, found -1; choose one label or use `array > 0`",
        ),
        (np.ones((2, 2)), "m: expected bool or 0/1 integers, found float64; threshold it first"),
        (
            np.array([[np.nan, 1.0]], dtype=np.float32),
            "m: expected bool or 0/1 integers, found float32 with 1 NaN; threshold it first",
        ),
        (np.array([["1"]]), "m: expected bool or 0/1 integers, found <U1; threshold it first"),
        (
            np.broadcast_to(np.True_, (2**15, 2**14)),
            f"m: a mask of size (32768, 16384) is too large; at most {2**28} pixels a slice and {2**31} voxels",
        ),
        (
            np.broadcast_to(np.True_, (2**12, 2**10, 2**10)),
            f"m: a mask of size (4096, 1024, 1024) is too large; at most {2**28} pixels a slice and {2**31} voxels",
        ),
    ],
)
def test_array_that_is_no_mask_is_refused(array: np.ndarray[Any, Any], message: str) -> None:
    with refusal(message):
        masks.encode(array, where="m")


# --- counting


def test_areas_of_images_and_volumes() -> None:
    assert masks.area(masks.encode(SQUARE)) == 6
    assert masks.area(masks.encode(CUBE)) == 7
    assert masks.area(masks.empty((3, 4))) == 0
    assert masks.area(masks.empty((2, 3, 4))) == 0
    assert masks.area(masks.full((3, 4))) == 12
    assert masks.area(masks.full((2, 3, 4))) == 24


def test_overlap_counts_both_areas_and_what_they_share() -> None:
    first, second = masks.encode(SQUARE), masks.from_box(Box(corners=(4.0, 0.0, 6.0, 4.0)), (4, 6))
    assert masks.overlap(first, second) == (6, 8, 2)
    assert masks.intersection(first, second) == 2
    assert masks.union(first, second) == 12


def test_volumes_of_many_slices_are_counted_in_full() -> None:
    deep = np.ones((600, 2, 3), dtype=bool)
    lower = masks.encode(deep & (np.arange(600) < 520)[:, None, None])
    assert masks.overlap(masks.encode(deep), lower) == (3600, 3120, 3120)
    assert masks.bounding_box(lower) == Box(corners=(0.0, 0.0, 0.0, 520.0, 2.0, 3.0))
    assert masks.merge([masks.encode(deep), lower]) == masks.encode(deep)
    np.testing.assert_array_equal(masks.decode(masks.encode(deep)), deep)


def test_overlap_of_volumes_goes_slice_by_slice() -> None:
    shifted = np.roll(CUBE, 2, axis=0)
    shifted[3, 0, 0] = True
    assert masks.overlap(masks.encode(CUBE), masks.encode(shifted)) == (7, 8, 1)
    assert masks.union(masks.encode(CUBE), masks.empty((5, 4, 6))) == 7
    assert masks.overlap(masks.empty((5, 4, 6)), masks.empty((5, 4, 6))) == (0, 0, 0)


@pytest.mark.parametrize("compare", [masks.overlap, masks.intersection, masks.union, lambda a, b: masks.merge((a, b))])
def test_masks_of_different_sizes_never_meet(compare: Any) -> None:
    with refusal("masks of sizes (4, 6) and (6, 4) do not fit together; bring both to the frame of the original image"):
        compare(masks.full((4, 6)), masks.full((6, 4)))


def test_merging_is_logical_or() -> None:
    parts = [masks.encode(part) for part in (SQUARE, np.roll(SQUARE, 1, axis=1), np.roll(SQUARE, 1, axis=0))]
    expected = np.logical_or.reduce([masks.decode(part) for part in parts])
    assert masks.merge(parts) == masks.encode(expected)


def test_merging_volumes_keeps_slices_of_either() -> None:
    shifted = np.roll(CUBE, 1, axis=0)
    assert masks.merge([masks.encode(shifted), masks.encode(CUBE)]) == masks.encode(CUBE | shifted)


def test_merging_one_mask_returns_it_and_none_is_refused() -> None:
    mask = masks.encode(SQUARE)
    assert masks.merge([mask]) is mask
    with refusal("merge: expected at least one mask, found none; use masks.empty for a size without any"):
        masks.merge([])


# --- boxes


@pytest.mark.parametrize(
    ("corners", "rows", "columns"),
    [
        ((2.0, 1.0, 5.0, 3.0), slice(1, 3), slice(2, 5)),
        ((1.5, 0.6, 4.49, 3.4), slice(1, 3), slice(2, 4)),
        ((-9.0, -9.0, 99.0, 99.0), slice(0, 4), slice(0, 6)),
        ((-9.0, 0.0, -1.0, 4.0), slice(0, 0), slice(0, 0)),
        ((4.0, 0.0, 2.0, 4.0), slice(0, 0), slice(0, 0)),
    ],
)
def test_filled_box_is_rounded_and_clipped(corners: tuple[float, ...], rows: slice, columns: slice) -> None:
    expected = np.zeros((4, 6), dtype=bool)
    expected[rows, columns] = True
    assert masks.from_box(Box(corners=corners), (4, 6)) == masks.encode(expected)


def test_filled_box_of_a_volume() -> None:
    expected = np.zeros((5, 4, 6), dtype=bool)
    expected[1:4, 0:2, 3:6] = True
    assert masks.from_box(Box(corners=(1.0, 0.0, 3.0, 4.0, 2.0, 6.0)), (5, 4, 6)) == masks.encode(expected)
    assert masks.from_box(Box(corners=(1.0, 2.0, 3.0, 4.0, 2.0, 6.0)), (5, 4, 6)) == masks.empty((5, 4, 6))


def test_box_that_does_not_fit_is_refused() -> None:
    with refusal("box: expected 4 numbers for (H, W) or 6 for (D, H, W), found 4 for (5, 4, 6)"):
        masks.from_box(Box(corners=(0.0, 0.0, 1.0, 1.0)), (5, 4, 6))
    with refusal("box: expected finite numbers, found (0.0, 0.0, 1.0, inf)"):
        masks.from_box(Box(corners=(0.0, 0.0, 1.0, float("inf"))), (4, 6))


def test_bounding_box_is_tight_and_half_open() -> None:
    assert masks.bounding_box(masks.encode(SQUARE)) == Box(corners=(2.0, 1.0, 5.0, 3.0))
    assert masks.bounding_box(masks.encode(CUBE)) == Box(corners=(1.0, 0.0, 0.0, 4.0, 3.0, 5.0))
    assert masks.bounding_box(masks.full((4, 6))) == Box(corners=(0.0, 0.0, 6.0, 4.0))


@pytest.mark.parametrize("size", [(4, 6), (5, 4, 6)])
def test_empty_mask_has_no_bounding_box(size: tuple[int, ...]) -> None:
    assert masks.bounding_box(masks.empty(size)) is None


# --- sizes


def test_mask_of_the_image_size_passes() -> None:
    masks.check_size(masks.empty((384, 512)), (384, 512), "s")
    masks.check_size(masks.empty((5, 4, 6)), (5, 4, 6), "s")


def test_transposed_mask_is_named_as_such() -> None:
    with refusal(
        "samed2d/test/ct_0012: predicted mask is (512, 384), image is (384, 512) as (H, W); "
        "the adapter may have swapped the axes"
    ):
        masks.check_size(masks.empty((512, 384)), (384, 512), "samed2d/test/ct_0012")
    with refusal("s: prior is (6, 4, 5), volume is (5, 4, 6) as (D, H, W); the adapter may have swapped the axes"):
        masks.check_size(masks.empty((6, 4, 5)), (5, 4, 6), "s", what="prior")


@pytest.mark.parametrize("size", [(256, 256), (1, 384, 512)])
def test_mask_of_another_size_is_refused(size: tuple[int, ...]) -> None:
    with refusal(
        f"s: predicted mask is {size}, image is (384, 512) as (H, W); masks must lie in the frame of the original image"
    ):
        masks.check_size(masks.empty(size), (384, 512), "s")
