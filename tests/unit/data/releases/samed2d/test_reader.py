"""SA-Med2D-20M: which masks become which questions, and what is found wrong with the files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.data.integrity import Finding, Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.reader import ReleaseRequest
from harness.data.releases.samed2d.reader import READER, ImageName, parse_image_name
from harness.errors import DataError, SpecError
from harness.imaging.masks import decode
from harness.records import Sample

STEM = "ct_00--Demo--case_7--x_0012"
SHAPE = (10, 20)
CLASSES = {"Demo": {"Left Kidney": "0001", "liver": "0003"}}


def box(top: int, left: int, bottom: int, right: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    mask = np.zeros(shape, dtype=np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


class Release:
    """A folder in the release's layout, changed piece by piece."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.listing: dict[str, Any] = {}
        for folder in ("images", "masks"):
            (root / "SAMed2Dv1" / folder).mkdir(parents=True)

    def image(self, stem: str = STEM, shape: tuple[int, int] = SHAPE) -> "Release":
        Image.new("RGB", shape[::-1]).save(self.root / f"SAMed2Dv1/images/{stem}.png")
        self.listing.setdefault(f"images/{stem}.png", [])
        return self

    def mask(self, name: str, pixels: np.ndarray | None, stem: str = STEM) -> "Release":
        if pixels is not None:
            Image.fromarray(pixels).save(self.root / f"SAMed2Dv1/masks/{name}")
        self.listing.setdefault(f"images/{stem}.png", []).append(f"masks/{name}")
        return self

    def read(self, classes: Mapping[str, Any] = CLASSES, **changes: Any) -> tuple[list[Sample], Integrity]:
        (self.root / "SAMed2Dv1/SAMed2D_v1.json").write_text(json.dumps(self.listing))
        (self.root / "SAMed2Dv1/SAMed2D_v1_class_mapping_id.json").write_text(json.dumps(classes))
        integrity = Integrity()
        files = ReleaseFiles(root=self.root, derived=self.root.parent / "derived")
        request = ReleaseRequest(dataset="sam", split="all", **changes)
        return [sample for _, sample in READER.read(files, request, integrity)], integrity


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return Release(tmp_path / "data")


def test_a_class_is_one_question_over_all_its_instances(release: Release) -> None:
    first, second = box(0, 0, 2, 3), box(1, 2, 3, 5) * 255
    release.image().mask(f"{STEM}--0001_000.png", first).mask(f"{STEM}--0001_001.png", second)
    (sample,), integrity = release.read()
    assert sample.id == f"sam/all/{STEM}--0001"
    assert sample.cluster == "Demo--case_7"
    assert sample.strata == {"modality": "ct", "source": "demo", "class": "left kidney", "target_size": "medium"}
    (entity,) = sample.target.entities
    assert (entity.name, sample.target.absent, sample.defect, sample.question) == ("Left Kidney", False, None, "")
    assert entity.mask is not None
    np.testing.assert_array_equal(decode(entity.mask), (first | second) > 0)
    assert (sample.media[0].path, sample.media[0].size) == (f"SAMed2Dv1/images/{STEM}.png", SHAPE)
    assert integrity.findings == []


def test_instances_are_questions_of_their_own_on_request(release: Release) -> None:
    first, second = box(0, 0, 2, 3), box(4, 4, 10, 20)
    release.image().mask(f"{STEM}--0001_000.png", first).mask(f"{STEM}--0001_001.png", second)
    samples, _ = release.read(options={"level": "instance"})
    assert [sample.id for sample in samples] == [f"sam/all/{STEM}--0001_000", f"sam/all/{STEM}--0001_001"]
    assert [sample.strata["target_size"] for sample in samples] == ["medium", "large"]
    for sample, pixels in zip(samples, (first, second), strict=True):
        mask = sample.target.entities[0].mask
        assert mask is not None
        np.testing.assert_array_equal(decode(mask), pixels > 0)


def test_classes_of_an_image_are_questions_in_the_order_of_the_listing(release: Release) -> None:
    release.image().mask(f"{STEM}--0003_000.png", box(0, 0, 1, 1)).mask(f"{STEM}--0001_000.png", box(5, 5, 6, 6))
    samples, _ = release.read()
    assert [sample.strata["class"] for sample in samples] == ["liver", "left kidney"]
    assert [sample.strata["target_size"] for sample in samples] == ["small", "small"]


@pytest.mark.parametrize(
    ("path", "modality", "submodality", "source", "case"),
    [
        ("images/ct_00--CT_ORG--volume-68--x_0257.png", "ct", "00", "CT_ORG", "volume-68"),
        ("images/mr_t1ce--Brain--p--03--z_1.png", "mr", "t1ce", "Brain", "p--03"),
        ("x_ray--Chest--1.2.276.0--2d_none.png", "xray", "ray", "Chest", "1.2.276.0"),
        ("ultrasound_00--nerve--19_3--2d_none.png", "us", "00", "nerve", "19_3"),
        ("dermoscopy_00--ISIC--a--2d_none.png", "derm", "00", "ISIC", "a"),
        ("fundus_photography--DRIVE--25--2d_none.png", "fundus", "photography", "DRIVE", "25"),
        ("endoscopy_00--Kvasir--c--2d_none.png", "endo", "00", "Kvasir", "c"),
        ("pet_00--autoPET--p--y_0003.png", "pet", "00", "autoPET", "p"),
        ("thermal_00--T--p--y_0003.png", "other", "00", "T", "p"),
    ],
)
def test_file_names_are_parsed(path: str, modality: str, submodality: str, source: str, case: str) -> None:
    stem = path.removeprefix("images/").removesuffix(".png")
    expected = ImageName(stem=stem, modality=modality, submodality=submodality, source=source, case=case)
    assert parse_image_name(path) == expected


