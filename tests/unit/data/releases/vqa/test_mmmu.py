"""MMMU: options that are the text of a list, images by their marks, open questions, and answers that nobody tells."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.data.integrity import Integrity
from harness.data.phantoms.writers.medical_vqa import write_hub
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.reader import ReleaseRequest
from harness.data.releases.vqa.mmmu import HEALTH, IMAGES, MOST_CHARACTERS, READER, parse_list
from harness.errors import DataError
from harness.records import Sample

Row = dict[str, Any]


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (8, 6), shade).save(buffer, "PNG")
    return buffer.getvalue()


def row(number: int = 1, **changes: Any) -> Row:
    values: Row = {
        "id": f"validation_Pharmacy_{number}",
        "question": "What does <image 1> show?",
        "options": "['a pill', 'a leaf']",
        "explanation": "",
        "img_type": "['Photographs', 'Body Scans']",
        "answer": "B",
        "topic_difficulty": "Easy",
        "question_type": "multiple-choice",
        "subfield": "Pharmacology",
        **dict.fromkeys(IMAGES),
        "image_1": png(1),
    }
    return values | changes


def write(root: Path, *rows: Row, split: str = "validation") -> None:
    for subject in HEALTH:
        own = rows if subject == "Pharmacy" else (row(id=f"{split}_{subject}_1"),)
        write_hub(root / f"mmmu/{subject}/{split}-00000-of-00001.parquet", own, images=IMAGES)


def read(root: Path, split: str = "validation", **changes: Any) -> tuple[list[Sample], Integrity]:
    integrity = Integrity()
    where = changes.pop("where", {"subject": ("pharmacy",)})
    request = ReleaseRequest(dataset="mmmu", split=split, subset="health_and_medicine", where=where, **changes)
    files = ReleaseFiles(root=root, derived=root / "derived")
    return [sample for _, sample in READER.read(files, request, integrity)], integrity


def test_a_question_with_options_becomes_a_sample(tmp_path: Path) -> None:
    write(tmp_path, row())
    (sample,), integrity = read(tmp_path)
    assert (sample.id, sample.question) == ("mmmu/validation/validation_Pharmacy_1", "What does <image 1> show?")
    assert (sample.choices, sample.target.choice, sample.target.answers) == (("a pill", "a leaf"), "B", ("a leaf",))
    assert sample.strata == {
        "subject": "pharmacy",
        "question_type": "multiple-choice",
        "difficulty": "easy",
        "subfield": "pharmacology",
        "image_type": "body scans, photographs",
    }
    assert (sample.media[0].size, sample.defect, integrity.counts) == ((6, 8), None, {})
    assert len(read(tmp_path, where={})[0]) == 5


@pytest.mark.parametrize(
    ("answer", "answers"), [("24.3", ("24.3",)), ("['1', 'one']", ("1", "one")), ("[sic", ("[sic",))]
)
def test_an_open_question_has_its_answers_and_no_options(tmp_path: Path, answer: str, answers: tuple[str, ...]) -> None:
    write(tmp_path, row(question_type="open", options="[]", answer=answer))
    (sample,), _ = read(tmp_path)
    assert (sample.choices, sample.target.choice, sample.target.answers) == ((), None, answers)


def test_marks_count_the_images_that_are_there(tmp_path: Path) -> None:
    gap = row(question="<image 1> or <image 3>?", options="['<image 3>', '<image 1>']", image_3=png(3))
    write(tmp_path, gap)
    (sample,), _ = read(tmp_path)
    assert (sample.question, sample.choices) == ("<image 1> or <image 2>?", ("<image 2>", "<image 1>"))
    assert len({media.sha256 for media in sample.media}) == 2


@pytest.mark.parametrize(
    ("changes", "kind", "defect"),
    [
        ({"options": "['a', open('x')]"}, "unreadable_options", "the options cannot be read"),
        ({"options": "['a']"}, "unreadable_options", "the options cannot be read"),
        ({"answer": "C"}, "answer_not_among_options", "the right answer is not one of the options"),
        ({"question": "<image 2>?"}, "missing_value", "the record has no image_2"),
        ({"question": ""}, "missing_value", "the record has no question"),
        ({"image_1": None}, "missing_value", "the record names no image"),
        ({"image_1": b"no image"}, "unreadable_file", ".image_1 cannot be read"),
    ],
)
def test_what_is_wrong_with_a_row_is_found_and_the_sample_stays(
    tmp_path: Path, changes: Row, kind: str, defect: str
) -> None:
    write(tmp_path, row(**changes), row(2))
    samples, integrity = read(tmp_path)
    assert str(samples[0].defect).endswith(defect)
    assert samples[1].defect is None
    assert integrity.counts == {kind: 1}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("['a', \"b's\"]", ("a", "b's")),
        ("('a', 2, 1.5)", ("a", "2", "1.5")),
        ("[['a']]", None),
        ("{'a': 1}", None),
        ("__import__('os')", None),
        ("['a'", None),
        ("[" * 5000, None),
        ("[" + "1," * MOST_CHARACTERS + "]", None),
    ],
)
def test_a_list_is_read_as_a_literal_of_bounded_length(text: str, found: tuple[str, ...] | None) -> None:
    assert parse_list(text) == found


def test_test_answers_come_from_the_user_s_key_or_from_nobody(tmp_path: Path) -> None:
    names = [f"test_Pharmacy_{number}" for number in range(1, 5)]
    own = [row(id=name, answer="?", question_type="open" if "4" in name else "multiple-choice") for name in names]
    write(tmp_path, *own, split="test")
    samples, integrity = read(tmp_path, "test")
    assert [sample.target.answers for sample in samples] == [()] * 4
    assert all(sample.defect is None for sample in samples)
    assert [(finding.kind, finding.detail) for finding in integrity.findings] == [("no_answer", "4 questions of test")]
    key = {names[0]: {"question_type": "multiple-choice", "ground_truth": "B"}, names[1]: "A"}
    (tmp_path / "mmmu/answer_dict_test.json").write_text(json.dumps(key | {names[3]: {"ground_truth": ["x", "y"]}}))
    samples, integrity = read(tmp_path, "test")
    assert [sample.target.choice for sample in samples] == ["B", "A", None, None]
    assert samples[3].target.answers == ("x", "y")
    assert integrity.findings[0].detail == "1 questions of test"


@pytest.mark.parametrize("key", [[], {"test_Pharmacy_1": 3}, {"test_Pharmacy_1": {"answer": "B"}}])
def test_a_key_of_another_form_is_an_error(tmp_path: Path, key: object) -> None:
    write(tmp_path, row(), split="test")
    (tmp_path / "mmmu/answer_dict_test.json").write_text(json.dumps(key))
    with pytest.raises(DataError, match=r"answer_dict_test.json: expected .*correct the file or take it away"):
        read(tmp_path, "test")


def test_a_subject_that_is_missing_and_a_row_without_id_are_errors(tmp_path: Path) -> None:
    write(tmp_path, row(id=""))
    with pytest.raises(DataError, match=r"mmmu/Pharmacy/.*\[0\]: expected a record with an id, found none"):
        read(tmp_path)
    (tmp_path / "mmmu/Clinical_Medicine/validation-00000-of-00001.parquet").unlink()
    with pytest.raises(DataError, match=r"mmmu/Clinical_Medicine: expected a file validation-\*.parquet, found none"):
        read(tmp_path)
    assert READER.splits(tmp_path) == ("validation",)
