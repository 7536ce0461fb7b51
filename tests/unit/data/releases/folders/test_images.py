"""A folder of images and masks: what patterns and labels make of it, and what is found wrong."""

import re
import unicodedata
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


def test_a_label_may_be_a_number(root: Path) -> None:
    samples, _ = read(root, options={"labels": {1: 1, 4: 3}})
    assert [sample.id[-2:] for sample in samples] == [":1", ":4"]


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
        (
            {"labels": {"a": 1}, "labels_ignored": [1]},
            "labels_ignored: expected values that no label names, found 1 (a)",
        ),
        (
            {"labels": {"background": 255}},
            "labels: expected a label to ask about, found background, which is never asked",
        ),
        ({"labels": {"a": 1}, "ignore": [1]}, "ignore: expected values that no label names, found 1 (a)"),
        (
            {"labels_ignored": [0]},
            "release.options.labels_ignored: expected a list of whole numbers of at least 1, fou",
        ),
        ({"ignore": 255}, "release.options.ignore: expected a list of whole numbers of at least 1, found 255"),
        ({"exif": "turn"}, "release.options.exif: expected 'auto' or 'apply' or 'ignore', found 'turn'"),
        ({"threshold": "half"}, "release.options.threshold: expected a number in the values of the file"),
        ({"threshold": 0.5, "labels": {"a": 1, "b": 2}}, "threshold: expected one label of one value beside it and"),
        ({"modality": "thermal"}, "release.options.modality: expected 'unknown' or 'ct'"),
        ({"masks": "{patient}/{case}.png"}, "masks: '{patient}' does not occur in images, which is"),
        ({"masks": "{case}_{label}.png"}, "labels: expected the labels, because masks holds '{label}'; found none"),
        ({"labels": {1: "liver"}}, "masks holds no '{label}', found 'liver'; names come first: `{liver: 1}`"),
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


def test_a_file_that_is_not_dicom_cannot_be_asked(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    save(tmp_path / "segmentation/masks/a.png", labels(cyst=1))
    (tmp_path / "segmentation/images").mkdir()
    (tmp_path / "segmentation/images/a.dcm").write_bytes(b"no image")
    (sample,), integrity = read(tmp_path)
    assert sample.defect == "image segmentation/images/a.dcm cannot be read"
    assert integrity.findings[0].detail == "expected a DICOM image, found none"


ORGANS = {"labels": {"liver": 1, "cyst": 3}}


def test_files_that_are_no_images_are_passed_over_and_reported_once(root: Path) -> None:
    folder = root / "segmentation/images"
    (folder / ".cache").mkdir()
    for name in ("._a.png", "Thumbs.db", "a.json", "b.json", "notes", ".cache/c.png", "../masks/._a.png"):
        (folder / name).write_bytes(b"none")
    samples, integrity = read(root, options=ORGANS)
    assert [sample.defect for sample in samples] == [None, None]
    assert [(one.kind, one.where.rpartition("/")[2], one.detail) for one in sorted(integrity.findings)] == [
        ("passed_over", "._a.png", "2 files: hidden"),
        ("passed_over", "Thumbs.db", "1 file: *.db"),
        ("passed_over", "a.json", "2 files: *.json"),
        ("passed_over", "notes", "1 file: without a suffix"),
    ]


def test_labels_json_among_the_images_is_not_reported_as_left_out(tmp_path: Path) -> None:
    save(tmp_path / "f/a.png", np.full(SHAPE, 7, dtype=np.uint8))
    save(tmp_path / "f/a_mask.png", labels(liver=1))
    (tmp_path / "f/labels.json").write_text('{"liver": 1}')
    (sample,), integrity = read(tmp_path, options={"folder": "f", "images": "{case}.*", "masks": "{case}_mask.png"})
    assert (sample.id, integrity.findings) == ("d/all/a.png:liver", [])


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("b.png", b"torn", "cannot be read as an image (no known format or a broken header); replace the file"),
        ("b.jp2", b"\0\0\0\x0cjP  \r\n\x87\n", "found JPEG 2000; convert it to PNG, for example with Pillow"),
        ("b.HEIC", b"\0\0\0\x18ftypheic", "found HEIC; convert it to PNG, for example with pillow-heif"),
        ("b.nrrd", b"NRRD0004", "found NRRD; convert it to NIfTI, for example with SimpleITK"),
    ],
)
def test_an_image_that_cannot_be_decoded_is_no_file_to_pass_over(
    root: Path, name: str, content: bytes, words: str
) -> None:
    (root / f"segmentation/images/{name}").write_bytes(content)
    save(root / "segmentation/masks/b.png", labels(liver=1))
    samples, integrity = read(root, options=ORGANS)
    assert [sample.defect for sample in samples[2:]] == [f"image segmentation/images/{name} cannot be read"] * 2
    (finding,) = integrity.findings
    assert (finding.kind, finding.where) == ("unreadable_file", f"segmentation/images/{name}")
    assert finding.detail.endswith(words)


