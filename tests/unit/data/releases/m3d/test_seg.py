"""M3D-Seg: both layouts, what is asked in which words, and what is found wrong with the files."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from harness.data.integrity import Finding, Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.m3d.seg import READER
from harness.data.releases.m3d.wording import packaged_wording
from harness.data.releases.reader import ReleaseAbsentError, ReleaseRequest
from harness.errors import DataError, SpecError
from harness.imaging.masks import decode
from harness.records import Box, Sample

SHAPE = (4, 6, 8)
CLASSES = {"0003": ["liver", "kidney"]}
TERMS = {"liver": ["Makes bile."], "kidney": ["Makes urine.", "One of two."]}
LISTING = "M3D_Seg_npy/0003/0003.json"


def cuboid(low: Sequence[int], high: Sequence[int]) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=np.bool_)
    mask[tuple(slice(start, end) for start, end in zip(low, high, strict=True))] = True
    return mask


LIVER = cuboid((1, 2, 3), (3, 5, 7))


class Release:
    """A data root in one of the two layouts, changed piece by piece."""

    def __init__(self, root: Path, folder: str = "M3D_Seg_npy") -> None:
        self.root = root
        self.folder = root / folder
        self.lists: dict[str, list[Any]] = {"train": [], "test": []}
        self.json("dataset_info.json", CLASSES)
        self.json("term_dictionary.json", TERMS)

    def json(self, name: str, value: Any) -> "Release":
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
        return self

    def case(self, name: str = "case7", split: str = "test", masks: Mapping[int, Any] | None = None) -> "Release":
        """Write a prepared case; a mask of None is listed and not written."""
        folder = self.folder / "0003" / name
        (folder / "masks").mkdir(parents=True, exist_ok=True)
        np.save(folder / "image.npy", np.linspace(0, 1, 192, dtype=np.float32).reshape(1, *SHAPE))
        for index, mask in ({0: LIVER[None]} if masks is None else masks).items():
            if mask is not None:
                np.save(folder / f"masks/mask_{index}.npy", mask)
            label = f"0003/{name}/masks/mask_{index}.npy"
            self.lists.setdefault(split, []).append({"image": f"0003/{name}/image.npy", "label": label})
        return self

    def read(self, subset: str = "category", **changes: Any) -> tuple[list[Sample], Integrity]:
        self.json("0003/0003.json", {"name": "x", "numTest": 1, "labels": {"1": "liver"}, **self.lists})
        integrity = Integrity()
        files = ReleaseFiles(root=self.root, derived=self.root.parent / "derived")
        request = ReleaseRequest(**{"dataset": "m3d", "split": "test", "subset": subset, **changes})
        return [sample for _, sample in READER.read(files, request, integrity)], integrity


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return Release(tmp_path / "data")


def test_a_prepared_mask_is_a_question_about_its_class(release: Release) -> None:
    (sample,), integrity = release.case(masks={0: LIVER[None], 1: np.zeros((1, 1, 1, 1), bool)}).read(
        where={"class": ("liver",)}
    )
    assert sample.id == "m3d/test/0003/case7/0"
    assert sample.cluster == "0003/case7"
    assert sample.strata == {
        "modality": "ct",
        "source": "abdomenct-1k",
        "class": "liver",
        "kind": "category",
        "presence": "present",
        "target_size": "large",
        "wording": "authors",
    }
    assert sample.media[0].kind == "volume"
    assert (sample.media[0].path, sample.media[0].size) == ("M3D_Seg_npy/0003/case7/image.npy", SHAPE)
    assert (sample.media[0].spacing_mm, sample.media[0].axes) == (None, "zyx")
    (entity,) = sample.target.entities
    assert entity.name == "liver"
    assert entity.mask is not None
    np.testing.assert_array_equal(decode(entity.mask), LIVER)
    assert "liver" in sample.question
    assert "[SEG]" in sample.target.answers[0]
    assert integrity.selected == (2, 1)
    assert integrity.checked["train_test_overlap"] == 1
    assert integrity.findings == []


def test_an_absent_class_is_asked_and_covers_nothing(release: Release) -> None:
    (sample,), _ = release.case(masks={1: np.zeros((1, 1, 1, 1), bool)}).read(where={"presence": ("absent",)})
    assert sample.target.absent
    assert sample.defect is None
    mask = sample.target.entities[0].mask
    assert mask is not None
    assert (mask.size, mask.slices) == (SHAPE, ())
    assert (sample.strata["presence"], sample.strata["target_size"]) == ("absent", "unknown")
    assert "[SEG]" not in sample.target.answers[0]


def test_raw_volumes_are_turned_round_and_hold_all_classes(tmp_path: Path) -> None:
    release = Release(tmp_path / "data", "M3D_Seg")
    folder = release.folder / "0003/1"
    folder.mkdir(parents=True)
    np.save(folder / "image.npy", np.zeros((1, 8, 6, 4), np.float32))
    rows = np.stack([LIVER.T.ravel(), np.zeros(192, bool)])
    sparse.save_npz(folder / "mask_(2, 8, 6, 4).npz", sparse.csr_matrix(rows))
    release.lists["test"] = [{"image": "0003/1/image.npy", "label": "0003/1/mask_(2, 8, 6, 4).npz"}]
    (liver, kidney), integrity = release.read()
    assert (liver.id, kidney.id) == ("m3d/test/0003/1/0", "m3d/test/0003/1/1")
    assert (liver.media[0].size, liver.media[0].axes) == (SHAPE, "xyz")
    assert liver.target.entities[0].mask is not None
    np.testing.assert_array_equal(decode(liver.target.entities[0].mask), LIVER)
    assert kidney.target.absent
    assert integrity.findings == []


@pytest.mark.parametrize(
    ("name", "rows", "kind", "defect"),
    [
        ("mask_(2, 8, 6).npz", 2, "unparsable_name", "the name of mask {} does not tell its shape"),
        ("mask_(2, 8, 6, 5).npz", 2, "unreadable_file", "mask {} cannot be read"),
        ("mask_(3, 8, 6, 4).npz", 3, "unknown_class", None),
        (
            "mask_(2, 6, 8, 4).npz",
            2,
            "size_mismatch",
            "mask {}: class 0 is (4, 8, 6), its volume (4, 6, 8) as (D, H, W)",
        ),
    ],
)
def test_what_is_wrong_with_a_sparse_mask_is_named(
    tmp_path: Path, name: str, rows: int, kind: str, defect: str | None
) -> None:
    release = Release(tmp_path / "data", "M3D_Seg")
    folder = release.folder / "0003/1"
    folder.mkdir(parents=True)
    np.save(folder / "image.npy", np.zeros((1, 8, 6, 4), np.float32))
    sparse.save_npz(folder / name, sparse.csr_matrix(np.ones((rows, 192), bool)))
    release.lists["test"] = [{"image": "0003/1/image.npy", "label": f"0003/1/{name}"}]
    samples, integrity = release.read()
    assert len(samples) == 2
    assert samples[0].defect == (defect and defect.format(f"M3D_Seg/0003/1/{name}"))
    assert {finding.kind for finding in integrity.findings} == {kind}


def test_a_damaged_sparse_mask_is_unreadable(tmp_path: Path) -> None:
    release = Release(tmp_path / "data", "M3D_Seg")
    folder = release.folder / "0003/1"
    folder.mkdir(parents=True)
    np.save(folder / "image.npy", np.zeros((1, 8, 6, 4), np.float32))
    parts: dict[str, Any] = {"format": np.array(b"csr"), "shape": np.array([1, 192]), "data": np.ones(1, bool)}
    np.savez(folder / "mask_(1, 8, 6, 4).npz", indices=np.array([500]), indptr=np.array([0, 1]), **parts)
    release.lists["test"] = [{"image": "0003/1/image.npy", "label": "0003/1/mask_(1, 8, 6, 4).npz"}]
    _, integrity = release.read()
    (finding,) = (one for one in integrity.findings if one.kind == "unreadable_file")
    assert finding.detail == "expected rows within the shape (1, 192), found others; the file is damaged"


def test_pickles_are_refused(release: Release) -> None:
    release.case(masks={0: None})
    path = release.folder / "0003/case7/masks/mask_0.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (sample,), integrity = release.read()
    assert sample.defect == "mask M3D_Seg_npy/0003/case7/masks/mask_0.npy cannot be read"
    assert "Python objects" in integrity.findings[0].detail


@pytest.mark.parametrize(
    ("mask", "kind", "defect"),
    [
        (None, "missing_file", "mask {} is missing"),
        (np.zeros((2, *SHAPE), bool), "unreadable_file", "mask {} cannot be read"),
        (np.ones((1, 2, 6, 8), bool), "size_mismatch", "mask {} is (2, 6, 8), its volume (4, 6, 8) as (D, H, W)"),
    ],
)
def test_a_mask_that_cannot_be_used_stays_and_cannot_be_asked(
    release: Release, mask: Any, kind: str, defect: str
) -> None:
    samples, integrity = release.case(masks={0: mask, 1: LIVER[None]}).read()
    path = "M3D_Seg_npy/0003/case7/masks/mask_0.npy"
    assert [sample.defect for sample in samples] == [defect.format(path), None]
    assert [(finding.kind, finding.where) for finding in integrity.findings] == [(kind, path)]


def test_a_definition_is_drawn_by_the_sample_and_asked_instead_of_the_name(release: Release) -> None:
    (sample,), _ = release.case(masks={1: LIVER[None]}).read("definition")
    assert sample.id == "m3d/test/0003/case7/1"
    assert sample.strata["kind"] == "definition"
    assert sum(term in sample.question for term in TERMS["kidney"]) == 1
    assert "kidney" not in sample.question
    assert "kidney" in sample.target.answers[0]
    assert release.read("definition")[0][0].question == sample.question


def test_a_class_without_definition_cannot_be_asked_by_it(release: Release) -> None:
    release.json("term_dictionary.json", {"kidney": ["Makes urine."]}).case()
    (sample,), integrity = release.read("definition")
    assert sample.defect == "class 'liver' has no definition"
    assert Finding("missing_value", "term_dictionary.json: liver", "no definition") in integrity.findings


def test_a_box_is_asked_for_by_name_and_by_definition(release: Release) -> None:
    samples, _ = release.case().read("rec")
    assert [sample.id for sample in samples] == ["m3d/test/0003/case7/0#category", "m3d/test/0003/case7/0#definition"]
    for sample in samples:
        assert sample.target.boxes == (Box(corners=(1, 2, 3, 3, 5, 7)),)
        assert "<bx_start>[0.25, 0.333, 0.375, 0.5, 0.667, 0.75]<bx_end>" in sample.target.answers[0]
        assert sample.visual_prompts == ()
        assert sample.target.entities[0].mask is None


def test_a_box_is_given_and_its_content_asked_for(release: Release) -> None:
    (by_name, by_definition), _ = release.case().read("reg")
    assert by_name.visual_prompts == (Box(corners=(1, 2, 3, 3, 5, 7)),)
    assert "<box>" in by_name.question
    assert "liver" not in by_name.question
    assert "liver" in by_name.target.answers[0]
    assert "Makes bile." in by_definition.target.answers[0]


def test_without_a_box_to_give_the_class_itself_is_asked_for(release: Release) -> None:
    (by_name, _), _ = release.case(masks={0: np.zeros((1, 1, 1, 1), bool)}).read("reg")
    assert by_name.visual_prompts == ()
    assert "liver" in by_name.question
    assert by_name.target.absent


def test_the_bare_name_may_be_the_answer(release: Release) -> None:
    release.case(masks={0: LIVER[None], 1: np.zeros((1, 1, 1, 1), bool)})
    sentences, _ = release.read("reg")
    names, _ = release.read("reg", options={"answer": "name"})
    assert [sample.question for sample in names] == [sample.question for sample in sentences]
    assert [sample.target.answers for sample in names] == [("liver",), ("liver",), ("no",), ("no",)]


def test_our_wording_is_an_option_and_a_release_may_bring_its_own(release: Release) -> None:
    release.case()
    (ours,), _ = release.read(options={"wording": "ours"})
    assert ours.strata["wording"] == "ours"
    own = json.loads(packaged_wording("ours")) | {"name": "mine"}
    own["segmentation"] |= {"cls_questions": ["Show me the {}!"]}
    (mine,), _ = release.json("wording.json", own).read()
    assert (mine.question, mine.strata["wording"]) == ("Show me the liver!", "mine")


def test_a_wording_without_templates_is_refused(release: Release) -> None:
    release.case().json("wording.json", {"name": "mine", "segmentation": {"cls_questions": []}})
    with pytest.raises(DataError, match=r"^M3D_Seg_npy/wording\.json: expected templates as in tasks/m3d_bench/"):
        release.read()


def test_the_scripts_own_path_prefix_is_removed(release: Release) -> None:
    release.case().lists["test"][0]["image"] = "PATH/data/M3D_Seg_npy/0003/case7/image.npy"
    (sample,), integrity = release.read()
    assert sample.media[0].path == "M3D_Seg_npy/0003/case7/image.npy"
    assert integrity.repairs == {"path_prefix_removed": 1}


def test_the_other_spelling_of_the_train_list_is_read(release: Release) -> None:
    release.case("a", "training").case("b")
    (sample,), integrity = release.read(split="train")
    assert sample.id == "m3d/train/0003/a/0"
    assert integrity.repairs == {"list_key": 1}


def test_a_case_of_both_lists_is_reported(release: Release) -> None:
    _, integrity = release.case().case(split="train").read(where={"class": ("liver",)})
    assert Finding("train_test_overlap", "M3D_Seg_npy/0003/case7", "in train too") in integrity.findings


def test_classes_that_the_listing_leaves_out_are_counted(release: Release) -> None:
    _, integrity = release.case().read()
    assert integrity.findings == [Finding("class_not_listed", "M3D_Seg_npy/0003/case7", "1 of 2 classes")]


def test_a_class_name_that_occurs_twice_is_reported(release: Release) -> None:
    release.json("dataset_info.json", {"0003": ["liver", "kidney", "liver"]}).case()
    _, integrity = release.read()
    where = "M3D_Seg_npy/dataset_info.json: 0003"
    assert Finding("duplicate_class", where, "'liver' is 0 and 2") in integrity.findings


@pytest.mark.parametrize(
    ("record", "kind", "defect"),
    [
        ({"image": "0003/case7/image.npy"}, "missing_value", "the record has no label"),
        ({"label": "0003/case7/masks/mask_0.npy"}, "missing_value", "the record has no image"),
        (
            {"image": "0003/case7/image.npy", "label": "0003/case7/masks/mask_9.npy"},
            "unknown_class",
            "mask M3D_Seg_npy/0003/case7/masks/mask_9.npy does not tell a class of dataset 0003",
        ),
        (
            {"image": "0003/case7/image.npy", "label": "0003/case7/masks/liver.npy"},
            "unparsable_name",
            "mask M3D_Seg_npy/0003/case7/masks/liver.npy does not tell a class of dataset 0003",
        ),
    ],
)
def test_a_record_that_cannot_be_asked_stays(release: Release, record: Any, kind: str, defect: str) -> None:
    release.case("a").case()
    release.lists["test"][1] = record
    samples, integrity = release.read()
    assert [sample.defect for sample in samples] == [None, defect]
    assert kind in integrity.counts


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("dataset_info.json", ["liver"], r"dataset_info\.json: expected dataset code -> list of class names"),
        ("term_dictionary.json", {"liver": "x"}, r"term_dictionary\.json: expected class name -> list of definitions"),
    ],
)
def test_other_json_files_are_refused(release: Release, name: str, value: Any, message: str) -> None:
    release.case().json(name, value)
    with pytest.raises(DataError, match=message):
        release.read("definition")


def test_a_release_without_the_wanted_listing_is_absent(release: Release) -> None:
    release.json("dataset_info.json", {"0012": ["liver"]}).case()
    with pytest.raises(
        ReleaseAbsentError, match=r"expected M3D_Seg_npy/0012/0012\.json below the data root, found none"
    ):
        release.read()


def test_of_several_datasets_an_absent_one_is_reported(release: Release) -> None:
    release.json("dataset_info.json", {**CLASSES, "0012": ["liver"]})
    _, integrity = release.case().read()
    assert Finding("missing_file", "M3D_Seg_npy/0012/0012.json", "the dataset is not asked about") in integrity.findings


def test_of_both_layouts_the_prepared_one_is_read(release: Release) -> None:
    (release.root / "M3D_Seg").mkdir()
    samples, integrity = release.case().read()
    assert len(samples) == 1
    assert Finding("several_layouts", "M3D_Seg", "M3D_Seg_npy is read") in integrity.findings


def test_other_fields_are_refused(release: Release) -> None:
    with pytest.raises(
        SpecError, match=r"release\.where\.clas: expected a field of the records .*did you mean 'class'"
    ):
        release.case().read(where={"clas": ("liver",)})
