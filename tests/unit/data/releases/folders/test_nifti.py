"""nnU-Net's folders and plain pairs: labels and modality from dataset.json, masks in the frame of their volume."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.folders.labels import Label
from harness.data.releases.folders.nifti import READER, read_dataset
from harness.data.releases.reader import ReleaseRequest
from harness.errors import DataError, SpecError
from harness.imaging.masks import decode
from harness.records import Sample

nibabel = pytest.importorskip("nibabel")

VOXELS = np.random.default_rng(5).integers(0, 3, (4, 5, 6)).astype(np.uint8)
AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])


def save(path: Path, voxels: np.ndarray = VOXELS, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    return path


def read(root: Path, split: str = "test", **changes: Any) -> tuple[list[Sample], Integrity]:
    integrity = Integrity()
    request = ReleaseRequest(dataset="d", split=split, **changes)
    READER.check(request)
    files = ReleaseFiles(root=root, derived=root / "derived")
    reader = READER.fitted(request)
    reader.check_split(root, split)
    return [sample for _, sample in reader.read(files, request, integrity)], integrity


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "nifti_seg"
    save(folder / "imagesTs/c1_0000.nii.gz")
    save(folder / "labelsTs/c1.nii.gz")
    described = {"channel_names": {"0": "CT", "1": "T2"}, "labels": {"background": 0, "liver": 1, "all": [1, 2]}}
    (folder / "dataset.json").write_text(json.dumps(described))
    return tmp_path


def test_labels_of_version_2_become_questions(root: Path) -> None:
    samples, integrity = read(root)
    assert [sample.id for sample in samples] == [
        "d/test/imagesTs/c1_0000.nii.gz:liver",
        "d/test/imagesTs/c1_0000.nii.gz:all",
    ]
    for sample, values in zip(samples, ([1], [1, 2]), strict=True):
        mask = sample.target.entities[0].mask
        assert mask is not None
        np.testing.assert_array_equal(decode(mask), np.isin(VOXELS.T, values))
    assert samples[0].strata["modality"] == "ct"
    assert samples[0].media[0].spacing_mm == (5.0, 2.0, 2.0)
    assert integrity.findings == []


def test_version_1_names_values_by_number() -> None:
    found = read_dataset({"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "edema"}}, "x", "0000")
    assert found.labels.labels == (Label(name="edema", values=(1,)),)
    assert found.modality == "mr"
    assert found.labels.ignored == {0}


def test_the_ignore_label_is_not_asked_about() -> None:
    found = read_dataset({"labels": {"background": 0, "liver": 1, "ignore": 2}}, "x", "0000")
    assert found.labels.labels == (Label(name="liver", values=(1,)),)
    assert found.labels.void == {2}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], r"d.json: expected an object with 'labels', found '\[\]'"),
        ({"labels": 3}, "d.json: expected an object with 'labels'"),
        ({"labels": {"liver": "one"}}, "d.json: labels: expected names and whole numbers, found"),
    ],
)
def test_a_dataset_json_of_another_form_is_named(value: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_dataset(value, "d.json", "0000")


def test_splits_are_those_whose_labels_are_there(root: Path) -> None:
    assert READER.splits(root) == ("test",)
    (root / "nifti_seg/labelsTr").mkdir()
    assert READER.splits(root) == ("train", "test")


def test_another_channel_and_names_without_channel_are_found(root: Path) -> None:
    save(root / "nifti_seg/imagesTs/c1_0001.nii.gz", VOXELS + 100)
    samples, _ = read(root, options={"channel": "0001"})
    assert (samples[0].media[0].path, samples[0].strata["modality"]) == ("nifti_seg/imagesTs/c1_0001.nii.gz", "mr")
    for name in ("c1_0000", "c1_0001"):
        (root / f"nifti_seg/imagesTs/{name}.nii.gz").unlink()
    save(root / "nifti_seg/imagesTs/c1.nii.gz")
    samples, integrity = read(root)
    assert samples[0].media[0].path == "nifti_seg/imagesTs/c1.nii.gz"
    assert integrity.findings == []
    with pytest.raises(SpecError, match=r"release.options.channel: expected four digits in quotes such as '0000', fou"):
        read(root, options={"channel": 1})


def test_a_label_stored_in_another_orientation_fits_its_volume(root: Path) -> None:
    turned = AFFINE @ np.array([[-1, 0, 0, 3], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    save(root / "nifti_seg/labelsTs/c1.nii.gz", VOXELS[::-1], turned)
    samples, integrity = read(root)
    mask = samples[0].target.entities[0].mask
    assert mask is not None
    np.testing.assert_array_equal(decode(mask), VOXELS.T == 1)
    assert integrity.findings == []


def test_a_label_off_its_volume_cannot_be_scored(root: Path) -> None:
    shifted = AFFINE.copy()
    shifted[2, 3] = 5.0
    save(root / "nifti_seg/labelsTs/c1.nii.gz", VOXELS, shifted)
    samples, integrity = read(root)
    assert samples[0].defect == "mask nifti_seg/labelsTs/c1.nii.gz is off its volume by up to 5 mm"
    assert [(finding.kind, finding.detail) for finding in integrity.findings] == [
        ("frame_mismatch", "corners lie up to 5 mm apart")
    ]


def test_missing_and_unreadable_volumes_stay_as_samples(root: Path) -> None:
    (root / "nifti_seg/imagesTs/c1_0000.nii.gz").unlink()
    save(root / "nifti_seg/imagesTs/c2_0000.nii.gz").write_bytes(b"torn")
    save(root / "nifti_seg/labelsTs/c2.nii.gz")
    save(root / "nifti_seg/imagesTs/c3_0000.nii.gz")
    save(root / "nifti_seg/imagesTs/c4_0000.nii.gz", np.zeros((2, 2, 2, 3), dtype=np.uint8))
    save(root / "nifti_seg/labelsTs/c4.nii.gz", VOXELS + 0.5)
    samples, integrity = read(root)
    assert [sample.defect for sample in samples[::2]] == [
        "volume nifti_seg/imagesTs/c1_0000.nii.gz is missing",
        "volume nifti_seg/imagesTs/c2_0000.nii.gz cannot be read",
        "volume nifti_seg/imagesTs/c4_0000.nii.gz cannot be read",
    ]
    found = {(finding.kind, finding.where.rpartition("/")[2]) for finding in integrity.findings}
    assert found == {
        ("missing_image", "c1.nii.gz"),
        ("unreadable_file", "c2_0000.nii.gz"),
        ("no_mask", "c3_0000.nii.gz"),
        ("unreadable_file", "c4_0000.nii.gz"),
        ("unreadable_file", "c4.nii.gz"),
    }
    detail = next(finding.detail for finding in integrity.findings if finding.where.endswith("labelsTs/c4.nii.gz"))
    assert detail.startswith("expected labels, whole numbers of at least 0, found 2.5 and 119 other numbers")


def test_plain_pairs_are_cases_of_one_split(tmp_path: Path) -> None:
    save(tmp_path / "mine/a/image.nii.gz")
    save(tmp_path / "mine/a/label.nii.gz")
    save(tmp_path / "mine/b/image.nii.gz")
    options = {"folder": "mine", "modality": "mr"}
    (sample,), integrity = read(tmp_path, "all", options=options)
    assert (sample.id, sample.strata["modality"]) == ("d/all/a/image.nii.gz:target", "mr")
    assert [(finding.kind, finding.where) for finding in sorted(integrity.findings)] == [
        ("merged_values", "mine/a/label.nii.gz"),
        ("no_mask", "mine/b/image.nii.gz"),
    ]
    (tmp_path / "mine/labels.json").write_text('{"cyst": 2}')
    (sample,), integrity = read(tmp_path, "all", options=options)
    assert sample.id == "d/all/a/image.nii.gz:cyst"
    assert integrity.counts == {"no_mask": 1, "unknown_label": 1}


def test_the_real_ct_and_its_bone_mask_are_read(test_data: Path, tmp_path: Path) -> None:
    folder = test_data / "volumes"
    if not (folder / "example_ct_sm.nii.gz").is_file():
        pytest.skip(f"no CT at {folder}")
    case = tmp_path / "nifti_seg/case"
    case.mkdir(parents=True)
    (case / "image.nii.gz").write_bytes((folder / "example_ct_sm.nii.gz").read_bytes())
    (case / "label.nii.gz").write_bytes((folder / "example_ct_sm_T300_output.nii.gz").read_bytes())
    (sample,), integrity = read(tmp_path, "all")
    mask = sample.target.entities[0].mask
    assert mask is not None
    stored = np.asarray(nibabel.load(folder / "example_ct_sm_T300_output.nii.gz").dataobj)
    assert decode(mask).sum() == (stored > 0).sum()
    assert sample.media[0].size == (30, 101, 122)
    assert sample.media[0].spacing_mm == pytest.approx((3.0, 3.0, 3.0), abs=0.01)
    assert (sample.defect, integrity.findings) == (None, [])


def test_values_beyond_labels_are_named(root: Path) -> None:
    save(root / "nifti_seg/labelsTs/c1.nii.gz", VOXELS.astype(np.int32) * 70_000)
    samples, integrity = read(root)
    assert samples[0].defect == "mask nifti_seg/labelsTs/c1.nii.gz cannot be read"
    assert integrity.findings[0].detail == "expected labels of at most 65535, found 140000"


def described(root: Path, **labels: Any) -> None:
    (root / "nifti_seg/dataset.json").write_text(json.dumps({"labels": {"background": 0, **labels}}))


def test_the_ignore_label_is_left_out_of_the_target_and_kept_beside_it(root: Path) -> None:
    described(root, liver=1, ignore=2)
    (sample,), integrity = read(root)
    target = sample.target
    assert target.entities[0].mask is not None
    assert target.ignore is not None
    np.testing.assert_array_equal(decode(target.entities[0].mask), VOXELS.T == 1)
    np.testing.assert_array_equal(decode(target.ignore), VOXELS.T == 2)
    assert (sample.strata["presence"], integrity.findings) == ("present", [])


def test_regions_are_unions_whatever_their_class_order(root: Path) -> None:
    regions = {"whole tumor": [1, 2], "core": [2], "ignore": 3}
    given = {"labels": {"background": 0, **regions}, "regions_class_order": [1, 2]}
    (root / "nifti_seg/dataset.json").write_text(json.dumps(given))
    samples, integrity = read(root)
    areas = {sample.strata["class"]: int(decode(sample.target.entities[0].mask).sum()) for sample in samples}  # type: ignore[arg-type]
    assert areas == {"whole tumor": (VOXELS > 0).sum(), "core": (VOXELS == 2).sum()}
    assert integrity.findings == []


def test_labels_of_dataset_json_that_fit_no_volume_end_the_reading(root: Path) -> None:
    described(root, liver=1, tumour=3)
    with pytest.raises(
        DataError, match=r"`nifti_seg/dataset.json: labels` names 1 \(liver\), 3 \(tumour\); .*: 2 \(in 1"
    ):
        read(root)
    save(root / "nifti_seg/labelsTr/c9.nii.gz", VOXELS * 0 + 3)  # the training set shows the tumour
    samples, integrity = read(root)
    assert len(samples) == 2
    assert [(one.kind, one.detail) for one in integrity.findings] == [("unknown_label", "2")]
    (root / "nifti_seg/labelsTr/c9.nii.gz").unlink()
    assert read(root, options={"labels_ignored": [2]})[1].findings == []


def test_volumes_and_labels_in_another_form_of_their_names_are_found(root: Path) -> None:
    folder = root / "nifti_seg"
    (folder / "imagesTs/c1_0000.nii.gz").rename(folder / "imagesTs/C1_0000.NII.GZ")
    (folder / "labelsTs/c1.nii.gz").rename(folder / "labelsTs/c1.NII.GZ")
    for name in ("imagesTs/._c1_0000.nii.gz", "labelsTs/.DS_Store", "labelsTs/plans.json"):
        (folder / name).write_bytes(b"none")
    samples, integrity = read(root)
    assert [sample.id for sample in samples] == [f"d/test/imagesTs/C1_0000.NII.GZ:{name}" for name in ("liver", "all")]
    assert [sample.defect for sample in samples] == [None, None]
    assert integrity.repairs == {"file_name": 1}
    assert [(one.kind, one.detail) for one in sorted(integrity.findings)] == [
        ("passed_over", "2 files: hidden"),
        ("passed_over", "1 file: *.json"),
    ]


def test_labels_without_a_volume_cannot_be_asked(root: Path) -> None:
    save(root / "nifti_seg/labelsTs/c22.nii.gz")
    samples, integrity = read(root)
    assert [sample.defect for sample in samples[2:]] == ["volume nifti_seg/imagesTs/c22_0000.nii.gz is missing"] * 2
    assert [(one.kind, one.where, one.detail) for one in integrity.findings] == [
        (
            "missing_image",
            "nifti_seg/labelsTs/c22.nii.gz",
            "expected its image at nifti_seg/imagesTs/c22_0000.nii.gz: did you mean 'c1_0000.nii.gz'?",
        )
    ]


def test_plain_labels_without_a_volume_and_names_in_another_case_are_seen(tmp_path: Path) -> None:
    save(tmp_path / "nifti_seg/a/Image.NII.GZ")
    save(tmp_path / "nifti_seg/a/label.nii.gz", (VOXELS == 1).astype(np.uint8))
    save(tmp_path / "nifti_seg/b/label.nii.gz", (VOXELS == 1).astype(np.uint8))
    save(tmp_path / "nifti_seg/.trash/label.nii.gz")
    samples, integrity = read(tmp_path, "all")
    assert [sample.defect for sample in samples] == [None, "volume nifti_seg/b/image.nii.gz is missing"]
    assert integrity.repairs == {"file_name": 1}
    assert [(one.kind, one.where, one.detail) for one in integrity.findings] == [
        (
            "missing_image",
            "nifti_seg/b/label.nii.gz",
            "expected its image at nifti_seg/b/image.nii.gz: there is no such file",
        )
    ]


def test_a_value_is_not_named_and_ignored(root: Path) -> None:
    with pytest.raises(SpecError, match=r"ignore: expected values that no label names, found 1 \(liver\)"):
        read(root, options={"ignore": [1]})


@pytest.mark.parametrize(("exif", "folder"), [("auto", "upright"), ("ignore", "nifti_seg")])
def test_pictures_in_nnu_nets_folders_have_the_rule_of_exif(tmp_path: Path, exif: str, folder: str) -> None:
    for name, pixels, orientation in (("imagesTs/c_0000", 90, 3), ("labelsTs/c", 1, 1)):
        path, tag = tmp_path / f"nifti_seg/{name}.png", Image.Exif()
        tag[0x0112] = orientation
        path.parent.mkdir(parents=True)
        Image.fromarray(np.full((4, 5), pixels, dtype=np.uint8)).save(path, exif=tag)
    described(tmp_path, tissue=1)
    text = (tmp_path / "nifti_seg/dataset.json").read_text()
    (tmp_path / "nifti_seg/dataset.json").write_text(text.replace("{", '{"file_ending": ".png", ', 1))
    (sample,), integrity = read(tmp_path, options={"exif": exif})
    assert (sample.defect, sample.media[0].path.split("/")[0]) == (None, folder)
    assert integrity.counts == {"exif_rotation": 1, "full_mask": 1}