def test_names_in_another_form_are_repaired_and_suffixes_count_in_any_case(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "Müller") for form in ("NFC", "NFD"))
    for image, mask in ((f"{composed}.png", f"{apart}.png"), ("upper.PNG", "Upper.PNG"), ("c.JPG", "c.png")):
        save(tmp_path / f"segmentation/images/{image}", np.full(SHAPE, 7, dtype=np.uint8))
        save(tmp_path / f"segmentation/masks/{mask}", labels(cyst=1))
    samples, integrity = read(tmp_path)
    assert [sample.defect for sample in samples] == [None] * 3
    assert (integrity.findings, integrity.repairs) == ([], {"file_name": 2})
    samples, integrity = read(tmp_path, options={"images": "images/{case}.jpg"})
    assert [sample.id for sample in samples if sample.defect is None] == ["d/all/images/c.JPG:target"]
    assert integrity.counts == {"missing_image": 2}  # the masks of the images that are no .jpg


def test_folders_in_another_form_are_found(root: Path) -> None:
    for name in ("images", "masks"):
        (root / "segmentation" / name).rename(root / "segmentation" / name.title())
    save(root / "segmentation/Masks/gone.png", labels(liver=1))
    samples, integrity = read(root, options=ORGANS)
    assert [sample.id for sample in samples] == [
        f"d/all/Images/{image}.png:{name}" for image in ("a", "gone") for name in ("liver", "cyst")
    ]
    assert [sample.defect is None for sample in samples] == [True, True, False, False]
    assert (integrity.counts, integrity.repairs) == ({"missing_image": 1}, {"file_name": 2})
    options = {**ORGANS, "images": "images/{split}/{case}.*", "masks": "masks/{split}/{case}.png"}
    (root / "segmentation/Images/test").mkdir()
    save(root / "segmentation/Images/test/b.png", labels(liver=1))
    assert READER.fitted(ReleaseRequest(dataset="d", split="x", options=options)).splits(root) == ("test",)


def test_a_mask_with_a_name_in_another_form_is_not_an_image(tmp_path: Path) -> None:
    save(tmp_path / "f/a.png", np.full(SHAPE, 7, dtype=np.uint8))
    save(tmp_path / "f/a_MASK.PNG", labels(cyst=1))
    options = {"folder": "f", "images": "{case}.*", "masks": "{case}_mask.png", "labels": {"cyst": 1}}
    (sample,), integrity = read(tmp_path, options=options)
    assert (sample.id, sample.defect) == ("d/all/a.png:cyst", None)
    assert (integrity.findings, integrity.repairs) == ([], {"file_name": 1})


def test_a_mask_of_nearly_that_name_is_named(root: Path) -> None:
    (root / "segmentation/masks/a.png").rename(root / "segmentation/masks/a_seg.png")
    samples, integrity = read(root, options=ORGANS)
    assert {sample.defect for sample in samples[:2]} == {"mask segmentation/masks/a.png is missing"}
    found = {one.kind: (one.where, one.detail) for one in integrity.findings}
    assert found["missing_file"] == ("segmentation/masks/a.png", "did you mean 'a_seg.png'?")


def test_volumes_in_upper_case_are_volumes(tmp_path: Path) -> None:
    voxels = np.zeros((4, 5, 6), dtype=np.int16)
    voxels[1:3, 2, 3] = 2
    for name in ("images/a.nii.gz", "masks/a.nii.gz"):
        save(tmp_path / f"segmentation/{name}", voxels)
        (tmp_path / f"segmentation/{name}").rename(tmp_path / f"segmentation/{name.upper()[:-8].lower()}A.NII.GZ")
    options = {"masks": "masks/{case}.nii.gz", "labels": {"cyst": 2}}
    (sample,), integrity = read(tmp_path, options=options)
    np.testing.assert_array_equal(pixels_of(sample), voxels.T == 2)
    assert (sample.media[0].kind, integrity.findings) == ("volume", [])


