"""Hangs, crashes, signals, damaged files and full disks: a clear end, and the same command goes on."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.killable import SAMPLES, Run, children_of

RunFactory = Callable[..., Run]
BAD = "vqa_rad/test/5"


def counts(run: Run) -> dict[str, int]:
    found: dict[str, int] = json.loads(run.results)["tasks"]["vqa_rad"]["counts"]
    return found


@pytest.mark.slow
def test_a_hang_in_process_ends_with_3_until_the_sample_is_given_up(run: RunFactory) -> None:
    model = f"hang_on={BAD},sleep=0"
    hanging = run("hanging", "--ray", "off", "--timeout", "0.15", "--max-failures", "100%", model_args=model)
    code, stdout, stderr = hanging.finish()
    assert (code, stdout) == (3, "")
    assert "did not return within 0.6 s on vqa_rad/test/" in stderr
    assert "run the same command again to go on, or with --ray local" in stderr
    for _ in range(3):
        code, _, stderr = hanging.finish()
        assert code == 3
        assert f"within 0.15 s on {BAD}" in stderr
    assert hanging.finish()[0] == 0
    assert counts(hanging) == {"ok": SAMPLES - 1, "timeout": 1}


@pytest.mark.slow
def test_a_crash_in_process_goes_on_with_the_same_command_until_the_sample_is_given_up(run: RunFactory) -> None:
    model = f"crash_on={BAD},sleep=0"
    crashing = run("crashing", "--ray", "off", "--batch-size", "1", "--max-failures", "100%", model_args=model)
    codes = [crashing.finish()[0] for _ in range(4)]
    assert codes == [70, 70, 70, 0]
    assert counts(crashing) == {"ok": SAMPLES - 1, "model_error": 1}
    stored = (crashing.out / "predictions" / "predictions.jsonl").read_text()
    assert f"{BAD}: the model ended the process 3 times with only this sample in flight" in stored


@pytest.mark.parametrize(
    "runner",
    [("--ray", "off"), pytest.param(("--ray", "local", "--workers", "2"), marks=[pytest.mark.ray, pytest.mark.slow])],
)
def test_ctrl_c_ends_with_130_and_says_how_to_go_on(run: RunFactory, expected: bytes, runner: tuple[str, ...]) -> None:
    stopped = run("stopped", *runner, model_args="sleep=0.1")
    process = stopped.start()
    stopped.wait_for("finished", 2)
    process.send_signal(signal.SIGINT)
    code, stdout, stderr = stopped.finish(process)
    assert (code, stdout) == (130, "")
    assert "what is finished is kept. Go on with the same command" in stderr
    assert stopped.events()[-1]["event"] == "stopped"
    stopped.command[stopped.command.index("--ray") :] = ["--ray", "off"]
    stopped.hurry()
    assert stopped.finish()[0] == 0
    assert stopped.results == expected
    stopped.check_books(batches_lost=2)


@pytest.mark.slow
def test_sigterm_ends_as_ctrl_c_does(run: RunFactory, expected: bytes) -> None:
    stopped = run("stopped", "--ray", "off", model_args="sleep=0.1")
    process = stopped.start()
    stopped.wait_for("finished", 1)
    process.terminate()
    code, stdout, stderr = stopped.finish(process)
    assert code > 0
    assert stdout == ""
    assert "what is finished is kept" in stderr
    assert stopped.events()[-1]["event"] == "stopped"
    stopped.hurry()
    assert stopped.finish()[0] == 0
    assert stopped.results == expected


@pytest.mark.slow
def test_torn_last_lines_and_a_damaged_line_are_run_again(run: RunFactory, expected: bytes) -> None:
    torn = run("torn", "--ray", "off", model_args="sleep=0")
    assert torn.finish()[0] == 0
    (torn.out / "results.json").unlink()
    predictions, events = torn.out / "predictions" / "predictions.jsonl", torn.out / "events.jsonl"
    lines = predictions.read_bytes().splitlines(keepends=True)
    lines[20] = lines[20].replace(b'"yes"', b'"yEs"')
    predictions.write_bytes(b"".join(lines[:-1]) + lines[-1][:40])
    events.write_bytes(events.read_bytes()[:-9])
    code, _, stderr = torn.finish()
    assert code == 0, stderr
    assert torn.results == expected
    (repaired,) = (event for event in torn.events() if event["event"] == "repaired")
    assert repaired["damaged_lines"] == [21]
    assert repaired["torn_bytes"] == 40
    assert repaired["torn_event_bytes"] > 0
    assert [len(event["keys"]) for event in torn.events() if event["event"] == "started"][-1] == 2


def test_a_second_process_on_the_same_run_ends_with_2(run: RunFactory) -> None:
    first = run("shared", "--ray", "off", model_args="sleep=0.1")
    process = first.start()
    first.wait_for("started", 1)
    code, stdout, stderr = run("shared", "--ray", "off").finish()
    assert (code, stdout) == (2, "")
    (writer,) = children_of(process.pid)  # the parent only waits
    assert f"process {writer} is writing this run; wait for it, or name another folder" in stderr
    first.kill(process)


@pytest.mark.slow
def test_another_run_on_the_same_folder_ends_with_2_and_the_differences(run: RunFactory) -> None:
    assert run("shared", "--ray", "off", "--limit", "4").finish()[0] == 0
    code, stdout, stderr = run("shared", "--ray", "off", "--seed", "7").finish()
    assert (code, stdout) == (2, "")
    assert "holds another run" in stderr
    assert "limit: stored 4, requested none" in stderr
    assert "seed: stored 0, requested 7" in stderr


@pytest.fixture(
    params=[pytest.param("24k", marks=pytest.mark.slow), "48k"]
)  # full while the plan is written, and while predictions are
def tiny_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system of a few pages."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={request.param}", "tmpfs", str(folder)]
    try:
        refused = os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0
    except FileNotFoundError:
        refused = True
    if refused:
        pytest.skip("a small file system can only be mounted by root; the unit tests let the journal's write fail")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_with_3_and_the_run_goes_on_when_there_is_room(
    run: RunFactory, expected: bytes, tiny_disk: Path
) -> None:
    filling = run("filling", "--ray", "off", model_args="sleep=0")
    filling.command[filling.command.index("--out") + 1] = str(tiny_disk / "run")
    code, stdout, stderr = filling.finish()
    assert (code, stdout) == (3, "")
    assert "cannot be written: " in stderr
    assert "No space left on device" in stderr
    assert "make room and run the same command again" in stderr
    assert "Traceback" not in stderr
    subprocess.run(["mount", "-o", "remount,size=4m", str(tiny_disk)], check=True)
    filling.out = tiny_disk / "run"
    assert filling.finish()[0] == 0
    assert filling.results == expected


ENDINGS = """
import asyncio
import os
import sys

