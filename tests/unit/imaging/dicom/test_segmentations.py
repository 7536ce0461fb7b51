"""DICOM segmentations: segments placed on their series, whatever the order or direction of their frames."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from harness.data.phantoms.writers.dicom import DrawnSeries, write_segmentation
from harness.errors import DataError
from harness.imaging.dicom.headers import read_header
from harness.imaging.dicom.seg_grid import to_lps
from harness.imaging.dicom.segmentations import Segmentation, read_labels, read_segmentation, read_segments
from harness.imaging.dicom.series import Stack
from tests.support.dicom_series import SERIES, bundled, change, positions, stacked, write

pydicom = pytest.importorskip("pydicom")


def segments_of(folder: Path, name: str = "seg.dcm") -> tuple[dict[str, np.ndarray], list[str]]:
    header = read_header((folder / name).open("rb"), name)
    assert header is not None
    found, remarks = read_segments(header, stacked(folder), lambda name: (folder / name).open("rb"))
    return {segment.label: segment.voxels for segment in found}, remarks


def two_segments() -> dict[str, np.ndarray]:
    first, second = np.zeros((2, 4, 5, 6), dtype=bool)
    first[1:3, 2:4, 1:5] = True
    second[0, 0, 5] = True
    return {"Liver": first, "Tumour of the liver": second}


def test_segments_are_placed_by_position_not_by_order(tmp_path: Path) -> None:
    write(tmp_path)
    write_segmentation(tmp_path / "seg.dcm", SERIES, two_segments(), positions())
    found, remarks = segments_of(tmp_path)
    assert list(found) == ["Liver", "Tumour of the liver"]
    for label, mask in two_segments().items():
        np.testing.assert_array_equal(found[label], mask)
    assert remarks == []
    header = read_header((tmp_path / "seg.dcm").open("rb"), "seg.dcm")
    assert header is not None
    assert read_labels(header, lambda name: (tmp_path / name).open("rb")) == tuple(found)


def test_segments_may_overlap(tmp_path: Path) -> None:
    write(tmp_path)
    segments = two_segments()
    segments["Tumour of the liver"] = np.roll(segments["Liver"], 1, axis=2)
    write_segmentation(tmp_path / "seg.dcm", SERIES, segments, positions())
    found, _ = segments_of(tmp_path)
    assert (found["Liver"] & found["Tumour of the liver"]).any()
    for label, mask in segments.items():
        np.testing.assert_array_equal(found[label], mask)


def test_segments_of_one_name_are_joined(tmp_path: Path) -> None:
    write(tmp_path)
    write_segmentation(tmp_path / "seg.dcm", SERIES, two_segments(), positions())
    data = pydicom.dcmread(tmp_path / "seg.dcm")
    data.SegmentSequence[1].SegmentLabel = "  Liver "
    data.save_as(tmp_path / "seg.dcm")
    found, _ = segments_of(tmp_path)
    assert list(found) == ["Liver"]
    np.testing.assert_array_equal(found["Liver"], np.logical_or(*two_segments().values()))


def test_a_frame_stored_the_other_way_round_is_placed(tmp_path: Path) -> None:
    write(tmp_path)
    mask = np.zeros((4, 5, 6), dtype=bool)
    mask[1, 0, :2] = True
    turned = DrawnSeries(name="a", orientation=(-1, 0, 0, 0, 1, 0), spacing=(2.0, 3.0))
    corner = [(x + 3.0 * 5, y, z) for x, y, z in positions()]
    write_segmentation(tmp_path / "seg.dcm", turned, {"cyst": mask}, corner)
    expected = np.zeros_like(mask)
    expected[1, 0, 4:] = True
    np.testing.assert_array_equal(segments_of(tmp_path)[0]["cyst"], expected)


def test_a_fractional_segment_counts_from_half_on(tmp_path: Path) -> None:
    write(tmp_path)
    mask = np.zeros((4, 5, 6), dtype=bool)
    mask[1, 2, :3] = True
    write_segmentation(tmp_path / "seg.dcm", SERIES, {"cyst": mask}, positions())
    shares = np.zeros((5, 6), dtype=np.uint8)
    shares[2, :3] = [49, 50, 100]
    change(
        *(tmp_path / "seg.dcm",),
        SegmentationType="FRACTIONAL",
        MaximumFractionalValue=100,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        PixelData=shares.tobytes(),
    )
    found, remarks = segments_of(tmp_path)
    assert np.argwhere(found["cyst"]).tolist() == [[1, 2, 1], [1, 2, 2]]
    assert remarks == ["its segments are shares of each voxel; half and more counts"]


@pytest.mark.parametrize(
    ("moved", "message"),
    [
        ((1.0, 0.0, 0.0), "seg.dcm: a frame lies between the voxels of its series; resample the segmentation"),
        ((0.0, 0.0, 100.0), "seg.dcm: a frame lies outside the slices of its series; the series may lack slices"),
    ],
)
def test_a_frame_off_its_series_is_refused(tmp_path: Path, moved: Sequence[float], message: str) -> None:
    write(tmp_path)
    places = [tuple(np.add(place, moved)) for place in positions()]
    write_segmentation(tmp_path / "seg.dcm", SERIES, two_segments(), places)
    with pytest.raises(DataError, match=message):
        segments_of(tmp_path)


def test_a_frame_without_a_position_goes_to_the_slice_it_refers_to(tmp_path: Path) -> None:
    write(tmp_path)
    mask = np.zeros((4, 5, 6), dtype=bool)
    mask[3, 1, 1] = True
    write_segmentation(tmp_path / "seg.dcm", SERIES, {"cyst": mask}, positions())
    data = pydicom.dcmread(tmp_path / "seg.dcm")
    (frame,) = data.PerFrameFunctionalGroupsSequence
    del frame.PlanePositionSequence
    data.save_as(tmp_path / "seg.dcm")
    with pytest.raises(DataError, match=r"seg.dcm: a frame says neither where it lies nor on which slice"):
        segments_of(tmp_path)
    source, derivation = pydicom.Dataset(), pydicom.Dataset()
    source.ReferencedSOPInstanceUID = stacked(tmp_path).slices[3][0].instance
    derivation.SourceImageSequence = [source]
    frame.DerivationImageSequence = [derivation]
    data.save_as(tmp_path / "seg.dcm")
    np.testing.assert_array_equal(segments_of(tmp_path)[0]["cyst"], mask)


def test_the_real_segmentation_says_that_frames_lack() -> None:
    path = bundled("liver_1frame.dcm")
    header = read_header(path.open("rb"), path.name)
    assert header is not None
    assert header.is_seg
    assert len(header.frames) == 3
    stored = pydicom.dcmread(path).pixel_array
    found = Stack(
        slices=(),
        affine=((-0.810547, 0, 0, 235.2), (0, -0.810547, 0, 226.8), (0, 0, 1.0, -128.69), (0, 0, 0, 1)),
        shape=(3, 512, 512),
    )
    (segment,), remarks = read_segments(header, found, lambda _: path.open("rb"))
    assert (segment.label, remarks) == ("Liver", ["it describes 3 frames and holds the pixels of 1"])
    np.testing.assert_array_equal(segment.voxels[0], stored > 0)
    assert not segment.voxels[1:].any()


def read(folder: Path, name: str = "seg.dcm") -> Segmentation:
    header = read_header((folder / name).open("rb"), name)
    assert header is not None
    return read_segmentation(header, stacked(folder), lambda name: (folder / name).open("rb"), resample=True)


def other_grid(
    folder: Path, spacing: tuple[float, float], step: float, shape: tuple[int, int, int], **given: float
) -> np.ndarray:
    """Write a segment on a grid of its own over the volume of `write`, and return what scipy makes of it there."""
    write(folder)
    z, y, x = np.indices(shape)
    middle = (abs(z - (shape[0] - 1) / 2) <= shape[0] / 4) & (abs(y - shape[1] / 2) < shape[1] / 4)
    mask = middle & (x > shape[2] / 3)
    # The first voxels of both grids begin in one corner, as two grids over one field of view do.
    start = np.add(positions()[0], ((spacing[1] - 3.0) / 2, (spacing[0] - 2.0) / 2, (step - 2.5) / 2))
    corners = [tuple(np.add(start, (0, 0, step * place))) for place in range(shape[0])]
    series = DrawnSeries(name="a", spacing=spacing)
    write_segmentation(folder / "seg.dcm", series, {"cyst": mask}, corners, **given)
    own = np.diag([spacing[1], spacing[0], step, 1.0])
    own[:3, 3] = start
    to_own = np.linalg.inv(own) @ to_lps(stacked(folder).affine)
    flip = np.eye(4)[[2, 1, 0, 3]]
    matrix = flip @ to_own @ flip  # from (z, y, x) to (z, y, x)
    return ndimage.affine_transform(
        mask.astype(np.uint8), matrix[:3, :3], matrix[:3, 3] + 1e-7, (4, 5, 6), order=0, mode="grid-constant"
    )


@pytest.mark.parametrize(
    ("spacing", "step", "shape", "given"),
    [
        ((1.0, 1.5), 2.5, (4, 10, 12), {"between": 2.5}),  # rows and columns twice as fine
        ((4.0, 6.0), 2.5, (4, 3, 3), {"between": 2.5}),  # twice as coarse
        ((2.0, 3.0), 5.0, (2, 5, 6), {"between": 5.0}),  # every slice twice as thick
        ((2.0, 3.0), 1.25, (8, 5, 6), {}),  # more slices, which only the positions tell
        ((1.7, 2.6), 2.1, (5, 6, 7), {"between": 2.1}),  # nothing in common
    ],
)
def test_a_segmentation_on_another_grid_takes_the_nearest_centres(
    tmp_path: Path,
    spacing: tuple[float, float],
    step: float,
    shape: tuple[int, int, int],
    given: dict[str, float],
) -> None:
    expected = other_grid(tmp_path, spacing, step, shape, **given)
    found = read(tmp_path)
    assert expected.any()
    np.testing.assert_array_equal(found.segments[0].voxels, expected > 0)
    assert not found.segments[0].lost
    own = f"{shape[1]} x {shape[2]} pixels of {spacing[0]:g} x {spacing[1]:g} mm, {step:g} mm apart"
    assert found.resampled == f"it has frames of {own}, its series slices of 5 x 6 of 2 x 3 mm, 2.5 mm apart"
    with pytest.raises(DataError, match=r"^seg.dcm: frame_mismatch: it has frames of .*; resample the segmentation"):
        segments_of(tmp_path)


def test_thick_frames_fill_the_space_between_them(tmp_path: Path) -> None:
    other_grid(tmp_path, (2.0, 3.0), 5.0, (2, 5, 6), between=5.0)
    data = pydicom.dcmread(tmp_path / "seg.dcm")
    measures = data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    expected = read(tmp_path).segments[0].voxels
    del measures.SpacingBetweenSlices
    measures.SliceThickness = 5.0
    data.save_as(tmp_path / "seg.dcm")
    found = read(tmp_path)
    assert found.resampled
    np.testing.assert_array_equal(found.segments[0].voxels, expected)


def test_frames_on_every_second_slice_are_reported(tmp_path: Path) -> None:
    write(tmp_path)
    mask = np.zeros((4, 5, 6), dtype=bool)
    mask[[0, 2], 1:3, 2:4] = True
    write_segmentation(tmp_path / "seg.dcm", SERIES, {"cyst": mask}, positions())
    found = read(tmp_path)
    np.testing.assert_array_equal(found.segments[0].voxels, mask)
    words = "its frames lie 5 mm apart, the slices of its series 2.5 mm; it was taken as it is"
    assert (found.remarks, found.resampled) == ((words,), "")


def test_a_segment_that_no_centre_meets_is_lost_and_not_empty(tmp_path: Path) -> None:
    write(tmp_path)
    mask = np.zeros((4, 20, 24), dtype=bool)
    mask[1, 3, 3] = True
    start = [(x - 1.125, y - 0.75, z) for x, y, z in positions()]
    series = DrawnSeries(name="a", spacing=(0.5, 0.75))
    write_segmentation(tmp_path / "seg.dcm", series, {"speck": mask, "none": mask & False}, start, between=2.5)
    speck, none = read(tmp_path).segments
    assert (speck.lost, speck.voxels.any()) == (True, False)
    assert (none.lost, none.voxels.any()) == (False, False)


def test_a_finer_segmentation_outside_of_its_series_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    series = DrawnSeries(name="a", spacing=(1.0, 1.5))
    mask = np.ones((4, 10, 12), dtype=bool)
    far = [(x, y - 10.0, z) for x, y, z in positions()]
    write_segmentation(tmp_path / "seg.dcm", series, {"cyst": mask}, far, between=2.5)
    with pytest.raises(DataError, match=r"seg.dcm: a frame lies outside the slices of its series"):
        read(tmp_path)


def test_another_frame_of_reference_is_a_conflict_and_on_another_grid_refused(tmp_path: Path) -> None:
    write(tmp_path)
    for path in tmp_path.iterdir():
        change(path, FrameOfReferenceUID="1.2.3")
    mask = two_segments()["Liver"]
    write_segmentation(tmp_path / "seg.dcm", SERIES, {"cyst": mask}, positions())
    change(tmp_path / "seg.dcm", FrameOfReferenceUID="1.2.4")
    found = read(tmp_path)
    np.testing.assert_array_equal(found.segments[0].voxels, mask)
    assert found.conflict == "it names another frame of reference than its series; positions were compared all the same"
    fine = DrawnSeries(name="a", spacing=(1.0, 1.5))
    write_segmentation(tmp_path / "seg.dcm", fine, {"cyst": mask}, positions(), between=2.5)
    change(tmp_path / "seg.dcm", FrameOfReferenceUID="1.2.4")
    with pytest.raises(DataError, match="another grid than its series and names another frame of reference; resample"):
        read(tmp_path)


def described(folder: Path, **elements: object) -> None:
    """Change the description of the first segment of seg.dcm."""
    data = pydicom.dcmread(folder / "seg.dcm")
    for name, value in elements.items():
        setattr(data.SegmentSequence[0], name, value)
    data.save_as(folder / "seg.dcm")


def code(scheme: str, value: str, meaning: str) -> list[object]:
    item = pydicom.Dataset()
    item.CodingSchemeDesignator, item.CodeValue, item.CodeMeaning = scheme, value, meaning
    return [item]


@pytest.mark.parametrize(
    "elements",
    [
        {"SegmentLabel": "Background"},
        {"SegmentLabel": " BACKGROUND "},
        {"SegmentLabel": "Hintergrund"},
        {"SegmentedPropertyTypeCodeSequence": code("DCM", "125040", "Background")},
        {"SegmentedPropertyCategoryCodeSequence": code("99LOCAL", "0", "background")},
    ],
)
def test_background_is_no_segment_by_name_or_by_code(tmp_path: Path, elements: dict[str, object]) -> None:
    write(tmp_path)
    write_segmentation(tmp_path / "seg.dcm", SERIES, two_segments(), positions())
    described(tmp_path, **elements)
    assert [segment.label for segment in read(tmp_path).segments] == ["Tumour of the liver"]
    header = read_header((tmp_path / "seg.dcm").open("rb"), "seg.dcm")
    assert header is not None
    assert read_labels(header, lambda name: (tmp_path / name).open("rb")) == ("Tumour of the liver",)


def test_a_label_map_has_no_segment_0_and_values_without_a_segment_are_reported(tmp_path: Path) -> None:
    write(tmp_path)
    mask = np.zeros((4, 5, 6), dtype=bool)
    mask[1, 1, 1] = True
    write_segmentation(tmp_path / "seg.dcm", SERIES, {"all the rest": mask, "cyst": mask}, positions())
    data = pydicom.dcmread(tmp_path / "seg.dcm")
    data.SegmentSequence[0].SegmentNumber, data.SegmentSequence[1].SegmentNumber = 0, 3
    values = np.zeros((1, 5, 6), dtype=np.uint8)
    values[0, 2, :4] = [3, 3, 7, 0]
    (frame, _) = data.PerFrameFunctionalGroupsSequence
    del frame.SegmentIdentificationSequence
    data.PerFrameFunctionalGroupsSequence = [frame]
    data.SegmentationType, data.NumberOfFrames = "LABELMAP", 1
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelData = 8, 8, 7, values.tobytes()
    data.save_as(tmp_path / "seg.dcm")
    found = read(tmp_path)
    assert [(one.label, one.number, int(one.voxels.sum())) for one in found.segments] == [("cyst", 3, 2)]
    assert found.remarks == ("no segment describes its values 7; left out",)


def test_a_segmentation_of_background_alone_says_so(tmp_path: Path) -> None:
    write(tmp_path)
    write_segmentation(tmp_path / "seg.dcm", SERIES, {"Background": two_segments()["Liver"]}, positions())
    found = read(tmp_path)
    assert (found.segments, found.remarks) == ((), ("it has no segment but background",))


def test_frames_on_several_other_grids_are_refused(tmp_path: Path) -> None:
    other_grid(tmp_path, (1.0, 1.5), 2.5, (4, 10, 12), between=2.5)
    data = pydicom.dcmread(tmp_path / "seg.dcm")
    measures = pydicom.Dataset()
    measures.PixelSpacing = [1.0, 1.4]
    data.PerFrameFunctionalGroupsSequence[-1].PixelMeasuresSequence = [measures]
    data.save_as(tmp_path / "seg.dcm")
    with pytest.raises(DataError, match=r"seg.dcm: its frames lie on several grids; resample the segmentation"):
        read(tmp_path)


def test_frames_that_no_scan_holds_are_refused(tmp_path: Path) -> None:
    write(tmp_path)
    mask = np.ones((2, 10, 12), dtype=bool)
    series = DrawnSeries(name="a", spacing=(1.0, 1.5))
    write_segmentation(tmp_path / "seg.dcm", series, {"cyst": mask}, positions(2), between=1e-5)
    with pytest.raises(DataError, match=r"seg.dcm: expected frames of one scan, found some 2.5 mm apart"):
        read(tmp_path)


def test_pixels_without_a_place_are_refused(tmp_path: Path) -> None:
    write(tmp_path)
    write_segmentation(tmp_path / "seg.dcm", SERIES, two_segments(), positions())
    data = pydicom.dcmread(tmp_path / "seg.dcm")
    data.PerFrameFunctionalGroupsSequence = data.PerFrameFunctionalGroupsSequence[:1]
    data.save_as(tmp_path / "seg.dcm")
    with pytest.raises(DataError, match=r"seg.dcm: expected a place for each of its 3 frames, found 1"):
        read(tmp_path)


def test_a_wrong_spacing_that_was_copied_from_the_series_does_not_thicken_a_frame(tmp_path: Path) -> None:
    write(tmp_path)
    for path in tmp_path.iterdir():
        change(path, SpacingBetweenSlices=5)
    mask = np.zeros((4, 5, 6), dtype=bool)
    mask[1, 2, 3] = True
    write_segmentation(tmp_path / "seg.dcm", SERIES, {"cyst": mask}, positions(), between=5.0)
    found = read(tmp_path)
    np.testing.assert_array_equal(found.segments[0].voxels, mask)
    assert found.resampled == ""


def test_rounded_positions_are_no_finer_grid(tmp_path: Path) -> None:
    write(tmp_path)
    write_segmentation(tmp_path / "seg.dcm", SERIES, two_segments(), positions())
    data = pydicom.dcmread(tmp_path / "seg.dcm")
    data.SegmentSequence[1].SegmentNumber = 7
    frame = data.PerFrameFunctionalGroupsSequence[-1]
    frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 7
    frame.PlanePositionSequence[0].ImagePositionPatient = [*positions()[1][:2], positions()[1][2] + 0.02]
    data.save_as(tmp_path / "seg.dcm")
    found = read(tmp_path)
    assert (found.resampled, found.remarks) == ("", ())
    np.testing.assert_array_equal(found.segments[0].voxels, two_segments()["Liver"])
