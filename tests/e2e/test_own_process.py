"""docs/own-process.md runs as it stands there, a new adapter with its test, and no model's process outlives its run."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.killable import Run, wait_until
from tests.support import own_data
from tests.support.tiny_vqa_rad import write_release

PYTHON = sys.executable
SEGMENTER = """
import sys
import nibabel, numpy

image = nibabel.load(sys.argv[1])
voxels = image.get_fdata()
nibabel.save(nibabel.Nifti1Image((voxels > 50).astype(numpy.uint8), image.affine), sys.argv[2])
"""
# Answers by the text of the question, so that a wrong order would be seen in the results.
ANSWERS = """
import json, os, signal, sys, time
print(json.dumps({"ready": True, "takes": ["text", "image"], "gives": ["text"], "batch_invariant": True}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)["requests"]
    time.sleep(float(os.environ.get("SLEEP", "0")))
    if os.environ.get("ONCE") and not os.path.exists(os.environ["ONCE"]) and "7" in str(asked):
        open(os.environ["ONCE"], "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    if os.environ.get("HANG"):
        signal.pause()
    say = [{"id": one["id"], "text": "yes" if len(one["prompt"]) % 2 else "no"} for one in asked]
    print(json.dumps({"answers": say}), flush=True)
"""


def example(page: Path, name: str) -> str:
    """Return the code of a page whose first line is `# name`."""
    (found,) = re.findall(rf"```\w+\n(# {re.escape(name)}\n.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return str(found)


@pytest.fixture
def page(repository: Path) -> Path:
    return repository / "docs" / "own-process.md"


@pytest.mark.slow
def test_the_documented_python_runs_and_uses_its_box(
    command: Any, page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = example(page, "segment.py")
    assert len(program.splitlines()) < 40
    assert "harness" not in program
    (tmp_path / "segment.py").write_text(program)
    monkeypatch.chdir(tmp_path)
    checked = command("check-adapter", f"process:{PYTHON} segment.py")
    assert checked.exit_code == 0, checked.output
    model = ("--model", f"process:{PYTHON} segment.py", "--data-root", "phantom", "--ray", "off", "--limit", "6")
    result = command("run", "--tasks", "samed2d_seg_box,samed2d_seg", *model, "--out", "run")
    assert result.exit_code == 0, result.stderr
    tasks = json.loads((tmp_path / "run" / "results.json").read_text())["tasks"]
    dice = {
        name: next(row["value"] for row in block["metrics"] if row["metric"] == "dice") for name, block in tasks.items()
    }
    assert dice["samed2d_seg_box"] > dice["samed2d_seg"] > 0


@pytest.mark.slow
def test_the_documented_shell_script_runs_around_a_segmenter(
    command: Any, page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("jq") is None:
        pytest.skip("needs jq")
    (tmp_path / "segment.sh").write_text(example(page, "segment.sh"))
    (tmp_path / "my_segmenter.py").write_text(SEGMENTER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGMENTER", f"{PYTHON} my_segmenter.py")
    checked = command("check-adapter", "process:sh segment.sh")
    assert checked.exit_code == 0, checked.output
    own_data.write_bids(tmp_path / "hospital" / "brains")
    made = command("new-task", "hospital/brains", "--name", "brains")
    assert made.exit_code == 0, made.output
    shown = ("--data-root", "hospital", "--ray", "off", "--out", "run")
    result = command("run", "--tasks", "my-tasks/brains.yaml", "--model", "process:sh segment.sh", *shown)
    assert result.exit_code == 0, result.stderr
    (block,) = json.loads((tmp_path / "run" / "results.json").read_text())["tasks"].values()
    assert set(block["counts"]) == {"ok"}
    monkeypatch.setenv("SEGMENTER", "false")
    failed = command("check-adapter", "process:sh segment.sh", "--json")
    assert json.loads(failed.stdout)["faults"][0]["what"] == "the segmenter left with 1"


def test_every_row_of_the_documented_tables_is_a_field(page: Path, tmp_path: Path) -> None:
    from harness.models.process.lines import ANSWER_FIELDS, READY_FIELDS, requests_line
    from harness.records import Request

    text = page.read_text(encoding="utf-8")

    def fields(heading: str) -> set[str]:
        section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
        rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
        return set(re.findall(r"`(\w+)`", " ".join(rows)))

    assert fields("What the process writes first") | {"ready", "error"} == set(READY_FIELDS)
    assert fields("What it writes") == set(ANSWER_FIELDS)
    sent: Any = json.loads(requests_line([Request()], ["a"], tmp_path))
    assert fields("What it reads") == set(sent["requests"][0])


@pytest.mark.slow
def test_a_new_adapter_passes_its_own_tests(command: Any, tmp_path: Path) -> None:
    assert command("new-adapter", "mine", "--out", tmp_path).exit_code == 0
    words = [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_reference_model_passes(command: Any) -> None:
    pytest.importorskip("torch")
    result = command("check-adapter", "reference:tiny")
    assert result.exit_code == 0, result.output


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """A factory of runs of ANSWERS as commands of their own."""
    (tmp_path / "answers.py").write_text(ANSWERS)
    root = write_release(tmp_path / "release", 24)
    made: list[Run] = []

    def make(name: str, *more: str) -> Run:
        words = [
            PYTHON,
            "-m",
            "harness.cli",
            "run",
            "--tasks",
            "vqa_rad",
            "--data-root",
            str(root),
            "--batch-size",
            "4",
        ]
        words += ["--model", f"process:{PYTHON} {tmp_path / 'answers.py'}", "--out", str(tmp_path / name), "--json"]
        made.append(Run([*words, *("--ray", "off", *more)], tmp_path / name))
        return made[-1]

    yield make
    for process in (process for one in made for process in one.started):
        if process.poll() is None:
            process.kill()
            process.communicate()


def processes(file: Path) -> list[int]:
    """Return the processes whose command line names a file, without those of `harness`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if str(file).encode() in words and b"harness.cli" not in words:
            found.append(int(folder.name))
    return found


@pytest.mark.slow
def test_a_child_that_is_killed_in_a_batch_changes_no_byte(
    run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = run("calm")
    assert calm.finish()[0] == 0
    monkeypatch.setenv("ONCE", str(tmp_path / "killed"))
    disturbed = run("disturbed")
    code, _, stderr = disturbed.finish()
    assert code == 0, stderr
    assert (tmp_path / "killed").exists()
    assert disturbed.results == calm.results
    (log,) = (tmp_path / "disturbed" / "model").glob("process-*.log")
    assert "harness: the process ended by signal 9 (Killed)" in log.read_text()
    assert processes(tmp_path / "answers.py") == []


@pytest.mark.slow
def test_a_killed_driver_leaves_no_process(
    run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLEEP", "0.3")
    killed = run("killed")
    process = killed.start()
    killed.wait_for("finished", 2)
    assert len(processes(tmp_path / "answers.py")) == 2  # the model, and the supervisor that ends it
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    end = time.monotonic() + 1.0
    wait_until(lambda: not processes(tmp_path / "answers.py") or time.monotonic() > end)
    assert processes(tmp_path / "answers.py") == []
    monkeypatch.setenv("SLEEP", "0")
    assert killed.finish()[0] == 0
    keys = killed.keys()
    assert len(keys) == len(set(keys)) == 24


@pytest.mark.slow
def test_a_child_that_hangs_ends_the_run_as_any_model_or_is_a_timeout_of_its_own(
    run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HANG", "1")
    code, _, stderr = run("hung", "--timeout", "0.1").finish()
    assert code == 3
    assert "the model did not return within 0.4 s on" in stderr
    # The supervisor gives the child a moment to leave by itself.
    end = time.monotonic() + 1.0
    wait_until(lambda: not processes(tmp_path / "answers.py") or time.monotonic() > end)
    assert processes(tmp_path / "answers.py") == []
    mine = run("mine", "--timeout", "60", "--model-args", "timeout=0.05", "--limit", "2", "--max-failures", "100%")
    code, _, stderr = mine.finish()
    assert code == 0, stderr
    assert json.loads(mine.results)["tasks"]["vqa_rad"]["counts"] == {"timeout": 2}


@pytest.mark.slow
@pytest.mark.ray
def test_on_ray_every_worker_has_a_process(run: Callable[..., Run], tmp_path: Path) -> None:
    calm = run("calm")
    assert calm.finish()[0] == 0
    several = run("several", "--ray", "local", "--workers", "2")
    code, _, stderr = several.finish()
    assert code == 0, stderr
    assert several.results == calm.results
    wait_until(lambda: not processes(tmp_path / "answers.py"))
