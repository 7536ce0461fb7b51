"""VQA-RAD in its three layouts: which records become which samples, what is repaired, what is found."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from harness.data.integrity import Finding, Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.reader import ReleaseRequest
from harness.data.releases.vqa.vqa_rad import READER
from harness.errors import DataError, SpecError
from harness.records import Sample

Record = dict[str, Any]


def jpeg(shade: int, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((6, 8), shade, dtype=np.uint8)).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def record(qid: object, **changes: Any) -> Record:
    values: Record = {
        "qid": qid,
        "phrase_type": "freeform",
        "image_name": "a.jpg",
        "image_organ": "CHEST",
        "question": "Is there an effusion?",
        "question_type": "PRES",
        "answer": "No",
        "answer_type": "CLOSED",
    }
    return values | changes


def write_images(root: Path, folder: str = "images", **shades: int) -> None:
    (root / "vqa_rad" / folder).mkdir(parents=True, exist_ok=True)
    for name, shade in shades.items():
        (root / "vqa_rad" / folder / f"{name}.jpg").write_bytes(jpeg(shade))


def write_mevf(root: Path, test: Sequence[object], train: Sequence[object] | None = ()) -> None:
    write_images(root, a=10, b=90)
    (root / "vqa_rad/testset.json").write_text(json.dumps(test))
    if train is not None:
        (root / "vqa_rad/trainset.json").write_text(json.dumps(train))


def write_osf(root: Path, records: Sequence[Record], folder: str = "VQA_RAD Image Folder") -> None:
    write_images(root, folder, a=10, b=90)
    (root / "vqa_rad/VQA_RAD Dataset Public.json").write_text(json.dumps(records))


def write_hub(
    root: Path, split: str, rows: Sequence[tuple[bytes | None, str, str]], name: str = "00000-of-00001"
) -> None:
    (root / "vqa_rad/data").mkdir(parents=True, exist_ok=True)
    columns = {
        "image": pyarrow.array(
            [{"bytes": content, "path": None} for content, _, _ in rows],
            pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())]),
        ),
        "question": [question for _, question, _ in rows],
        "answer": [answer for _, _, answer in rows],
    }
    parquet.write_table(pyarrow.table(columns), root / f"vqa_rad/data/{split}-{name}.parquet")


def read(root: Path, split: str = "test", **changes: Any) -> tuple[list[Sample], Integrity]:
    integrity = Integrity()
    files = ReleaseFiles(root=root, derived=root.parent / "derived")
    request = ReleaseRequest(dataset="rad", split=split, **changes)
    return [sample for _, sample in READER.read(files, request, integrity)], integrity


def found(integrity: Integrity) -> dict[str, int]:
    return dict(sorted(integrity.counts.items()))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def test_a_record_becomes_a_sample(root: Path) -> None:
    write_mevf(root, [record(11, image_name="b.jpg", answer="right lung", answer_type="OPEN")])
    (sample,), _ = read(root)
    assert (sample.id, sample.question) == ("rad/test/11", "Is there an effusion?")
    assert sample.target.answers == ("right lung",)
    assert sample.strata == {"answer_type": "open", "question_type": "pres", "organ": "chest"}
    assert (sample.cluster, sample.defect) == ("b.jpg", None)
    (media,) = sample.media
    assert (media.path, media.size, media.window) == ("vqa_rad/images/b.jpg", (6, 8), None)
    assert media.sha256 == hashlib.sha256(jpeg(90)).hexdigest()


def test_the_place_of_a_record_is_its_file_and_index(root: Path) -> None:
    write_mevf(root, [record(1), record(2)])
    files = ReleaseFiles(root=root, derived=root)
    places = [place for place, _ in READER.read(files, ReleaseRequest(dataset="d", split="test"), Integrity())]
    assert places == ["vqa_rad/testset.json[0]", "vqa_rad/testset.json[1]"]


def test_splits_are_those_whose_files_are_there(root: Path) -> None:
    assert READER.splits(root) == ()
    write_mevf(root, [record(1)], train=None)
    assert READER.splits(root) == ("test",)
    write_hub(root, "train", [(jpeg(1), "q", "a")])
    assert READER.splits(root) == ("train", "test")


def test_the_authors_json_is_split_by_phrase_type(root: Path) -> None:
    kinds = {"1": "freeform", "2": "test_freeform", "3": "para", "4": "test_para"}
    write_osf(root, [record(qid, phrase_type=kind) for qid, kind in kinds.items()])
    assert READER.splits(root) == ("train", "test")
    assert [sample.id for sample in read(root)[0]] == ["rad/test/2", "rad/test/4"]
    assert [sample.id for sample in read(root, "train")[0]] == ["rad/train/1", "rad/train/3"]


@pytest.mark.parametrize("folder", ["VQA_RAD Image Folder", "images"])
def test_the_authors_images_lie_in_either_folder(root: Path, folder: str) -> None:
    write_osf(root, [record("2", phrase_type="test_para")], folder)
    (sample,), _ = read(root)
    assert (sample.media[0].path, sample.defect) == (f"vqa_rad/{folder}/a.jpg", None)


def test_the_blank_after_closed_is_repaired_and_named(root: Path) -> None:
    write_mevf(root, [record(1, answer_type="CLOSED "), record(2)])
    samples, integrity = read(root)
    assert [sample.strata["answer_type"] for sample in samples] == ["closed", "closed"]
    assert integrity.to_json()["repairs"] == {
        "answer_type_blank": {"count": 1, "examples": ["vqa_rad/testset.json[0]"]}
    }


@pytest.mark.parametrize(
    ("written", "expected", "repaired"),
    [
        ("PRES", "pres", 0),
        ("POS, ABN", "abn, pos", 0),
        ("Other", "other", 0),
        ("ATRIB", "attrib", 1),
        ("PRSE", "pres", 1),
    ],
)
def test_question_types_are_sorted_lower_case_and_respelt(
    root: Path, written: str, expected: str, repaired: int
) -> None:
    write_mevf(root, [record(1, question_type=written)])
    (sample,), integrity = read(root)
    assert sample.strata["question_type"] == expected
    assert integrity.repairs.get("question_type_spelling", 0) == repaired


def test_answers_that_are_numbers_become_text_by_name(root: Path) -> None:
    write_mevf(root, [record(1, answer=5), record(2, answer="5")])
    samples, integrity = read(root)
    assert [sample.target.answers for sample in samples] == [("5",), ("5",)]
    assert integrity.repairs == {"answer_cast_to_text": 1}


@pytest.mark.parametrize("missing", ["NULL", None, "", " "])
def test_missing_strata_are_unknown(root: Path, missing: str | None) -> None:
    write_mevf(root, [record(1, image_organ=missing, question_type=missing)])
    (sample,), _ = read(root)
    assert sample.strata == {"answer_type": "closed", "question_type": "unknown", "organ": "unknown"}
    assert sample.defect is None


@pytest.mark.parametrize(
    ("field", "defect"),
    [("answer", "the record has no answer"), ("question", "the record has no question")],
)
def test_a_record_without_its_text_stays_and_cannot_be_asked(root: Path, field: str, defect: str) -> None:
    write_mevf(root, [record(1, **{field: "NULL"}), record(2)], [record(9, image_name="c.jpg")])
    samples, integrity = read(root)
    assert [sample.defect for sample in samples] == [defect, None]
    assert integrity.findings == [Finding("missing_value", "vqa_rad/testset.json[0]", field)]


def test_a_record_without_image_stays_and_cannot_be_asked(root: Path) -> None:
    write_mevf(root, [record(1, image_name="NULL")])
    (sample,), integrity = read(root)
    assert sample.defect == "the record names no image"
    assert sample.media[0].sha256 is None
    assert found(integrity) == {"missing_value": 1}


def test_missing_and_broken_images_are_found_once_and_stay(root: Path) -> None:
    write_mevf(
        root, [record(1, image_name="none.jpg"), record(2, image_name="none.jpg"), record(3, image_name="cut.jpg")]
    )
    (root / "vqa_rad/images/cut.jpg").write_bytes(jpeg(10)[:200])
    samples, integrity = read(root)
    assert [sample.defect for sample in samples] == [
        "image vqa_rad/images/none.jpg is missing",
        "image vqa_rad/images/none.jpg is missing",
        "image vqa_rad/images/cut.jpg cannot be read",
    ]
    assert all(sample.media[0].sha256 is None and sample.media[0].size == () for sample in samples)
    assert found(integrity) == {"missing_file": 1, "unreadable_file": 1}


def test_an_image_name_out_of_the_folder_is_not_opened(root: Path) -> None:
    (root / "secret.jpg").write_bytes(jpeg(1))
    write_mevf(root, [record(1, image_name="../../../secret.jpg")])
    (sample,), integrity = read(root)
    assert sample.defect == "image vqa_rad/images/../../../secret.jpg cannot be read"
    assert "expected a path below the data root" in integrity.findings[0].detail


def test_exif_rotation_is_found(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    write_mevf(root, [record(1)])
    (root / "vqa_rad/images/a.jpg").write_bytes(jpeg(10, exif=exif))
    (sample,), integrity = read(root)
    assert sample.media[0].size == (6, 8)
    assert integrity.findings == [
        Finding("exif_rotation", "vqa_rad/images/a.jpg", "orientation 8, not applied: kept as stored")
    ]


def test_deep_images_carry_the_window_and_need_it(root: Path) -> None:
    write_mevf(root, [record(1, image_name="deep.png"), record(2)])
    Image.fromarray(np.zeros((6, 8), dtype=np.uint16)).save(root / "vqa_rad/images/deep.png")
    samples, _ = read(root, window=(0.0, 4095.0))
    assert [sample.media[0].window for sample in samples] == [(0.0, 4095.0), None]
    samples, integrity = read(root)
    assert samples[0].defect == "image vqa_rad/images/deep.png cannot be read"
    assert "add `window: [low, high]` to the task" in integrity.findings[0].detail


def test_where_keeps_records_by_any_field_and_counts(root: Path) -> None:
    records = [record(1, answer_type="CLOSED "), record(2, answer_type="OPEN"), record(3, image_organ="HEAD")]
    write_mevf(root, records)
    samples, integrity = read(root, where={"answer_type": ("Closed",), "image_organ": ("chest", "abd")})
    assert [sample.id for sample in samples] == ["rad/test/1"]
    assert integrity.selected == (3, 1)
    assert len(read(root, where={"organ": ("head",)})[0]) == 1


def test_records_without_the_field_are_not_kept(root: Path) -> None:
    write_mevf(root, [record(1)])
    assert read(root, where={"evaluation": ("evaluated",)})[0] == []


def test_where_on_no_field_is_an_error(root: Path) -> None:
    write_mevf(root, [record(1)])
    with pytest.raises(SpecError, match=r"release.where.organs: .* \(did you mean 'organ'\?\)"):
        read(root, where={"organs": ("head",)})


def test_test_images_that_occur_in_train_are_found_by_their_bytes(root: Path) -> None:
    write_images(root, copy=90, c=200)
    write_mevf(
        root,
        [record(1), record(2, image_name="b.jpg"), record(3, image_name="c.jpg")],
        [
            record(9),
            record(10, image_name="copy.jpg"),
            record(11, image_name="none.jpg"),
            record(12, image_name="../x"),
        ],
    )
    _, integrity = read(root)
    assert sorted(integrity.findings) == [
        Finding("train_test_overlap", "vqa_rad/images/a.jpg", "in train as vqa_rad/images/a.jpg"),
        Finding("train_test_overlap", "vqa_rad/images/b.jpg", "in train as vqa_rad/images/copy.jpg"),
    ]
    assert integrity.checked == {"train_test_overlap": 3}
    assert found(read(root, "train")[1]) == {"missing_file": 1, "unreadable_file": 1}


def test_an_overlap_that_cannot_be_checked_is_said(root: Path) -> None:
    write_mevf(root, [record(1)], train=None)
    _, integrity = read(root)
    assert integrity.findings == [
        Finding("not_checked", "vqa_rad", "no train split, so its overlap with test was not checked")
    ]


def test_the_hub_numbers_rows_over_its_files_and_writes_images_aside(root: Path) -> None:
    write_hub(root, "test", [(jpeg(1), "Is it?", "Yes"), (jpeg(2), "Where?", "left")], "00000-of-00002")
    write_hub(root, "test", [(jpeg(1), "And?", "no ")], "00001-of-00002")
    write_hub(root, "train", [(jpeg(2), "q", "a")])
    before = sorted(root.rglob("*"))
    samples, integrity = read(root)
    assert [sample.id for sample in samples] == ["rad/test/0", "rad/test/1", "rad/test/2"]
    assert [sample.strata["answer_type"] for sample in samples] == ["closed", "open", "closed"]
    assert samples[0].strata == {"answer_type": "closed", "question_type": "unknown", "organ": "unknown"}
    digest = hashlib.sha256(jpeg(1)).hexdigest()
    media = samples[0].media[0]
    assert (media.path, media.sha256, media.size) == (f"vqa_rad/embedded/{digest}.jpg", digest, (6, 8))
    assert samples[0].cluster == samples[2].cluster == f"{digest}.jpg"
    assert (root.parent / "derived" / media.path).read_bytes() == jpeg(1)
    assert sorted(root.rglob("*")) == before
    assert integrity.repairs == {"answer_type_from_answer": 3}
    overlap = Finding(
        "train_test_overlap", samples[1].media[0].path, "in train as vqa_rad/data/train-00000-of-00001.parquet[0]"
    )
    assert integrity.findings == [overlap]


def test_hub_rows_with_absent_or_broken_images_stay(root: Path) -> None:
    write_hub(root, "test", [(None, "q", "yes"), (b"no image", "q", "yes")])
    write_hub(root, "train", [(jpeg(2), "q", "a")])
    samples, integrity = read(root)
    place = "vqa_rad/data/test-00000-of-00001.parquet[1]"
    assert [sample.defect for sample in samples] == ["the record names no image", f"image {place} cannot be read"]
    assert found(integrity) == {"missing_value": 1, "unreadable_file": 1}


def test_hub_records_have_no_organ_to_select_by_its_raw_name(root: Path) -> None:
    write_hub(root, "test", [(jpeg(1), "q", "yes")])
    with pytest.raises(SpecError, match=r"release.where.image_organ: expected a field of the records"):
        read(root, where={"image_organ": ("head",)})


def test_a_hub_file_that_is_not_parquet_is_named(root: Path) -> None:
    (root / "vqa_rad/data").mkdir(parents=True)
    (root / "vqa_rad/data/test-0.parquet").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(
        DataError, match=r"vqa_rad/data/test-0.parquet: expected parquet, found .*; the download may be"
    ):
        read(root)


@pytest.mark.parametrize("columns", [{"question": ["q"], "answer": ["a"]}, {"image": ["x"], "question": ["q"]}])
def test_a_hub_file_with_other_columns_is_named(root: Path, columns: Mapping[str, list[str]]) -> None:
    (root / "vqa_rad/data").mkdir(parents=True)
    parquet.write_table(pyarrow.table(dict(columns)), root / "vqa_rad/data/test-0.parquet")
    message = (
        r"test-0.parquet: expected the columns image \(a struct that begins with bytes\), .*, found .*question: string"
    )
    with pytest.raises(DataError, match=message):
        read(root)


def test_the_first_of_several_layouts_is_read_and_the_choice_reported(root: Path) -> None:
    write_mevf(root, [record(1)])
    write_hub(root, "test", [(jpeg(1), "q", "yes")])
    samples, integrity = read(root)
    assert [sample.id for sample in samples] == ["rad/test/1"]
    assert Finding("several_layouts", "vqa_rad", "read as mevf; also there: hub") in integrity.findings
    samples, integrity = read(root, options={"layout": "hub"})
    assert [sample.id for sample in samples] == ["rad/test/0"]
    assert "several_layouts" not in integrity.counts


def test_an_asked_layout_that_is_not_there_is_an_error(root: Path) -> None:
    write_mevf(root, [record(1)])
    with pytest.raises(DataError, match=r"vqa_rad: expected the layout 'hub', found mevf. Download VQA-RAD from"):
        read(root, options={"layout": "hub"})


def test_records_are_read_as_they_come(root: Path) -> None:
    write_mevf(root, [record(1), record(2)])
    path = root / "vqa_rad/testset.json"
    path.write_text(path.read_text()[:-5])
    request = ReleaseRequest(dataset="rad", split="test")
    samples = READER.read(ReleaseFiles(root=root, derived=root), request, Integrity())
    assert next(samples)[1].id == "rad/test/1"
    with pytest.raises(DataError, match=r"vqa_rad/testset.json: expected one JSON list: .*; the download may be"):
        next(samples)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"qid": 1}, r"vqa_rad/testset.json: expected one JSON list: expected '\[', found .*; the download may be"),
        ([record(1), {"id": 2}], r"vqa_rad/testset.json\[1\]: expected a record with a qid, found \"{'id': 2}\""),
        (["text"], r"vqa_rad/testset.json\[0\]: expected a record with a qid, found 'text'"),
    ],
)
def test_other_json_is_named(root: Path, content: Any, message: str) -> None:
    write_mevf(root, content)
    with pytest.raises(DataError, match=message):
        read(root)


def test_closed_questions_get_the_options_they_name_where_they_are_asked_for(root: Path) -> None:
    side = record(2, question="Is it on the left or right?", answer="Right")
    vague = record(4, question="Where is it?", answer="Left")
    write_mevf(root, [record(1), side, record(3, answer_type="OPEN"), vague], train=None)
    samples, integrity = read(root, options={"choices": "closed"})
    assert [sample.choices for sample in samples] == [("yes", "no"), ("left", "right"), (), ()]
    assert [sample.target.choice for sample in samples] == ["B", "B", None, None]
    assert [sample.defect for sample in samples] == [None, None, None, "the question names no options"]
    assert found(integrity) == {"missing_value": 1, "not_checked": 1}
    assert all(sample.choices == () for sample in read(root)[0])


def test_where_separates_yes_and_no_from_phrases(root: Path) -> None:
    write_mevf(root, [record(1), record(2, answer="Left"), record(3, answer="yes", answer_type="OPEN")])
    samples, _ = read(root, where={"answer_form": ("yes/no",), "answer_type": ("closed",)})
    assert [sample.id for sample in samples] == ["rad/test/1"]


def test_the_real_closed_questions_are_272_and_251_of_them_yes_or_no(test_data: Path, tmp_path: Path) -> None:
    integrity = Integrity()
    files = ReleaseFiles(root=test_data, derived=tmp_path)
    counts = []
    for where in ({"answer_type": ("closed",)}, {"answer_type": ("closed",), "answer_form": ("yes/no",)}):
        request = ReleaseRequest(dataset="rad", split="test", where=where, options={"choices": "closed"})
        samples = [sample for _, sample in READER.read(files, request, integrity)]
        assert all(sample.choices and sample.defect is None for sample in samples)
        counts.append(len(samples))
    assert counts == [272, 251]
