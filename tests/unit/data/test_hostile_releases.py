"""One bad file or record of a release costs itself: the others are prepared, and the report names it."""

import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.data.integrity import Integrity
from harness.data.manifest import Prepared, prepare, read_manifest, read_report
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.json_stream import DEPTH, nested_end, shallow
from harness.data.releases.reader import ReleaseRequest
from harness.data.releases.volumes import inspect_scan
from harness.data.releases.vqa.vqa_rad import READER
from harness.errors import DataError
from harness.records import Sample
from tests.support.tiny_vqa_rad import write_release

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "faults"
SAMPLES = 4


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A data root with SAMPLES questions of VQA-RAD."""
    return write_release(tmp_path / "data", SAMPLES)


def prepared(root: Path) -> Prepared:
    return prepare(READER, ReleaseRequest(dataset="vqa_rad", split="test"), roots=[root], cache=root.parent / "cache")


def samples_of(root: Path) -> list[Sample]:
    return list(read_manifest(prepared(root).manifest))


def add(root: Path, text: str) -> None:
    """Append a record, given as JSON text, to the questions."""
    listing = root / "vqa_rad" / "testset.json"
    listing.write_text(f"{listing.read_text().removesuffix(']')}, {text}]")


def record(**changes: Any) -> str:
    return json.dumps({"qid": 99, "image_name": "0.png", "question": "q?", "answer": "yes", **changes})


@pytest.mark.parametrize("field", ["question", "answer", "qid", "image_name", "question_type", "image_organ"])
def test_half_a_character_costs_its_record_only(release: Path, field: str) -> None:
    add(release, record(**{field: "half \ud800"}))
    *good, bad = samples_of(release)
    assert [sample.defect for sample in good] == [None] * SAMPLES
    lacks = "image vqa_rad/images/half" if field == "image_name" else "the record holds half of a surrogate pair"
    if field != "image_organ" or bad.defect is not None:  # a field of which no stratum is made is not kept
        assert "half of a surrogate pair" in (bad.defect or "") or lacks in (bad.defect or "")
    json.dumps(bad.id).encode()
    report = read_report(prepared(release).integrity)
    assert any("surrogate" in found.detail or "ud800" in found.where for found in report.findings) or not bad.defect


def test_the_record_of_the_case_is_named(release: Path) -> None:
    shutil.copy(GOLDEN / "testset-surrogate.json", release / "vqa_rad" / "testset.json")
    shutil.copy(release / "vqa_rad" / "images" / "0.png", release / "vqa_rad" / "images" / "good.jpg")
    assert [sample.defect is None for sample in samples_of(release)] == [True] * 5 + [False]
    (found,) = (each for each in read_report(prepared(release).integrity).findings if each.kind == "unreadable_record")
    assert found.where == "vqa_rad/testset.json[5]"
    assert found.detail == "the record holds half of a surrogate pair, which no file can"


@pytest.mark.parametrize(
    "deep",
    ["[" * 50_000 + "]" * 50_000, '{"a":' * 5_000 + "1" + "}" * 5_000, '["]",' * 3_000 + "1" + "]" * 3_000],
    ids=["lists", "objects", "lists with brackets in text"],
)
@pytest.mark.parametrize("field", ["question", "unknown"])
def test_what_is_nested_too_deeply_costs_no_other_record(release: Path, deep: str, field: str) -> None:
    add(release, record(**{field: "DEEP"}).replace('"DEEP"', deep))
    found = samples_of(release)
    assert [sample.defect for sample in found[:SAMPLES]] == [None] * SAMPLES
    assert len(found) == SAMPLES + 1


@pytest.mark.parametrize(("text", "end"), [("[1]x", 3), ('{"a]": "\\"]"}', 13), ("[[", -1), ('["]', -1), ("[1", -1)])
def test_the_end_of_a_value_is_found_without_recursion(text: str, end: int) -> None:
    assert nested_end(text, 0) == end


def test_a_value_keeps_what_is_not_too_deep() -> None:
    deep = "[" * (DEPTH - 1) + '{"a": [1], "b": {}}' + "]" * (DEPTH - 1)
    found = shallow(f'{{"kept": [1, "]"], "cut": {deep}}}')
    assert found["kept"] == [1, "]"]
    assert json.dumps(found["cut"]).count("null") == 1


@pytest.mark.parametrize("number", ["9" * 5000, "-" + "9" * 5000, "1e400", "NaN"])
@pytest.mark.parametrize("field", ["question", "answer", "qid", "unknown"])
def test_a_number_that_no_file_can_hold_costs_no_other_record(release: Path, number: str, field: str) -> None:
    add(release, record(**{field: "NUMBER"}).replace('"NUMBER"', number))
    found = samples_of(release)
    assert [sample.defect for sample in found[:SAMPLES]] == [None] * SAMPLES


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def a_folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("put", [a_pipe, a_link_to_a_device, a_link_to_itself, a_folder])
def test_what_is_no_file_costs_its_questions_only(release: Path, put: Callable[[Path], None]) -> None:
    image = release / "vqa_rad" / "images" / "3.png"
    image.unlink()
    put(image)
    assert [sample.defect is None for sample in samples_of(release)] == [True, True, True, False]
    (found,) = (each for each in read_report(prepared(release).integrity).findings if "3.png" in each.where)
    assert found.kind in ("unreadable_file", "missing_file")


@pytest.mark.parametrize("put", [a_pipe, a_link_to_a_device])
def test_a_listing_that_is_no_file_is_one_error(release: Path, put: Callable[[Path], None]) -> None:
    listing = release / "vqa_rad" / "testset.json"
    listing.unlink()
    put(listing)
    with pytest.raises(DataError, match="found the splits train, not 'test'"):
        prepared(release)


@pytest.mark.parametrize("name", ["affine_zero.nii.gz", "dtype_bad.nii.gz", "frames_1e9.dcm"])
def test_a_volume_that_is_damaged_is_an_unreadable_file(tmp_path: Path, name: str) -> None:
    shutil.copy(GOLDEN / name, tmp_path / name)
    integrity = Integrity()
    image = inspect_scan(ReleaseFiles(root=tmp_path, derived=tmp_path), name, window=None, integrity=integrity)
    assert image.defect is not None
    assert [found.kind for found in integrity.findings] == ["unreadable_file"]


def test_a_small_file_that_unpacks_to_more_than_the_cap_is_refused_by_its_header(tmp_path: Path) -> None:
    header = bytearray(gzip.decompress((GOLDEN / "dtype_bad.nii.gz").read_bytes())[:352])
    header[40:48] = b"".join(side.to_bytes(2, "little") for side in (3, 2048, 2048, 2048))
    header[70:74] = (2).to_bytes(2, "little") + (8).to_bytes(2, "little")  # uint8
    (tmp_path / "zeros.nii.gz").write_bytes(gzip.compress(bytes(header)))
    integrity = Integrity()
    files = ReleaseFiles(root=tmp_path, derived=tmp_path)
    assert inspect_scan(files, "zeros.nii.gz", window=None, integrity=integrity).defect is not None


def test_a_folder_that_may_not_be_listed_is_reported_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "closed", "z"):
        (tmp_path / "scans" / name).mkdir(parents=True)
        (tmp_path / "scans" / name / "1.png").touch()
    listed = os.scandir

    def refuse(path: Any) -> Any:  # root may read everything, so the test lets the system refuse
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr("harness.data.releases.files.os.scandir", refuse)
    reported: list[tuple[str, str]] = []
    files = ReleaseFiles(root=tmp_path, derived=tmp_path, unreadable=lambda *fault: reported.append(fault))
    assert list(files.walk("scans")) == ["scans/a/1.png", "scans/z/1.png"]
    assert reported == [("scans/closed", "cannot be listed: Permission denied; check the folder and its rights")]


def test_a_data_root_that_may_not_be_entered_is_one_error(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(DataError, match=r"vqa_rad: cannot be read: Permission denied; check the folder and its rights"):
        READER.find_root([release])