@pytest.mark.parametrize(
    "name",
    [
        "ct_00--Demo--x_0012.png",
        "ct_00--Demo--c--w_0012.png",
        "ct_00--Demo--c--x_0012.jpg",
        "ct_00----c--x_1.png",
        "a.png",
    ],
)
def test_other_file_names_are_not(name: str) -> None:
    assert parse_image_name(name) is None


def test_a_mask_of_another_size_stays_and_cannot_be_asked(release: Release) -> None:
    path = f"SAMed2Dv1/masks/{STEM}--0001_000.png"
    release.image().mask(f"{STEM}--0001_000.png", box(0, 0, 2, 2, SHAPE[::-1]))
    (sample,), integrity = release.read()
    assert sample.defect == f"mask {path} is (20, 10), its image (10, 20) as (H, W)"
    assert sample.target.entities[0].mask is None
    assert sample.strata["target_size"] == "unknown"
    assert integrity.findings == [Finding("size_mismatch", path, "mask is (20, 10), image is (10, 20) as (H, W)")]


def test_one_missing_instance_spoils_its_class_only(release: Release) -> None:
    release.image().mask(f"{STEM}--0001_000.png", box(0, 0, 2, 2)).mask(f"{STEM}--0001_001.png", None)
    release.mask(f"{STEM}--0003_000.png", box(0, 0, 2, 2))
    samples, integrity = release.read()
    path = f"SAMed2Dv1/masks/{STEM}--0001_001.png"
    assert [sample.defect for sample in samples] == [f"mask {path} is missing", None]
    assert integrity.findings == [Finding("missing_file", path)]


def test_an_unreadable_mask_stays_and_cannot_be_asked(release: Release) -> None:
    release.image().mask(f"{STEM}--0001_000.png", None)
    path = f"SAMed2Dv1/masks/{STEM}--0001_000.png"
    (release.root / path).write_bytes(b"text")
    (sample,), integrity = release.read()
    assert sample.defect == f"mask {path} cannot be read"
    detail = "cannot be read as an image (no known format or a broken header); replace the file"
    assert integrity.findings == [Finding("unreadable_file", path, detail)]


def test_a_missing_image_keeps_its_questions_and_their_strata(release: Release) -> None:
    release.mask(f"{STEM}--0001_000.png", box(0, 0, 2, 2)).mask(f"{STEM}--0003_000.png", box(0, 0, 0, 0))
    samples, integrity = release.read()
    path = f"SAMed2Dv1/images/{STEM}.png"
    assert [sample.defect for sample in samples] == [f"image {path} is missing"] * 2
    assert samples[0].strata == {"modality": "ct", "source": "demo", "class": "left kidney", "target_size": "unknown"}
    assert Finding("missing_file", path) in integrity.findings
    assert integrity.counts == {"empty_mask": 1, "missing_file": 1}


def test_an_empty_mask_means_that_nothing_is_there(release: Release) -> None:
    release.image().mask(f"{STEM}--0001_000.png", box(0, 0, 0, 0))
    (sample,), integrity = release.read()
    assert (sample.target.absent, sample.defect, sample.strata["target_size"]) == (True, None, "small")
    assert integrity.findings == [Finding("empty_mask", f"SAMed2Dv1/masks/{STEM}--0001_000.png")]


def test_a_full_mask_is_found_and_asked(release: Release) -> None:
    release.image().mask(f"{STEM}--0001_000.png", box(0, 0, *SHAPE))
    (sample,), integrity = release.read()
    assert (sample.defect, sample.strata["target_size"]) == (None, "large")
    assert integrity.findings == [Finding("full_mask", f"SAMed2Dv1/masks/{STEM}--0001_000.png")]


def test_files_that_nobody_lists_are_found(release: Release) -> None:
    release.image().mask(f"{STEM}--0001_000.png", box(0, 0, 2, 2))
    Image.fromarray(box(0, 0, 1, 1)).save(release.root / f"SAMed2Dv1/masks/{STEM}--0001_001.png")
    Image.new("L", (2, 2)).save(release.root / "SAMed2Dv1/images/extra.png")
    samples, integrity = release.read()
    assert len(samples) == 1
    assert sorted(integrity.findings) == [
        Finding("unlisted_file", "SAMed2Dv1/images/extra.png"),
        Finding("unlisted_file", f"SAMed2Dv1/masks/{STEM}--0001_001.png"),
    ]


