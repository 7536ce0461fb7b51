"""Scoring an unpacked bundle: what its form cannot tell is found with one's own data."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import DataError, SpecError
from harness.evaluation import rescore_bundle as module
from harness.evaluation.judging.rule_judge import RuleJudge
from harness.evaluation.rescore_bundle import rescore_bundle
from harness.records import Answer, Score
from harness.scoring.score import ScoreFile
from leaderboard.verification.archive import unpack
from leaderboard.verification.contents import read_contents
from tests.support.good_bundle import BUNDLE, DATA

Change = Callable[[Any], object]


@pytest.fixture
def rescore(tmp_path: Path) -> Callable[..., Any]:
    """Unpack the good bundle, change files in it, and score it."""

    def call(**changes: Change) -> Any:
        contents = read_contents(tmp_path, unpack(BUNDLE, tmp_path))
        for name, change in changes.items():
            path = next(tmp_path.glob({"run": "run.json", "judge": "judgements/*/run.json"}[name]))
            value = json.loads(path.read_text())
            change(value)
            path.write_text(json.dumps(value))
        return rescore_bundle(
            tmp_path, contents.capabilities, given_roots=(str(DATA),), task_paths=(), notice=lambda _: None
        )

    return call


def test_a_task_that_was_not_asked_for_is_named(rescore: Callable[..., Any]) -> None:
    with pytest.raises(SpecError, match="tasks: samed2d_seg is none of the tasks that the run asked for"):
        rescore(run=lambda value: value.update(requested=["vqa_rad"]))


@pytest.mark.slow
def test_a_run_has_a_task(rescore: Callable[..., Any]) -> None:
    with pytest.raises(SpecError, match="tasks: expected at least one task, found none"):
        rescore(run=lambda value: value.update(tasks={}))


@pytest.mark.slow
def test_the_record_of_a_judge_has_one_form(rescore: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match=r"run\.json: expected the fields judge, prompt_version, rubric, schema"):
        rescore(judge=lambda value: value.update(against={"model": "other"}))


@pytest.mark.slow
def test_a_judge_is_there_once(rescore: Callable[..., Any], tmp_path: Path) -> None:
    def twice(_: Any) -> None:
        judge = next((tmp_path / "judgements").iterdir())
        shutil.copytree(judge, judge.with_name(judge.name.replace("001-", "002-")))

    with pytest.raises(DataError, match="expected every judge once under each rubric, found one twice"):
        rescore(run=twice)


def test_the_rules_of_a_judge_are_applied_again(rescore: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RuleJudge, "predict", lambda _, requests: [Answer(text="{}") for _ in requests])
    with pytest.raises(DataError, match="vqa_rad/test/0: the rules give another verdict"):
        rescore()


@pytest.mark.slow
def test_rules_of_another_version_are_not_applied(rescore: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RuleJudge, "version", "2")
    with pytest.raises(DataError, match="judge:rules has version 2 here; judge the run again"):
        rescore()


def test_a_score_that_is_the_fault_of_its_scorer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vqa_rad.vqa_accuracy.standard.parquet"
    file = ScoreFile(path)
    for number, status in enumerate(("ok", "scorer_error")):
        file.add(
            Score(
                sample_id=f"s{number}",
                repeat=0,
                metric="vqa_accuracy",
                protocol="standard",
                status=status,  # type: ignore[arg-type]
                values=(),
                stats=(),
            )
        )
    file.close()
    words = r"the prediction for s1 cannot be scored under vqa_rad\.vqa_accuracy\.standard"
    with pytest.raises(DataError, match=words):
        module._check_scored(path)


@pytest.mark.slow
def test_a_run_without_a_usable_answer_is_refused(rescore: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    scored = module.score_run

    def silent(*arguments: Any) -> Any:
        found = scored(*arguments)
        for block in found.results["tasks"].values():
            block["answered"] = 0
        return found

    monkeypatch.setattr(module, "score_run", silent)
    with pytest.raises(DataError, match="no answer is usable: every one is empty, refused or failed"):
        rescore()
