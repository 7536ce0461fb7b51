"""PMC-VQA: both versions, options that carry their letters, labels that name no option."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.data.integrity import Integrity
from harness.data.phantoms.writers.medical_vqa import write_csv
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.reader import ReleaseRequest
from harness.data.releases.vqa.pmc_vqa import FILES, READER
from harness.errors import DataError
from harness.records import Sample

Row = dict[str, str]

UNNAMED = "the right answer is not one of the options"


def v1(**changes: str) -> Row:
    row = {"Figure_path": "PMC1_Fig1.jpg", "Question": "What is it?", "Answer": "MRI"}
    row |= {"Choice A": " A: CT ", "Choice B": "B:MRI", "Choice C": " C:PET", "Choice D": "D: A: thing"}
    return row | {"Answer_label": "B"} | changes


def v2(**changes: str) -> Row:
    row = {"index": "7", "Figure_path": "PMC1_Fig1.jpg", "Caption": "c", "Question": "What is it?", "Choice A": "CT"}
    return row | {"Choice B": "MRI", "Choice C": "PET", "Choice D": "US", "Answer": "B", "split": "test"} | changes


def write(root: Path, file: tuple[str, str], rows: Sequence[Row], folder: str = "images") -> None:
    buffer = io.BytesIO()
    Image.new("L", (8, 6)).save(buffer, "JPEG")
    path = root / "pmc_vqa" / folder / "PMC1_Fig1.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())
    write_csv(root / FILES[file], rows)


def read(root: Path, subset: str = "v1", split: str = "test_clean", **changes: Any) -> tuple[list[Sample], Integrity]:
    integrity = Integrity()
    request = ReleaseRequest(dataset="pmc", split=split, subset=subset, **changes)
    files = ReleaseFiles(root=root, derived=root)
    return [sample for _, sample in READER.read(files, request, integrity)], integrity


def test_a_row_of_version_1_becomes_a_sample_without_the_letters_of_its_options(tmp_path: Path) -> None:
    write(tmp_path, ("v1", "test_clean"), [v1()])
    (sample,), integrity = read(tmp_path)
    assert (sample.id, sample.choices) == ("pmc/test_clean/0", ("CT", "MRI", "PET", "A: thing"))
    assert (sample.target.choice, sample.target.answers) == ("B", ("MRI",))
    assert (sample.media[0].path, sample.cluster) == ("pmc_vqa/images/PMC1_Fig1.jpg", "PMC1_Fig1.jpg")
    assert (integrity.repairs, integrity.counts) == ({"option_letter_removed": 4}, {"not_checked": 1})


def test_a_row_of_version_2_has_the_letter_as_its_answer(tmp_path: Path) -> None:
    write(tmp_path, ("v2", "test"), [v2(), v2(**{"Answer": "D", "Choice D": "D"})], "figures")
    samples, integrity = read(tmp_path, "v2", "test")
    assert [sample.target.answers for sample in samples] == [("MRI",), ("D",)]
    assert samples[0].media[0].path == "pmc_vqa/figures/PMC1_Fig1.jpg"
    assert integrity.repairs == {}


def test_the_misspelt_header_is_repaired_and_counted_once(tmp_path: Path) -> None:
    write(tmp_path, ("v2", "test"), [v2(), v2()])
    path = tmp_path / FILES["v2", "test"]
    path.write_text(path.read_text().replace("Answer", "Anwser"))
    samples, integrity = read(tmp_path, "v2", "test")
    assert [sample.target.choice for sample in samples] == ["B", "B"]
    assert integrity.repairs == {"answer_spelling": 1}


def test_splits_and_versions_are_those_whose_files_are_there(tmp_path: Path) -> None:
    assert READER.splits(tmp_path) == ()
    write(tmp_path, ("v2", "train"), [v2()])
    write(tmp_path, ("v1", "test_clean"), [v1()])
    assert READER.splits(tmp_path) == ("train", "test_clean")
    with pytest.raises(DataError, match="pmc_vqa/test_clean of v2: cannot be read"):
        read(tmp_path, "v2")


@pytest.mark.parametrize(
    ("changes", "kind", "defect"),
    [
        ({"Answer_label": "E"}, "answer_not_among_options", UNNAMED),
        ({"Answer_label": "", "Answer": ""}, "missing_value", "the record has no answer"),
        (
            {"Choice D": "", "Answer_label": "D"},
            "answer_not_among_options",
            "the right answer is not one of the options",
        ),
        ({"Choice A": " A:"}, "missing_value", "the record lacks an option before its last"),
        ({"Question": " "}, "missing_value", "the record has no question"),
        ({"Figure_path": ""}, "missing_value", "the record names no image"),
        ({"Figure_path": "x.jpg"}, "missing_file", "image pmc_vqa/images/x.jpg is missing"),
        ({"Answer": "PET"}, "label_mismatch", None),
        ({"Answer": " B: mri "}, None, None),
        ({"Choice D": ""}, "missing_value", None),
    ],
)
def test_what_is_wrong_with_a_row_is_found_and_the_sample_stays(
    tmp_path: Path, changes: Row, kind: str | None, defect: str | None
) -> None:
    write(tmp_path, ("v1", "test_clean"), [v1(**changes)])
    (sample,), integrity = read(tmp_path)
    assert sample.defect == defect
    assert (kind is None) == (integrity.counts == {"not_checked": 1})
    assert kind is None or kind in integrity.counts


def test_figures_that_train_has_are_found_by_name(tmp_path: Path) -> None:
    write(tmp_path, ("v1", "train"), [v1()])
    write(tmp_path, ("v1", "test_clean"), [v1(), v1(Figure_path="PMC2_Fig1.jpg")])
    _, integrity = read(tmp_path)
    assert integrity.counts["train_test_overlap"] == 1
    assert integrity.checked == {"train_test_overlap": 2}
    assert "train_test_overlap" not in read(tmp_path, split="train")[1].counts
