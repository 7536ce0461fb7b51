"""Whatever the mask, run lengths say the same as dense arrays."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from harness.imaging import mask_files, masks
from harness.records import Box

Bools = NDArray[np.bool_]
Draw = Any

SHAPES = arrays.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=9)
# Mostly one value, so that empty slices, long runs and full masks are drawn as often as noise.
DENSE = SHAPES.flatmap(lambda shape: arrays.arrays(np.bool_, shape, elements=st.booleans(), fill=st.booleans()))


@st.composite
def same_size(draw: Draw, count: int) -> list[Bools]:
    shape = draw(SHAPES)
    return [draw(arrays.arrays(np.bool_, shape, fill=st.booleans())) for _ in range(count)]


@given(DENSE)
def test_decode_undoes_encode(array: Bools) -> None:
    np.testing.assert_array_equal(masks.decode(masks.encode(array)), array)


@given(DENSE)
def test_checked_json_undoes_to_json(array: Bools) -> None:
    mask = masks.encode(array)
    assert mask_files.from_json(mask_files.to_json(mask), where="x") == mask
    assert mask_files.from_json(mask_files.to_json(mask), where="x", check=False) == mask
    assert mask_files.from_json(array.astype(int).tolist(), where="x") == mask


@given(DENSE)
def test_area_is_the_count_of_pixels(array: Bools) -> None:
    assert masks.area(masks.encode(array)) == np.count_nonzero(array)


@given(same_size(2))
def test_overlap_equals_dense_counts(pair: list[Bools]) -> None:
    first, second = pair
    counts = masks.overlap(masks.encode(first), masks.encode(second))
    assert [counts.first, counts.second] == [np.count_nonzero(first), np.count_nonzero(second)]
    assert counts.intersection == np.count_nonzero(first & second)
    assert counts.union == masks.union(masks.encode(first), masks.encode(second)) == np.count_nonzero(first | second)


@given(same_size(3))
def test_merge_equals_dense_or_in_any_order(three: list[Bools]) -> None:
    encoded = [masks.encode(array) for array in three]
    assert masks.merge(encoded) == masks.merge(encoded[::-1]) == masks.encode(three[0] | three[1] | three[2])


@given(DENSE)
def test_bounding_box_is_the_extent_of_the_pixels(array: Bools) -> None:
    box = masks.bounding_box(masks.encode(array))
    where = np.argwhere(array)
    if not len(where):
        assert box is None
        return
    starts, ends = where.min(axis=0).tolist(), (where.max(axis=0) + 1).tolist()
    assert box == Box(corners=(*starts, *ends) if array.ndim == 3 else (*starts[::-1], *ends[::-1]))


@given(DENSE)
def test_mask_lies_inside_its_filled_bounding_box(array: Bools) -> None:
    mask = masks.encode(array)
    box = masks.bounding_box(mask)
    filled = masks.empty(mask.size) if box is None else masks.from_box(box, mask.size)
    assert masks.intersection(mask, filled) == masks.area(mask)
    assert masks.bounding_box(filled) == box


@given(st.integers(1, 6), st.integers(1, 6), st.data())
def test_run_lengths_with_zeros_inside_read_as_the_same_mask(height: int, width: int, data: st.DataObject) -> None:
    runs: list[int] = []
    while sum(runs) < height * width:
        runs.append(data.draw(st.integers(0, height * width - sum(runs))))
        if len(runs) > 60:
            runs.append(height * width - sum(runs))
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    mask = mask_files.from_json({"size": [height, width], "counts": runs}, where="x")
    assert mask == masks.encode(flat.reshape(width, height).T)
