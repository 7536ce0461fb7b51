"""MeCoVQA: how records become samples, what is repaired, what is built, and what is found wrong."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.data.integrity import Finding, Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.reader import ReleaseAbsentError, ReleaseRequest
from harness.data.releases.samed2d.mecovqa import FILES, READER, ZERO_SHOT
from harness.errors import DataError, SpecError
from harness.imaging.masks import decode
from harness.records import Region, Sample

STEM = "ct_00--Demo--case_7--x_0012"
OTHER = "mr_t1--Brain--p--03--z_0040"
SHAPE = (10, 20)
CLASSES = {"Demo": {"Left Kidney": "0001", "liver": "0003"}, "Brain": {"edema": "0002"}}
REGION = f"masks/{STEM}--0001_000.png"
MERGED = f"masks_merged/{STEM}--0003_merged.png"
WITHOUT_TRAIN = Finding("not_checked", "MeCoVQA/train", "no train split, so its overlap was not checked")


def box(top: int, left: int, bottom: int, right: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    mask = np.zeros(shape, dtype=np.uint8)
    mask[top:bottom, left:right] = 255
    return mask


def turns(question: Any, answer: Any) -> list[dict[str, Any]]:
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


def record(question: Any = "<image>\nIs it normal?", answer: Any = "Yes.", **changes: Any) -> dict[str, Any]:
    values = {"id": STEM, "image": f"images/{STEM}.png", "conversations": turns(question, answer)} | changes
    return {key: value for key, value in values.items() if value is not None}


def on_region(path: str = REGION, **changes: Any) -> dict[str, Any]:
    return record(f"<image>\nWhat is in <region>{path}</region> here?", "left kidney", **changes)


def grounding(path: str = MERGED, **changes: Any) -> dict[str, Any]:
    return record("<image>\nMark the liver.", f"<SEG><mask>{path}</mask>", **changes)


class Release:
    """A folder with both releases, changed piece by piece."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.images = root / "SAMed2Dv1"
        for folder in ("images", "masks", "masks_merged"):
            (self.images / folder).mkdir(parents=True)
        (self.images / "SAMed2D_v1_class_mapping_id.json").write_text(json.dumps(CLASSES))
        self.write_image(STEM)
        self.mask(REGION, box(0, 0, 4, 5))

    def write_image(self, stem: str, shape: tuple[int, int] = SHAPE) -> None:
        Image.new("RGB", shape[::-1]).save(self.images / "images" / f"{stem}.png")

    def mask(self, path: str, pixels: np.ndarray) -> None:
        Image.fromarray(pixels).save(self.images / path)

    def list_masks(self, *masks: str) -> None:
        (self.images / "SAMed2D_v1.json").write_text(json.dumps({f"images/{STEM}.png": list(masks)}))

    def write(self, path: str, *records: Any) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(records))

    def read(self, subset: str, *records: Any, split: str = "test", **more: Any) -> tuple[list[Sample], Integrity]:
        if records:
            self.write(FILES[split, subset][0], *records)
        integrity = Integrity()
        files = ReleaseFiles(root=self.root, derived=self.root.parent / "derived")
        request = ReleaseRequest(dataset="m", split=split, subset=subset, **more)
        return [sample for _, sample in READER.read(files, request, integrity)], integrity


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return Release(tmp_path / "data")


def test_a_complex_question_is_read_as_it_stands(release: Release) -> None:
    (sample,), integrity = release.read("complex", record())
    assert sample.id == f"m/test/{STEM}#1"
    assert (sample.question, sample.target.answers) == ("<image>\nIs it normal?", ("Yes.",))
    assert (sample.visual_prompts, sample.target.entities, sample.defect) == ((), (), None)
    assert sample.strata == {"modality": "ct", "source": "demo", "class": "unknown", "target_size": "unknown"}
    assert sample.cluster == "Demo--case_7"
    assert (sample.media[0].path, sample.media[0].size) == (f"SAMed2Dv1/images/{STEM}.png", SHAPE)
    assert (integrity.findings, integrity.repairs) == ([WITHOUT_TRAIN], {})


def test_a_region_becomes_a_visual_prompt_and_leaves_its_mark(release: Release) -> None:
    (sample,), integrity = release.read("region", on_region())
    assert sample.question == "<image>\nWhat is in <region> here?"
    (region,) = sample.visual_prompts
    assert isinstance(region, Region)
    assert np.array_equal(decode(region.mask), box(0, 0, 4, 5) > 0)
    assert (sample.target.answers, sample.target.entities) == (("left kidney",), ())
    assert (sample.strata["class"], sample.strata["target_size"], sample.defect) == ("left kidney", "medium", None)
    assert (integrity.findings, integrity.repairs) == ([WITHOUT_TRAIN], {})


