"""DICOM series: slices by position, gaps named, values rescaled."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data.integrity import Integrity
from harness.data.phantoms.writers.dicom import DrawnSeries, write_slice
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.volumes import inspect_scan
from harness.errors import DataError
from harness.imaging.dicom.series import read_voxels
from harness.imaging.volumes import read_volume
from tests.support.dicom_series import SERIES, VOXELS, change, positions, stacked, write

pydicom = pytest.importorskip("pydicom")


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


def moved(folder: Path, place: int, *mm: float) -> None:
    """Move the slice that `write` put at a place."""
    change(folder / f"{(place * 3) % 4}.dcm", ImagePositionPatient=[*np.add(positions()[place], mm)])


def test_steps_that_differ_a_little_are_taken_as_even_and_said(tmp_path: Path) -> None:
    write(tmp_path)
    moved(tmp_path, 1, 0, 0, 0.1)
    found = stacked(tmp_path)
    assert (found.fault, found.uneven) == ("", "the steps between slices range from 2.4 to 2.6 mm; taken as even")
    assert found.affine[2][2] == pytest.approx(2.5)
    moved(tmp_path, 1, 0, 0, 0.01)  # rounded positions
    assert stacked(tmp_path).uneven == ""


@pytest.mark.parametrize(("shift", "fault"), [(0.5, ""), (1.7, "slices lie up to 1.7 mm beside a straight line")])
def test_a_slice_beside_the_line_of_the_others_is_said(tmp_path: Path, shift: float, fault: str) -> None:
    write(tmp_path)
    moved(tmp_path, 2, shift, 0, 0)
    found = stacked(tmp_path)
    assert found.fault == (fault and f"{fault} of even steps")
    words = "slices lie up to 0.5 mm beside a straight line of even steps; taken as even"
    assert found.uneven == ("" if fault else words)


def test_a_tilted_gantry_gives_an_affine_with_a_shear(tmp_path: Path) -> None:
    write(tmp_path)
    for place in range(4):
        moved(tmp_path, place, 0, 1.2 * place, 0)
    found = stacked(tmp_path)
    assert (found.fault, found.uneven, found.conflict) == ("", "", "")
    np.testing.assert_allclose(np.array(found.affine)[:3, 2], (0, -1.2, 2.5))
    volume = read_volume(tmp_path)
    assert volume.affine is not None
    assert abs(np.linalg.det(np.array(volume.affine).reshape(4, 4))) == pytest.approx(2.0 * 3.0 * 2.5)
    assert volume.spacing_mm == pytest.approx((np.hypot(1.2, 2.5), 2.0, 3.0))
    # Both the distance of the slices and that of their first pixels are in use.
    for between, said in ((2.5, False), (float(np.hypot(1.2, 2.5)), False), (5.0, True)):
        for path in tmp_path.iterdir():
            change(path, SpacingBetweenSlices=f"{between:.6f}")
        words = "the spacing between slices is 5 mm, their positions are 2.5 mm apart; the positions count"
        assert stacked(tmp_path).conflict == (words if said else "")


@pytest.mark.parametrize(
    "elements",
    [{"PixelSpacing": [0, 3]}, {"ImageOrientationPatient": [0] * 6}, {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}],
)
def test_a_size_or_direction_of_0_is_no_place(tmp_path: Path, elements: dict[str, Any]) -> None:
    write(tmp_path)
    change(tmp_path / "0.dcm", **elements)
    with pytest.raises(DataError, match="series: expected position, orientation and pixel spacing in every slice"):
        stacked(tmp_path)


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


def test_slices_without_a_position_are_no_volume(tmp_path: Path) -> None:
    write(tmp_path)
    data = pydicom.dcmread(tmp_path / "0.dcm")
    del data.ImagePositionPatient
    data.save_as(tmp_path / "0.dcm")
    with pytest.raises(DataError, match="series: expected position, orientation and pixel spacing in every slice"):
        stacked(tmp_path)


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
