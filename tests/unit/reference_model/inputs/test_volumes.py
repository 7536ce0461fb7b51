"""Volumes on the grid of the 3-D encoders, and masks and boxes that return from it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from harness.errors import DataError
from harness.imaging.volumes import Volume, read_volume, to_nifti
from harness.records import Box, Media
from reference_model.inputs.volumes import Preprocessing, Source, VolumeFrame, prepare_volume, volume_source

BOTH = pytest.mark.parametrize("preprocessing", ["released", "standard"])


def noise(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(40, 300, shape).astype(np.float32)


def record(path: str = "scan.nii.gz", **fields: Any) -> Media:
    return Media(path=path, sha256=None, kind="volume", **fields)


def resized(values: NDArray[np.float32], size: tuple[int, int, int]) -> torch.Tensor:
    whole = torch.from_numpy(np.ascontiguousarray(values))[None, None]
    return functional.interpolate(whole, size=size, mode="trilinear", align_corners=False)[0]


class Handle:
    """A handle of media in memory."""

    path = ""

    def __init__(self, voxels: NDArray[np.float32], media: Media) -> None:
        self.voxels, self.record = voxels, media

    def volume(self) -> NDArray[np.float32]:
        return self.voxels

    def image(self) -> Any:
        raise AssertionError("a volume is opened as a volume")


@BOTH
def test_a_prepared_array_stays_as_it_is(preprocessing: Preprocessing) -> None:
    voxels = np.random.default_rng(1).random((4, 6, 5), dtype=np.float32) * np.float32(0.5)
    voxels.setflags(write=False)
    found, frame = prepare_volume((voxels, record("a/image.npy")), size=(4, 6, 5), preprocessing=preprocessing)
    assert np.array_equal(found.numpy(), voxels[None])
    assert (frame.crop, frame.axes, frame.affine) == ((0, 0, 0, 4, 6, 5), (0, 1, 2), None)
    mask = voxels > 0.3
    assert np.array_equal(frame.mask_to_grid(mask), mask)
    assert np.array_equal(frame.mask_to_source(found[0]).numpy(), voxels)
    box = Box(corners=(0, 1.25, 2, 3, 4, 5))
    assert frame.box_to_grid(box) == frame.box_to_source(box) == box


def test_a_handle_is_opened_and_equals_its_voxels() -> None:
    voxels, media = noise(4, 9, 8), record(window=(-100.0, 200.0), spacing_mm=(3.0, 1.0, 1.0))
    handle = Handle(voxels, media)
    found, frame = prepare_volume(handle, size=(2, 4, 4), preprocessing="standard")
    expected, same = prepare_volume((voxels, media), size=(2, 4, 4), preprocessing="standard")
    assert torch.equal(found, expected)
    assert frame == same


@pytest.mark.parametrize(
    ("media", "source"),
    [
        (record("M3D_Seg_npy/0003/case7/image.npy"), "array"),
        (record("M3D_Cap/ct_case/000001/Axial_lung_window"), "slices"),
        (record("ct.nii.gz"), "scan"),
        (record("CT.NII"), "scan"),
        (record("series/of/dicom", affine=tuple(np.eye(4).ravel())), "scan"),
        (record("one.dcm"), "scan"),
    ],
)
def test_the_record_tells_the_source(media: Media, source: Source) -> None:
    assert volume_source(media) == source


@pytest.mark.parametrize("path", ["000001/Axial", "image.npy"])
def test_slices_and_arrays_are_divided_by_their_range_and_cropped_as_released(path: str) -> None:
    voxels = np.zeros((6, 9, 8), dtype=np.float32)
    voxels[1:5, 2:9, 1:7] = np.random.default_rng(2).integers(10, 250, (4, 7, 6))
    found, frame = prepare_volume((voxels, record(path)), size=(3, 4, 5), preprocessing="released")
    expected = resized(voxels[1:5, 2:9, 1:7] / np.float32(voxels.max()), (3, 4, 5))
    assert torch.allclose(found, expected, atol=1e-6)
    assert list(frame.crop) == [1, 2, 1, 5, 9, 7]


def test_a_scan_is_cut_at_its_percentiles_and_its_rows_and_columns_change_places() -> None:
    voxels = noise(5, 16, 12)
    found, frame = prepare_volume((voxels, record()), size=(4, 6, 7), preprocessing="released")
    low, high = np.percentile(voxels, (0.5, 99.5))
    scaled = np.clip((voxels - low) / (high - low), 0, 1).astype(np.float32)
    assert torch.allclose(found, resized(scaled.transpose(0, 2, 1), (4, 6, 7)), atol=1e-6)
    assert (frame.axes, frame.crop) == ((0, 2, 1), (0, 0, 0, 5, 16, 12))
    mask = voxels > 200
    whole = torch.from_numpy(mask.transpose(0, 2, 1).astype(np.float32))[None, None]
    expected = functional.interpolate(whole, size=(4, 6, 7), mode="nearest")[0, 0].numpy() > 0
    assert np.array_equal(frame.mask_to_grid(mask), expected)
    assert frame.box_to_grid(Box(corners=(0, 4, 0, 5, 8, 6))) == Box(corners=(0, 0, 1.75, 4, 3, 3.5))
    assert frame.box_to_source(Box(corners=(0, 0, 1.75, 4, 3, 3.5))) == Box(corners=(0, 4, 0, 5, 8, 6))


@BOTH
def test_a_scan_looks_the_same_however_its_file_is_oriented(tmp_path: Path, preprocessing: Preprocessing) -> None:
    nibabel = pytest.importorskip("nibabel")
    affine = (0.8, 0, 0, -9, 0, 0.7, 0, 4, 0, 0, 2.5, 3, 0, 0, 0, 1)
    volume = Volume(noise(4, 10, 12), (2.5, 0.7, 0.8), tuple(map(float, affine)))
    (tmp_path / "ras.nii").write_bytes(to_nifti(volume))
    stored = nibabel.load(tmp_path / "ras.nii")
    codes = nibabel.orientations.axcodes2ornt("PLS")
    stored.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(stored.affine), codes)).to_filename(
        tmp_path / "pls.nii"
    )
    prepared = []
    for name in ("ras.nii", "pls.nii"):
        read = read_volume(tmp_path / name)
        media = record(name, affine=read.affine, spacing_mm=read.spacing_mm)
        prepared.append(prepare_volume((read.voxels, media), size=(3, 5, 5), preprocessing=preprocessing)[0])
    assert torch.equal(*prepared)


def test_a_window_of_the_record_comes_before_percentiles() -> None:
    voxels = noise(3, 4, 4)
    for window in ((-100.0, 240.0), None):
        low, high = window or np.percentile(voxels, (0.5, 99.5))
        found, _ = prepare_volume((voxels, record(window=window)), size=(3, 4, 4), preprocessing="standard")
        assert np.allclose(found[0].numpy(), np.clip((voxels - low) / (high - low), 0, 1), atol=1e-6)


def test_an_array_within_zero_and_one_keeps_its_values_on_another_grid() -> None:
    voxels = np.random.default_rng(3).random((2, 3, 3), dtype=np.float32) * np.float32(0.25)
    found, _ = prepare_volume((voxels, record("image.npy")), size=(2, 6, 6), preprocessing="standard")
    assert torch.allclose(found, resized(voxels, (2, 6, 6)), atol=1e-6)
    released, _ = prepare_volume((voxels, record("image.npy")), size=(2, 6, 6), preprocessing="released")
    assert released.max() > 0.9


def test_a_cell_has_the_same_sides_in_plane_and_the_rest_is_padded() -> None:
    media = record(spacing_mm=(5.0, 1.0, 2.0), window=(0.0, 1.0))
    found, frame = prepare_volume(
        (np.ones((4, 16, 4), dtype=np.float32), media), size=(8, 8, 8), preprocessing="standard"
    )
    # 16 mm by 8 mm on 8 by 8 cells of 2 mm: two empty columns on either side.
    assert frame.spacing_mm == (2.5, 2.0, 2.0)
    assert list(frame.crop) == [0, 0, -2, 4, 16, 6]
    assert found[0].sum((0, 1)).tolist() == [0, 0, 64, 64, 64, 64, 0, 0]
    assert frame.mask_to_source(found[0]).eq(1).all()
    mask = frame.mask_to_grid(np.ones((4, 16, 4), dtype=np.bool_))
    assert np.array_equal(mask, found[0].numpy() > 0)
    # What a model sees in the padding is cut off, and what reaches into it ends with the volume.
    assert frame.box_to_source(Box(corners=(0, 0, 0, 8, 4, 4))) == Box(corners=(0, 0, 0, 4, 8, 2))


def test_equal_sides_are_taken_where_no_spacing_is_known() -> None:
    media = record("image.npy", window=(0.0, 1.0))
    found, frame = prepare_volume(
        (np.ones((2, 4, 8), dtype=np.float32), media), size=(2, 8, 8), preprocessing="standard"
    )
    assert list(frame.crop) == [0, -2, 0, 2, 6, 8]
    assert frame.spacing_mm is None
    assert found[0].sum((0, 2)).tolist() == [0, 0, 16, 16, 16, 16, 0, 0]


OBLIQUE = (
    (0.6, -0.2, 0.9, -40.0),
    (0.3, 0.7, -0.4, 12.0),
    (-0.1, 0.25, 2.4, 7.0),
    (0.0, 0.0, 0.0, 1.0),
)


@BOTH
def test_the_affine_of_the_grid_finds_the_body_where_the_scan_has_it(preprocessing: Preprocessing) -> None:
    affine = np.array(OBLIQUE)
    place = np.array((23.0, 9.0, 6.0))  # x, y, z
    z, y, x = np.meshgrid(np.arange(12), np.arange(30), np.arange(36), indexing="ij")
    away = (x - place[0]) ** 2 / 16 + (y - place[1]) ** 2 / 16 + (z - place[2]) ** 2 / 4
    spacing = tuple(float(side) for side in np.linalg.norm(affine[:3, :3], axis=0))[::-1]
    media = record(affine=tuple(affine.ravel()), spacing_mm=spacing, window=(0.0, 1.0))
    found, frame = prepare_volume((np.exp(-away), media), size=(8, 20, 20), preprocessing=preprocessing)
    grid = np.array(frame.affine).reshape(4, 4)
    weights = found[0].numpy().astype(np.float64) ** 4
    cells = np.meshgrid(*map(np.arange, weights.shape), indexing="ij")
    centre = np.array([(cell * weights).sum() / weights.sum() for cell in cells[::-1]] + [1.0])
    assert np.abs(grid @ centre - affine @ np.append(place, 1.0)).max() < 0.15
    assert frame.spacing_mm == pytest.approx(np.linalg.norm(grid[:3, :3], axis=0)[::-1], abs=1e-6)
    # The box around the same voxels, in millimetres by way of the grid and at once.
    box = Box(corners=(5, 8, 22, 7, 10, 24))
    on_grid = np.array(frame.box_to_grid(box).corners).reshape(2, 3)[:, ::-1] - 0.5
    at_once = np.array(box.corners).reshape(2, 3)[:, ::-1] - 0.5
    ends = [
        matrix[:3, :3] @ end + matrix[:3, 3] for matrix, both in ((grid, on_grid), (affine, at_once)) for end in both
    ]
    assert np.allclose(ends[:2], ends[2:], atol=1e-9)


@BOTH
def test_a_single_slice_fills_the_depth_of_the_grid(preprocessing: Preprocessing) -> None:
    found, frame = prepare_volume((noise(1, 8, 8), record()), size=(4, 8, 8), preprocessing=preprocessing)
    assert all(torch.equal(cells, found[0, 0]) for cells in found[0])
    assert frame.mask_to_source(found[0]).shape == (1, 8, 8)
    assert frame.mask_to_grid(np.ones((1, 8, 8), dtype=np.bool_)).all()


@BOTH
@pytest.mark.parametrize("path", ["scan.nii", "image.npy", "folder/of/slices"])
@pytest.mark.parametrize("value", [0.0, -1000.0, 255.0])
def test_a_constant_volume_is_empty_and_kept_whole(preprocessing: Preprocessing, path: str, value: float) -> None:
    voxels = np.full((3, 6, 6), value, dtype=np.float32)
    found, frame = prepare_volume((voxels, record(path)), size=(2, 3, 3), preprocessing=preprocessing)
    assert torch.equal(found, torch.zeros(1, 2, 3, 3))
    assert list(frame.crop) == [0, 0, 0, 3, 6, 6]


def test_one_voxel_of_foreground_fills_the_grid_as_released() -> None:
    voxels = np.zeros((3, 4, 5), dtype=np.float32)
    voxels[1, 2, 3] = 7
    found, frame = prepare_volume((voxels, record("image.npy")), size=(2, 3, 3), preprocessing="released")
    assert list(frame.crop) == [1, 2, 3, 2, 3, 4]
    assert found.eq(1).all()
    expected = torch.zeros(3, 4, 5)
    expected[1, 2, 3] = 1
    assert torch.equal(frame.mask_to_source(found[0]), expected)


@BOTH
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_not_finite_are_refused(preprocessing: Preprocessing, wrong: float) -> None:
    voxels = noise(3, 4, 4)
    voxels[0, 1, 2:] = wrong
    message = (
        r"^scan\.nii\.gz: expected finite voxels, found 2 of 48 that are NaN or infinite; "
        "write the value of air in their place$"
    )
    with pytest.raises(DataError, match=message):
        prepare_volume((voxels, record()), size=(3, 4, 4), preprocessing=preprocessing)


@pytest.mark.parametrize("shape", [(4, 4), (1, 3, 4, 4), (0, 4, 4)])
def test_an_array_that_is_no_volume_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"^scan\.nii\.gz: expected voxels \(D, H, W\), found an array of shape \("):
        prepare_volume((np.zeros(shape), record()), size=(3, 4, 4), preprocessing="standard")


FRAME = VolumeFrame(source_size=(9, 20, 16), crop=(1, 4, 0, 8, 17, 16), size=(3, 5, 7), first_voxel=True)


def test_masks_are_interpolated_within_the_crop_and_constant_outside() -> None:
    values = torch.from_numpy(noise(3, 5, 7))
    found = FRAME.mask_to_source(values, outside=-9.0)
    assert found.dtype == torch.float32
    assert torch.allclose(found[1:8, 4:17], resized(values.numpy(), (7, 13, 16))[0], rtol=1e-5, atol=1e-4)
    beyond = torch.ones(9, 20, 16, dtype=torch.bool)
    beyond[1:8, 4:17] = False
    assert found[beyond].eq(-9).all()
    assert FRAME.mask_to_source(values)[beyond].eq(0).all()
    endless = FRAME.mask_to_source(values, outside=-np.inf)
    assert torch.equal(endless.isneginf(), beyond)
    assert torch.equal(endless[~beyond], found[~beyond])


@pytest.mark.parametrize("cells", [(1, 1, 1), (3, 5, 7), (32, 29, 31), (7, 13, 16)])
def test_masks_are_taken_from_the_voxels_that_pytorch_takes(cells: tuple[int, int, int]) -> None:
    mask = noise(9, 20, 16) > 0
    inside = torch.from_numpy(mask[1:8, 4:17].astype(np.float32))[None, None]
    expected = functional.interpolate(inside, size=cells, mode="nearest")[0, 0].numpy() > 0
    found = replace(FRAME, size=cells).mask_to_grid(mask)
    assert np.array_equal(found, expected)
    assert found.flags["C_CONTIGUOUS"]


def test_standard_masks_are_taken_from_the_middle_of_each_cell() -> None:
    mask = np.zeros((9, 6, 6), dtype=np.bool_)
    mask[4] = True
    frame = VolumeFrame(source_size=(9, 6, 6), crop=(0, 0, 0, 9, 6, 6), size=(3, 6, 6))
    assert frame.mask_to_grid(mask).any((1, 2)).tolist() == [False, True, False]
    assert not replace(frame, first_voxel=True).mask_to_grid(mask).any()


def test_a_mask_of_another_volume_is_refused() -> None:
    with pytest.raises(
        DataError,
        match=r"^mask: expected \(3, 5, 7\) on the grid, found \(3, 5, 8\); use the frame of its own volume$",
    ):
        FRAME.mask_to_source(torch.zeros(3, 5, 8))
    with pytest.raises(DataError, match=r"^mask: expected \(9, 20, 16\) of the volume, found \(9, 20\);"):
        FRAME.mask_to_grid(np.zeros((9, 20), dtype=np.bool_))
