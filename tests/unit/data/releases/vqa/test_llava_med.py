"""LLaVA-Med's alignment pairs: which records become which samples, what is repaired, what is found."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.reader import ReleaseRequest
from harness.data.releases.vqa.llava_med import READER
from harness.errors import DataError, SpecError
from harness.records import Sample

FILE = "llava_med/alignment/llava_med_alignment_500k.json"


def record(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "id": "101_F1",
        "image": "101_F1.jpg",
        "domain": {"chest_xray": False, "mri": True, "histology": False, "gross": False, "ct_scan": False},
        "conversatons": [
            {"from": "human", "value": "Describe the image.\n<image>"},
            {"from": "gpt", "value": "An MR image of the brain."},
        ],
    }
    return values | changes


def write(root: Path, records: Sequence[object], file: str = FILE) -> None:
    (root / "llava_med/images").mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    Image.new("L", (8, 6)).save(buffer, "JPEG")
    (root / "llava_med/images/101_F1.jpg").write_bytes(buffer.getvalue())
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_bytes(b"\xef\xbb\xbf" + json.dumps(records, indent=1).replace("\n", "\r\n").encode())


def read(root: Path, **changes: Any) -> tuple[list[Sample], Integrity]:
    integrity = Integrity()
    request = ReleaseRequest(dataset="llava_med", split="train", **changes)
    return [one for _, one in READER.read(ReleaseFiles(root=root, derived=root), request, integrity)], integrity


def repairs(integrity: Integrity) -> dict[str, int]:
    return {kind: found["count"] for kind, found in integrity.to_json()["repairs"].items()}


def test_a_record_becomes_a_sample(tmp_path: Path) -> None:
    write(tmp_path, [record()])
    (sample,), integrity = read(tmp_path)
    assert (sample.id, sample.question) == ("llava_med/train/101_F1", "Describe the image.\n<image>")
    assert (sample.target.answers, sample.defect) == (("An MR image of the brain.",), None)
    assert (sample.media[0].path, sample.cluster) == ("llava_med/images/101_F1.jpg", "101")
    assert sample.strata == {"modality": "mr"}
    assert (integrity.findings, repairs(integrity)) == ([], {"conversations_spelling": 1})
    assert READER.splits(tmp_path) == ("train",)


@pytest.mark.parametrize(
    ("domain", "modality"),
    [(None, "unknown"), ({}, "unknown"), ("mri", "unknown"), ({"mri": True, "ct_scan": True}, "several"),
     ({"histology": True}, "micro")],
)  # fmt: skip
def test_the_modality_is_the_one_that_the_domain_names(tmp_path: Path, domain: object, modality: str) -> None:
    write(tmp_path, [record(domain=domain)])
    assert read(tmp_path)[0][0].strata == {"modality": modality}


def test_a_bad_record_costs_itself_alone_and_says_why(tmp_path: Path) -> None:
    turns = record()["conversatons"]
    write(
        tmp_path,
        [
            record(image="102_F1.jpg", id="102_F1"),
            record(image=None, id="103_F1"),
            record(conversatons=[{"from": "human", "value": "<image>\n"}, turns[1]], id="104_F1"),
            record(conversatons=[turns[0], {"from": "gpt", "value": " "}], id="105_F1"),
            record(conversatons="none", id="106_F1"),
            "no record",
            record(image="101_F1", id=None),
            record(),
            {key: value for key, value in record(conversations=turns).items() if key != "conversatons"},
            record(conversations=[*turns, turns[0]], id="101_F1/4"),
            record(conversations=turns),
        ],
    )
    samples, integrity = read(tmp_path)
    assert [(sample.id.removeprefix("llava_med/train/"), sample.defect) for sample in samples] == [
        ("102_F1", "image llava_med/images/102_F1.jpg is missing"),
        ("103_F1", "the record names no image"),
        ("104_F1", "the record has no question"),
        ("105_F1", "the record has no answer"),
        ("106_F1", "the record has no question"),
        ("5", "the record has no question"),
        ("101_F1", None),
        ("101_F1/2", None),
        ("101_F1/3", None),
        ("101_F1/4", None),
        ("101_F1/5", None),
    ]
    assert [one.kind for one in integrity.findings] == [
        "missing_file", *["missing_value"] * 8, "later_turn",
    ]  # fmt: skip
    assert repairs(integrity) == {"conversations_spelling": 7, "image_suffix_added": 1, "repeated_id_numbered": 3}


def test_another_file_of_pairs_is_named_and_a_selection_keeps_numbers(tmp_path: Path) -> None:
    write(tmp_path, [record(domain={}), record()])
    write(tmp_path, [], "llava_med/llava_med_alignment_500k_filtered.json")
    (sample,), integrity = read(tmp_path, where={"modality": ("mr",)})
    assert (sample.id, integrity.selected) == ("llava_med/train/101_F1/2", (2, 1))
    (finding,) = integrity.findings
    assert (finding.kind, finding.detail.startswith(f"read as {FILE}; also there: ")) == ("several_layouts", True)
    with pytest.raises(SpecError, match="expected a field of the records"):
        read(tmp_path, where={"domain": ("mri",)})


def test_a_release_without_its_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "llava_med").mkdir()
    assert READER.splits(tmp_path) == ()
    with pytest.raises(DataError, match=r"llava_med: expected llava_med_alignment\*\.json in llava_med or .* Download"):
        read(tmp_path)
