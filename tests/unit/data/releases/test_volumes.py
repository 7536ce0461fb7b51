"""Inspection of volumes and label images: frames, sizes and values are checked, and faults are reported."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data.inspection_cache import open_inspection_cache
from harness.data.integrity import Finding, Integrity
from harness.data.phantoms.writers.dicom import DrawnSeries, write_slice
from harness.data.releases import volumes as release_volumes
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.volumes import (
    Labels,
    derived_volume,
    inspect_labels,
    inspect_scan,
    inspect_volume,
    is_volume,
)
from harness.imaging.masks import area, encode
from harness.imaging.volumes import closest_canonical, read_volume
from harness.metrics.masks.surface import hd95
from harness.records import Entity, Media, Prediction, Sample, Target
from harness.records.codec import media_from_json, to_json
from tests.support.dicom_series import change

nibabel = pytest.importorskip("nibabel")

SHAPE = (3, 4, 5)  # (D, H, W)


def save_nifti(path: Path, values: np.ndarray, *, shift_mm: float = 0.0) -> None:
    """Write values (D, H, W) with voxels of 1 x 1 x 2 mm, moved along x."""
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[0, 3] = shift_mm
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(values.T), affine), path)


def labels_of(files: ReleaseFiles, path: str, media: Media) -> tuple[Labels | str, list[Finding]]:
    integrity = Integrity()
    return inspect_labels(files, path, media, integrity=integrity), integrity.findings


@pytest.fixture
def files(tmp_path: Path) -> ReleaseFiles:
    save_nifti(tmp_path / "ct.nii.gz", np.arange(60, dtype=np.int16).reshape(SHAPE))
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[1, 1, 1:3], labels[2, 0, 0] = 1, 7
    save_nifti(tmp_path / "label.nii.gz", labels)
    return ReleaseFiles(root=tmp_path, derived=tmp_path / "derived")


@pytest.fixture
def media(files: ReleaseFiles) -> Media:
    return inspect_scan(files, "ct.nii.gz", window=None, integrity=Integrity()).media


@pytest.mark.parametrize(
    ("path", "expected"), [("a/ct.nii.gz", True), ("ct.nii", True), ("ct.npy", True), ("ct.png", False), ("nii", False)]
)
def test_a_volume_is_known_by_its_name(path: str, expected: bool) -> None:
    assert is_volume(path) is expected


def test_a_volume_has_size_spacing_and_affine(media: Media) -> None:
    assert (media.kind, media.size, media.spacing_mm) == ("volume", SHAPE, (2.0, 1.0, 1.0))
    assert media.affine is not None
    assert media.affine[10] == 2.0


def test_a_window_becomes_limits_of_the_volume(files: ReleaseFiles) -> None:
    found = inspect_volume(files, "ct.nii.gz", window=(10.0, 20.0), integrity=Integrity())
    assert found.media.window == (10.0, 20.0)


@pytest.mark.parametrize(
    ("path", "kind", "defect"),
    [
        ("none.nii.gz", "missing_file", "volume none.nii.gz is missing"),
        ("torn.npy", "unreadable_file", "volume torn.npy cannot be read"),
    ],
)
def test_a_volume_that_cannot_be_used_keeps_its_path(files: ReleaseFiles, path: str, kind: str, defect: str) -> None:
    (files.root / "torn.npy").write_bytes(b"\x93NUMPY")
    integrity = Integrity()
    found = inspect_volume(files, path, integrity=integrity)
    assert (found.media.path, found.media.sha256, found.defect) == (path, None, defect)
    assert [(one.kind, one.where) for one in integrity.findings] == [(kind, path)]
    assert not integrity.findings[0].detail.startswith("torn")


def test_every_value_above_zero_is_a_mask(files: ReleaseFiles, media: Media) -> None:
    found, findings = labels_of(files, "label.nii.gz", media)
    assert isinstance(found, Labels)
    assert {value: area(mask) for value, mask in found.masks.items()} == {1: 2, 7: 1}
    assert (found.size, findings) == (SHAPE, [])


def test_a_label_image_may_be_an_image(files: ReleaseFiles) -> None:
    pixels = np.zeros((4, 5), dtype=np.uint8)
    pixels[0, :3] = 2
    Image.fromarray(pixels).save(files.root / "label.png")
    found, findings = labels_of(files, "label.png", Media(path="x.png", sha256="0", size=(4, 5)))
    assert isinstance(found, Labels)
    assert {value: area(mask) for value, mask in found.masks.items()} == {2: 3}
    assert (found.affine, findings) == (None, [])


@pytest.mark.parametrize(("shift_mm", "fits"), [(0.09, True), (0.11, False)])
def test_labels_may_be_displaced_by_a_tenth_of_a_voxel(
    files: ReleaseFiles, media: Media, shift_mm: float, fits: bool
) -> None:
    save_nifti(files.root / "moved.nii.gz", np.ones(SHAPE, dtype=np.uint8), shift_mm=shift_mm)
    found, findings = labels_of(files, "moved.nii.gz", media)
    assert isinstance(found, Labels) is fits
    if not fits:
        assert found == "mask moved.nii.gz is off its volume by up to 0.11 mm"
        assert findings == [Finding("frame_mismatch", "moved.nii.gz", "corners lie up to 0.11 mm apart")]
        assert findings[0].image == "ct.nii.gz"


def test_labels_of_another_size_do_not_fit(files: ReleaseFiles, media: Media) -> None:
    save_nifti(files.root / "small.nii.gz", np.ones((2, 4, 5), dtype=np.uint8))
    found, findings = labels_of(files, "small.nii.gz", media)
    assert found == "mask small.nii.gz is (2, 4, 5), its image (3, 4, 5) as (D, H, W)"
    assert [one.kind for one in findings] == ["size_mismatch"]


def test_labels_fit_a_volume_that_cannot_be_read(files: ReleaseFiles) -> None:
    found, findings = labels_of(files, "label.nii.gz", Media(path="x.nii.gz", sha256=None, kind="volume"))
    assert isinstance(found, Labels)
    assert findings == []


def test_what_changes_the_values_of_a_mask_is_a_finding(files: ReleaseFiles, media: Media) -> None:
    labels = np.where(np.arange(60).reshape(SHAPE) < 6, np.nan, 0.99999994).astype(np.float32)
    labels[2] = 2
    save_nifti(files.root / "label.nii.gz", labels)
    found, findings = labels_of(files, "label.nii.gz", media)
    assert isinstance(found, Labels)
    assert {value: area(mask) for value, mask in found.masks.items()} == {1: 34, 2: 20}
    nan = Finding("nan_background", "label.nii.gz", "NaN in 6 of 60 pixels, read as background")
    assert findings == [nan]
    integrity = Integrity()
    inspect_labels(files, "label.nii.gz", media, integrity=integrity, named=())
    merged = "no label names the values 1, 2; all of them count as foreground"
    assert integrity.findings == [nan, Finding("merged_values", "label.nii.gz", merged)]


def test_a_soft_or_transparent_mask_is_read_and_said(files: ReleaseFiles) -> None:
    media = Media(path="x.png", sha256="0", size=(4, 5))
    grey = np.zeros((4, 5), dtype=np.uint8)
    grey[1:3, 1:4], grey[0] = 255, (0, 127, 128, 60, 1)
    Image.fromarray(grey).save(files.root / "grey.png")
    Image.fromarray(np.dstack([np.zeros((4, 5, 3), dtype=np.uint8), (grey > 127) * np.uint8(255)])).save(
        files.root / "alpha.png"
    )
    detail = "4 values beside 0 and 255 in 4 of 20 pixels, 1 to 128; cut at half, from 128 on"
    for name, kind, words in (("grey.png", "soft_mask", detail), ("alpha.png", "alpha_mask", "")):
        for named in ((), (255,)):
            integrity = Integrity()
            found = inspect_labels(files, name, media, integrity=integrity, named=named)
            assert isinstance(found, Labels)
            assert {value: area(mask) for value, mask in found.masks.items()} == {255: 7}
            assert integrity.findings == [Finding(kind, name, words)]


def test_a_declared_threshold_makes_one_label(files: ReleaseFiles, media: Media) -> None:
    save_nifti(files.root / "label.nii.gz", np.linspace(0, 1, 60, dtype=np.float32).reshape(SHAPE))
    found, findings = labels_of(files, "label.nii.gz", media)
    assert found == "mask label.nii.gz cannot be read"
    assert "as in a map of probabilities; threshold it first, or declare the threshold" in findings[0].detail
    for named, value in (((), 1), ((4,), 4), (None, 1)):
        found = inspect_labels(files, "label.nii.gz", media, integrity=Integrity(), named=named, threshold=0.5)
        assert isinstance(found, Labels)
        assert {value: area(mask) for value, mask in found.masks.items()} == {value: 30}


def test_what_was_remembered_of_a_mask_holds_for_one_set_of_labels(tmp_path: Path, files: ReleaseFiles) -> None:
    grey = np.zeros((4, 5), dtype=np.uint8)
    grey[1:3, 1:4], grey[0, :3] = 255, (100, 120, 120)
    Image.fromarray(grey).save(files.root / "m.png")
    media = Media(path="x.png", sha256="0", size=(4, 5))
    remembered: list[dict[int, int]] = []
    for named in ((255,), (100, 120, 255)):
        with open_inspection_cache(tmp_path / "kept") as kept:
            again = ReleaseFiles(root=files.root, derived=files.derived, inspections=kept)
            found = inspect_labels(again, "m.png", media, integrity=Integrity(), named=named)
            assert isinstance(found, Labels)
            remembered.append({value: area(mask) for value, mask in found.masks.items()})
    assert remembered == [{255: 6}, {100: 1, 120: 2, 255: 6}]


@pytest.mark.parametrize(
    ("values", "detail"),
    [
        (np.arange(1_500, dtype=np.int32).reshape(3, 20, 25), "at most 1024 labels, found 1500; is it a picture?"),
        (np.full(SHAPE, 70_000, dtype=np.int32), "labels of at most 65535, found 70000"),
        (np.full(SHAPE, 0.5, dtype=np.float32), "found 0.5 and 59 other numbers that are not whole between 0 and 1"),
        (np.full(SHAPE, -2, dtype=np.int16), "found -2 as the lowest; give the background the value 0"),
    ],
)
def test_other_values_are_no_labels(files: ReleaseFiles, media: Media, values: np.ndarray, detail: str) -> None:
    save_nifti(files.root / "scan.nii.gz", values)
    found, findings = labels_of(files, "scan.nii.gz", media)
    assert found == "mask scan.nii.gz cannot be read"
    assert [one.kind for one in findings] == ["unreadable_file"]
    assert detail in findings[0].detail


def test_a_missing_label_image_is_reported(files: ReleaseFiles, media: Media) -> None:
    found, findings = labels_of(files, "none.nii.gz", media)
    assert (found, findings) == ("mask none.nii.gz is missing", [Finding("missing_file", "none.nii.gz")])


def test_a_derived_volume_is_read_back_as_it_was(files: ReleaseFiles) -> None:
    volume = closest_canonical(np.arange(60, dtype=np.float32).reshape(5, 4, 3), np.diag([1.0, 1.0, 2.0, 1.0]).tolist())
    found = derived_volume(files, volume, "series", window=None)
    again = derived_volume(files, volume, "another series", window=None)
    assert found == again
    read = read_volume(files.derived / found.media.path)
    assert np.array_equal(read.voxels, volume.voxels)
    assert (read.affine, found.media.size) == (found.media.affine, volume.voxels.shape)


def geometry_findings(files: ReleaseFiles, path: str) -> list[tuple[str, str]]:
    integrity = Integrity()
    found = inspect_scan(files, path, window=None, integrity=integrity)
    assert found.defect is None
    return [(one.kind, one.detail) for one in integrity.findings]


def test_a_volume_of_an_unlikely_size_is_said(files: ReleaseFiles) -> None:
    image = nibabel.Nifti1Image(np.zeros((5, 4, 3), dtype=np.int16), np.diag([3000.0, 1000.0, 1000.0, 1.0]))
    nibabel.save(image, files.root / "large.nii.gz")
    words = "the volume is 3 x 4 x 15 m large if its unit of length, unknown, is right; mm if none is named"
    assert geometry_findings(files, "large.nii.gz") == [("geometry_conflict", words)]
    image.header.set_xyzt_units("micron")
    nibabel.save(image, files.root / "large.nii.gz")
    assert geometry_findings(files, "large.nii.gz") == []
    image = nibabel.Nifti1Image(np.zeros((5, 4, 3), dtype=np.int16), np.diag([3.0, 1.0, 1.0, 1.0]))
    image.header.set_xyzt_units("micron")
    nibabel.save(image, files.root / "small.nii.gz")
    words = "the volume is 3e-06 x 4e-06 x 1.5e-05 m large if its unit of length, um, is right; mm if none is named"
    assert geometry_findings(files, "small.nii.gz") == [("geometry_conflict", words)]


def test_a_sheared_volume_and_headers_that_contradict_each_other_are_said(files: ReleaseFiles) -> None:
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[1, 2] = 2.0
    image = nibabel.Nifti1Image(np.zeros((5, 4, 3), dtype=np.int16), affine)
    nibabel.save(image, files.root / "sheared.nii.gz")
    skewed = ("skewed_grid", "two axes are at 45.0 degrees; distances are measured in space")
    assert geometry_findings(files, "sheared.nii.gz") == [skewed]
    image.header["pixdim"][1:4] = 1
    (files.root / "sheared.nii").write_bytes(image.header.binaryblock + b"\0" * 4 + bytes(120))
    words = "voxels are 1 x 1 x 2.82843 mm by the sform and 1 x 1 x 1 mm by pixdim; the sform counts"
    assert geometry_findings(files, "sheared.nii") == [("geometry_conflict", words), skewed]


def test_headers_of_a_mask_that_contradict_each_other_are_said(files: ReleaseFiles, media: Media) -> None:
    image = nibabel.load(files.root / "label.nii.gz")
    header = image.header.copy()
    header["pixdim"][3], header["magic"], header["vox_offset"] = 5, b"n+1", 352
    content = header.binaryblock + b"\0" * 4 + np.asarray(image.dataobj).tobytes("F")
    (files.root / "odd.nii").write_bytes(content)
    found, findings = labels_of(files, "odd.nii", media)
    assert isinstance(found, Labels)
    words = "voxels are 1 x 1 x 2 mm by the sform and 1 x 1 x 5 mm by pixdim; the sform counts"
    assert [(one.kind, one.detail) for one in findings] == [("geometry_conflict", words)]


@pytest.mark.parametrize("unit", ["mm", "micron", "meter"])
def test_masks_without_a_unit_are_in_that_of_their_volume(files: ReleaseFiles, unit: str) -> None:
    scale = {"mm": 1.0, "micron": 1000.0, "meter": 0.001}[unit]
    affine = np.diag([1.0 * scale, 1.0 * scale, 2.0 * scale, 1.0])
    volume, mask = (nibabel.Nifti1Image(np.ones((5, 4, 3), dtype=np.int16), affine) for _ in range(2))
    volume.header.set_xyzt_units(unit)
    nibabel.save(volume, files.root / "image.nii.gz")
    nibabel.save(mask, files.root / "mask.nii.gz")
    media = inspect_scan(files, "image.nii.gz", window=None, integrity=Integrity()).media
    assert media.spacing_mm == (2.0, 1.0, 1.0)
    found, findings = labels_of(files, "mask.nii.gz", media)
    assert isinstance(found, Labels)
    assert findings == []


def test_a_single_dicom_image_has_the_size_of_its_pixels(files: ReleaseFiles) -> None:
    path, grey = files.root / "xray.dcm", np.zeros((6, 8), dtype=np.float32)
    write_slice(path, DrawnSeries(name="x", modality="DX", spacing=(0.2, 0.3), intercept=0), 1, (0, 0, 0), grey)
    found = inspect_scan(files, "xray.dcm", window=(0.0, 1.0), integrity=Integrity())
    assert (found.media.kind, found.media.size, found.media.spacing_mm) == ("image", (6, 8), (0.2, 0.3))
    change(path, ImagerPixelSpacing=[0.4, 0.4])
    integrity = Integrity()
    found = inspect_scan(files, "xray.dcm", window=(0.0, 1.0), integrity=integrity)
    assert found.media.spacing_mm == (0.2, 0.3)
    words = "PixelSpacing is 0.2 x 0.3 mm and ImagerPixelSpacing 0.4 x 0.4 mm without a type of calibration"
    assert [(one.kind, one.where) for one in integrity.findings] == [("geometry_conflict", "xray.dcm")]
    assert integrity.findings[0].detail == f"{words}; PixelSpacing counts"
    # A column apart are 0.3 mm, a row apart 0.2 mm.
    mask = np.zeros((6, 8), dtype=np.uint8)
    mask[2, 2] = 1
    moved = np.roll(mask, (2, 1), axis=(0, 1))
    media = found.media
    target = Target(entities=(Entity(name="dot", mask=encode(mask > 0)),))
    sample = Sample(id="x", media=(media,), target=target)
    outcome = hd95(sample, Prediction(key="x", status="ok", masks=(encode(moved > 0),)))
    assert outcome.stats == pytest.approx((0.5, 1.0))
    assert outcome.detail == {}


@pytest.mark.parametrize("content", ["an unknown type", "an affine of 0", "too many frames"])
def test_a_file_that_cannot_be_read_is_a_finding_of_its_own(files: ReleaseFiles, content: str) -> None:
    header = nibabel.Nifti1Header()
    header.set_data_shape((5, 4, 3))
    header.set_data_dtype(np.int16)
    header["vox_offset"], header["magic"], header["sform_code"] = 352, b"n+1", 1
    name = "odd.nii"
    if content == "an unknown type":
        header["datatype"] = 999
    if content == "too many frames":
        name = "odd.dcm"
        write_slice(files.root / name, DrawnSeries(name="x"), 1, (0, 0, 0), np.zeros((6, 8)))
        change(files.root / name, NumberOfFrames=10**9)
    else:
        (files.root / name).write_bytes(header.binaryblock + b"\0" * 4 + bytes(120))
    integrity = Integrity()
    found = inspect_scan(files, name, window=None, integrity=integrity)
    kind = "image" if content == "too many frames" else "volume"
    assert found.defect == f"{kind} {name} cannot be read"
    (finding,) = integrity.findings
    assert finding.kind == "unreadable_file"
    words = {
        "an unknown type": "cannot be read as NIfTI: data code 999 not recognized",
        "an affine of 0": "expected an affine with an inverse, found none in sform and qform",
        "too many frames": "expected the pixels of 1000000000 frames of 6 x 8 pixels, found a file of",
    }
    assert finding.detail.startswith(words[content])


@pytest.mark.parametrize("name", ["ct.nii.gz", "a.npy", "a.dcm"])
def test_a_volume_that_does_not_fit_into_memory_is_a_finding(
    files: ReleaseFiles, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    np.save(files.root / "a.npy", np.zeros(SHAPE))
    write_slice(files.root / "a.dcm", DrawnSeries(name="x"), 1, (0, 0, 0), np.zeros((6, 8)))
    monkeypatch.setattr(release_volumes, "read_pixels", full)
    monkeypatch.setattr(release_volumes, "limits", full)
    integrity = Integrity()
    found = inspect_scan(files, name, window=(0.0, 1.0), integrity=integrity)
    assert (found.defect or "").endswith("cannot be read")
    words = "too large for the memory of this machine"
    assert [(one.kind, one.where, one.detail) for one in integrity.findings] == [("unreadable_file", name, words)]


def test_a_2d_nifti_is_known_as_one(files: ReleaseFiles) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 4), dtype=np.int16), np.eye(4)), files.root / "flat.nii.gz")
    media = inspect_scan(files, "flat.nii.gz", window=None, integrity=Integrity()).media
    assert (media.size, media.flat) == ((1, 4, 5), True)
    assert media_from_json(to_json(media)) == media
