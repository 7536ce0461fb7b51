"""A folder of images and masks: what patterns and labels make of it, and what is found wrong."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.folders.images import READER
from harness.data.releases.reader import ReleaseRequest
from harness.errors import DataError, SpecError
from harness.imaging.masks import decode
from harness.imaging.windowing import Percentiles
from harness.records import Sample

SHAPE = (10, 20)


def labels(**boxes: int) -> np.ndarray:
    """Return a label image with one box per value."""
    pixels = np.zeros(SHAPE, dtype=np.uint8)
    for place, value in enumerate(boxes.values()):
        pixels[2:5, 3 + 4 * place : 6 + 4 * place] = value
    return pixels


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith((".nii", ".nii.gz")):
        nibabel = pytest.importorskip("nibabel")
        nibabel.save(nibabel.Nifti1Image(pixels, np.diag([1.0, 1, 3, 1])), path)
    else:
        Image.fromarray(pixels).save(path)


def read(root: Path, split: str = "all", **changes: Any) -> tuple[list[Sample], Integrity]:
    integrity = Integrity()
    request = ReleaseRequest(dataset="d", split=split, **changes)
    READER.check(request)
    files = ReleaseFiles(root=root, derived=root.parent / "derived")
    samples = [sample for _, sample in READER.fitted(request).read(files, request, integrity)]
    integrity.conclude()
    return samples, integrity


def pixels_of(sample: Sample) -> np.ndarray:
    mask = sample.target.entities[0].mask
    assert mask is not None
    return decode(mask)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    save(folder / "segmentation/images/a.png", np.full(SHAPE, 7, dtype=np.uint8))
    save(folder / "segmentation/masks/a.png", labels(liver=1, cyst=3))
    return folder


def test_every_label_of_an_image_is_a_question(root: Path) -> None:
    samples, integrity = read(root, options={"labels": {"Liver": 1, "lesion": [2, 3], "spleen": 4}, "modality": "ct"})
    assert [sample.id for sample in samples] == [f"d/all/images/a.png:{name}" for name in ("Liver", "lesion", "spleen")]
    np.testing.assert_array_equal(pixels_of(samples[0]), labels(liver=1, cyst=3) == 1)
    np.testing.assert_array_equal(pixels_of(samples[1]), labels(liver=1, cyst=3) == 3)
    assert [sample.target.absent for sample in samples] == [False, False, True]
    assert samples[0].strata == {"modality": "ct", "class": "liver", "target_size": "medium", "presence": "present"}
    assert samples[2].strata == {"modality": "ct", "class": "spleen", "target_size": "unknown", "presence": "absent"}
    assert {sample.cluster for sample in samples} == {"images/a.png"}
    assert integrity.findings == []


def test_without_labels_all_of_a_mask_is_the_target(root: Path) -> None:
    (sample,), integrity = read(root)
    assert sample.id == "d/all/images/a.png:target"
    np.testing.assert_array_equal(pixels_of(sample), labels(liver=1, cyst=3) > 0)
    assert integrity.counts == {"merged_values": 1}


def test_labels_json_names_the_values(root: Path) -> None:
    (root / "segmentation/labels.json").write_text('{"liver": 1}')
    (sample,), integrity = read(root)
    assert sample.id.endswith(":liver")
    (finding,) = integrity.findings
    assert (finding.kind, finding.where, finding.detail) == ("unknown_label", "segmentation/masks/a.png", "3")


@pytest.mark.parametrize("content", ['["liver"]', '{"liver": "x"}', '{"liver": 0}', "{}"])
def test_a_labels_json_of_another_form_is_named(root: Path, content: str) -> None:
    (root / "segmentation/labels.json").write_text(content)
    with pytest.raises(DataError, match=r"segmentation/labels.json: .*expected"):
        read(root)


def test_patterns_name_split_patient_and_the_mask_of_each_label(tmp_path: Path) -> None:
    for split, name in (("train", "p1_a"), ("test", "p1_b"), ("test", "p2_x.1")):
        save(tmp_path / f"our/set/{split}/{name}.png", np.zeros(SHAPE, dtype=np.uint8))
        save(tmp_path / f"our/set/{split}/{name}_cyst_mask.png", labels(cyst=255))
    options = {
        "folder": "our/set",
        "images": "{split}/{patient}_{case}.png",
        "masks": "{split}/{patient}_{case}_{label}_mask.png",
        "labels": {"a cyst": "cyst"},
    }
    samples, integrity = read(tmp_path, "test", options=options)
    assert [sample.id for sample in samples] == ["d/test/test/p1_b.png:a cyst", "d/test/test/p2_x.1.png:a cyst"]
    assert [sample.cluster for sample in samples] == ["p1", "p2"]
    assert READER.fitted(ReleaseRequest(dataset="d", split="x", options=options)).splits(tmp_path) == ("test", "train")
    assert READER.fitted(ReleaseRequest(dataset="d", split="x", options=options)).folders == ("our/set",)
    assert integrity.findings == []


def test_where_keeps_what_is_present_and_counts(root: Path) -> None:
    options = {"labels": {"liver": 1, "lesion": 3, "spleen": 4}}
    samples, integrity = read(root, options=options, where={"presence": ("present",), "class": ("liver", "spleen")})
    assert [sample.strata["class"] for sample in samples] == ["liver"]
    assert integrity.selected == (3, 1)


def test_what_is_wrong_with_the_files_is_reported_and_cannot_be_asked(root: Path) -> None:
    folder = root / "segmentation"
    for name in "bcde":
        save(folder / f"images/{name}.png", np.full(SHAPE, 7, dtype=np.uint8))
        save(folder / f"masks/{name}.png", labels(liver=1))
    (folder / "masks/b.png").unlink()
    (folder / "images/c.png").write_bytes(b"torn")
    save(folder / "masks/d.png", labels(liver=1)[:, ::2])
    (folder / "masks/e.png").write_bytes(b"torn")
    samples, integrity = read(root, options={"labels": {"liver": 1, "cyst": 3}})
    defects = {sample.id.split("/")[-1]: sample.defect for sample in samples}
    assert defects["a.png:liver"] is None
    assert defects["b.png:cyst"] == "mask segmentation/masks/b.png is missing"
    assert defects["c.png:cyst"] == "image segmentation/images/c.png cannot be read"
    assert defects["d.png:cyst"] == "mask segmentation/masks/d.png is (10, 10), its image (10, 20) as (H, W)"
    assert defects["e.png:cyst"] == "mask segmentation/masks/e.png cannot be read"
    assert integrity.counts == {"unreadable_file": 2, "missing_file": 1, "size_mismatch": 1}


def test_masks_of_their_own_are_checked_for_nothing_everything_and_inversion(tmp_path: Path) -> None:
    folder = tmp_path / "segmentation"
    for number in range(12):
        pixels = np.zeros(SHAPE, dtype=np.uint8)
        pixels[4:6, 4:6] = 255
        save(folder / f"images/{number:02}.png", pixels)
        drawn = {9: 255 - pixels, 10: pixels * 0, 11: pixels * 0 + 255}.get(number, pixels)
        save(folder / f"masks/{number:02}.png", drawn)
    samples, integrity = read(tmp_path)
    assert [(finding.kind, finding.where[-6:]) for finding in sorted(integrity.findings)] == [
        ("empty_mask", "10.png"),
        ("full_mask", "11.png"),
        ("inverted_mask", "09.png"),
    ]
    assert [sample.target.absent for sample in samples] == [False] * 10 + [True, False]


def test_volumes_with_label_volumes_are_read(tmp_path: Path) -> None:
    voxels = np.zeros((4, 5, 6), dtype=np.int16)
    voxels[1:3, 2, 3] = 2
    save(tmp_path / "segmentation/images/a.nii.gz", voxels)
    save(tmp_path / "segmentation/masks/a.nii.gz", voxels)
    options = {"masks": "masks/{case}.nii.gz", "labels": {"cyst": 2}}
    (sample,), integrity = read(tmp_path, options=options, window=Percentiles((0, 100)))
    (media,) = sample.media
    assert (media.kind, media.size, media.spacing_mm, media.window) == ("volume", (6, 5, 4), (3, 1, 1), (0, 2))
    np.testing.assert_array_equal(pixels_of(sample), voxels.T == 2)
    assert integrity.findings == []


def test_deep_images_get_a_window_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "segmentation"
    for name, most in (("a", 1000), ("b", 3000)):
        save(folder / f"images/{name}.png", np.linspace(0, most, 200).reshape(SHAPE).astype(np.uint16))
        save(folder / f"masks/{name}.png", labels(cyst=1))
    samples, _ = read(tmp_path, window=Percentiles((0.0, 100.0)))
    assert [sample.media[0].window for sample in samples] == [(0.0, 1000.0), (0.0, 3000.0)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folder": "../x"}, "release.options.folder: expected a path below the data root, found '../x'"),
        ({"folder": 3}, "release.options.folder: expected a path below the data root, found 3"),
        ({"images": "/a/{case}"}, "release.options.images: expected a path below the release's folder, found"),
        ({"images": "a/{nose}"}, "'{patient}', '{case}', '{session}', '{group}', found '{nose}' in 'a/{nose}'"),
        ({"images": "a/*.png"}, "release.options.images: expected a pattern with {case} and whole names in braces"),
        ({"masks": "a/{case}{.png"}, "release.options.masks: expected a pattern with {case} and whole names"),
        ({"masks": "a/{case}.*"}, "release.options.masks: expected no '*' in this pattern, found 'a/{case}.*'"),
        ({"labels": []}, "release.options.labels: expected a list of texts, or label: value, found []"),
        ({"labels": {"a": 0}}, "release.options.labels: a: expected a whole number of at least 1, a list of them, or"),
        ({"labels": {"a": [True]}}, "release.options.labels: a: expected a whole number of at least 1, a list"),
        ({"modality": "thermal"}, "release.options.modality: expected 'unknown' or 'ct'"),
        ({"masks": "{patient}/{case}.png"}, "masks: '{patient}' does not stand in images, so nothing says it; images"),
        ({"masks": "{case}_{label}.png"}, "labels: expected the labels, because masks holds '{label}'; found none"),
        ({"labels": {"a": "b"}}, "labels.a: expected values, because masks holds no '{label}', found 'b'"),
        ({"masks": "{case}_{label}.png", "labels": {"a": 1}}, "labels.a: expected text that stands for '{label}'"),
    ],
)
def test_wrong_options_are_named(tmp_path: Path, options: Mapping[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(tmp_path, options=options)
    assert message in str(caught.value)


def test_a_photograph_is_no_label_image(root: Path) -> None:
    many = np.arange(1100, dtype=np.uint16).reshape(22, 50)
    save(root / "segmentation/masks/a.png", many)
    (sample, _), integrity = read(root, options={"labels": {"a": 1, "b": 2}})
    assert sample.defect == "mask segmentation/masks/a.png cannot be read"
    assert integrity.findings[0].detail == "expected at most 1024 labels, found 1100; is it a picture?"
    save(root / "segmentation/masks/a.png", np.random.default_rng(0).integers(0, 255, (*SHAPE, 3), dtype=np.uint8))
    assert read(root)[1].findings[0].detail == "expected one channel of labels or equal ones, found colours that differ"


def test_a_single_dicom_image_becomes_an_image_without_identifiers(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    from harness.data.phantoms.writers.dicom import PRIVATE, DrawnSeries, write_slice

    grey = np.linspace(-500, 700, 200).reshape(SHAPE)
    write_slice(tmp_path / "data/segmentation/images/a.dcm", DrawnSeries(name="a", modality="DX"), 1, (0, 0, 0), grey)
    save(tmp_path / "data/segmentation/masks/a.png", labels(cyst=1))
    (sample,), integrity = read(tmp_path / "data", window=(-500.0, 700.0))
    (media,) = sample.media
    assert (media.kind, media.size, media.window, sample.defect) == ("image", SHAPE, (-500.0, 700.0), None)
    assert sample.id == "d/all/images/a.dcm:target"
    content = (tmp_path / "derived" / media.path).read_bytes()
    assert [value for value in PRIVATE.values() if value.encode() in content] == []
    with Image.open(tmp_path / "derived" / media.path) as image:
        np.testing.assert_allclose(np.asarray(image), grey, atol=0.5)
    assert integrity.findings == []


def test_a_dicom_file_that_is_none_cannot_be_asked(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    save(tmp_path / "segmentation/masks/a.png", labels(cyst=1))
    (tmp_path / "segmentation/images").mkdir()
    (tmp_path / "segmentation/images/a.dcm").write_bytes(b"no image")
    (sample,), integrity = read(tmp_path)
    assert sample.defect == "image segmentation/images/a.dcm cannot be read"
    assert integrity.findings[0].detail == "expected a DICOM image, found none"
