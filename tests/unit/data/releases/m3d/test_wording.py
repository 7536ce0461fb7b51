"""M3D's wordings: templates and reports, chosen and cut in the same way on every machine."""

import json
from pathlib import Path

import pytest

from harness.data.releases.files import ReleaseFiles
from harness.data.releases.m3d.wording import (
    ASKS,
    PARTS,
    chosen,
    filled,
    packaged_questions,
    packaged_wording,
    read_questions,
    read_wording,
    report_of,
)
from harness.errors import DataError


def test_filled_in_words_are_not_filled_again() -> None:
    assert filled("{}: {}", ("a {}", "b")) == "a {}: b"
    assert filled("yes", ("a",)) == "yes"


@pytest.mark.parametrize(
    ("text", "report"),
    [
        ("title: x\nstudy_findings:\nA cyst.\nNo stone.\n", "A cyst. No stone."),
        ("discussion: A rare\ncase.\nstudy_findings: -", "A rare case. study_findings: -"),
        ("discussion:\nstudy_findings:\n", "study_findings:"),
        ("discussion: -", "discussion: -"),
        ("Only a note\nof two lines", "Only a note of two lines"),
    ],
)
def test_the_report_is_what_the_release_takes_it_for(text: str, report: str) -> None:
    assert report_of(text) == report


def test_a_sample_always_gets_the_same_choice_and_samples_differ() -> None:
    assert "".join(chosen("abcdef", f"m3d/test/{number}", "cls_questions") for number in range(6)) == "febffb"
    assert len({chosen("abcdef", f"m3d/test/{number}", "x") for number in range(100)}) == 6
    assert chosen(["only"], "any", "thing") == "only"


@pytest.mark.parametrize("name", ["authors", "ours"])
def test_either_list_has_templates_for_all_that_is_asked(tmp_path: Path, name: str) -> None:
    wording = read_wording(ReleaseFiles(root=tmp_path, derived=tmp_path), "M3D_Seg", name)
    assert wording.name == name
    assert all(wording.lists[asks][part] for asks in ASKS for part in PARTS)
    assert wording.boxed("[0.1, 0.2]").count("[0.1, 0.2]") == 1
    template = wording.lists["segmentation"]["cls_questions"]
    asked = wording.words("segmentation", "cls_questions", "m3d/test/1", "liver")
    assert asked in {text.replace("{}", "liver") for text in template}


def test_a_release_may_bring_its_own_questions(tmp_path: Path) -> None:
    files = ReleaseFiles(root=tmp_path, derived=tmp_path)
    assert read_questions(files, "M3D_Cap", "ours").wordings == tuple(
        json.loads(packaged_questions("ours"))["report_generation"]
    )
    (tmp_path / "M3D_Cap").mkdir()
    (tmp_path / "M3D_Cap/wording.json").write_text('{"name": "mine", "report_generation": ["Report!"]}')
    assert (read_questions(files, "M3D_Cap", "ours").name, read_questions(files, "M3D_Cap", "ours").wordings) == (
        "mine",
        ("Report!",),
    )


@pytest.mark.parametrize("content", ["[]", '{"name": "x"}', '{"name": "x", "report_generation": []}', "{"])
def test_questions_of_another_form_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "M3D_Cap").mkdir()
    (tmp_path / "M3D_Cap/wording.json").write_text(content)
    with pytest.raises(DataError, match=r"M3D_Cap/wording\.json: expected a name and a list report_generation"):
        read_questions(ReleaseFiles(root=tmp_path, derived=tmp_path), "M3D_Cap", "ours")


def test_a_wording_without_a_part_is_refused(tmp_path: Path) -> None:
    own = json.loads(packaged_wording("ours"))
    own["reg"]["des_answers"] = []
    (tmp_path / "M3D_Seg").mkdir()
    (tmp_path / "M3D_Seg/wording.json").write_text(json.dumps(own))
    with pytest.raises(DataError, match=r"found no texts under reg\.des_answers; repair or remove it"):
        read_wording(ReleaseFiles(root=tmp_path, derived=tmp_path), "M3D_Seg", "ours")
