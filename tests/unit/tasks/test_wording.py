"""The words of a paper's prompt: found beside the task or its family, checked as templates, used on real data only."""

import json
from pathlib import Path

import pytest

from harness.errors import SpecError
from harness.tasks.spec import TaskSpec
from harness.tasks.task_file import load_task

TASK = """\
task: sides
version: 1
title: Sides
release: {reader: vqa_rad, split: test, options: {choices: closed}, samples: 272}
gives: choice
oracle: "{letter}"
prompt: "{question} {options}"
open: {prompt: "{question} In words.", oracle: "{answer}"}
wording: theirs
metrics: [{metric: choice_accuracy, protocol: huatuo}]
headline: {metric: choice_accuracy, protocol: huatuo, mean: micro, over: answer_type}
strata: [answer_type]
"""
THEIRS = {"prompt": "{question}\n{options}\nThe letter!", "source": "a paper", "licence": "MIT"}


def write(root: Path, wording: object = THEIRS, *, beside: str = "family", task: str = TASK) -> Path:
    (root / "family").mkdir(parents=True, exist_ok=True)
    folder = root / "family/wording" if beside == "family" else root / "wording"
    folder.mkdir(exist_ok=True)
    (folder / "theirs.json").write_text(wording if isinstance(wording, str) else json.dumps(wording))
    (root / "family/sides.yaml").write_text(task)
    return root / "family/sides.yaml"


def load(path: Path) -> TaskSpec:
    return load_task(path)


@pytest.mark.parametrize("beside", ["family", "tasks"])
def test_real_data_are_asked_in_the_paper_s_words_and_others_in_the_task_s_own(tmp_path: Path, beside: str) -> None:
    task = load(write(tmp_path, beside=beside))
    assert task.asked_of("real").prompt == "{question}\n{options}\nThe letter!"
    assert task.asked_of("phantom").prompt == "{question} {options}"
    assert (task.words_used("real"), task.words_used("phantom")) == ("theirs", "own")
    assert task.asked_of("real").open_prompt == "{question} In words."
    assert (task.open_oracle, task.release.samples, task.headline.over) == ("{answer}", 272, "answer_type")


def test_the_paper_s_words_for_open_questions_take_the_place_of_the_task_s(tmp_path: Path) -> None:
    task = load(write(tmp_path, THEIRS | {"open_prompt": "{question} One word!"}))
    assert task.asked_of("real").open_prompt == "{question} One word!"


def test_the_words_are_part_of_the_task_s_digest(tmp_path: Path) -> None:
    first, second = (load(write(tmp_path / name, THEIRS | {"prompt": name})) for name in ("one", "two"))
    assert first.digest != second.digest


def test_a_task_without_a_wording_has_but_its_own(tmp_path: Path) -> None:
    task = load(write(tmp_path, task=TASK.replace("wording: theirs\n", "")))
    assert (task.asked_of("real"), task.words_used("real")) == (task, None)


@pytest.mark.parametrize(
    ("wording", "message"),
    [
        ({"prompt": "{question}"}, "9: wording: theirs.json: required key 'source' is missing"),
        (THEIRS | {"licens": "x"}, r"9: wording: theirs.json: unknown key 'licens' \(did you mean 'licence'\?\)"),
        (THEIRS | {"prompt": "{qestion}"}, "9: wording: theirs.json: unknown placeholder '{qestion}'"),
        (THEIRS | {"prompt": ""}, "9: wording: theirs.json: expected texts under the keys prompt, source, licence"),
        ([], "9: wording: theirs.json: expected texts under the keys"),
        ("{", "9: wording: expected a JSON file wording/theirs.json beside the task or its family: Expecting property"),
    ],
)
def test_a_wrong_wording_is_a_fault_of_the_task(tmp_path: Path, wording: object, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load(write(tmp_path, wording))


@pytest.mark.parametrize(
    ("name", "found"), [("other", "there is none"), ("../theirs", "is a path; write the name alone")]
)
def test_a_wording_that_is_not_there_is_a_fault(tmp_path: Path, name: str, found: str) -> None:
    with pytest.raises(SpecError, match=rf"sides.yaml:9: wording: expected a JSON file .*: .*{found}"):
        load(write(tmp_path, task=TASK.replace("theirs", name)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("gives: choice", "gives: text", "8: open: only stands where gives is 'choice', which here is 'text'"),
        (', oracle: "{answer}"}', "}", "8: open.oracle: required key is missing"),
        ("In words.", "{wrods}", "8: open.prompt: unknown placeholder '{wrods}'"),
        ("samples: 272", "samples: many", "4: release.samples: expected a whole number of at least 1, got 'many'"),
        (
            "over: answer_type",
            "over: answer",
            "11: headline.over: 'answer' is not among the task's strata: answer_type",
        ),
    ],
)
def test_what_is_wrong_with_the_other_keys_is_a_fault_too(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load(write(tmp_path, task=TASK.replace(old, new)))
