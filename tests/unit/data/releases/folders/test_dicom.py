"""DICOM series with a DICOM SEG: which series, which labels, what is reported, and that nobody is named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data.integrity import Integrity
from harness.data.phantoms.writers.dicom import PRIVATE, DrawnSeries, uid, write_segmentation, write_slice
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.folders.dicom import READER
from harness.data.releases.reader import ReleaseRequest
from harness.imaging.masks import decode, encode
from harness.imaging.volumes import read_volume
from harness.metrics.masks.overlap import volume_error
from harness.metrics.masks.surface import hd95
from harness.records import Prediction, Sample
from harness.records.codec import sample_to_json
from tests.support.dicom_series import change

pydicom = pytest.importorskip("pydicom")

VOXELS = np.random.default_rng(3).integers(-900, 1200, (4, 5, 6)).astype(np.float32)
PLACES = [(0.0, 0.0, 2.0 * place) for place in range(4)]
SERIES = DrawnSeries(name="p1", number=4)


def cyst() -> np.ndarray:
    mask = np.zeros((4, 5, 6), dtype=bool)
    mask[1:3, 1, 2:5] = True
    return mask


def write(folder: Path, series: DrawnSeries = SERIES, *, slices: int = 4, **segmentation: Any) -> None:
    for place in range(slices):
        write_slice(folder / f"ct/{3 - place}.dcm", series, place + 1, PLACES[place], VOXELS[place])
    write_segmentation(folder / "seg/s.dcm", series, {"Cyst": cyst()}, PLACES, **segmentation)


def read(root: Path, split: str = "all", **options: Any) -> tuple[list[Sample], Integrity]:
    integrity = Integrity()
    request = ReleaseRequest(dataset="d", split=split, options=options)
    READER.check(request)
    reader = READER.fitted(request)
    reader.check_split(root, split)
    files = ReleaseFiles(root=root, derived=root.parent / "derived")
    return [sample for _, sample in reader.read(files, request, integrity)], integrity


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "data/dicom_seg/patient one")
    return tmp_path / "data"


def findings(integrity: Integrity) -> list[tuple[str, str, str]]:
    return [(one.kind, one.where.removeprefix("dicom_seg/patient one"), one.detail) for one in integrity.findings]


def test_a_segment_of_a_series_is_a_question(root: Path) -> None:
    (sample,), integrity = read(root)
    assert sample.id == "d/all/patient one/ct:Cyst"
    assert sample.cluster == "patient one"
    assert sample.strata == {"modality": "ct", "class": "cyst", "target_size": "small", "presence": "present"}
    (media,) = sample.media
    volume = read_volume(root.parent / "derived" / media.path)
    np.testing.assert_array_equal(volume.voxels, VOXELS[:, ::-1, ::-1])
    assert (media.size, media.spacing_mm) == ((4, 5, 6), (2.0, 1.0, 1.0))
    mask = sample.target.entities[0].mask
    assert mask is not None
    np.testing.assert_array_equal(decode(mask), cyst()[:, ::-1, ::-1])
    assert integrity.findings == []


def test_nothing_that_names_anybody_leaves_the_files(root: Path) -> None:
    folder = root / "dicom_seg/patient one"
    write_slice(folder / "scout.dcm", DrawnSeries(name="scout", number=9), 1, (0, 0, 0), VOXELS[0])
    samples, integrity = read(root)
    told = json.dumps([sample_to_json(sample) for sample in samples]) + json.dumps(integrity.to_json())
    told += "".join(path.read_bytes().decode("latin-1") for path in (root.parent / "derived").rglob("*.nii"))
    secrets = [*PRIVATE.values(), uid("p1/4"), "2.25."]
    assert [secret for secret in secrets if secret in told] == []
    assert "Cyst" in told


def test_other_series_and_files_are_named_and_left_out(root: Path) -> None:
    folder = root / "dicom_seg/patient one"
    for place in range(4):
        series = DrawnSeries(name="other", number=7, modality="MR")
        write_slice(folder / f"mr/{place}.dcm", series, place, PLACES[place], VOXELS[place])
    (folder / "notes.txt").write_text("by hand")
    (sample,), integrity = read(root)
    assert sample.id == "d/all/patient one/ct:Cyst"
    detail = "asked about series 4 (ct, 4 slices of 5 x 6); beside it series 7 (mr, 4 slices of 5 x 6)"
    assert sorted(findings(integrity)) == [("not_dicom", "/notes.txt", ""), ("other_series", "", detail)]


def test_a_segmentation_that_names_no_series_lies_on_the_longest(root: Path) -> None:
    folder = root / "dicom_seg/patient one"
    write(folder, referenced=False)
    write_slice(folder / "scout.dcm", DrawnSeries(name="scout", number=1), 1, (0, 0, 0), VOXELS[0])
    (sample,), integrity = read(root)
    assert (sample.id, sample.defect) == ("d/all/patient one/ct:Cyst", None)
    assert ("segmentation_remark", "/seg/s.dcm") in [found[:2] for found in findings(integrity)]


def test_a_series_with_gaps_cannot_be_asked(root: Path) -> None:
    (root / "dicom_seg/patient one/ct/1.dcm").unlink()
    (sample,), integrity = read(root)
    gap = "1 slice is missing in 1 gap between the others"
    assert sample.defect == f"series dicom_seg/patient one/ct: {gap}"
    assert sample.id == "d/all/patient one/ct:Cyst"
    assert findings(integrity) == [("missing_slices", "/ct", gap)]


def test_doubled_and_foreign_slices_are_left_out_and_counted(root: Path) -> None:
    folder = root / "dicom_seg/patient one/ct"
    (folder / "again.dcm").write_bytes((folder / "0.dcm").read_bytes())
    coronal = DrawnSeries(name="p1", number=4, orientation=(1, 0, 0, 0, 0, -1))
    write_slice(folder / "scout.dcm", coronal, 20, (0, 0, 0), VOXELS[0])
    (sample,), integrity = read(root)
    assert sample.defect is None
    assert findings(integrity) == [
        ("doubled_slices", "/ct", "1 left out, 4 kept"),
        ("foreign_slices", "/ct", "1 left out, 4 kept"),
    ]


def test_a_folder_without_segmentation_asks_nothing(root: Path) -> None:
    (root / "dicom_seg/patient one/seg/s.dcm").unlink()
    samples, integrity = read(root)
    assert samples == []
    assert findings(integrity) == [("no_mask", "", "")]


def test_a_segmentation_without_series_cannot_be_asked(root: Path) -> None:
    for path in (root / "dicom_seg/patient one/ct").iterdir():
        path.unlink()
    (sample,), integrity = read(root)
    assert sample.id == "d/all/patient one:Cyst"
    assert sample.defect == "dicom_seg/patient one holds no series that its segmentation lies on"
    assert findings(integrity) == [("missing_file", "", "a segmentation without any series")]


def test_a_segmentation_off_its_series_cannot_be_asked(root: Path) -> None:
    folder = root / "dicom_seg/patient one"
    beside = [(x + 0.5, y, z) for x, y, z in PLACES]
    write_segmentation(folder / "seg/s.dcm", SERIES, {"Cyst": cyst()}, beside)
    (sample,), integrity = read(root)
    assert sample.defect == "segmentation dicom_seg/patient one/seg/s.dcm cannot be read"
    detail = "a frame lies between the voxels of its series; resample the segmentation to the series"
    assert findings(integrity) == [("unreadable_file", "/seg/s.dcm", detail)]


def test_slices_that_cannot_be_decoded_cannot_be_asked(root: Path) -> None:
    path = root / "dicom_seg/patient one/ct/0.dcm"
    data = pydicom.dcmread(path)
    data.PixelData = b"12"
    data.save_as(path)
    (sample,), integrity = read(root)
    assert sample.defect == "series dicom_seg/patient one/ct cannot be read"
    assert findings(integrity)[0][0] == "unreadable_file"


def test_two_segmented_series_in_one_folder_get_names_of_their_own(root: Path) -> None:
    folder = root / "dicom_seg/patient one"
    late = DrawnSeries(name="p1", number=5)
    for place in range(4):
        write_slice(folder / f"ct/late{place}.dcm", late, place, PLACES[place], VOXELS[place] + 1)
    write_segmentation(folder / "seg/late.dcm", late, {"Cyst": cyst()}, PLACES)
    samples, integrity = read(root)
    assert {sample.id for sample in samples} == {"d/all/patient one/ct#4:Cyst", "d/all/patient one/ct#5:Cyst"}
    assert integrity.findings == []


def test_of_two_segments_of_one_name_the_first_file_counts(root: Path) -> None:
    folder = root / "dicom_seg/patient one"
    write_segmentation(folder / "seg/z.dcm", SERIES, {"Cyst": ~cyst(), "Rim": cyst()}, PLACES)
    samples, integrity = read(root)
    assert [sample.strata["class"] for sample in samples] == ["cyst", "rim"]
    detail = "'Cyst' is in another file of this series too, which counts"
    assert findings(integrity) == [("segmentation_remark", "/seg/z.dcm", detail)]


def test_folders_may_name_split_patient_and_case(tmp_path: Path) -> None:
    for path in ("train/a/1", "test/b/1", "test/b/2"):
        write(tmp_path / "data/mine" / path, DrawnSeries(name=path))
    options = {"folder": "mine", "cases": "{split}/{patient}/{case}"}
    samples, _ = read(tmp_path / "data", "test", **options)
    assert [sample.id for sample in samples] == ["d/test/test/b/1/ct:Cyst", "d/test/test/b/2/ct:Cyst"]
    assert {sample.cluster for sample in samples} == {"b"}
    request = ReleaseRequest(dataset="d", split="x", options=options)
    assert READER.fitted(request).splits(tmp_path / "data") == ("test", "train")


def test_the_real_segmentation_lies_on_a_series_that_it_names(tmp_path: Path) -> None:
    path = pydicom.data.get_testdata_file("liver_1frame.dcm", download=False)
    if path is None:
        pytest.skip("pydicom does not bring liver_1frame.dcm along")
    folder = tmp_path / "dicom_seg/liver"
    series = DrawnSeries(name="liver", spacing=(0.810547, 0.810547))
    segmentation = pydicom.dcmread(path)
    for number in range(3):
        file = folder / f"{number}.dcm"
        write_slice(file, series, number, (-235.2, -226.8, -128.69 + number), np.zeros((512, 512)))
        data = pydicom.dcmread(file)
        data.SeriesInstanceUID = segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID
        data.save_as(file)
    (folder / "seg.dcm").write_bytes(Path(path).read_bytes())
    (sample,), integrity = read(tmp_path)
    assert (sample.id, sample.defect) == ("d/all/liver:Liver", None)
    mask = sample.target.entities[0].mask
    assert mask is not None
    np.testing.assert_array_equal(decode(mask)[0], segmentation.pixel_array[::-1, ::-1] > 0)
    remark = "it describes 3 frames and holds the pixels of 1"
    assert [(one.kind, one.detail) for one in integrity.findings] == [("segmentation_remark", remark)]
    told = json.dumps(sample_to_json(sample)) + json.dumps(integrity.to_json())
    assert [value for value in ("JANCT000", "99000", "20030417", "03086212", "1.2.392") if value in told] == []


def fine(folder: Path, segments: dict[str, np.ndarray]) -> None:
    """Write segments on a grid of twice as many rows and columns over the field of view of the series."""
    series = DrawnSeries(name="p1", number=4, spacing=(0.5, 0.5))
    corners = [(x - 0.25, y - 0.25, z) for x, y, z in PLACES]
    write_segmentation(folder / "seg/s.dcm", series, segments, corners, between=2.0)


def doubled(mask: np.ndarray) -> np.ndarray:
    return mask.repeat(2, axis=1).repeat(2, axis=2)


def test_a_segmentation_on_a_finer_grid_is_resampled_and_said(root: Path) -> None:
    speck = np.zeros((4, 10, 12), dtype=bool)
    speck[1, 2, 2] = True  # the later of two pixels counts, so (3, 3) is the one that is nearest to a voxel
    fine(root / "dicom_seg/patient one", {"Cyst": doubled(cyst()), "Speck": speck})
    cysts, specks = read(root)[0]
    mask = cysts.target.entities[0].mask
    assert mask is not None
    np.testing.assert_array_equal(decode(mask), cyst()[:, ::-1, ::-1])
    lost = "'Speck' is nearest to no voxel of its series"
    assert specks.defect == f"segmentation dicom_seg/patient one/seg/s.dcm: {lost}"
    grids = "it has frames of 10 x 12 pixels of 0.5 x 0.5 mm, 2 mm apart, its series slices of 5 x 6 of 1 x 1 mm"
    assert findings(read(root)[1]) == [
        ("resampled_mask", "/seg/s.dcm", f"{grids}, 2 mm apart"),
        ("resampled_mask", "/seg/s.dcm", lost),
    ]


def test_a_segmentation_in_another_frame_of_reference_is_said(root: Path) -> None:
    folder = root / "dicom_seg/patient one"
    for number, path in enumerate(sorted(folder.rglob("*.dcm"))):
        change(path, FrameOfReferenceUID=f"1.2.{number // 4}")  # four slices, then the segmentation
    (sample,), integrity = read(root)
    assert sample.defect is None
    words = "it names another frame of reference than its series; positions were compared all the same"
    assert findings(integrity) == [("geometry_conflict", "/seg/s.dcm", words)]


def test_background_is_asked_about_under_no_name(root: Path) -> None:
    folder = root / "dicom_seg/patient one"
    write_segmentation(folder / "seg/s.dcm", SERIES, {"Background": ~cyst(), "Cyst": cyst()}, PLACES)
    (sample,), integrity = read(root)
    assert (sample.id, integrity.findings) == ("d/all/patient one/ct:Cyst", [])
    write_segmentation(folder / "seg/s.dcm", SERIES, {"hintergrund": ~cyst()}, PLACES)
    samples, integrity = read(root)
    assert samples == []
    assert findings(integrity) == [("segmentation_remark", "/seg/s.dcm", "it has no segment but background")]


def test_a_tilted_gantry_is_said_and_its_voxels_have_the_right_volume(tmp_path: Path) -> None:
    # Voxels of 10 x 10 x 10 mm, 1 ml each: by the length of a step, 14.1 mm, one voxel would be medium.
    series = DrawnSeries(name="p1", number=4, spacing=(10.0, 9.9))
    places = [(0.0, 10.0 * place, 10.0 * place) for place in range(4)]
    one = np.zeros((4, 5, 6), dtype=bool)
    one[1, 2, 3] = True
    folder = tmp_path / "data/dicom_seg/p"
    for place in range(4):
        write_slice(folder / f"ct/{place}.dcm", series, place + 1, places[place], VOXELS[place])
    write_segmentation(folder / "s.dcm", series, {"Cyst": one}, places)
    (sample,), integrity = read(tmp_path / "data")
    assert sample.strata["target_size"] == "small"
    assert sample.media[0].spacing_mm == pytest.approx((200**0.5, 10, 9.9))
    words = "two axes are at 45.0 degrees; distances are measured in space"
    assert [(one.kind, one.where, one.detail) for one in integrity.findings] == [
        ("skewed_grid", "dicom_seg/p/ct", words)
    ]
    mask = sample.target.entities[0].mask
    assert mask is not None
    twice = Prediction(key="k", status="ok", masks=(encode(decode(mask) | np.roll(decode(mask), 1, axis=2)),))
    assert volume_error(sample, twice).stats == pytest.approx((1.0, 1.0, 0.99, 1.0))
    # One slice up is 10 mm along the table and 10 mm aside.
    up = Prediction(key="k", status="ok", masks=(encode(np.roll(decode(mask), 1, axis=0)),))
    assert hd95(sample, up).stats == pytest.approx((200**0.5, 1.0))


@pytest.mark.parametrize(
    ("moves", "kind", "askable"),
    [
        ({1: 2.1}, "uneven_slices", True),
        ({1: 2.5}, "missing_slices", False),
        ({1: 0.0}, "missing_slices", False),
        ({3: 4.0}, "doubled_slices", True),
    ],
)
def test_slices_at_uneven_places_are_always_said(root: Path, moves: dict[int, float], kind: str, askable: bool) -> None:
    for place, z in moves.items():
        change(root / f"dicom_seg/patient one/ct/{3 - place}.dcm", ImagePositionPatient=[0, 0, z])
    (sample,), integrity = read(root)
    assert (sample.defect is None) is askable
    assert kind in {found[0] for found in findings(integrity)}


def test_a_spacing_between_slices_that_positions_contradict_is_said(root: Path) -> None:
    for path in (root / "dicom_seg/patient one/ct").iterdir():
        change(path, SpacingBetweenSlices=5)
    (sample,), integrity = read(root)
    assert sample.media[0].spacing_mm == (2.0, 1.0, 1.0)
    words = "the spacing between slices is 5 mm, their positions are 2 mm apart; the positions count"
    assert findings(integrity) == [("geometry_conflict", "/ct", words)]


def test_a_series_that_does_not_fit_into_memory_cannot_be_asked(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("harness.imaging.dicom.series.read_voxels", full)
    (sample,), integrity = read(root)
    assert sample.defect == "series dicom_seg/patient one/ct cannot be read"
    assert findings(integrity) == [("unreadable_file", "/ct", "too large for the memory of this machine")]