def test_a_target_is_the_mask_after_seg(release: Release) -> None:
    (sample,), integrity = release.read("grounding", grounding(REGION))
    (entity,) = sample.target.entities
    assert entity.name == "Left Kidney"
    assert entity.mask is not None
    assert np.array_equal(decode(entity.mask), box(0, 0, 4, 5) > 0)
    assert (sample.target.answers, sample.target.absent, sample.defect) == (("<SEG>",), False, None)
    assert integrity.repairs == {}


@pytest.mark.parametrize("listed", [True, False])
def test_a_merged_mask_that_is_not_there_is_built_of_its_instances(release: Release, listed: bool) -> None:
    parts = [f"masks/{STEM}--0003_000.png", f"masks/{STEM}--0003_004.png"]
    release.mask(parts[0], box(0, 0, 2, 3))
    release.mask(parts[1], box(5, 5, 9, 9))
    if listed:
        release.list_masks(REGION, *parts)
    release.write("MeCoVQA/train/MeCoVQA-Grounding.json", grounding())
    before = sorted(release.root.rglob("*"))
    (sample,), integrity = release.read("grounding", split="train")
    expected = (box(0, 0, 2, 3) | box(5, 5, 9, 9)) > 0
    (entity,) = sample.target.entities
    assert entity.mask is not None
    assert np.array_equal(decode(entity.mask), expected)
    assert integrity.repairs == {"masks_merged_built": 1}
    examples = integrity.to_json()["repairs"]["masks_merged_built"]["examples"]
    assert (examples, integrity.findings) == ([f"SAMed2Dv1/{MERGED}"], [])
    assert sorted(release.root.rglob("*")) == before


def test_a_merged_mask_that_is_there_is_used(release: Release) -> None:
    release.mask(MERGED, box(1, 1, 3, 3))
    release.mask(f"masks/{STEM}--0003_000.png", box(0, 0, *SHAPE))
    (sample,), integrity = release.read("grounding", grounding())
    (entity,) = sample.target.entities
    assert entity.mask is not None
    assert np.array_equal(decode(entity.mask), box(1, 1, 3, 3) > 0)
    assert integrity.repairs == {}


def test_a_region_may_be_a_merged_mask(release: Release) -> None:
    release.mask(f"masks/{STEM}--0003_000.png", box(0, 0, 2, 3))
    (sample,), integrity = release.read("region", on_region(MERGED))
    assert (len(sample.visual_prompts), sample.strata["class"]) == (1, "liver")
    assert integrity.repairs == {"masks_merged_built": 1}


def test_a_merged_mask_without_a_listed_instance_is_missing_and_not_built_of_the_rest(release: Release) -> None:
    lost = f"masks/{STEM}--0003_001.png"
    release.mask(f"masks/{STEM}--0003_000.png", box(0, 0, 2, 3))
    release.list_masks(f"masks/{STEM}--0003_000.png", lost)
    (sample,), integrity = release.read("grounding", grounding())
    assert sample.defect == f"mask SAMed2Dv1/{lost} is missing"
    assert sample.target.entities[0].mask is None
    assert integrity.findings == [Finding("missing_file", f"SAMed2Dv1/{lost}"), WITHOUT_TRAIN]
    assert integrity.repairs == {}


def test_a_merged_mask_without_any_instance_is_missing_under_its_own_name(release: Release) -> None:
    (sample,), integrity = release.read("grounding", grounding())
    assert sample.defect == f"mask SAMed2Dv1/{MERGED} is missing"
    assert Finding("missing_file", f"SAMed2Dv1/{MERGED}") in integrity.findings


def test_what_is_wrong_with_instances_does_not_depend_on_the_order_of_the_listing(release: Release) -> None:
    parts = [f"masks/{STEM}--0003_000.png", f"masks/{STEM}--0003_001.png"]
    release.list_masks(*reversed(parts))
    (sample,), _ = release.read("grounding", grounding())
    assert sample.defect == f"mask SAMed2Dv1/{parts[0]} is missing"


