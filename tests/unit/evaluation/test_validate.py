"""What `harness validate` finds: wrong files, wrong oracles, and metrics that do not tell good from bad."""

import json
from pathlib import Path

import pytest

from harness.errors import SpecError
from harness.evaluation.validate import OTHERS, SAMPLES, Report, text, to_json, validate
from harness.evaluation.validate import _choose as choose
from harness.records import Sample, Target
from tests.support.tiny_vqa_rad import PICTURES, write_release

TASK = """\
task: mine
version: 1
title: Questions
release: {reader: vqa_rad, split: test}
gives: text
oracle: "{answer}"
prompt: "{question}"
metrics:
  - {metric: vqa_accuracy}
headline: {metric: vqa_accuracy}
"""


def write(folder: Path, content: str = TASK) -> str:
    (folder / "mine.yaml").write_text(content)
    return str(folder / "mine.yaml")


def validated(tmp_path: Path, content: str = TASK, *, samples: int = 8) -> Report:
    """Return the report of a task over questions of VQA-RAD, two of three of which are answered with yes."""
    root = write_release(tmp_path / "data", samples)
    (report,) = validate([write(tmp_path, content)], (), (str(root),), tmp_path / "cache")
    return report


def test_a_sound_task_has_no_fault_and_its_means_are_in_order(tmp_path: Path) -> None:
    report = validated(tmp_path)
    assert report.faults == []
    assert (report.task, report.samples, report.prompt) == ("mine", 8, "Is finding 0 there?")
    means = report.scores["vqa_accuracy (standard)"]
    assert (means["oracle"], means["empty"]) == (1.0, 0.0)
    assert means["shuffled"] is not None
    assert 0.0 < means["shuffled"] < 1.0


def test_a_file_is_checked_without_data(tmp_path: Path) -> None:
    (report,) = validate([write(tmp_path)], (), (), tmp_path)
    assert (report.faults, report.samples, report.prompt, report.scores) == ([], 0, None, {})


def test_a_faulty_file_is_reported_and_its_samples_are_not_tried(tmp_path: Path) -> None:
    root = write_release(tmp_path / "data", 3)
    file = write(tmp_path, TASK.replace("version: 1", "version: one"))
    (report,) = validate([file], (), (str(root),), tmp_path / "cache")
    assert report.task == file
    assert ["version" in fault for fault in report.faults] == [True]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"no\.yaml: no such task file"):
        validate([str(tmp_path / "no.yaml")], (), (), tmp_path)


def test_an_oracle_that_is_wrong_is_named_with_its_samples(tmp_path: Path) -> None:
    report = validated(tmp_path, TASK.replace('oracle: "{answer}"', 'oracle: "yes"'))
    (fault,) = report.faults
    assert "the oracle's answer stays below the ceiling on mine/test/0 and 2 more" in fault


def test_an_absent_release_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (report,) = validate([write(tmp_path)], (), (str(tmp_path / "data"),), tmp_path / "cache")
    assert len(report.faults) == 1
    assert report.samples == 0


def test_a_single_sample_has_no_other_answer_to_be_given(tmp_path: Path) -> None:
    report = validated(tmp_path, samples=1)
    assert report.scores["vqa_accuracy (standard)"]["shuffled"] is None


def test_the_text_names_faults_prompts_and_means() -> None:
    found = [
        Report(task="good", samples=2, tried=2, prompt="Why?", scores={"dice (m3d)": {"oracle": 1, "shuffled": None}}),
        Report(task="bad", faults=["one\ntwo", "three"]),
        Report(task="file"),
    ]
    assert text(found).splitlines() == [
        "good: ok, 2 samples checked",
        "  prompt: 'Why?'",
        f"  {'dice (m3d)':32} oracle 1.0000  shuffled -",
        "bad: 2 errors",
        "  one",
        "  two",
        "  three",
        "file: ok (file only)",
    ]
    assert [report["task"] for report in json.loads(json.dumps(to_json(found)))] == ["good", "bad", "file"]


def test_samples_that_cannot_be_read_are_errors_with_their_reason(tmp_path: Path) -> None:
    root = write_release(tmp_path / "data", 8)
    for number in range(PICTURES - 1):  # each picture belongs to two of the eight questions
        (root / "vqa_rad" / "images" / f"{number}.png").write_bytes(b"no image")
    (report,) = validate([write(tmp_path)], (), (str(root),), tmp_path / "cache")
    assert (report.samples, report.tried) == (2, 8)
    assert report.faults[0].startswith("mine/test/0: image vqa_rad/images/0.png cannot be read: cannot be read as an")
    assert report.faults[3] == "mine: 3 more of the 8 samples tried cannot be read"
    assert report.findings == {"unreadable_file": 3}
    shown = text([report])
    assert "mine: 4 errors, 2 of 8 samples checked" in shown
    assert "  unreadable_file 3" in shown


def test_samples_from_further_behind_are_tried_where_the_first_are_alike() -> None:
    def sample(number: int, *, absent: bool) -> Sample:
        return Sample(
            id=str(number), media=(), question="", target=Target(absent=absent), strata={}, cluster=str(number)
        )

    first = [sample(number, absent=True) for number in range(SAMPLES + 9)]
    assert choose(first) == first[:SAMPLES]
    assert choose(first[:3]) == first[:3]
    others = [sample(100 + number, absent=False) for number in range(9)]
    assert choose([*first, *others]) == [*first[: SAMPLES - OTHERS], *others[:OTHERS]]
    mixed = [first[0], *others, *first[1:]]
    assert choose(mixed) == mixed[:SAMPLES]


def test_several_names_and_files_are_validated_together(tmp_path: Path) -> None:
    file = write(tmp_path)
    groups = tmp_path / "groups.yaml"
    groups.write_text("both:\n  title: Both\n  tasks: [mine, vqa_rad]\n")
    found = validate([f"{file},vqa_rad slake", str(groups)], (), (), tmp_path)
    assert [report.task for report in found] == [str(groups), "mine", "vqa_rad", "slake"]


@pytest.mark.parametrize("names", [(), ("",), (",,",), (" ", ",")])
def test_no_task_at_all_is_no_success(names: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"^expected at least one task, group or task file, found none; `harness list"):
        validate(names, (), (), tmp_path)
