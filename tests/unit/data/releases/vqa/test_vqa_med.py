"""VQA-Med of 2019 and 2021: lines in strange forms become samples or cost themselves alone, with a reason."""

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.data.integrity import Finding, Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.reader import Reader, ReleaseRequest
from harness.data.releases.vqa.vqa_med import READER_2019, READER_2021
from harness.errors import DataError, SpecError
from harness.records import Sample

TRAINING = "vqa_med_2019/ImageClef-2019-VQA-Med-Training"
TRAIN_FILE = f"{TRAINING}/All_QA_Pairs_train.txt"
TEST_2019 = "vqa_med_2019/VQAMed2019Test"
TRAIN_2020 = "vqa_med_2021/VQA-Med-2020-Task1-VQAnswering-TrainVal-Sets/VQAMed2020-VQAnswering-TrainingSet"
TEST_2021 = "vqa_med_2021/Task1-VQA-2021-TestSet-w-GroundTruth"


def put(root: Path, path: str, content: bytes | str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(content.encode() if isinstance(content, str) else content)


def put_image(root: Path, path: str, grey: int = 0) -> None:
    buffer = io.BytesIO()
    Image.new("L", (8, 6), grey).save(buffer, "JPEG")
    put(root, path, buffer.getvalue())


def read(reader: Reader, root: Path, split: str = "train", **changes: Any) -> tuple[list[Sample], Integrity]:
    integrity = Integrity()
    files = ReleaseFiles(root=root, derived=root)
    request = ReleaseRequest(dataset=reader.name, split=split, **changes)
    return [sample for _, sample in reader.read(files, request, integrity)], integrity


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, name in enumerate(("synpic1", "synpic2")):
        put_image(tmp_path, f"{TRAINING}/Train_images/{name}.jpg", grey=number)
    return tmp_path


def test_a_line_becomes_a_sample_with_the_category_of_its_other_file(root: Path) -> None:
    put(root, TRAIN_FILE, "synpic1|what plane is this?|axial\nsynpic1|is this a ct scan?|yes\n")
    put(root, f"{TRAINING}/QAPairsByCategory/C2_Plane_train.txt", "synpic1|what plane is this?|axial\n")
    (plane, other), integrity = read(READER_2019, root)
    assert (plane.id, plane.question) == ("vqa_med_2019/train/0", "what plane is this?")
    assert (plane.target.answers, plane.target.choice, plane.defect) == (("axial",), None, None)
    assert (plane.media[0].path, plane.cluster) == (f"{TRAINING}/Train_images/synpic1.jpg", "synpic1.jpg")
    assert plane.strata == {"question_type": "plane", "answer_type": "open"}
    assert other.strata == {"question_type": "unknown", "answer_type": "closed"}
    assert integrity.findings == []
    assert READER_2019.splits(root) == ("train",)


@pytest.mark.parametrize(
    ("content", "repairs"),
    [
        (b"\xef\xbb\xbfsynpic1|a?|Sj\xc3\xb6gren\r\nsynpic2|b?|c\r\n", {}),
        ("synpic1|a?|Sjögren\nsynpic2|b?|c\n".encode("utf-16"), {"utf_16_decoded": 1}),
        (b"synpic1|a?|Sj\xf6gren\nsynpic2|b?|c", {"line_decoded_as_windows_1252": 1}),
        (b" synpic1 | a? | Sj\xc3\xb6gren \r\rsynpic2.jpg|b?|c\r", {"blank_line_passed_over": 1}),
    ],
)
def test_encodings_and_ends_of_lines_do_not_matter(root: Path, content: bytes, repairs: dict[str, int]) -> None:
    put(root, TRAIN_FILE, content)
    samples, integrity = read(READER_2019, root)
    assert [(one.question, one.target.answers, one.defect) for one in samples] == [
        ("a?", ("Sjögren",), None), ("b?", ("c",), None),
    ]  # fmt: skip
    assert {kind: integrity.to_json()["repairs"][kind]["count"] for kind in repairs} == repairs
    assert integrity.findings == []


def test_a_bad_line_costs_itself_alone_and_says_why(root: Path) -> None:
    put(
        root,
        TRAIN_FILE,
        "synpic1|no answer\n|which image?|this\nsynpic2||x\nsynpic2|a?|\nsynpic9|a?|x\n../synpic1|a?|x\n"
        "synpic1|a?|left | right\nsynpic2|a?|x\nsynpic2|a?|x\n",
    )
    samples, integrity = read(READER_2019, root)
    assert [sample.id for sample in samples] == [f"vqa_med_2019/train/{number}" for number in range(9)]
    assert [sample.defect for sample in samples] == [
        "the line has 2 parts",
        "the record has no image",
        "the record has no question",
        "the record has no answer",
        f"image {TRAINING}/Train_images/synpic9.jpg is missing",
        f"image {TRAINING}/Train_images/../synpic1.jpg cannot be read",
        None,
        None,
        None,
    ]
    assert samples[6].target.answers == ("left | right",)
    assert [(one.kind, one.where.removeprefix(TRAINING)) for one in integrity.findings] == [
        ("malformed_line", "/All_QA_Pairs_train.txt:1"),
        ("missing_value", "/All_QA_Pairs_train.txt:2"),
        ("missing_value", "/All_QA_Pairs_train.txt:3"),
        ("missing_value", "/All_QA_Pairs_train.txt:4"),
        ("missing_file", "/Train_images/synpic9.jpg"),
        ("unreadable_file", "/Train_images/../synpic1.jpg"),
        ("extra_separator", "/All_QA_Pairs_train.txt:7"),
        ("repeated_record", "/All_QA_Pairs_train.txt:9"),
    ]
    assert "expected <image>|<question>|<answer>, found 'synpic1|no answer'" in integrity.findings[0].detail


def test_the_test_set_of_2019_has_categories_several_answers_and_optional_parts(root: Path) -> None:
    put_image(root, f"{TEST_2019}/VQAMed2019_Test_Images/synpic3.jpg")  # the same bytes as synpic1
    put(root, TRAIN_FILE, "synpic1|a?|b\n")
    put(
        root,
        f"{TEST_2019}/VQAMed2019_Test_Questions_w_Ref_Answers.txt",
        "synpic3|Abnormality|what is wrong?|(large) mass#cyst\n",
    )
    (sample,), integrity = read(READER_2019, root, "test")
    assert sample.target.answers == ("(large) mass", "cyst", "mass")
    assert sample.strata["question_type"] == "abnormality"
    assert [one.kind for one in integrity.findings] == ["train_test_overlap"]
    assert READER_2019.splits(root) == ("train", "test")


def test_training_in_2021_is_on_both_sets_of_2020_and_a_missing_one_is_named(tmp_path: Path) -> None:
    put_image(tmp_path, f"{TRAIN_2020}/VQAnswering_2020_Train_images/synpic1.jpg")
    put(tmp_path, f"{TRAIN_2020}/VQAnswering_2020_Train_QA_pairs.txt", "synpic1|a?|b\n")
    samples, integrity = read(READER_2021, tmp_path)
    assert [one.defect for one in samples] == [None]
    assert integrity.findings == [
        Finding("missing_file", "vqa_med_2021/VQAnswering_2020_Val_QA_Pairs.txt", "train is not whole")
    ]
    put(tmp_path, "vqa_med_2021/VQAnswering_2020_Val_QA_Pairs.txt", "synpic2|a?|b\n")
    put_image(tmp_path, "vqa_med_2021/VQAnswering_2020_Val_images/synpic2.jpg")
    samples, integrity = read(READER_2021, tmp_path)
    assert [(one.id, one.defect) for one in samples] == [
        ("vqa_med_2021/train/0", None), ("vqa_med_2021/train/1", None),
    ]  # fmt: skip
    assert integrity.findings == []


def test_the_test_set_of_2021_has_its_answers_in_a_file_of_their_own(tmp_path: Path) -> None:
    for name in ("synpic1", "synpic2"):
        put_image(tmp_path, f"{TEST_2021}/images/VQA-500-Images/{name}.jpg")
    put(tmp_path, f"{TEST_2021}/Task1-VQA-2021-TestSet-Questions.txt", "synpic1|what?\nsynpic2|what?\n")
    with pytest.raises(DataError, match=r"ReferenceAnswers\.txt: expected a text file, found none"):
        read(READER_2021, tmp_path, "test")
    put(
        tmp_path,
        f"{TEST_2021}/Task1-VQA-2021-TestSet-ReferenceAnswers.txt",
        "synpic1|pneumonia|a consolidation\nsynpic1|other\nsynpic7|cyst\nsynpic2\n",
    )
    (first, second), integrity = read(READER_2021, tmp_path, "test")
    assert (first.target.answers, first.defect) == (("pneumonia", "a consolidation"), None)
    assert (second.target.answers, second.defect) == ((), "the record has no answer")
    assert [one.kind for one in integrity.findings] == [
        "repeated_record", "malformed_line", "missing_value", "not_asked", "not_checked",
    ]  # fmt: skip


def test_a_selection_keeps_the_numbers_of_lines(root: Path) -> None:
    put(root, TRAIN_FILE, "synpic1|a?|yes\nsynpic2|a?|mass\n")
    (sample,), integrity = read(READER_2019, root, where={"answer_type": ("open",)})
    assert (sample.id, integrity.selected) == ("vqa_med_2019/train/1", (2, 1))
    with pytest.raises(SpecError, match="expected a field of the records"):
        read(READER_2019, root, where={"plane": ("axial",)})


def test_a_release_without_its_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "VQA-Med-2019").mkdir()
    assert READER_2019.splits(tmp_path) == ()
    assert READER_2019.find_root([tmp_path]) == tmp_path
    with pytest.raises(DataError, match=r"vqa_med_2019: expected All_QA_Pairs_train\.txt, found none\. Download"):
        read(READER_2019, tmp_path)