def test_ids_count_the_records_of_an_id_in_file_order_whatever_is_selected(release: Release) -> None:
    release.write_image(OTHER)
    release.mask(f"masks/{OTHER}--0002_000.png", box(0, 0, 1, 1))
    release.mask(f"masks/{STEM}--0003_000.png", box(0, 0, *SHAPE))
    other = on_region(f"masks/{OTHER}--0002_000.png", id=OTHER, image=f"images/{OTHER}.png")
    records = (on_region(), other, on_region(f"masks/{STEM}--0003_000.png"), on_region())
    samples, _ = release.read("region", *records)
    assert [sample.id for sample in samples] == [
        f"m/test/{STEM}#1",
        f"m/test/{OTHER}#1",
        f"m/test/{STEM}#2",
        f"m/test/{STEM}#3",
    ]
    assert samples[1].cluster == "Brain--p--03"
    (sample,), integrity = release.read("region", where={"class": ("LIVER",), "modality": ("ct",)})
    assert (sample.id, integrity.selected) == (f"m/test/{STEM}#2", (4, 1))
    (sample,), _ = release.read("region", where={"target_size": ("small",)})
    assert sample.id == f"m/test/{OTHER}#1"


def test_what_is_not_selected_is_not_opened(release: Release) -> None:
    gone = on_region(f"masks/{OTHER}--0002_000.png", id=OTHER, image=f"images/{OTHER}.png")
    samples, integrity = release.read("region", on_region(), gone, where={"modality": ("ct",)})
    assert (len(samples), integrity.findings) == (1, [WITHOUT_TRAIN])


def test_a_missing_suffix_is_added(release: Release) -> None:
    bare = on_region(REGION.removesuffix(".png"), image=f"images/{STEM}")
    (sample,), integrity = release.read("region", bare)
    assert (sample.defect, len(sample.visual_prompts)) == (None, 1)
    assert sample.media[0].path == f"SAMed2Dv1/images/{STEM}.png"
    assert integrity.repairs == {"image_suffix_added": 1, "mask_suffix_added": 1}


def test_the_misspelt_key_is_accepted(release: Release) -> None:
    misspelt = record(conversations=None, conversatons=turns("Normal?", "no"))
    (sample,), integrity = release.read("complex", misspelt)
    assert (sample.question, sample.target.answers) == ("Normal?", ("no",))
    assert integrity.repairs == {"conversations_spelling": 1}


def test_values_that_are_no_text_are_cast(release: Release) -> None:
    (sample,), integrity = release.read("complex", record("How many?", 2, id=17))
    assert (sample.id, sample.target.answers) == ("m/test/17#1", ("2",))
    assert integrity.repairs == {"value_cast_to_text": 2}


def test_a_record_without_id_is_named_after_its_image(release: Release) -> None:
    samples, integrity = release.read("complex", record(id=None), record(id=None))
    assert [sample.id for sample in samples] == [f"m/test/{STEM}#1", f"m/test/{STEM}#2"]
    assert integrity.repairs == {"id_from_image": 2}


def test_later_turns_are_counted_and_not_asked(release: Release) -> None:
    three = [*turns("first?", "a"), *turns("second?", "b"), *turns("third?", "c")]
    samples, integrity = release.read("complex", record(conversations=three), record())
    assert (samples[0].question, samples[0].target.answers) == ("first?", ("a",))
    assert len(samples) == 2
    place = "MeCoVQA/test/MeCoVQA_Complex_VQA_test.json[0]"
    assert integrity.counts["later_turn"] == 2
    assert [finding.where for finding in integrity.findings[:2]] == [f"{place}: question 2", f"{place}: question 3"]


def test_the_answer_of_a_later_turn_is_not_taken_for_the_first(release: Release) -> None:
    unanswered = [{"from": "human", "value": "first?"}, *turns("second?", "b")]
    (sample,), _ = release.read("complex", record(conversations=unanswered))
    assert (sample.target.answers, sample.defect) == ((), "the record has no answer")


@pytest.mark.parametrize(
    ("subset", "broken", "what"),
    [
        ("region", record(f"Is <region>{REGION}</region> like <region>{REGION}</region>?", "no"), "2 regions"),
        ("grounding", record("Mark.", f"<SEG><mask>{REGION}</mask><SEG><mask>{REGION}</mask>"), "2 masks"),
    ],
)
def test_more_than_one_mask_or_region_in_a_turn_cannot_be_asked(
    release: Release, subset: str, broken: Any, what: str
) -> None:
    (sample,), integrity = release.read(subset, broken)
    assert sample.defect == f"the turn has {what}, expected at most one"
    assert integrity.findings[0] == Finding("several_masks", f"{FILES['test', subset][0]}[0]", what)


