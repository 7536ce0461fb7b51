"""PathVQA in its two layouts, and pickles that hold more than plain values."""

import io
import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.data.integrity import Finding, Integrity
from harness.data.phantoms.writers.medical_vqa import write_hub
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.reader import ReleaseRequest
from harness.data.releases.vqa import pathvqa
from harness.data.releases.vqa.pathvqa import READER
from harness.errors import DataError
from harness.records import Sample

Row = tuple[bytes | None, str, str]


def jpeg(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (8, 6), shade).save(buffer, "JPEG")
    return buffer.getvalue()


def hub(root: Path, split: str, rows: Sequence[Row], name: str = "00000-of-00001") -> None:
    table = [{"image": image, "question": question, "answer": answer} for image, question, answer in rows]
    write_hub(root / f"pathvqa/data/{split}-{name}.parquet", table, images=("image",))


def authors(root: Path, split: str, content: object) -> None:
    folder = root / "pathvqa/qas" / split
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{split}_qa.pkl").write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))
    images = root / "pathvqa/images" / split
    images.mkdir(parents=True, exist_ok=True)
    (images / f"{split}_0001.jpg").write_bytes(jpeg(7))


def read(root: Path, split: str = "test", **changes: Any) -> tuple[list[Sample], Integrity]:
    integrity = Integrity()
    request = ReleaseRequest(dataset="path", split=split, **changes)
    files = ReleaseFiles(root=root, derived=root.parent / "derived")
    return [sample for _, sample in READER.read(files, request, integrity)], integrity


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def test_hub_rows_are_numbered_over_the_files_of_a_split(root: Path) -> None:
    hub(root, "test", [(jpeg(1), "Are cells seen?", "yes"), (jpeg(2), "What is it?", "a cell")], "00000-of-00002")
    hub(root, "test", [(jpeg(1), "Is it?", "No")], "00001-of-00002")
    hub(root, "train", [(jpeg(2), "q", "a")])
    samples, integrity = read(root)
    assert [sample.id for sample in samples] == ["path/test/0", "path/test/1", "path/test/2"]
    assert [sample.strata["answer_type"] for sample in samples] == ["closed", "open", "closed"]
    assert samples[0].cluster == samples[2].cluster != samples[1].cluster
    train = "pathvqa/data/train-00000-of-00001.parquet[0]"
    overlap = Finding("train_test_overlap", samples[1].media[0].path, f"in train as {train}")
    assert integrity.findings == [overlap]


def test_closed_questions_get_the_options_yes_and_no(root: Path) -> None:
    hub(root, "test", [(jpeg(1), "Are cells seen?", "yes"), (jpeg(2), "What is it?", "a cell")])
    samples, integrity = read(root, where={"answer_type": ("closed",)}, options={"choices": "closed"})
    assert [(sample.choices, sample.target.choice) for sample in samples] == [(("yes", "no"), "A")]
    assert (integrity.selected, integrity.counts) == ((2, 1), {"not_checked": 1})


def test_the_authors_pickles_are_read_with_images_by_split(root: Path) -> None:
    authors(root, "val", [{"image": "val_0001", "question": "Is it?", "answer": "yes"}, {"question": "q", "answer": 3}])
    assert READER.splits(root) == ("validation",)
    samples, integrity = read(root, "validation")
    assert [sample.media[0].path for sample in samples] == [
        "pathvqa/images/val/val_0001.jpg",
        "pathvqa/qas/val/val_qa.pkl[1]",
    ]
    assert (samples[1].target.answers, samples[1].defect) == (("3",), "the record names no image")
    assert (integrity.counts, integrity.repairs) == ({"missing_value": 1}, {"answer_cast_to_text": 1})


def test_the_layout_is_chosen_or_reported(root: Path) -> None:
    hub(root, "test", [(jpeg(1), "q", "yes")])
    authors(root, "test", [{"image": "test_0001", "question": "q", "answer": "yes"}] * 2)
    samples, integrity = read(root)
    assert (len(samples), integrity.counts) == (1, {"several_layouts": 1, "not_checked": 1})
    assert len(read(root, options={"layout": "authors"})[0]) == 2
    with pytest.raises(DataError, match=r"expected split 'train' in the layout 'hub', found it in: none. Download"):
        read(root, "train", options={"layout": "hub"})


class Hostile:
    def __reduce__(self) -> Any:
        return os.system, ("true",)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ([Hostile()], r"names (posix|nt)\.system"),
        (b"no pickle", "expected a pickled list"),
        (b"", "Ran out of input"),
        ({"a": 1}, "found dict"),
    ],
)
def test_a_pickle_that_is_more_or_less_than_a_list_is_refused(root: Path, content: object, found: str) -> None:
    authors(root, "test", content)
    with pytest.raises(DataError, match=found) as raised:
        read(root)
    assert "that holds only plain values" in str(raised.value)


def test_a_pickle_of_other_things_and_a_huge_one_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authors(root, "test", ["text"])
    with pytest.raises(DataError, match=r"test_qa.pkl\[0\]: expected a record, found 'text'"):
        read(root)
    monkeypatch.setattr(pathvqa, "MOST_BYTES", 10)
    with pytest.raises(DataError, match="at most 10 bytes that holds only plain values, found a larger file"):
        read(root)
