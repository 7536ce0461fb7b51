"""Questions on labelled images: selection by name before a file is opened, strata and faults after."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.folders.labelled_cases import Case, Named, Part, Questions, parts_of
from harness.data.releases.images import ReleaseImage
from harness.data.releases.reader import ReleaseRequest
from harness.imaging.masks import area, empty, full
from harness.records import Media

SIZE = (6, 8)
IMAGE = ReleaseImage(media=Media(path="f/images/a.png", sha256="0", size=SIZE))


def questions(**where: tuple[str, ...]) -> Questions:
    return Questions(ReleaseRequest(dataset="d", split="test", where=where), Integrity())


def case(*parts: Part, **changes: Any) -> Case:
    return Case(**{"path": "images/a.png", "patient": "", "modality": "ct", "image": IMAGE, "parts": parts, **changes})


def test_labels_are_selected_by_name_and_the_others_counted() -> None:
    asked = questions(**{"class": ("liver",)})
    assert asked.admits(("Liver", "spleen", "kidney"), patient="", modality="ct") == ["Liver"]
    assert (asked.selection.before, asked.selection.after) == (2, 0)
    assert questions(modality=("mr",)).admits(("liver",), patient="", modality="ct") == []


@pytest.mark.parametrize(
    ("part", "presence", "absent", "defect"),
    [
        (Part(label="Liver", mask=full(SIZE)), "present", False, None),
        (Part(label="Liver", mask=empty(SIZE)), "absent", True, None),
        (Part(label="Liver", defect="torn"), "unknown", False, "torn"),
    ],
)
def test_a_label_is_present_absent_or_unknown(part: Part, presence: str, absent: bool, defect: str | None) -> None:
    ((place, sample),) = questions().samples(case(part))
    assert (place, sample.id) == ("images/a.png", "d/test/images/a.png:Liver")
    assert (sample.strata["presence"], sample.target.absent, sample.defect) == (presence, absent, defect)
    assert (sample.strata["class"], sample.target.entities[0].name) == ("liver", "Liver")
    assert (sample.strata["target_size"] == "unknown") is (presence != "present")


def test_samples_are_selected_again_once_their_masks_are_known() -> None:
    asked = questions(presence=("present",))
    parts = (Part(label="liver", mask=full(SIZE)), Part(label="spleen", mask=empty(SIZE)))
    assert [sample.target.entities[0].name for _, sample in asked.samples(case(*parts))] == ["liver"]
    assert (asked.selection.before, asked.selection.after) == (2, 1)


def test_the_patient_is_the_cluster_and_else_the_image() -> None:
    part = Part(label="liver", mask=full(SIZE))
    clusters = [next(questions().samples(case(part, patient=name)))[1].cluster for name in ("p7", "")]
    assert clusters == ["p7", "images/a.png"]


@pytest.fixture
def files(tmp_path: Path) -> ReleaseFiles:
    values = np.zeros(SIZE, dtype=np.uint8)
    values[0, :3], values[1, :2], values[2, 0] = 1, 2, 9
    Image.fromarray(values).save(tmp_path / "m.png")
    Image.fromarray(np.zeros(SIZE, dtype=np.uint8)).save(tmp_path / "empty.png")
    return ReleaseFiles(root=tmp_path, derived=tmp_path / "derived")


def test_a_label_may_have_several_values_and_an_absent_one_is_empty(files: ReleaseFiles) -> None:
    integrity = Integrity()
    wanted: list[Named] = [("liver", (1,)), ("both", (1, 2)), ("spleen", (5,)), ("any", None)]
    parts = parts_of(files, "m.png", IMAGE, wanted, (1, 2, 5), integrity)
    assert {part.label: area(part.mask) for part in parts if part.mask} == {
        "liver": 3,
        "both": 5,
        "spleen": 0,
        "any": 6,
    }
    assert [(one.kind, one.detail) for one in integrity.findings] == [("unknown_label", "9")]


def test_without_known_values_none_is_unknown(files: ReleaseFiles) -> None:
    integrity = Integrity()
    parts_of(files, "m.png", IMAGE, [("liver", (1,))], (), integrity)
    assert integrity.findings == []


def test_an_empty_mask_of_its_own_is_reported(files: ReleaseFiles) -> None:
    integrity = Integrity()
    (part,) = parts_of(files, "empty.png", IMAGE, [("liver", None)], (), integrity)
    assert part.mask == empty(SIZE)
    assert [(one.kind, one.where, one.image) for one in integrity.findings] == [
        ("empty_mask", "empty.png", "f/images/a.png")
    ]


def test_a_file_that_cannot_be_used_is_a_defect_of_all_its_labels(files: ReleaseFiles) -> None:
    parts = parts_of(files, "none.png", IMAGE, [("liver", (1,)), ("spleen", (2,))], (1, 2), Integrity())
    assert [part.defect for part in parts] == ["mask none.png is missing"] * 2
