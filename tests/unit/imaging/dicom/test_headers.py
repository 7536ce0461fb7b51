"""DICOM: slices by position, values rescaled, segments placed, and nothing that names anybody."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data.integrity import Integrity
from harness.data.phantoms.writers.dicom import PRIVATE, DrawnSeries, write_segmentation, write_slice
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.volumes import inspect_scan
from harness.errors import DataError
from harness.imaging.dicom.headers import discreet, group_series, read_header, read_pixels
from harness.imaging.dicom.segmentations import read_labels, read_segments
from harness.imaging.dicom.series import Stack, read_voxels, stack
from harness.imaging.volumes import read_volume

pydicom = pytest.importorskip("pydicom")

VOXELS = np.random.default_rng(3).integers(-900, 1200, (4, 5, 6)).astype(np.float32)
SERIES = DrawnSeries(name="a", spacing=(2.0, 3.0))
STEP = 2.5


def positions(count: int = 4) -> list[tuple[float, float, float]]:
    return [(-10.0, -20.0, 50.0 + STEP * place) for place in range(count)]


def write(folder: Path, series: DrawnSeries = SERIES, skip: Sequence[int] = ()) -> Path:
    """Write the volume with names and instance numbers that go another way than the positions."""
    for place in range(len(VOXELS)):
        if place not in skip:
            name, number = f"{(place * 3) % 4}.dcm", 10 - place
            write_slice(folder / name, series, number, positions()[place], VOXELS[place])
    return folder


def headers(folder: Path) -> list[Any]:
    return [read_header(path.open("rb"), path.name) for path in sorted(folder.iterdir())]


def stacked(folder: Path) -> Stack:
    return stack([header for header in headers(folder) if header and not header.is_seg], "series")


def change(path: Path, **elements: Any) -> None:
    data = pydicom.dcmread(path)
    for name, value in elements.items():
        setattr(data, name, value)
    data.save_as(path)


def bundled(name: str) -> Path:
    found = pydicom.data.get_testdata_file(name, download=False)
    if found is None:
        pytest.skip(f"pydicom does not bring {name} along")
    return Path(found)


def test_slices_are_sorted_by_position_and_held_in_ras(tmp_path: Path) -> None:
    volume = read_volume(write(tmp_path))
    np.testing.assert_array_equal(volume.voxels, VOXELS[:, ::-1, ::-1])  # DICOM counts to the left and back
    assert volume.spacing_mm == (2.5, 2.0, 3.0)
    assert volume.affine == pytest.approx((3.0, 0, 0, -5.0, 0, 2.0, 0, 12.0, 0, 0, 2.5, 50.0, 0, 0, 0, 1))


def test_slope_intercept_and_monochrome1_are_undone(tmp_path: Path) -> None:
    series = DrawnSeries(name="b", slope=2.0, intercept=-1000.0, inverted=True)
    found = stacked(write(tmp_path, series))
    voxels = read_voxels(found, lambda name: (tmp_path / name).open("rb"))
    np.testing.assert_allclose(voxels, VOXELS, atol=1)


def test_each_slice_has_a_slope_of_its_own(tmp_path: Path) -> None:
    write(tmp_path)
    change(tmp_path / "0.dcm", RescaleSlope=3.0, RescaleIntercept=0.0)
    found = read_voxels(stacked(tmp_path), lambda name: (tmp_path / name).open("rb"))
    np.testing.assert_array_equal(found[0], (VOXELS[0] + 1024) * 3)
    np.testing.assert_array_equal(found[1:], VOXELS[1:])


def test_a_coronal_series_is_turned(tmp_path: Path) -> None:
    series = DrawnSeries(name="c", orientation=(1, 0, 0, 0, 0, -1), spacing=(2.0, 3.0))
    for place, grey in enumerate(VOXELS):
        write_slice(tmp_path / f"{place}.dcm", series, place, (0.0, -7.0 * place, 0.0), grey)
    volume = read_volume(tmp_path)
    assert (volume.voxels.shape, volume.spacing_mm) == ((5, 4, 6), (2.0, 7.0, 3.0))
    # Slices go to the front, rows down, columns to the left: in RAS z is the row from below, y the slice from behind.
    np.testing.assert_array_equal(volume.voxels, VOXELS.transpose(1, 0, 2)[::-1, :, ::-1])


def test_a_missing_slice_is_named(tmp_path: Path) -> None:
    found = stacked(write(tmp_path, skip=[2]))
    assert found.fault == "1 slice is missing in 1 gap between the others"
    with pytest.raises(DataError, match="1 slice is missing in 1 gap between the others"):
        read_volume(tmp_path)


def test_uneven_steps_are_named(tmp_path: Path) -> None:
    write(tmp_path)
    change(tmp_path / "1.dcm", ImagePositionPatient=[-10, -20, 58.5])
    assert stacked(tmp_path).fault == "the steps between slices differ, from 2.5 to 3.5 mm"


def test_of_doubled_slices_the_lowest_instance_number_stays(tmp_path: Path) -> None:
    write(tmp_path)
    write_slice(tmp_path / "again.dcm", SERIES, 3, positions()[0], VOXELS[0] + 50)
    found = stacked(tmp_path)
    assert (found.doubled, found.shape, found.fault) == (1, (4, 5, 6), "")
    assert found.slices[0][0].where == "again.dcm"


def test_slices_in_another_direction_are_left_out(tmp_path: Path) -> None:
    write(tmp_path)
    series = DrawnSeries(name="a", orientation=(0, 1, 0, 0, 0, -1), spacing=(2.0, 3.0))
    write_slice(tmp_path / "localizer.dcm", series, 1, (0, 0, 0), VOXELS[0])
    found = stacked(tmp_path)
    assert (found.foreign, found.shape) == (1, (4, 5, 6))


def test_the_series_with_most_slices_comes_first_whatever_its_number(tmp_path: Path) -> None:
    write(tmp_path)
    write_slice(tmp_path / "scout.dcm", DrawnSeries(name="a", number=0), 1, (0, 0, 0), VOXELS[0])
    series = group_series(headers(tmp_path))
    assert [(one.first.number, one.slices) for one in series] == [(1, 4), (0, 1)]


def test_slices_without_a_position_are_no_volume(tmp_path: Path) -> None:
    write(tmp_path)
    data = pydicom.dcmread(tmp_path / "0.dcm")
    del data.ImagePositionPatient
    data.save_as(tmp_path / "0.dcm")
    with pytest.raises(DataError, match="series: expected position, orientation and pixel spacing in every slice"):
        stacked(tmp_path)


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


@pytest.mark.parametrize(
    ("name", "size", "low", "high"),
    [("CT_small.dcm", (1, 128, 128), -896, 1167), ("MR_small.dcm", (1, 64, 64), 127, 2145)],
)
def test_real_slices_are_read(name: str, size: tuple[int, ...], low: int, high: int) -> None:
    volume = read_volume(bundled(name))
    assert (volume.voxels.shape, volume.voxels.min(), volume.voxels.max()) == (size, low, high)


def test_a_colour_image_is_a_picture_and_no_volume() -> None:
    path = bundled("ExplVR_BigEnd.dcm")
    header = read_header(path.open("rb"), path.name)
    assert header is not None
    assert read_pixels(lambda _: path.open("rb"), header).shape == (60, 80, 3)
    with pytest.raises(DataError, match="expected grey slices, found colours; ask about such images one by one"):
        read_volume(path)


def test_a_picture_of_8_bits_stays_so_and_others_are_rescaled(tmp_path: Path) -> None:
    write_slice(tmp_path / "a.dcm", SERIES, 1, (0, 0, 0), VOXELS[0])
    header = read_header((tmp_path / "a.dcm").open("rb"), "a.dcm")
    assert header is not None
    found = read_pixels(lambda name: (tmp_path / name).open("rb"), header)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, VOXELS[0])
    grey = np.arange(30, dtype=np.uint8).reshape(5, 6)
    change(tmp_path / "a.dcm", BitsAllocated=8, BitsStored=8, HighBit=7, PixelData=grey.tobytes())
    change(tmp_path / "a.dcm", RescaleSlope=1, RescaleIntercept=0)
    header = read_header((tmp_path / "a.dcm").open("rb"), "a.dcm")
    assert header is not None
    found = read_pixels(lambda name: (tmp_path / name).open("rb"), header)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, grey)


def test_several_frames_are_no_picture(tmp_path: Path) -> None:
    write_slice(tmp_path / "a.dcm", SERIES, 1, (0, 0, 0), VOXELS[0])
    change(tmp_path / "a.dcm", NumberOfFrames=2)
    header = read_header((tmp_path / "a.dcm").open("rb"), "a.dcm")
    assert header is not None
    with pytest.raises(DataError, match=r"a\.dcm: expected one image, found 2 frames without a place in space"):
        read_pixels(lambda name: (tmp_path / name).open("rb"), header)


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "a.dcm: expected grey values, RGB or YBR, found another kind"),
        ({"PhotometricInterpretation": "RGB"}, "a.dcm: expected 8 bits a colour channel, found 12; export it anew"),
        ({"PixelData": b"12"}, r"a.dcm: cannot be read as DICOM \(ValueError\); check the file"),
    ],
)
def test_pixels_that_cannot_be_read_are_named(tmp_path: Path, elements: dict[str, Any], message: str) -> None:
    write_slice(tmp_path / "a.dcm", SERIES, 1, (0, 0, 0), VOXELS[0])
    change(tmp_path / "a.dcm", **elements)
    with pytest.raises(DataError, match=message):
        read_volume(tmp_path)


def test_other_files_are_no_headers(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no image")
    assert read_header((tmp_path / "a.txt").open("rb"), "a.txt") is None
    with pytest.raises(DataError, match="expected DICOM images, found none"):
        read_volume(tmp_path)


def test_neither_messages_nor_warnings_hold_a_value() -> None:
    def tell() -> None:
        with discreet("a.dcm"):
            warnings.warn("Invalid value for PN: 'Smith^Jane'", stacklevel=1)
            raise ValueError("could not convert 'Smith^Jane'")

    with warnings.catch_warnings(record=True) as heard, pytest.raises(DataError) as caught:
        tell()
    assert str(caught.value) == "a.dcm: cannot be read as DICOM (ValueError); check the file"
    assert caught.value.__cause__ is None
    assert heard == []


def test_a_header_holds_nobodys_name(tmp_path: Path) -> None:
    found = repr(headers(write(tmp_path)))
    assert [value for value in PRIVATE.values() if value in found] == []


def test_without_pydicom_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_slice(tmp_path / "a.dcm", SERIES, 1, (0, 0, 0), VOXELS[0])
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(DataError, match=r"reading DICOM needs pydicom; pip install 'medground\[medical\]'"):
        read_volume(tmp_path / "a.dcm")
    with pytest.raises(DataError, match=r"drawing DICOM files needs pydicom; pip install 'medground\[medical\]'"):
        write_slice(tmp_path / "a.dcm", SERIES, 1, (0, 0, 0), VOXELS[0])


def write_multi_frame(path: Path, places: Sequence[Sequence[float]]) -> None:
    """Write one file with a frame at each place, as enhanced CT has it: rescaled by frame, spacing shared."""
    write_slice(path, SERIES, 1, places[0], VOXELS[0])
    data = pydicom.dcmread(path)
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"):
        delattr(data, name)

    def item(**elements: Any) -> Any:
        made = pydicom.Dataset()
        for name, value in elements.items():
            setattr(made, name, value)
        return made

    data.SharedFunctionalGroupsSequence = [
        item(
            PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
            PixelMeasuresSequence=[item(PixelSpacing=[2.0, 3.0], SpacingBetweenSlices=2.5)],
        )
    ]
    data.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=list(place))],
            PixelValueTransformationSequence=[item(RescaleSlope=1 + number, RescaleIntercept=-1024)],
        )
        for number, place in enumerate(places)
    ]
    data.NumberOfFrames = len(places)
    stored = [np.rint((VOXELS[number] + 1024) / (1 + number)) for number in range(len(places))]
    data.PixelData = np.stack(stored).astype("<u2").tobytes()
    data.save_as(path)


def test_a_multi_frame_file_is_a_volume_with_frames_by_position(tmp_path: Path) -> None:
    write_multi_frame(tmp_path / "a.dcm", positions()[::-1])
    volume = read_volume(tmp_path / "a.dcm")
    assert volume.spacing_mm == (2.5, 2.0, 3.0)
    np.testing.assert_allclose(volume.voxels, VOXELS[::-1, ::-1, ::-1], atol=2)


def test_a_multi_frame_file_among_images_is_a_volume_of_the_task(tmp_path: Path) -> None:
    for name, places in (("whole", positions()), ("gap", [*positions()[:2], *positions(8)[5:7]])):
        write_multi_frame(tmp_path / f"{name}.dcm", places)
    integrity = Integrity()
    files = ReleaseFiles(root=tmp_path, derived=tmp_path / "derived")
    whole, gap, none = (
        inspect_scan(files, f"{name}.dcm", window=(0, 1), integrity=integrity) for name in ("whole", "gap", "none")
    )
    assert (whole.media.kind, whole.media.size, whole.media.window, whole.defect) == ("volume", (4, 5, 6), (0, 1), None)
    assert (gap.defect, none.defect) == ("image gap.dcm cannot be read", "image none.dcm is missing")
    details = [(finding.kind, finding.detail) for finding in integrity.findings]
    assert details[1] == ("missing_file", "")
    assert details[0] == ("unreadable_file", "3 slices are missing in 1 gap between the others")
