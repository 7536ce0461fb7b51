"""Tasks that name a judge: the rubric in the file, and what a run without a judge says."""

from pathlib import Path

import pytest

from harness.evaluation.validate import validate
from harness.scoring.availability import usable_metrics
from harness.tasks.catalog import index
from harness.tasks.overrides import with_protocols
from harness.tasks.task_file import load_task
from tests.unit.tasks.task_cases import faults, write

GOOD = """task: t
version: 1
title: T
release: {reader: slake, split: test}
gives: text
oracle: "{answer}"
prompt: "{question}"
metrics:
  - {metric: token_prf}
  - {metric: judge, rubric: correctness}
  - {metric: judge, rubric: report}
headline: {metric: token_prf}
"""


def test_a_task_names_a_judge_by_its_rubrics(tmp_path: Path) -> None:
    task = load_task(write(tmp_path, GOOD))
    assert [(use.metric, use.rubric) for use in task.metrics] == [
        ("token_prf", ""),
        ("judge", "correctness"),
        ("judge", "report"),
    ]
    other = load_task(write(tmp_path, GOOD.replace("correctness", "strictness")))
    assert task.digest != other.digest
    assert with_protocols(task, ["medplib"]).metrics[0].metric == "token_prf"
    assert len(with_protocols(task, ["standard"]).metrics) == 1  # a judge has rubrics in place of protocols


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (", rubric: report", "", "11: metrics[2].rubric: required with metric 'judge'; name what the judge is asked, "
         "such as 'correctness'"),
        ("rubric: report", "rubric: correctness", "11: metrics[2].metric: 'judge' with rubric 'correctness' stands in "
         "the list twice"),
        ("rubric: report", "rubric: ../x", "11: metrics[2].rubric: expected the name of a rubric: letters, digits, "
         "'_' and '-', got '../x'"),
        ("rubric: report", "rubric: report, protocol: m3d", "11: metrics[2].protocol: does not stand beside metric "
         "'judge': its rubric says how replies are read"),
        ("metric: token_prf}\n  -", "metric: token_prf, rubric: m3d}\n  -", "9: metrics[0].rubric: only stands beside "
         "metric 'judge', which here is 'token_prf'"),
        ("headline: {metric: token_prf", "headline: {metric: judge", "12: headline.metric: 'judge' is no headline, "
         "since its number depends on who judges; name another metric"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_a_judge_is_a_fault(tmp_path: Path, old: str, new: str, fault: str) -> None:
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new))
    assert faults(path) == [f"t.yaml:{fault}"]


def test_before_a_judge_was_asked_its_rubrics_are_missing_and_the_rest_is_scored(tmp_path: Path) -> None:
    task = load_task(write(tmp_path, GOOD))
    found = usable_metrics(task)
    assert [row.name for row in found.metrics] == ["token_prf"]
    assert [(one.metric, one.reason, one.remedy) for one in found.missing] == [
        (
            "judge",
            f"judge (rubric {rubric}): no judge was asked",
            f"harness judge RUN_DIR --judge REF --rubric {rubric}",
        )
        for rubric in ("correctness", "report")
    ]
    assert [one.reason for one in usable_metrics(task, judged=("report",)).missing] == [
        "judge (rubric correctness): no judge was asked"
    ]


def test_the_tasks_of_the_papers_that_judge_answers_name_their_rubrics() -> None:
    catalog = index()
    rubrics = {
        name: [use.rubric for use in catalog.load(name).metrics if use.metric == "judge"]
        for name in ("m3d_open_vqa", "m3d_report_generation", "slake_open", "mecovqa_c")
    }
    assert rubrics == {
        "m3d_open_vqa": ["correctness"],
        "m3d_report_generation": ["m3d", "report"],
        "slake_open": ["correctness"],
        "mecovqa_c": ["correctness"],
    }


def test_a_rubric_that_does_not_exist_is_found_by_validate(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace("rubric: report", "rubric: reprot"))
    (report,) = validate([str(path)], [], [], tmp_path)
    (fault,) = report.faults
    assert fault.startswith(f"{path}:11: metrics: no rubric is called 'reprot' (did you mean 'report'?); there are ")
    write(tmp_path, GOOD.replace("rubric: report", "rubric: mine"), "own/t.yaml")
    write(tmp_path, "", "own/rubrics/mine.yaml")
    assert [one.faults for one in validate(["t"], [tmp_path / "own"], [], tmp_path)] == [[]]
    assert [one.faults for one in validate(["slake_open"], [], [], tmp_path)] == [[]]