def test_a_mask_without_an_image_is_counted_and_cannot_be_asked(root: Path) -> None:
    save(root / "segmentation/masks/gone.png", labels(liver=1))
    samples, integrity = read(root, options=ORGANS)
    assert [(sample.id, sample.defect) for sample in samples[2:]] == [
        (f"d/all/images/gone.png:{name}", "image segmentation/images/gone.png is missing") for name in ("liver", "cyst")
    ]
    (finding,) = integrity.findings
    assert (finding.kind, finding.where) == ("missing_image", "segmentation/masks/gone.png")
    assert finding.detail == "expected its image at segmentation/images/gone.png, found none"


def test_a_mask_that_does_not_say_where_its_image_is_has_its_own_path(tmp_path: Path) -> None:
    save(tmp_path / "f/p1/x_a.png", np.full(SHAPE, 7, dtype=np.uint8))
    for name in ("a_liver", "b_liver", "b_spleen"):
        save(tmp_path / f"f/masks/{name}.png", labels(liver=1))
    options = {
        "folder": "f",
        "images": "{patient}/x_{case}.png",
        "masks": "masks/{case}_{label}.png",
        "labels": ["liver"],
    }
    samples, integrity = read(tmp_path, options=options)
    assert [sample.id for sample in samples] == ["d/all/p1/x_a.png:liver", "d/all/masks/b_liver.png:liver"]
    (finding,) = integrity.findings  # b_spleen.png is of a label that nobody asks about
    assert finding.detail == "expected its image at f/{patient}/x_{case}.png, found none"


def test_a_second_mask_of_an_image_is_reported(root: Path) -> None:
    save(root / "segmentation/masks/a.PNG", labels(liver=1))
    samples, integrity = read(root, options=ORGANS)
    assert len(samples) == 2
    assert [(one.kind, one.where) for one in integrity.findings] == [("passed_over", "segmentation/masks/a.PNG")]


def test_a_pattern_that_no_image_matches_is_named(root: Path) -> None:
    (root / "segmentation/images/b.json").write_bytes(b"{}")
    message = (
        "segmentation/images/{case}.jpg: expected images that match this pattern, found none (no other files); corr"
    )
    with pytest.raises(DataError, match=re.escape(message)):
        read(root, options={"images": "images/{case}.jpg"})
    (root / "segmentation/images/a.png").unlink()
    with pytest.raises(DataError, match=r"found none \(1 \*.json\); correct release.options.images"):
        read(root)


def test_masks_without_an_image_are_selected_too(root: Path) -> None:
    save(root / "segmentation/masks/gone.png", labels(liver=1))
    samples, integrity = read(root, options=ORGANS, where={"class": ("liver",)})
    assert [sample.id for sample in samples] == ["d/all/images/a.png:liver", "d/all/images/gone.png:liver"]
    assert integrity.selected == (4, 2)


def test_labels_that_fit_no_mask_end_the_reading(root: Path) -> None:
    with pytest.raises(DataError, match=r"d: labels and masks do not fit. `labels` names 2 \(cyst\); .*1 \(in 1, such"):
        read(root, options={"labels": {"cyst": 2}})
    (root / "segmentation/labels.json").write_text('{"cyst": 2, "Background": 0}')
    with pytest.raises(DataError, match=r"`segmentation/labels.json` names 2 \(cyst\)"):
        read(root)
    (sample,), integrity = read(root, options={"labels_ignored": [1, 3]})
    assert (sample.target.absent, integrity.findings) == (True, [])


def test_a_mask_of_0_and_1_among_masks_of_0_and_255_cannot_be_asked(root: Path) -> None:
    for name, value in (("b", 255), ("c", 1)):
        save(root / f"segmentation/images/{name}.png", np.full(SHAPE, 7, dtype=np.uint8))
        save(root / f"segmentation/masks/{name}.png", labels(polyp=value))
    samples, integrity = read(root, options={"labels": {"polyp": 255}, "labels_ignored": [3]})
    defects = {sample.id[-11:]: sample.defect for sample in samples}
    assert defects == {
        "a.png:polyp": None,  # a label image, in which the polyp is absent
        "b.png:polyp": None,
        "c.png:polyp": "mask segmentation/masks/c.png holds 1 and not 255",
    }
    assert integrity.counts == {"unknown_label": 2}


