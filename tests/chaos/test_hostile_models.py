"""What a model does to its process, the streams, the working folder or the clock of a run is its own failure."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.killable import SAMPLES, Run

RunFactory = Callable[..., Run]
pytestmark = pytest.mark.slow  # a process each

MODEL = """
import asyncio, atexit, ctypes, os, signal, sys, threading, time
from harness import Answer, Capabilities

class Odd(Exception):
    def __str__(self):
        raise ValueError("no words")

class Hostile:
    version = "1"
    def __init__(self): {init}
    def capabilities(self): return Capabilities(max_batch=4, batch_invariant=True)
    def load(self, device): {load}
    def predict(self, requests):
        {predict}
        return [Answer(text="yes") for _ in requests]
"""
DEAF = "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())"
ASLEEP = "ctypes.PyDLL(None).sleep(10**6)"  # holds the GIL


@pytest.fixture
def hostile(run: RunFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """A factory of runs of a model that does something at one place, with a relative --out."""

    def make(place: str, code: str, *more: str) -> Run:
        places = {"init": "pass", "load": "pass", "predict": "pass", place: code}
        (tmp_path / "hostile.py").write_text(MODEL.format(**places))
        made = run("out", "--ray", "off", "--max-failures", "100%", *more)
        at = made.command.index("--model")
        made.command[at : at + 4] = ["--model", f"{tmp_path}/hostile.py:Hostile"]
        made.command[made.command.index("--out") + 1] = "out"
        monkeypatch.chdir(tmp_path)
        return made

    return make


def counts(run: Run) -> dict[str, int]:
    found: dict[str, int] = json.loads(run.results)["tasks"]["vqa_rad"]["counts"]
    return found


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("init", "os.chdir('/')"),
        ("load", "os.chdir('/')"),
        ("predict", "os.chdir('/')"),
        ("load", "os.chdir(os.path.dirname(os.getcwd())); sys.stdout.close(); sys.stderr.close()"),
        ("load", "sys.stdout = sys.stderr = None"),
        ("predict", "os.closerange(1, 3)"),
        ("init", "os.fork()"),
        ("load", "os.fork()"),
        ("predict", "os.fork()"),
        ("predict", "if os.fork() == 0: raise ValueError('in the child')"),
        ("predict", "if os.fork() == 0: sys.exit(0)"),
        ("load", "threading.Thread(target=time.sleep, args=(10**6,)).start()"),
        ("load", "atexit.register(time.sleep, 10**6)"),
        ("load", "atexit.register(os._exit, 7)"),
        ("load", "atexit.register(os.abort)"),
        ("predict", "time.time = lambda: 0.0"),
    ],
)
def test_the_run_is_done_at_once_and_whole(hostile: Callable[..., Run], place: str, code: str) -> None:
    made = hostile(place, code)
    found, stdout, stderr = made.finish()
    assert found == 0, stderr
    assert json.loads(stdout)["schema"] == 1
    assert counts(made) == {"ok": SAMPLES}
    assert json.loads((made.out / "performance.json").read_text())["seconds"] >= 0
    keys = [json.loads(line)["key"] for line in (made.out / "predictions/predictions.jsonl").read_text().splitlines()]
    assert len(keys) == len({*keys}) == SAMPLES


@pytest.mark.parametrize(
    "code",
    [
        "raise asyncio.CancelledError",
        "raise GeneratorExit",
        "raise KeyboardInterrupt",
        "raise Odd",
        "return requests[1:]",
        "return [Answer(text='yes ' * 200_000)] * len(requests)",
        "return self.predict(requests)",
    ],
)
def test_a_fault_in_predict_is_recorded_for_its_samples(hostile: Callable[..., Run], code: str) -> None:
    made = hostile("predict", f"if True: {code}")
    assert made.finish()[0] == 0
    assert counts(made) == {"model_error": SAMPLES}


@pytest.mark.parametrize(
    ("place", "code", "words"),
    [
        ("load", ASLEEP, "load() did not return within 0.5 s. Mend the model, or allow more by --load-timeout"),
        ("load", "time.sleep(10**6)", "load() did not return within 0.5 s. Mend the model, or allow more by"),
        (
            "load",
            "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()); time.sleep(10**6)",
            "load() did not",
        ),
        ("init", ASLEEP, "it was not built within 0.5 s; --load-timeout allows more"),
        ("predict", ASLEEP, "the model did not return within 2 s on vqa_rad/test/"),
    ],
)
def test_a_hang_ends_with_one_line_whatever_holds_the_interpreter(
    hostile: Callable[..., Run], place: str, code: str, words: str
) -> None:
    made = hostile(place, code, "--timeout", "0.5", "--load-timeout", "0.5")
    found, stdout, stderr = made.finish()
    assert (found, stdout) == (3, "")
    assert words in stderr
    assert len(stderr.strip().splitlines()) == 1
    if place == "predict":
        hung = [event for event in made.events() if event["event"] == "hung"]
        assert [len(event["keys"]) for event in hung] == [4]
