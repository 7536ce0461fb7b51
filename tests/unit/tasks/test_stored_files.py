"""The task files that a run keeps: complete, found again, and never run on the word of the run alone."""

import json
import shutil
from pathlib import Path

import pytest

from harness.errors import SpecError
from harness.tasks.catalog import index
from harness.tasks.plug_ins import remember_code
from harness.tasks.spec import GroupSpec
from harness.tasks.stored_files import read_stored, write_stored

METRIC = """
from harness.metrics import find
from dataclasses import replace
ROW = replace(find("dice", "standard"), protocol="house")
"""
BASE = """\
version: 1
title: In my own words
release: {reader: samed2d, split: all}
gives: masks
oracle: "<SEG>"
prompt: "Where?"
wording: paper
metrics:
  - {metric: dice}
  - {metric: "code/metric.py:ROW", protocol: house}
headline: {metric: dice}
"""
GROUP = GroupSpec(name="both", title="Both", members=("mine", "vqa_rad"), combine="none")


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of tasks, one of which needs a file of each kind in another place."""
    monkeypatch.setenv("MEDGROUND_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "tasks"
    for folder in ("family/shared", "family/code", "wording"):
        (root / folder).mkdir(parents=True)
    (root / "family/shared/_base.yaml").write_text(BASE)
    (root / "family/mine.yaml").write_text("include: shared/_base.yaml\ntask: mine\n")
    (root / "family/code/metric.py").write_text(METRIC)
    words = {"prompt": "Where is it?", "source": "a paper", "licence": "CC0"}
    (root / "wording/paper.json").write_text(json.dumps(words))
    return root


def _stored(tasks: Path, tmp_path: Path, *, cache: str = "cache") -> Path:
    specs, _ = index([tasks]).resolve(["mine", "vqa_rad"])
    write_stored(tmp_path / "run" / "tasks", specs, [GROUP], tmp_path / cache)
    return tmp_path / "run" / "tasks"


def test_a_task_is_the_same_from_what_a_run_keeps(tasks: Path, tmp_path: Path) -> None:
    before = index([tasks]).load("mine")
    folder = _stored(tasks, tmp_path)
    shutil.rmtree(tasks)
    catalog = index(stored=folder)
    (mine, packaged), groups = catalog.resolve(["both"])
    assert mine.digest == before.digest
    assert mine.file.is_relative_to(folder)
    assert not packaged.file.is_relative_to(folder)  # the packaged task comes first: a new version scores old runs
    assert groups == [GROUP]


def test_files_that_are_named_come_before_those_that_a_run_keeps(tasks: Path, tmp_path: Path) -> None:
    folder = _stored(tasks, tmp_path)
    assert index([tasks], stored=folder).load("mine").file == tasks / "family/mine.yaml"


def test_what_a_run_keeps_is_not_written_again(tasks: Path, tmp_path: Path) -> None:
    folder = _stored(tasks, tmp_path)
    (tasks / "family/mine.yaml").write_text("include: shared/_base.yaml\ntask: mine\ntitle: Changed\n")
    assert _stored(tasks, tmp_path) == folder
    assert "Changed" not in (folder / "mine/family/mine.yaml").read_text()


def test_python_that_came_with_a_run_is_not_run_unless_it_ran_here_before(tasks: Path, tmp_path: Path) -> None:
    folder = _stored(tasks, tmp_path, cache="of-another-machine")
    with pytest.raises(SpecError, match=r"metric\.py: this Python came with a run and has never run on this machine"):
        index(stored=folder).load("mine")
    copy = tmp_path / "read-and-trusted"
    shutil.copytree(folder / "mine", copy)
    assert index([copy]).load("mine").task == "mine"
    remember_code([tasks / "family/code/metric.py"], tmp_path / "cache")
    assert index(stored=folder).load("mine").task == "mine"


def test_a_cache_that_may_not_be_written_costs_no_run(tasks: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert (_stored(tasks, tmp_path, cache="file") / "mine/family/mine.yaml").is_file()


def test_a_run_of_an_older_version_keeps_nothing(tmp_path: Path) -> None:
    assert read_stored(tmp_path, known=()) == ({}, {})


@pytest.mark.parametrize("content", ["{", "[]", '{"tasks": {}}', '{"tasks": {"a": 3}, "groups": []}'])
def test_a_damaged_list_of_what_a_run_keeps_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "stored_tasks.json").write_text(content)
    with pytest.raises(SpecError, match=r"stored_tasks\.json: expected the tasks of a run, found .*--task-path"):
        read_stored(tmp_path, known=())


def test_a_list_that_leads_out_of_the_run_finds_nothing(tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text("task: a\n")
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "stored_tasks.json").write_text('{"tasks": {"a": "../secret.yaml"}, "groups": []}')
    assert read_stored(folder, known=()) == ({}, {})


@pytest.mark.parametrize("name", ["metric.py", "stored_tasks.json"])
def test_a_damaged_copy_is_named_and_written_anew_by_the_run(tasks: Path, tmp_path: Path, name: str) -> None:
    folder = _stored(tasks, tmp_path)
    (path,) = folder.rglob(name)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"house", b"mouse"))
    words = (
        r"metric\.py: is damaged: its bytes are not those that were written; run the same `harness run` command again"
    )
    if name == "stored_tasks.json":
        path.write_bytes(whole.replace(b'"members"', b'"nembers"').replace(b'"title"', b'"titld"'))
        words = r"stored_tasks\.json: expected the tasks of a run, found ValueError: its bytes are not those"
    with pytest.raises(SpecError, match=words):
        read_stored(folder, known=())
    _stored(tasks, tmp_path)
    assert path.read_bytes() == whole
