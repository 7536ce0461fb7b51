"""Laws of the grid of the 3-D encoders: what goes there returns, and what is the grid already stays as it is."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from harness.records import Box, Media
from reference_model.inputs.volume_boxes import answer_on_grid, answer_on_source, box_text, read_boxes
from reference_model.inputs.volumes import Preprocessing, VolumeFrame, prepare_volume

FEW = settings(max_examples=25, deadline=None)
Size3 = tuple[int, int, int]

sizes = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
orders = st.sampled_from([(0, 1, 2), (0, 2, 1)])
ways: Any = st.sampled_from(["released", "standard"])


@st.composite
def boxes_in(draw: st.DrawFn, size: Size3) -> Box:
    """Boxes of whole cells inside an array of `size`."""
    starts = [draw(st.integers(0, length - 1)) for length in size]
    ends = [draw(st.integers(start + 1, length)) for start, length in zip(starts, size, strict=True)]
    return Box(corners=(*map(float, starts), *map(float, ends)))


@st.composite
def prepared(draw: st.DrawFn) -> tuple[NDArray[np.float32], Media, Size3, Preprocessing]:
    """Volumes with a record and a grid."""
    voxels = draw(arrays.arrays(np.float32, draw(sizes), elements=st.integers(-1000, 1000).map(float)))
    media = Media(
        path=draw(st.sampled_from(["a.nii.gz", "a.npy", "a"])),
        sha256=None,
        kind="volume",
        spacing_mm=draw(st.none() | st.tuples(*[st.sampled_from([0.3, 0.75, 1.0, 5.0])] * 3)),
        window=draw(st.sampled_from([None, (-160.0, 240.0)])),
    )
    return voxels, media, draw(sizes), draw(ways)


def filled(box: Box, size: Size3) -> NDArray[np.bool_]:
    """Return the cells of a box of whole cells."""
    mask = np.zeros(size, dtype=np.bool_)
    corners = [int(corner) for corner in box.corners]
    mask[tuple(slice(start, end) for start, end in zip(corners[:3], corners[3:], strict=True))] = True
    return mask


def there_and_back(frame: VolumeFrame, grid_mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask on the grid after its way to the volume, where it is cut at one half, and back."""
    probabilities = frame.mask_to_source(torch.from_numpy(grid_mask.astype(np.float32)))
    return frame.mask_to_grid((probabilities > 0.5).numpy())


@FEW
@given(prepared())
def test_the_grid_holds_finite_values_between_zero_and_one(
    case: tuple[NDArray[np.float32], Media, Size3, Preprocessing],
) -> None:
    voxels, media, size, preprocessing = case
    found, frame = prepare_volume((voxels, media), size=size, preprocessing=preprocessing)
    assert (found.dtype, found.shape, found.is_contiguous()) == (torch.float32, (1, *size), True)
    assert ((found >= 0) & (found <= 1)).all()
    assert frame.mask_to_source(found[0]).shape == voxels.shape
    assert frame.mask_to_grid(voxels > 0).shape == size
    again, same = prepare_volume((voxels.copy(), media), size=size, preprocessing=preprocessing)
    assert torch.equal(found, again)
    assert frame == same


@FEW
@given(st.data(), prepared())
def test_a_box_returns_from_the_grid(
    data: st.DataObject, case: tuple[NDArray[np.float32], Media, Size3, Preprocessing]
) -> None:
    voxels, media, size, preprocessing = case
    _, frame = prepare_volume((voxels, media), size=size, preprocessing=preprocessing)
    box = data.draw(boxes_in(frame.source_size))
    returned = frame.box_to_source(frame.box_to_grid(box))
    assert returned.corners == pytest.approx(box.corners, abs=1e-9)


@FEW
@given(st.data(), st.tuples(st.integers(1, 40), st.integers(1, 300), st.integers(1, 1000)))
def test_the_text_of_a_box_is_read_as_the_box(data: st.DataObject, size: Size3) -> None:
    box = data.draw(boxes_in(size))
    assert read_boxes(box_text(box, size), size) == [box]
    same = VolumeFrame(source_size=size, crop=(0, 0, 0, *size), size=size)
    text = f"There: {box_text(box, size)}."
    assert answer_on_source(answer_on_grid(text, same), same) == text


@FEW
@given(st.data(), sizes, orders, st.tuples(*[st.sampled_from([1, 3, 5])] * 3), st.tuples(*[st.integers(0, 2)] * 3))
def test_a_block_returns_from_a_finer_volume(
    data: st.DataObject, size: Size3, axes: Size3, finer: Size3, margin: Size3
) -> None:
    # An odd number of voxels a cell: one lies in the middle, whose value is that of the cell.
    along = [size[axes.index(axis)] * factor for axis, factor in enumerate(finer)]
    ends = [start + length for start, length in zip(margin, along, strict=True)]
    frame = VolumeFrame(
        source_size=(ends[0] + 1, ends[1], ends[2] + 2),
        crop=(*map(float, margin), *map(float, ends)),
        size=size,
        axes=axes,
    )
    block = filled(data.draw(boxes_in(size)), size)
    assert np.array_equal(there_and_back(frame, block), block)


@FEW
@given(st.data(), sizes, st.booleans(), st.tuples(*[st.integers(1, 4)] * 3))
def test_a_block_of_whole_voxels_returns_from_a_coarser_volume(
    data: st.DataObject, source_size: Size3, first_voxel: bool, coarser: Size3
) -> None:
    depth, height, width = (length * factor for length, factor in zip(source_size, coarser, strict=True))
    size = (depth, height, width)
    frame = VolumeFrame(source_size=source_size, crop=(0, 0, 0, *source_size), size=size, first_voxel=first_voxel)
    # Its corners are voxels' corners, so that the grid says nothing that the volume cannot.
    block = frame.mask_to_grid(filled(data.draw(boxes_in(source_size)), source_size))
    assert np.array_equal(there_and_back(frame, block), block)


@FEW
@given(st.data(), sizes, st.integers(1, 6), st.integers(0, 2))
def test_a_slab_returns_from_a_finer_volume_as_released(
    data: st.DataObject, size: Size3, finer: int, axis: int
) -> None:
    # Where edges of a block meet, interpolation rounds them off at one half; a slab has no such place.
    source_size = (size[0] * finer, size[1] * finer, size[2] * finer)
    frame = VolumeFrame(source_size=source_size, crop=(0, 0, 0, *source_size), size=size, first_voxel=True)
    box = data.draw(boxes_in(size))
    corners = [0, 0, 0, *size]
    corners[axis], corners[axis + 3] = int(box.corners[axis]), int(box.corners[axis + 3])
    slab = filled(Box(corners=tuple(map(float, corners))), size)
    assert np.array_equal(there_and_back(frame, slab), slab)


@FEW
@given(st.data(), sizes, ways)
def test_a_volume_that_is_the_grid_stays_bit_by_bit(
    data: st.DataObject, size: Size3, preprocessing: Preprocessing
) -> None:
    voxels = data.draw(arrays.arrays(np.float32, size, elements=st.floats(0, 1, width=32)))
    mask = data.draw(arrays.arrays(np.bool_, size))
    media = Media(path="image.npy", sha256=None, kind="volume")
    found, frame = prepare_volume((voxels, media), size=size, preprocessing=preprocessing)
    assert np.array_equal(found[0].numpy(), voxels)
    assert np.array_equal(frame.mask_to_grid(mask), mask)
    assert np.array_equal(frame.mask_to_source(found[0]).numpy(), voxels)
    assert np.array_equal(there_and_back(frame, mask), mask)