def test_an_image_without_masks_is_found(release: Release) -> None:
    release.image()
    samples, integrity = release.read()
    assert samples == []
    assert integrity.findings == [Finding("no_mask", f"SAMed2Dv1/images/{STEM}.png")]


@pytest.mark.parametrize("classes", [{"Demo": {"liver": "0003"}}, {"Other": {"aorta": "0001"}}, {}])
def test_a_class_without_name_stays_and_cannot_be_asked(release: Release, classes: Mapping[str, Any]) -> None:
    release.image().mask(f"{STEM}--0001_000.png", box(0, 0, 2, 2))
    (sample,), integrity = release.read(classes)
    assert (sample.defect, sample.strata["class"]) == ("class 0001 of Demo has no name", "unknown")
    assert integrity.findings == [Finding("unknown_class", f"SAMed2Dv1/masks/{STEM}--0001_000.png", "0001 of Demo")]


def test_class_ids_may_be_numbers(release: Release) -> None:
    release.image().mask(f"{STEM}--0003_000.png", box(0, 0, 2, 2))
    (sample,), _ = release.read({"Demo": {"liver": 3}})
    assert sample.strata["class"] == "liver"


def test_an_image_name_that_says_nothing_stays_and_cannot_be_asked(release: Release) -> None:
    release.image("scan1").mask("scan1--0001_000.png", box(0, 0, 2, 2), "scan1")
    (sample,), integrity = release.read()
    assert (sample.id, sample.cluster) == ("sam/all/scan1--0001", "scan1")
    assert sample.defect == "the image's file name does not tell its dataset"
    assert sample.strata == dict.fromkeys(("modality", "source", "class"), "unknown") | {"target_size": "medium"}
    assert integrity.findings == [Finding("unparsable_name", "SAMed2Dv1/images/scan1.png")]


@pytest.mark.parametrize("name", [f"{STEM}--1_000.png", "ct_00--Demo--case_8--x_0012--0001_000.png", "mask.png"])
def test_a_mask_name_that_says_nothing_stays_and_cannot_be_asked(release: Release, name: str) -> None:
    release.image().mask(name, box(0, 0, 2, 2))
    (sample,), integrity = release.read()
    assert sample.id == f"sam/all/{name.removesuffix('.png')}"
    assert sample.defect == f"the name of mask SAMed2Dv1/masks/{name} does not tell its class"
    assert integrity.findings == [Finding("unparsable_name", f"SAMed2Dv1/masks/{name}")]


def test_where_keeps_questions_and_opens_no_other_image(release: Release) -> None:
    other = "mr_t1--Demo--case_8--z_0001"
    release.image().mask(f"{STEM}--0001_000.png", box(0, 0, 2, 2)).mask(f"{STEM}--0003_000.png", box(0, 0, 9, 20))
    release.mask(f"{other}--0001_000.png", None, other)
    samples, integrity = release.read(where={"modality": ("CT",), "target_size": ("large",)})
    assert [sample.strata["class"] for sample in samples] == ["liver"]
    assert integrity.selected == (3, 1)
    assert integrity.findings == []


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ({"class": ("left kidney",)}, 1),
        ({"case": ("CASE_7",)}, 2),
        ({"submodality": ("t1",)}, 0),
        ({"source": ("demo",)}, 2),
    ],
)
def test_where_knows_what_names_say(release: Release, where: Mapping[str, tuple[str, ...]], kept: int) -> None:
    release.image().mask(f"{STEM}--0001_000.png", box(0, 0, 2, 2)).mask(f"{STEM}--0003_000.png", box(0, 0, 9, 20))
    assert len(release.read(where=where)[0]) == kept


def test_where_on_no_field_is_an_error(release: Release) -> None:
    with pytest.raises(SpecError, match=r"release.where.modalty: expected a field .* \(did you mean 'modality'\?\)"):
        release.read(where={"modalty": ("ct",)})


def test_the_release_has_one_split(release: Release) -> None:
    assert READER.splits(release.root) == ("all",)


@pytest.mark.parametrize("masks", ["masks/a.png", [1], None])
def test_a_listing_of_another_form_is_named(release: Release, masks: object) -> None:
    release.listing["images/a.png"] = masks
    with pytest.raises(
        DataError, match=r"SAMed2Dv1/SAMed2D_v1.json: images/a.png: expected a list of mask paths, found"
    ):
        release.read()


@pytest.mark.parametrize("classes", [["liver"], {"Demo": ["liver"]}])
def test_class_names_of_another_form_are_named(release: Release, classes: Any) -> None:
    message = r"SAMed2Dv1/SAMed2D_v1_class_mapping_id.json: expected dataset -> class name -> id, found"
    with pytest.raises(DataError, match=message):
        release.read(classes)


def test_paths_out_of_the_release_are_not_opened(release: Release) -> None:
    (release.root.parent / "secret.png").write_bytes(b"secret")
    release.image().listing[f"images/{STEM}.png"] = [f"../../{STEM}--0001_000.png"]
    (sample,), integrity = release.read()
    assert sample.defect == f"mask SAMed2Dv1/../../{STEM}--0001_000.png cannot be read"
    assert integrity.counts == {"unreadable_file": 1}
