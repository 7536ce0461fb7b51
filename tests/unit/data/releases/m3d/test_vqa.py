"""M3D-VQA: which rows become which samples, what is kept as text, what is found."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data.integrity import Finding, Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.m3d.vqa import COLUMNS, READER
from harness.data.releases.reader import ReleaseAbsentError, ReleaseRequest
from harness.errors import DataError
from harness.records import Sample

AXIAL = "M3D_Cap_npy/ct_quizze/000123/Axial_non_contrast.npy"
TEST = "M3D_VQA/M3D_VQA_test.csv"


def row(**changes: str) -> dict[str, str]:
    values = ["Small cyst in ...", "3", "Which organ shows a cyst?", "Liver", "Spleen", "Kidney", "Pancreas", "Liver"]
    return dict(zip(COLUMNS, [AXIAL, *values, "A"], strict=True)) | changes


def write(root: Path, *rows: dict[str, str], name: str = "test", volume: bool = True) -> None:
    path = root / f"M3D_VQA/M3D_VQA_{name}.csv"
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    if volume:
        (root / AXIAL).parent.mkdir(parents=True, exist_ok=True)
        np.save(root / AXIAL, np.zeros((1, 4, 6, 8), dtype=np.float32))


def read(root: Path, **request: Any) -> tuple[list[Sample], Integrity]:
    integrity = Integrity()
    asked = ReleaseRequest(**{"dataset": "m3d_vqa", "split": "test"} | request)
    samples = [sample for _, sample in READER.read(ReleaseFiles(root=root, derived=root), asked, integrity)]
    for sample in samples:
        integrity.count(sample)
    return samples, integrity


def found(integrity: Integrity) -> list[Finding]:
    return [finding for finding in integrity.findings if finding.kind != "not_checked"]


def test_a_row_becomes_a_sample(tmp_path: Path) -> None:
    write(tmp_path, row(), row(**{"Question": " Where? ", "Question Type": "5"}))
    (sample, other), integrity = read(tmp_path)
    assert sample.id == f"m3d_vqa/test/{AXIAL}#0"
    assert other.id == f"m3d_vqa/test/{AXIAL}#1"
    assert (sample.question, other.question) == ("Which organ shows a cyst?", "Where?")
    assert sample.choices == ("Liver", "Spleen", "Kidney", "Pancreas")
    assert (sample.target.answers, sample.target.choice) == (("Liver",), "A")
    assert sample.strata == {"question_type": "organ", "source": "ct_quizze"}
    assert (sample.cluster, sample.defect) == ("ct_quizze/000123", None)
    assert (sample.media[0].path, sample.media[0].kind, sample.media[0].size) == (AXIAL, "volume", (4, 6, 8))
    assert found(integrity) == []
    assert integrity.repairs == {}


@pytest.mark.parametrize(
    ("number", "kind"), [("1", "plane"), ("2", "phase"), ("3", "organ"), ("4", "abnormality"), ("5", "location")]
)
def test_the_five_types_have_their_names(tmp_path: Path, number: str, kind: str) -> None:
    write(tmp_path, row(**{"Question Type": number}))
    (sample,), _ = read(tmp_path)
    assert sample.strata["question_type"] == kind


@pytest.mark.parametrize("word", ["NA", "None", "nan", "null"])
def test_words_that_pandas_takes_for_missing_stay_words(tmp_path: Path, word: str) -> None:
    write(tmp_path, row(**{"Choice C": word, "Choice D": word}))
    (sample,), integrity = read(tmp_path)
    assert sample.choices == ("Liver", "Spleen", word, word)
    assert integrity.repairs == {"na_kept_as_text": 1}


def test_an_answer_may_be_none(tmp_path: Path) -> None:
    write(tmp_path, row(**{"Choice B": "None", "Answer": "None", "Answer Choice": "B"}))
    (sample,), integrity = read(tmp_path)
    assert (sample.target.answers, sample.defect, found(integrity)) == (("None",), None, [])


@pytest.mark.parametrize("column", ["Image Path", "Question", "Choice B", "Answer", "Answer Choice"])
def test_a_row_without_a_value_is_kept_and_named(tmp_path: Path, column: str) -> None:
    write(tmp_path, row(**{column: " "}))
    (sample,), integrity = read(tmp_path)
    assert sample.defect == f"the row has no {column}"
    assert Finding("missing_value", f"{TEST}[0]", column) in integrity.findings


def test_an_unknown_type_is_reported(tmp_path: Path) -> None:
    write(tmp_path, row(**{"Question Type": "6"}))
    (sample,), integrity = read(tmp_path)
    assert (sample.strata["question_type"], sample.defect) == ("unknown", None)
    assert found(integrity) == [
        Finding("missing_value", f"{TEST}[0]", "Question Type: expected 1 to 5, found '6'"),
    ]


def test_a_letter_that_is_not_the_answer_s_is_reported(tmp_path: Path) -> None:
    write(tmp_path, row(**{"Answer Choice": "C"}))
    _, integrity = read(tmp_path)
    detail = "the answer is 'Liver', its letter C is 'Kidney'"
    assert found(integrity) == [Finding("answer_not_among_options", f"{TEST}[0]", detail)]


def test_a_missing_volume_leaves_the_question_in_the_manifest(tmp_path: Path) -> None:
    write(tmp_path, row(), volume=False)
    (sample,), integrity = read(tmp_path)
    assert sample.defect == f"volume {AXIAL} is missing"
    assert found(integrity) == [Finding("missing_file", AXIAL)]


def test_volumes_that_train_asks_about_too_are_found_once(tmp_path: Path) -> None:
    write(tmp_path, row())
    write(tmp_path, row(**{"Image Path": "other.npy"}), row(), row(), name="train")
    _, integrity = read(tmp_path)
    assert integrity.findings == [Finding("train_test_overlap", AXIAL, "in train as row 1")]
    assert integrity.checked["train_test_overlap"] == 1


def test_samples_are_selected_by_type(tmp_path: Path) -> None:
    write(tmp_path, row(), row(**{"Question Type": "1"}))
    (sample,), integrity = read(tmp_path, where={"question_type": ("plane",)})
    assert (sample.id[-2:], integrity.selected) == ("#1", (2, 1))


def test_the_splits_are_the_tables_that_are_there(tmp_path: Path) -> None:
    write(tmp_path, row(), name="val")
    write(tmp_path, row(), name="test5k")
    assert READER.splits(tmp_path) == ("validation", "test5k")
    with pytest.raises(ReleaseAbsentError, match=r"m3d_vqa: expected M3D_VQA/M3D_VQA_test.csv below the data root"):
        read(tmp_path)


def test_a_table_of_other_columns_is_an_error_that_lists_them(tmp_path: Path) -> None:
    (tmp_path / "M3D_VQA").mkdir()
    (tmp_path / TEST).write_text("Image Path,Question\na,b\n")
    with pytest.raises(DataError, match=r"expected the columns Image Path, Text, Question Type, .*, found Image Path"):
        read(tmp_path)