from harness import Answer, Capabilities

if os.environ.get("ENDS") == "import":
    sys.exit()


class Ending:
    version = "1"

    def __init__(self):
        if os.environ.get("ENDS") == "init":
            sys.exit(0)

    def capabilities(self):
        if os.environ.get("ENDS") == "capabilities":
            sys.exit(0)
        return Capabilities(max_batch=4, batch_invariant=True)

    def load(self, device):
        if os.environ.get("ENDS") == "load":
            os._exit(0)
        if os.environ.get("ENDS") == "sys.exit in load":
            sys.exit(0)

    def predict(self, requests):
        if os.environ.get("ENDS") == "predict":
            os._exit(0)
        if os.environ.get("ENDS") == "cancelled":
            raise asyncio.CancelledError
        return [Answer(text="yes") for _ in requests]
"""
ONE_LINE = "harness: the process ended with exit code 0 before the command was done"
CANNOT = "ending.py:Ending: {} failed: SystemExit: it calls sys.exit({})"
SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("where", "code", "words"),
    [
        pytest.param("import", 2, CANNOT.format("importing it", ""), marks=SLOW),
        pytest.param("init", 2, CANNOT.format("building it", 0), marks=SLOW),
        pytest.param("capabilities", 2, CANNOT.format("capabilities()", 0), marks=SLOW),
        pytest.param("sys.exit in load", 2, CANNOT.format("load()", 0), marks=SLOW),
        pytest.param("load", 3, ONE_LINE, marks=SLOW),
        pytest.param("predict", 3, ONE_LINE, marks=SLOW),  # the guard's own tests are quicker
        pytest.param("cancelled", 3, "model failed on all of the first 20 requests, and the run stops", marks=SLOW),
    ],
)
def test_no_model_ends_a_run_with_0_that_evaluated_nothing(
    run: RunFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, code: int, words: str
) -> None:
    (tmp_path / "ending.py").write_text(ENDINGS)
    ending = run("ending", "--ray", "off")
    at = ending.command.index("--model")
    ending.command[at : at + 4] = ["--model", f"{tmp_path}/ending.py:Ending"]
    monkeypatch.setenv("ENDS", where)
    found, stdout, stderr = ending.finish()
    assert (found, stdout) == (code, "")
    assert words in stderr
    assert not (ending.out / "results.json").exists()
    if where != "cancelled":
        monkeypatch.delenv("ENDS")
        assert ending.finish()[0] == 0
        assert counts(ending) == {"ok": SAMPLES}


@SLOW
@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("validate", "os._exit(0)", ONE_LINE),
        ("validate", "sys.exit(0)", "cannot import own.py: SystemExit: it calls sys.exit(0)"),
        ("run", "sys.exit(0)", "cannot import own.py: SystemExit: it calls sys.exit(0)"),
        ("run", "os._exit(0)", ONE_LINE),
    ],
)
def test_no_plug_in_of_a_task_ends_a_command_with_0(tmp_path: Path, command: str, code: str, words: str) -> None:
    (tmp_path / "own.py").write_text(f"import os, sys\n{code}\n")
    (tmp_path / "mine.yaml").write_text(
        "task: mine\nversion: 1\ntitle: Mine\nrelease: {reader: vqa_rad, split: test}\ngives: text\n"
        'prompt: "{question}"\nmetrics: [{metric: "own.py:ROW"}]\nheadline: {metric: "own.py:ROW"}\n'
    )
    words_of_run = ["--tasks", "mine", "--model", "scripted", "--data-root", str(tmp_path)]
    more = ["mine"] if command == "validate" else words_of_run
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", command, *more, "--task-path", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == (3 if "_exit" in code else 2)
    assert words in done.stderr
