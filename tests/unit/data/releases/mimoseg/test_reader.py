"""MIMOSeg: how records become samples, whose words they are asked in, what is repaired and what is found wrong."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.data.integrity import Finding, Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.mimoseg.reader import READER, file_of
from harness.data.releases.mimoseg.wording import AUTHORS, OURS, load_wording
from harness.data.releases.reader import ReleaseAbsentError, ReleaseRequest
from harness.errors import DataError, SpecError
from harness.imaging.masks import decode, encode
from harness.records import Box, Points, Sample
from harness.records.codec import mask_to_json

STEM = "ct_00--Demo--case_7--x_0012"
SHAPE = (10, 20)
WITHOUT_TRAIN = Finding("not_checked", "MIMOSeg/train", "no train split, so its overlap was not checked")
LIVER, SPLEEN = {"name": "liver", "mask": "masks/liver.png"}, {"name": "Spleen", "mask": "masks/spleen.png"}
BOTH = "I see the <p>liver<SEG></p> and the <p>spleen<SEG></p>."


def box(top: int, left: int, bottom: int, right: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    mask = np.zeros(shape, dtype=np.uint8)
    mask[top:bottom, left:right] = 255
    return mask


def record(**changes: Any) -> dict[str, Any]:
    values = {
        "id": "7",
        "image": f"images/{STEM}.png",
        "instruction": "What is here?",
        "answer": BOTH,
        "entities": [LIVER, SPLEEN],
    }
    return {key: value for key, value in (values | changes).items() if value is not None}


def one(**changes: Any) -> dict[str, Any]:
    """Return a record that points at the liver and answers with it."""
    defaults = {"answer": "The <p>liver<SEG></p>.", "entities": [LIVER], "prompt": {"box": [0, 0, 6, 5]}}
    return record(**defaults | changes)


class Release:
    """A MIMOSeg folder with one image and two masks."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "MIMOSeg"
        for name in ("images", "masks"):
            (self.folder / name).mkdir(parents=True)
        Image.new("RGB", SHAPE[::-1]).save(self.folder / f"images/{STEM}.png")
        self.mask("liver", box(0, 0, 4, 5))
        self.mask("spleen", box(6, 8, 9, 9))

    def mask(self, name: str, pixels: np.ndarray) -> None:
        Image.fromarray(pixels).save(self.folder / f"masks/{name}.png")

    def write(self, perspective: int, *records: Any, split: str = "test") -> None:
        file = self.root / file_of(split, f"perspective_{perspective}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(records))

    def read(self, perspective: int, *records: Any, split: str = "test", **more: Any) -> tuple[list[Sample], Integrity]:
        if records:
            self.write(perspective, *records, split=split)
        integrity = Integrity()
        files = ReleaseFiles(root=self.root, derived=self.root / "derived")
        request = ReleaseRequest(dataset="m", split=split, subset=f"perspective_{perspective}", **more)
        return [sample for _, sample in READER.read(files, request, integrity)], integrity


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return Release(tmp_path)


# --- what a sample is


def test_names_are_bound_to_their_masks_in_the_order_of_the_answer(release: Release) -> None:
    (sample,), integrity = release.read(3, record())
    assert (sample.id, sample.question, sample.defect) == ("m/test/perspective_3/7", "What is here?", None)
    assert sample.target.answers == (BOTH,)
    assert [entity.name for entity in sample.target.entities] == ["liver", "Spleen"]
    first, second = (entity.mask for entity in sample.target.entities)
    assert first is not None
    assert second is not None
    assert np.array_equal(decode(first), box(0, 0, 4, 5) > 0)
    assert np.array_equal(decode(second), box(6, 8, 9, 9) > 0)
    assert (integrity.findings, integrity.repairs) == ([WITHOUT_TRAIN], {})


def test_the_name_of_the_image_gives_what_the_record_does_not(release: Release) -> None:
    (told, asked), _ = release.read(3, record(), record(id="8", modality="X-ray", source="Own Set", case="p3"))
    assert told.strata == {
        "modality": "ct",
        "source": "demo",
        "prompt": "none",
        "entities": "several",
        "target_size": "large",
        "wording": "release",
    }
    assert told.cluster == "demo--case_7"
    assert (asked.strata["modality"], asked.strata["source"], asked.cluster) == ("xray", "own set", "own set--p3")


def test_an_image_of_any_name_is_a_cluster_of_its_own(release: Release) -> None:
    (release.folder / f"images/{STEM}.png").rename(release.folder / "images/plain.png")
    (sample,), _ = release.read(3, record(image="images/plain.png", modality="thermography"))
    assert (sample.cluster, sample.strata["modality"], sample.strata["source"]) == ("plain", "other", "unknown")


def test_boxes_and_points_become_visual_prompts(release: Release) -> None:
    points = {"points": [[2, 1], [19, 9]], "labels": [1, 0]}
    (boxed, clicked), _ = release.read(2, one(), one(id="8", prompt=points))
    assert boxed.visual_prompts == (Box(corners=(0.0, 0.0, 6.0, 5.0)),)
    assert clicked.visual_prompts == (Points(points=((2.0, 1.0), (19.0, 9.0)), labels=(1, 0)),)
    assert [sample.strata["prompt"] for sample in (boxed, clicked)] == ["box", "point"]
    assert clicked.defect is None


def test_a_mask_may_stand_in_the_record_or_in_several_files(release: Release) -> None:
    inline = {"name": "liver", "mask": mask_to_json(encode(box(0, 0, 4, 5) > 0))}
    joined = {"name": "spleen", "mask": ["masks/liver.png", "masks/spleen.png"]}
    (sample,), integrity = release.read(3, record(entities=[inline, joined]))
    first, second = (entity.mask for entity in sample.target.entities)
    assert first == encode(box(0, 0, 4, 5) > 0)
    assert second == encode((box(0, 0, 4, 5) | box(6, 8, 9, 9)) > 0)
    assert integrity.findings == [WITHOUT_TRAIN]


def test_no_entities_and_empty_masks_mean_that_there_is_nothing_to_find(release: Release) -> None:
    release.mask("liver", box(0, 0, 0, 0))
    nothing = record(answer="There is none.", entities=[])
    empty = record(id="8", answer="The <p>liver<SEG></p>.", entities=[LIVER])
    samples, integrity = release.read(3, nothing, empty)
    assert [sample.target.absent for sample in samples] == [True, True]
    assert [sample.strata["entities"] for sample in samples] == ["none", "one"]
    assert [sample.defect for sample in samples] == [None, None]
    assert integrity.counts == {"empty_mask": 1, "not_checked": 1}


def test_a_selection_opens_no_other_images(release: Release) -> None:
    gone = one(id="8", image="images/gone.png", prompt={"points": [[1, 1]]})
    (sample,), integrity = release.read(2, one(), gone, where={"prompt": ("box",)})
    assert (sample.strata["prompt"], integrity.selected, integrity.findings) == ("box", (2, 1), [WITHOUT_TRAIN])
    with pytest.raises(SpecError, match=r"release.where.promt: .*\(did you mean 'prompt'\?\)"):
        release.read(2, one(), where={"promt": ("box",)})


def test_only_the_splits_that_are_there_are_offered(release: Release) -> None:
    release.write(3, record())
    assert READER.splits(release.root) == ("test",)
    with pytest.raises(
        ReleaseAbsentError, match=r"expected MIMOSeg/test/perspective_1.json below the data root, found"
    ):
        release.read(1)


def test_a_file_of_another_form_is_named(release: Release) -> None:
    release.write(1)
    (release.root / file_of("test", "perspective_1")).write_text("{}")
    with pytest.raises(DataError, match=r"test/perspective_1.json: expected one JSON list: expected '\['"):
        release.read(1)


# --- words


def test_words_of_the_record_stand_and_missing_ones_are_ours(release: Release) -> None:
    (own, worded), integrity = release.read(1, record(wording="Authors"), record(id="8", instruction=None, answer=None))
    assert (own.question, own.strata["wording"]) == ("What is here?", "authors")
    ours = load_wording(OURS).lists["perspective_1"]
    assert worded.question in {text.replace("{}", "liver and Spleen") for text in ours["instructions"]}
    tagged = "<p>liver<SEG></p> and <p>Spleen<SEG></p>"
    assert worded.target.answers[0] in {text.replace("{}", tagged) for text in ours["several"]}
    assert worded.strata["wording"] == "ours"
    assert integrity.repairs == {"answer_worded": 1, "instruction_worded": 1}


@pytest.mark.parametrize("name", [AUTHORS, OURS])
@pytest.mark.parametrize(
    ("perspective", "prompt", "kind"),
    [
        (1, None, "perspective_1"),
        (2, {"box": [0, 0, 6, 5]}, "perspective_2_box"),
        (2, {"points": [[1, 1]]}, "perspective_2_point"),
    ],
)
def test_a_task_may_ask_in_the_words_of_either_list(
    release: Release, name: str, perspective: int, prompt: Any, kind: str
) -> None:
    samples, integrity = release.read(
        perspective, *(one(id=str(number), prompt=prompt) for number in range(40)), options={"wording": name}
    )
    lists = load_wording(name).lists[kind]
    asked = {sample.question for sample in samples}
    assert asked <= {text.replace("{}", "liver") for text in lists["instructions"]}
    assert len(asked) > 2
    assert {sample.target.answers[0] for sample in samples} <= {
        text.replace("{}", "<p>liver<SEG></p>") for text in lists["one"]
    }
    assert {sample.strata["wording"] for sample in samples} == {name}
    assert integrity.repairs == {}


@pytest.mark.parametrize("changes", [{"entities": [], "answer": "None."}, {}])
def test_no_list_words_what_it_has_no_template_for(release: Release, changes: dict[str, Any]) -> None:
    perspective = 1 if changes else 3
    (sample,), _ = release.read(perspective, record(**changes), options={"wording": AUTHORS})
    assert (sample.question, sample.target.answers) == ("What is here?", (changes.get("answer", BOTH),))
    assert sample.strata["wording"] == "release"


def test_a_changed_list_is_another_version_of_the_reader() -> None:
    """A prepared manifest is found again by the reader's version, so the words may not move under it."""
    content = [load_wording(name).lists for name in (AUTHORS, OURS)]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    assert (READER.version, digest) == (2, WORDING)


WORDING = "08fba5d3a869"


# --- repairs


@pytest.mark.parametrize(
    ("changes", "repairs"),
    [
        ({"image": f"images/{STEM}"}, {"image_suffix_added": 1}),
        ({"entities": [LIVER, {"name": "spleen", "mask": "masks/spleen"}]}, {"mask_suffix_added": 1}),
        ({"answer": BOTH.replace("</p>", "<p>")}, {"closing_tag_rewritten": 1}),
        ({"answer": "I see the <p> liver </p> [SEG] and the <p>spleen</p>[SEG]."}, {"token_moved_into_entity": 1}),
        ({"instruction": 7}, {"value_cast_to_text": 1}),
        ({"id": None}, {"id_from_row": 1}),
    ],
)
def test_known_defects_are_repaired_by_rule(release: Release, changes: dict[str, Any], repairs: dict[str, int]) -> None:
    (sample,), integrity = release.read(3, record(**changes))
    assert integrity.repairs == repairs
    assert integrity.findings == [WITHOUT_TRAIN]
    assert sample.defect is None
    assert sample.target.answers == (BOTH,)
    assert sample.question == str(changes.get("instruction", "What is here?"))
    assert sample.id == f"m/test/perspective_3/{'row-0' if 'id' in changes else 7}"


# --- what is found wrong

PLACE = "MIMOSeg/test/perspective_{}.json[0]"


@pytest.mark.parametrize(
    ("perspective", "changes", "finding", "defect"),
    [
        (3, {"image": None}, ("missing_value", "image"), "the record has no image"),
        (3, {"instruction": None}, ("missing_value", "instruction"), "the record has no instruction"),
        (3, {"answer": ""}, ("missing_value", "answer"), "the record has no answer"),
        (3, {"entities": None}, ("missing_value", "entities"), "the record has no entities"),
        (
            3,
            {"entities": "liver"},
            ("missing_value", "entities: found 'liver'"),
            "the record has no entities that can be read",
        ),
        (
            3,
            {"entities": [{"name": "liver"}]},
            ("missing_value", "entity: expected a name and a mask, found \"{'name': 'liver'}\""),
            "the record has no entity that can be read",
        ),
        (1, {"entities": [], "instruction": None}, ("missing_value", "instruction"), "the record has no instruction"),
        (4, {}, ("missing_value", "prompt"), "the record has no prompt"),
        (
            2,
            {"prompt": {"box": [1, 2, 3]}},
            ("missing_value", "prompt: expected a box or points, found \"{'box': [1, 2, 3]}\""),
            "the record has no prompt that can be read",
        ),
        (
            2,
            {"prompt": {"points": [[1, 1]], "labels": []}},
            ("missing_value", "prompt: expected a box or points, found \"{'points': [[1, 1]], 'labels': []}\""),
            "the record has no prompt that can be read",
        ),
        (
            2,
            {"prompt": {"box": [0, 0, 21, 5]}},
            (
                "misplaced_prompt",
                "box: expected x within 0 and 20, found x1 = 0 and x2 = 21; boxes are in pixels of the original image",
            ),
            "the record points outside of its image: box: expected x within 0 and 20, found x1 = 0 and x2 = 21; "
            "boxes are in pixels of the original image",
        ),
        (
            2,
            {"prompt": {"points": [[1, 1], [3, 10]]}},
            ("misplaced_prompt", "point (3, 10) of an image (10, 20) as (H, W)"),
            "the record points outside of its image: point (3, 10) of an image (10, 20) as (H, W)",
        ),
        (2, {"prompt": {"box": [10, 0, 20, 5]}}, ("misplaced_prompt", "the box touches no mask"), None),
        (2, {"prompt": {"points": [[12, 2]]}}, ("misplaced_prompt", "the point touches no mask"), None),
        (
            3,
            {"answer": "The <p>liver<SEG></p>."},
            ("entity_mismatch", "the answer wraps liver; masks for liver, spleen"),
            None,
        ),
        (
            3,
            {"answer": "Nothing."},
            ("entity_mismatch", "the answer wraps nothing; masks for liver, spleen"),
            None,
        ),
        (
            3,
            {"entities": [LIVER, {"name": "spleen", "mask": {"size": [10, 21], "counts": [210]}}]},
            ("size_mismatch", "mask is (10, 21), image is (10, 20) as (H, W)"),
            "a mask of the record is (10, 21), its image (10, 20) as (H, W)",
        ),
        (
            3,
            {"entities": [LIVER, {"name": "spleen", "mask": {"size": [10, 20], "counts": [200]}}]},
            ("empty_mask", ""),
            "the mask of entity 2 of 2 is empty, so no answer is right",
        ),
        (
            3,
            {"entities": [LIVER, {"name": "spleen", "mask": {"size": [10, 20], "counts": [199]}}]},
            ("unreadable_file", "counts: expected runs that sum to 10 x 20 = 200, found 199"),
            "a mask of the record cannot be read",
        ),
    ],
)
def test_what_is_wrong_with_a_record_is_reported_and_said_of_its_sample(
    release: Release, perspective: int, changes: dict[str, Any], finding: tuple[str, str], defect: str | None
) -> None:
    (sample,), integrity = release.read(perspective, record(**changes))
    kind, detail = finding
    assert integrity.findings == [Finding(kind, PLACE.format(perspective), detail), WITHOUT_TRAIN]
    assert sample.defect == defect


def test_a_record_that_is_none_is_a_sample_that_cannot_be_asked(release: Release) -> None:
    (sample,), integrity = release.read(3, "no record")
    assert sample.defect == "the record has no image"
    assert integrity.counts == {"missing_value": 4, "not_checked": 1}


def test_missing_and_torn_files_are_named(release: Release) -> None:
    (release.folder / "masks/spleen.png").unlink()
    (release.folder / "masks/liver.png").write_bytes(b"no image")
    (sample,), integrity = release.read(3, record())
    assert sample.defect == "mask MIMOSeg/masks/liver.png cannot be read"
    found = {(finding.kind, finding.where) for finding in integrity.findings if finding != WITHOUT_TRAIN}
    assert found == {
        ("unreadable_file", "MIMOSeg/masks/liver.png"),
        ("missing_file", "MIMOSeg/masks/spleen.png"),
    }


def test_test_images_that_any_train_perspective_uses_are_named(release: Release) -> None:
    release.write(4, one(), one(id="8"), split="train")
    samples, integrity = release.read(3, record())
    assert len(samples) == 1
    assert integrity.checked == {"train_test_overlap": 1}
    expected = Finding("train_test_overlap", f"MIMOSeg/images/{STEM}.png", "in MIMOSeg/train/perspective_4.json")
    assert integrity.findings == [expected]
    _, integrity = release.read(4, split="train")
    assert (integrity.findings, integrity.checked) == ([], {})
