"""The parent of a command: no code of others makes it leave with 0 before it is done, and nothing else changes."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.killable import children_of, wait_until

ENDED = "before the command was done, as the code of a model or of a task can end it. What is finished is kept; run"
SLOW = pytest.mark.slow  # a process each, of a tenth of a second and more
BRIEFLY = "guard.SECONDS_TO_LEAVE = 0.2"
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """A factory of processes that run the given code below a guard; what is left of them ends with the test."""
    made: list[subprocess.Popen[str]] = []

    def start(code: str, *, session: bool = True) -> subprocess.Popen[str]:
        program = f"""\
import ctypes, os, signal, sys, time
from harness.cli import guard
from harness.cli.guard import guarded
from harness.runs.engine.deadlines import DEADLINES, Overdue

def command():
{textwrap.indent(textwrap.dedent(code), "    ")}

guarded(command)
"""
        made.append(
            subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=session,
            )
        )
        return made[-1]

    yield start
    for process in made:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    stdout, stderr = process.communicate(timeout=60)
    return process.returncode, stdout, stderr


@pytest.mark.parametrize(
    ("code", "exit_code", "words"),
    [
        ("os._exit(0)", 3, "harness: the process ended with exit code 0 " + ENDED),
        pytest.param("ctypes.CDLL(None)._exit(0)", 3, "the process ended with exit code 0", marks=SLOW),
        pytest.param("ctypes.CDLL(None).exit(0)", 3, "the process ended with exit code 0", marks=SLOW),
        pytest.param("os._exit(70)", 70, "harness: the process ended with exit code 70 " + ENDED, marks=SLOW),
        pytest.param("os._exit(3)", 3, "", marks=SLOW),  # the watchdog's way to leave, which has said why
        pytest.param("os.abort()", -signal.SIGABRT, "ended by signal 6 (Aborted) " + ENDED, marks=SLOW),
        # Done: the code stands, whatever runs at exit.
        pytest.param("sys.exit(0)", 0, "", marks=SLOW),
        pytest.param("sys.exit(2)", 2, "", marks=SLOW),
        ("import atexit; atexit.register(os._exit, 0); sys.exit(3)", 3, ""),
        pytest.param("import atexit; atexit.register(os._exit, 5); sys.exit(0)", 0, "", marks=SLOW),
        pytest.param("import atexit; atexit.register(os.abort); sys.exit(2)", 2, "", marks=SLOW),
        pytest.param("import atexit; atexit.register(os.kill, os.getpid(), 9); sys.exit(0)", 0, "", marks=SLOW),
        # Done, and kept from leaving.
        pytest.param(f"{BRIEFLY}; import atexit; atexit.register(time.sleep, 60); sys.exit(0)", 0, "", marks=SLOW),
        pytest.param(
            f"{BRIEFLY}; import threading; threading.Thread(target=time.sleep, args=(60,)).start(); sys.exit(2)",
            2,
            "",
            marks=SLOW,
        ),
        pytest.param(
            f"{BRIEFLY}; import atexit; atexit.register(ctypes.PyDLL(None).sleep, 60); sys.exit(0)", 0, "", marks=SLOW
        ),
        # What is not out is no success.
        pytest.param("sys.stdout = open('/dev/full', 'w'); print('x'); sys.exit(0)", 1, "No space left", marks=SLOW),
        pytest.param("pass", 0, "", marks=SLOW),
    ],
)
def test_zero_is_left_with_only_by_a_command_that_is_done(start: Start, code: str, exit_code: int, words: str) -> None:
    process = start(code)
    found, stdout, stderr = ended(process)
    assert (found, stdout) == (exit_code, "")
    assert words in stderr if words else stderr == ""


@pytest.mark.parametrize(
    "hang",
    [
        "ctypes.PyDLL(None).sleep(60)",  # holds the GIL
        pytest.param("time.sleep(60)", marks=SLOW),
        pytest.param("while True: pass", marks=SLOW),
        pytest.param("signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()); time.sleep(60)", marks=SLOW),
    ],
)
def test_a_deadline_ends_what_never_gives_python_back(start: Start, hang: str, tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    events.write_text("{}\n")
    overdue = f"Overdue(words='it hung', path={str(events)!r}, line='{{\"event\": \"hung\"}}')"
    process = start(f"with DEADLINES.within(-3.0, {overdue}):\n    {hang}")
    assert ended(process) == (3, "", "harness: it hung\n")
    assert events.read_text() == '{}\n{"event": "hung"}\n'


@SLOW
def test_a_child_that_the_model_forks_cannot_say_that_the_command_is_done(start: Start) -> None:
    process = start("child = os.fork()\nif child == 0: sys.exit(0)\nos.waitpid(child, 0)\nos._exit(0)")
    assert ended(process)[0] == 3


@SLOW
def test_input_output_and_a_traceback_are_the_commands(start: Start) -> None:
    process = start("print(sys.stdin.read().upper())\nraise ValueError('no')")
    stdout, stderr = process.communicate("yes", timeout=60)
    assert (process.returncode, stdout) == (1, "YES\n")
    assert stderr.rstrip().endswith("ValueError: no")
    assert ENDED not in stderr


COUNTS = """\
came = []
def note(number, frame):
    came.append(number)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, note)
print("ready", flush=True)
end = time.monotonic() + 20
while not came and time.monotonic() < end:
    time.sleep(0.01)
time.sleep(0.3)
sys.exit(100 + sum(came))
"""


SENT = [
    ("parent", signal.SIGINT),
    pytest.param("parent", signal.SIGTERM, marks=SLOW),
    pytest.param("group", signal.SIGINT, marks=SLOW),
    pytest.param("group", signal.SIGTERM, marks=SLOW),
    pytest.param("child", signal.SIGINT, marks=SLOW),
    pytest.param("child", signal.SIGTERM, marks=SLOW),
]


@pytest.mark.parametrize(("to", "number"), SENT)
def test_the_command_gets_a_signal_once_whomever_it_is_sent_to(start: Start, to: str, number: signal.Signals) -> None:
    process = start(COUNTS)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    if to == "group":  # as a terminal does at Ctrl-C, and a scheduler of jobs
        os.killpg(process.pid, number)
    else:
        os.kill(process.pid if to == "parent" else next(iter(children_of(process.pid))), number)
    assert ended(process) == (100 + number, "", "")


@SLOW
def test_a_signal_that_ends_the_command_ends_its_parent_alike(start: Start) -> None:
    process = start("print('ready', flush=True)\ntime.sleep(60)")
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    assert ended(process) == (-signal.SIGTERM, "", "")


def test_the_command_does_not_outlive_its_parent(start: Start) -> None:
    process = start("print('ready', flush=True)\ntime.sleep(60)")
    assert process.stdout is not None
    process.stdout.readline()
    (child,) = children_of(process.pid)
    process.kill()
    assert ended(process)[0] == -signal.SIGKILL
    wait_until(lambda: not Path(f"/proc/{child}").exists() or "(zombie)" in Path(f"/proc/{child}/status").read_text())


@SLOW
@pytest.mark.parametrize(
    ("words", "processes"), [(["run", "--help"], 1), (["--help"], 1), (["metric", "dice"], 1), (["list", "models"], 2)]
)
def test_only_what_runs_the_code_of_others_has_a_parent(words: list[str], processes: int) -> None:
    program = "import os, sys\nforked = os.fork\nos.fork = lambda: print('forked', file=sys.stderr) or forked()\n"
    program += f"sys.argv = ['harness', *{words!r}]\nfrom harness.cli import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", program], input="", capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("forked") == processes - 1