@pytest.mark.parametrize(
    ("subset", "broken", "lacks"),
    [
        ("complex", record(image=None), "image"),
        ("complex", record(None), "question"),
        ("complex", record("<image>\n"), "question"),
        ("complex", record(answer=None), "answer"),
        ("complex", record(conversations="Is it?"), "question"),
        ("complex", record(conversations=[1]), "question"),
        ("complex", ["no", "record"], "image"),
        ("region", record("What is in <region></region>?"), "region"),
        ("region", record("What is in <region>?"), "region"),
        ("grounding", record("Mark.", "<SEG>"), "mask"),
    ],
)
def test_a_record_that_lacks_something_stays_and_cannot_be_asked(
    release: Release, subset: str, broken: Any, lacks: str
) -> None:
    (sample,), integrity = release.read(subset, broken)
    assert sample.defect == f"the record has no {lacks}"
    assert Finding("missing_value", f"{FILES['test', subset][0]}[0]", lacks) in integrity.findings


def test_a_mask_without_seg_is_reported_and_scored(release: Release) -> None:
    (sample,), integrity = release.read("grounding", record("Mark.", f"Here: <mask>{REGION}</mask>"))
    assert (sample.defect, sample.target.answers) == (None, ("Here:",))
    assert integrity.findings[0].detail == "<SEG>"


def test_an_image_that_is_missing_is_reported_once(release: Release) -> None:
    gone = f"images/{OTHER}.png"
    samples, integrity = release.read("complex", record(image=gone), record(image=gone))
    assert [sample.defect for sample in samples] == [f"image SAMed2Dv1/{gone} is missing"] * 2
    assert integrity.findings == [Finding("missing_file", f"SAMed2Dv1/{gone}"), WITHOUT_TRAIN]


def test_a_mask_of_another_size_cannot_be_used(release: Release) -> None:
    release.mask(REGION, box(0, 0, 2, 2, (20, 10)))
    (sample,), integrity = release.read("region", on_region())
    assert sample.defect == f"mask SAMed2Dv1/{REGION} is (20, 10), its image (10, 20) as (H, W)"
    assert integrity.counts == {"not_checked": 1, "size_mismatch": 1}


def test_an_empty_target_is_absent_and_an_empty_region_cannot_be_asked(release: Release) -> None:
    release.mask(REGION, box(0, 0, 0, 0))
    (target,), integrity = release.read("grounding", grounding(REGION))
    assert (target.target.absent, target.defect) == (True, None)
    assert integrity.counts["empty_mask"] == 1
    (region,), _ = release.read("region", on_region())
    assert region.defect == f"region SAMed2Dv1/{REGION} has no pixel"


def test_a_mask_named_after_another_image_is_reported_and_scored(release: Release) -> None:
    foreign = f"masks/{OTHER}--0001_000.png"
    release.mask(foreign, box(0, 0, 2, 2))
    (sample,), integrity = release.read("region", on_region(foreign))
    assert (sample.defect, sample.strata["class"]) == (None, "left kidney")
    assert integrity.findings[0] == Finding("foreign_mask", f"SAMed2Dv1/{foreign}", f"asked on images/{STEM}.png")


def test_a_class_without_name_is_reported_and_asked(release: Release) -> None:
    nameless = f"masks/{STEM}--0009_000.png"
    release.mask(nameless, box(0, 0, 2, 2))
    (sample,), integrity = release.read("region", on_region(nameless))
    assert (sample.defect, sample.strata["class"]) == (None, "unknown")
    assert integrity.findings[0] == Finding("unknown_class", f"SAMed2Dv1/{nameless}", "0009 of Demo")


def test_without_the_mapping_no_class_has_a_name_and_one_finding_says_so(release: Release) -> None:
    (release.images / "SAMed2D_v1_class_mapping_id.json").unlink()
    (sample,), integrity = release.read("region", on_region())
    assert (sample.defect, sample.strata["class"]) == (None, "unknown")
    assert integrity.findings == [
        Finding("missing_file", "SAMed2Dv1/SAMed2D_v1_class_mapping_id.json", "no class has a name"),
        WITHOUT_TRAIN,
    ]


def test_names_that_say_nothing_are_reported_and_asked(release: Release) -> None:
    release.write_image("scan1")
    release.mask("masks/spot.png", box(0, 0, 2, 2))
    (sample,), integrity = release.read("region", on_region("masks/spot.png", image="images/scan1.png"))
    assert (sample.defect, sample.cluster) == (None, "scan1")
    assert sample.strata == dict.fromkeys(("modality", "source", "class"), "unknown") | {"target_size": "medium"}
    assert integrity.findings[:2] == [
        Finding("unparsable_name", "SAMed2Dv1/images/scan1.png"),
        Finding("unparsable_name", "SAMed2Dv1/masks/spot.png"),
    ]


