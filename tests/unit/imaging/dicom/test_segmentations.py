"""DICOM segmentations: segments placed on their series, whatever the order or direction of their frames."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from harness.data.phantoms.writers.dicom import DrawnSeries, write_segmentation
from harness.errors import DataError
from harness.imaging.dicom.headers import read_header
from harness.imaging.dicom.segmentations import read_labels, read_segments
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
        ((1.0, 0.0, 0.0), "seg.dcm: a frame lies beside the voxels of its series; resample the segmentation"),
        ((0.0, 0.0, 100.0), "seg.dcm: a frame lies outside the slices of its series; the series may lack slices"),
    ],
)
def test_a_frame_off_its_series_is_refused(tmp_path: Path, moved: Sequence[float], message: str) -> None:
    write(tmp_path)
    places = [tuple(np.add(place, moved)) for place in positions()]
    write_segmentation(tmp_path / "seg.dcm", SERIES, two_segments(), places)
    with pytest.raises(DataError, match=message):
        segments_of(tmp_path)


def test_a_frame_without_a_place_goes_to_the_slice_it_was_drawn_on(tmp_path: Path) -> None:
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