def test_a_class_that_only_others_show_fits(tmp_path: Path) -> None:
    for name, values in (("p1_a", {"liver": 1, "vessel": 9}), ("p2_b", {"liver": 1, "cyst": 3})):
        save(tmp_path / f"segmentation/images/{name}.png", np.full(SHAPE, 7, dtype=np.uint8))
        save(tmp_path / f"segmentation/masks/{name}.png", labels(**values))
    options = {"images": "images/{patient}_{case}.*", "masks": "masks/{patient}_{case}.png", **ORGANS}
    samples, integrity = read(tmp_path, options=options, where={"patient": ("p1",)})
    assert [sample.target.absent for sample in samples] == [False, True]
    assert integrity.counts == {"unknown_label": 1}
    (tmp_path / "segmentation/masks/p2_b.png").unlink()
    with pytest.raises(DataError, match=r"found 3 \(cyst\) in none"):
        read(tmp_path, options=options, where={"patient": ("p1",)})


def test_void_pixels_are_no_label_and_are_ignored(root: Path) -> None:
    save(root / "segmentation/masks/a.png", labels(polyp=1, void=255))
    for options in (
        {"labels": {"polyp": 1}, "ignore": [255]},
        {"labels": {"polyp": 1, "ignore": 255}},
        {"ignore": [255]},
    ):
        (sample,), integrity = read(root, options=options)
        np.testing.assert_array_equal(pixels_of(sample), labels(polyp=1, void=255) == 1)
        assert sample.target.ignore is not None
        np.testing.assert_array_equal(decode(sample.target.ignore), labels(polyp=1, void=255) == 255)
        assert integrity.findings == []


def photo(path: Path, orientation: int, shape: tuple[int, int] = SHAPE) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.arange(shape[0] * shape[1], dtype=np.uint8).reshape(shape)).save(path, exif=exif)


def marked(shape: tuple[int, int]) -> np.ndarray:
    pixels = np.zeros(shape, dtype=np.uint8)
    pixels[1, 2] = 1
    return pixels


def test_a_turned_photo_and_its_mask_are_brought_into_one_frame(tmp_path: Path) -> None:
    photo(tmp_path / "segmentation/images/a.png", 6)
    save(tmp_path / "segmentation/masks/a.png", marked(SHAPE[::-1]))
    (sample,), integrity = read(tmp_path)
    assert (sample.id, sample.defect, sample.media[0].size) == ("d/all/images/a.png:target", None, SHAPE[::-1])
    assert sample.media[0].path.startswith("upright/")
    np.testing.assert_array_equal(pixels_of(sample), marked(SHAPE[::-1]) > 0)
    assert integrity.counts == {"exif_rotation": 1}
    (sample,), _ = read(tmp_path, options={"exif": "ignore"})
    assert sample.defect == "mask segmentation/masks/a.png is (20, 10), its image (10, 20) as (H, W)"


def test_a_photo_that_is_turned_by_180_degrees_is_shown_as_viewers_do(tmp_path: Path) -> None:
    photo(tmp_path / "segmentation/images/a.png", 3)
    save(tmp_path / "segmentation/masks/a.png", marked(SHAPE))
    for exif, path in (("auto", "upright/"), ("apply", "upright/"), ("ignore", "segmentation/images/a.png")):
        (sample,), integrity = read(tmp_path, options={"exif": exif})
        assert sample.media[0].path.startswith(path)
        np.testing.assert_array_equal(pixels_of(sample), marked(SHAPE) > 0)
        assert integrity.counts == {"exif_rotation": 1}


def test_what_a_size_does_not_tell_the_other_photos_tell(tmp_path: Path) -> None:
    for name, orientation in (("a", 3), ("b", 6)):
        photo(tmp_path / f"segmentation/images/{name}.png", orientation)
        save(tmp_path / f"segmentation/masks/{name}.png", marked(SHAPE))  # made on the pixels as stored
    samples, integrity = read(tmp_path)
    assert [sample.media[0].path[-5:] for sample in samples] == ["b.png", "a.png"]
    assert [sample.media[0].size for sample in samples] == [SHAPE, SHAPE]
    assert [one.detail for one in sorted(integrity.findings)] == [
        "orientation 3, not applied: as of 1 other turned images, whose masks fit without it only",
        "orientation 6, not applied: the sizes of image and mask fit without it only",
    ]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_mask_with_a_tag_is_turned_once(tmp_path: Path, suffix: str) -> None:
    photo(tmp_path / "segmentation/images/a.png", 6)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / f"segmentation/masks/a.{suffix}"
    path.parent.mkdir(parents=True)
    Image.fromarray(marked(SHAPE)).save(path, exif=exif)
    (sample,), _ = read(tmp_path, options={"masks": f"masks/{{case}}.{suffix}"})
    assert sample.defect is None
    np.testing.assert_array_equal(pixels_of(sample), np.rot90(marked(SHAPE), -1) > 0)
