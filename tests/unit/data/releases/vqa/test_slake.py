"""SLAKE: which records become which samples, what is repaired, what is found."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.data.integrity import Finding, Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.reader import ReleaseRequest
from harness.data.releases.vqa.slake import READER
from harness.errors import DataError, SpecError
from harness.records import Sample

Record = dict[str, Any]


def record(qid: object, **changes: Any) -> Record:
    values: Record = {
        "img_id": 1,
        "img_name": "xmlab1/source.jpg",
        "question": "Is the lung healthy?",
        "answer": "No",
        "q_lang": "en",
        "location": "Lung",
        "modality": "X-Ray",
        "answer_type": "CLOSED",
        "base_type": "vqa",
        "content_type": "Abnormality",
        "triple": ["vhead", "_", "_"],
        "qid": qid,
    }
    return values | changes


def write(root: Path, test: Sequence[object], train: Sequence[object] | None = ()) -> None:
    for name in ("xmlab1", "xmlab2"):
        folder = root / "slake/imgs" / name
        folder.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        Image.new("L", (8, 6)).save(buffer, "JPEG")
        (folder / "source.jpg").write_bytes(buffer.getvalue())
    (root / "slake/test.json").write_text(json.dumps(test))
    if train is not None:
        (root / "slake/train.json").write_text(json.dumps(train))


def read(root: Path, split: str = "test", **changes: Any) -> tuple[list[Sample], Integrity]:
    integrity = Integrity()
    request = ReleaseRequest(dataset="slake", split=split, **changes)
    files = ReleaseFiles(root=root, derived=root)
    return [sample for _, sample in READER.read(files, request, integrity)], integrity


def test_a_record_becomes_a_sample(tmp_path: Path) -> None:
    write(tmp_path, [record(11934)])
    (sample,), integrity = read(tmp_path)
    assert (sample.id, sample.question, sample.choices) == ("slake/test/11934", "Is the lung healthy?", ())
    assert (sample.target.answers, sample.target.choice) == (("No",), None)
    assert (sample.media[0].path, sample.media[0].size) == ("slake/imgs/xmlab1/source.jpg", (6, 8))
    assert sample.strata == {
        "answer_type": "closed",
        "language": "en",
        "modality": "xray",
        "content_type": "abnormality",
        "location": "lung",
        "base_type": "vqa",
    }
    assert (sample.cluster, sample.defect, integrity.counts) == ("xmlab1", None, {})


@pytest.mark.parametrize("name", ["validate.json", "validation.json"])
def test_the_validation_file_has_either_name(tmp_path: Path, name: str) -> None:
    write(tmp_path, [record(1)], train=None)
    (tmp_path / "slake" / name).write_text(json.dumps([record(5)]))
    assert READER.splits(tmp_path) == ("validation", "test")
    assert [sample.id for sample in read(tmp_path, "validation")[0]] == ["slake/validation/5"]


def test_closed_english_questions_get_their_options_where_they_are_asked_for(tmp_path: Path) -> None:
    side = record(2, question="Which lobe is abnormal,left or right?", answer="Right")
    write(tmp_path, [record(1), side, record(3, answer_type="OPEN"), record(4, q_lang="zh", answer="是")])
    samples, _ = read(tmp_path, options={"choices": "closed"})
    assert [sample.choices for sample in samples] == [("yes", "no"), ("left", "right"), (), ()]
    assert [sample.target.choice for sample in samples] == ["B", "B", None, None]
    assert samples[1].target.answers == ("right",)


def test_where_selects_by_language_and_kind_of_answer(tmp_path: Path) -> None:
    write(tmp_path, [record(1), record(2, q_lang="zh"), record(3, answer_type="OPEN")])
    samples, integrity = read(tmp_path, where={"language": ("en",), "answer_type": ("closed",)})
    assert ([sample.id for sample in samples], integrity.selected) == (["slake/test/1"], (3, 1))
    with pytest.raises(SpecError, match=r"release.where.lang: expected a field of the records"):
        read(tmp_path, where={"lang": ("en",)})


def test_what_a_record_lacks_is_found_and_the_sample_stays(tmp_path: Path) -> None:
    lacking = [record(1, answer=None), record(2, question=" "), record(3, img_name=""), record(4, answer=2)]
    write(tmp_path, [*lacking, record(5, img_name="xmlab9/source.jpg", modality=None)])
    samples, integrity = read(tmp_path)
    assert [sample.defect for sample in samples] == [
        "the record has no answer",
        "the record has no question",
        "the record names no image",
        None,
        "image slake/imgs/xmlab9/source.jpg is missing",
    ]
    assert integrity.counts == {"missing_value": 3, "missing_file": 1}
    assert (integrity.repairs, samples[3].target.answers) == ({"answer_cast_to_text": 1}, ("2",))
    assert samples[4].strata["modality"] == "unknown"


def test_test_images_that_train_has_are_found_by_name(tmp_path: Path) -> None:
    write(tmp_path, [record(1), record(2, img_name="xmlab2/source.jpg")], [record(9)])
    _, integrity = read(tmp_path)
    assert integrity.findings == [Finding("train_test_overlap", "slake/imgs/xmlab1/source.jpg", "also in train")]
    assert integrity.checked == {"train_test_overlap": 2}
    write(tmp_path, [record(1)])
    (tmp_path / "slake/train.json").unlink()
    assert read(tmp_path)[1].counts == {"not_checked": 1}


@pytest.mark.parametrize("broken", ["text", {"question": "q"}])
def test_a_record_without_qid_is_an_error(tmp_path: Path, broken: object) -> None:
    write(tmp_path, [broken])
    with pytest.raises(DataError, match=r"slake/test.json\[0\]: expected a record with a qid, found .*another file\?"):
        read(tmp_path)