def test_paths_out_of_the_release_are_not_opened(release: Release) -> None:
    (sample,), integrity = release.read("complex", record(image="../../secret.png"))
    assert sample.defect == "image SAMed2Dv1/../../secret.png cannot be read"
    assert integrity.counts["unreadable_file"] == 1


def test_the_train_split_is_read_from_its_own_files(release: Release) -> None:
    for subset, made in (("complex", record()), ("region", on_region()), ("grounding", grounding(REGION))):
        (sample,), integrity = release.read(subset, made, split="train")
        assert (sample.id, integrity.findings) == (f"m/train/{STEM}#1", [])
    assert sorted(path.name for path in (release.root / "MeCoVQA/train").iterdir()) == [
        "MeCoVQA-Complex.json",
        "MeCoVQA-Grounding.json",
        "MeCoVQA-Region.json",
    ]


def test_zero_shot_joins_its_six_files_and_counts_ids_over_all(release: Release) -> None:
    for name in ZERO_SHOT:
        release.write(f"MeCoVQA/zeroshot4grounding/{name}.json", grounding(REGION))
    samples, integrity = release.read("grounding", split="zeroshot")
    assert [sample.id for sample in samples] == [f"m/zeroshot/{STEM}#{k}" for k in range(1, 7)]
    assert integrity.findings == [WITHOUT_TRAIN]


def test_a_zero_shot_file_that_is_absent_is_reported(release: Release) -> None:
    for name in ZERO_SHOT[1:]:
        release.write(f"MeCoVQA/zeroshot4grounding/{name}.json", grounding(REGION))
    samples, integrity = release.read("grounding", split="zeroshot")
    assert len(samples) == 5
    absent = "MeCoVQA/zeroshot4grounding/endoscopy.json"
    assert integrity.findings[0] == Finding("missing_file", absent, "subset grounding of split zeroshot is not whole")


def test_zero_shot_holds_no_other_subset(release: Release) -> None:
    message = "split zeroshot of reader mecovqa holds grounding only, found 'region'"
    with pytest.raises(SpecError, match=message):
        release.read("region", split="zeroshot")


@pytest.mark.parametrize(("split", "subset"), list(FILES))
def test_an_absent_subset_names_its_files(release: Release, split: str, subset: str) -> None:
    READER.check_split(release.root, split)
    with pytest.raises(ReleaseAbsentError, match=r"expected MeCoVQA/.* below the data root, found none\.") as caught:
        release.read(subset, split=split)
    assert all(path in str(caught.value) for path in FILES[split, subset])


def test_test_images_that_occur_in_any_train_file_are_found(release: Release) -> None:
    release.write_image(OTHER)
    release.write(FILES["train", "complex"][0], record(image=f"images/{STEM}"), record(image=f"images/{STEM}"))
    other = record(image=f"images/{OTHER}.png")
    release.write(FILES["train", "grounding"][0], record(), other, record(image="images/unseen.png"))
    release.write_image("mr_t1--Brain--p04--z_0040")
    alone = record(image="images/mr_t1--Brain--p04--z_0040.png")
    _, integrity = release.read("complex", record(), record(), other, alone)
    assert integrity.checked == {"train_test_overlap": 3}
    assert integrity.findings == [
        Finding("train_test_overlap", f"SAMed2Dv1/images/{STEM}.png", "in MeCoVQA/train/MeCoVQA-Complex.json"),
        Finding("train_test_overlap", f"SAMed2Dv1/images/{OTHER}.png", "in MeCoVQA/train/MeCoVQA-Grounding.json"),
    ]
    assert integrity.repairs == {}


def test_where_on_no_field_is_an_error(release: Release) -> None:
    with pytest.raises(SpecError, match=r"release.where.clas: .*\(did you mean 'class'\?\)"):
        release.read("complex", record(), where={"clas": ("liver",)})


def test_a_file_of_another_form_is_named(release: Release) -> None:
    release.write(FILES["test", "complex"][0])
    (release.root / FILES["test", "complex"][0]).write_text('{"id": 1}')
    with pytest.raises(DataError, match=r"MeCoVQA_Complex_VQA_test.json: expected one JSON list: expected '\['"):
        release.read("complex")
