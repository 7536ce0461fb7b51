"""`harness new-task`: what it writes, prints and refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from harness.cli import main
from tests.support import own_data


@pytest.fixture
def polyps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    own_data.write_images_and_masks(tmp_path / "hospital/polyps")
    return Path("hospital/polyps")


def new_task(*words: object) -> Result:
    return CliRunner().invoke(main, ["new-task", *map(str, words)])


def test_words_go_to_stderr_and_the_command_alone_to_stdout(polyps: Path) -> None:
    result = new_task(polyps, "--label", "polyp=255", "--modality", "endo")
    assert result.exit_code == 0, result.output
    assert result.stdout == "harness run --tasks my-tasks/polyps.yaml --data-root hospital --model baseline:otsu\n"
    for line in (
        "seen    3 images with a mask",
        "taken   images images/{case}.*",
        "wrote   my-tasks/polyps.yaml",
        "3 samples checked",
    ):
        assert line in result.stderr
    assert "labels: {polyp: 255}" in Path("my-tasks/polyps.yaml").read_text()


def test_json_says_the_same(polyps: Path) -> None:
    found: Any = json.loads(new_task(polyps, "--json", "--name", "mine", "--out", "elsewhere").stdout)
    assert (found["tasks"], found["files"], found["data_root"]) == (["mine"], ["elsewhere/mine.yaml"], "hospital")
    assert found["valid"] is True
    assert found["command"][:4] == ["harness", "run", "--tasks", "elsewhere/mine.yaml"]
    assert any("target" in line for line in found["decide"])


def test_an_existing_file_is_overwritten_by_force_only(polyps: Path) -> None:
    assert new_task(polyps).exit_code == 0
    before = Path("my-tasks/polyps.yaml").read_text()
    refused = new_task(polyps, "--label", "polyp=255")
    assert (refused.exit_code, Path("my-tasks/polyps.yaml").read_text()) == (2, before)
    assert "my-tasks/polyps.yaml: exists; give another --name or --out, or --force to overwrite it" in refused.stderr
    assert new_task(polyps, "--label", "polyp=255", "--force").exit_code == 0
    assert "polyp" in Path("my-tasks/polyps.yaml").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--label", "polyp"),
            "--label polyp: expected NAME=VALUE with whole numbers of at least 1, such as polyp=255",
        ),
        (("--label", "polyp=0"), "--label polyp=0: expected NAME=VALUE"),
        (("--label", "=1"), "--label =1: expected NAME=VALUE"),
        (("--name", "My Task"), "--name My Task: expected small letters, digits and '_-.', such as my_task"),
        (("--out", "hospital/polyps/tasks"), "--out hospital/polyps/tasks: lies in the data, where nothing is written"),
    ],
)
def test_wrong_options_are_refused_and_nothing_is_written(polyps: Path, words: tuple[str, str], message: str) -> None:
    result = new_task(polyps, *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not list(Path().rglob("*.yaml"))


def test_a_task_that_is_not_valid_ends_with_2_and_says_how_to_go_on(polyps: Path) -> None:
    own_data.save(polyps / "masks/lost.png", own_data.disc(0) * 255)
    result = new_task(polyps)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "correct the errors above in my-tasks/polyps.yaml, then run" in result.stderr
    assert "harness validate my-tasks/polyps.yaml --data-root hospital" in result.stderr


def test_two_tasks_of_a_table_are_run_by_one_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own_data.write_pictures(tmp_path / "images")
    Path("q.csv").write_text("image,question,answer,A,B\n0.png,a,B,x,y\n1.png,b,left,,\n")
    result = new_task("q.csv")
    assert result.exit_code == 0, result.output
    command = result.stdout.split()
    assert command[3] == "my-tasks/q_options.yaml,my-tasks/q_words.yaml"
    assert [result.stderr.count(line) for line in ("q_options: ok", "q_words: ok")] == [1, 1]


def test_a_name_that_the_harness_has_is_never_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own_data.write_images_and_masks(tmp_path / "hospital/segmentation")
    result = new_task("hospital/segmentation")
    assert result.exit_code == 0, result.output
    assert "wrote   my-tasks/own_segmentation.yaml" in result.stderr
    refused = new_task("hospital/segmentation", "--name", "slake")
    assert refused.exit_code == 2
    assert "--name slake: a task or group of the harness is called 'slake'; choose another" in refused.stderr
