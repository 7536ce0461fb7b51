"""What `harness chaos` does with a command, played by a stand-in, and how two runs are compared."""

import copy
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.errors import InterruptedRunError, SpecError
from harness.evaluation.evaluate import evaluate
from harness.evaluation.setup import RunSpec
from harness.runs.chaos import experiment
from harness.runs.chaos.experiment import DISTURBED, ChaosSpec, run_chaos
from harness.runs.directory import RunDirectory
from tests.support.tiny_vqa_rad import write_release

SAMPLES = 6


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of six samples."""
    folder = tmp_path_factory.mktemp("chaos")
    spec = RunSpec(
        tasks=("vqa_rad",),
        model="scripted",
        model_args={"text": "yes"},
        data_roots=(str(write_release(folder / "data", SAMPLES)),),
        out=folder / "run",
        cache=folder / "cache",
        ray="off",
    )
    return evaluate(spec).out


class StandIn:
    """A start of the command that stores an answer at every look, and leaves a finished run or an exit code.

    Attributes:
        codes: Exit codes of the starts to come; afterwards 0.
        words: The words of every start.
        made: The run that each start leaves.
        change: Called with the directory of the disturbed run when it is done.
    """

    codes: list[int] = []  # noqa: RUF012 - set anew by every test
    words: list[Sequence[str]] = []  # noqa: RUF012
    made: Path
    change: Callable[[Path], None]

    def __init__(self, words: Sequence[str], out: Path, log: Path) -> None:
        type(self).words.append(words)
        self.out, self.log = out, log
        self.looks, self.dead = 0, False
        self.code = self.codes.pop(0) if self.codes else 0
        self.process: Any = self
        log.write_text("harness: some words\n")

    @property
    def returncode(self) -> int:
        return -9 if self.dead else self.code

    def poll(self) -> int | None:
        self.looks += 1
        if self.dead or self.looks > 3 * SAMPLES:
            self._leave()
            return self.returncode
        self.out.mkdir(exist_ok=True)
        (self.out / "events.jsonl").touch()
        return None

    def wait(self, timeout: float | None = None) -> int:
        if timeout is not None and timeout < 0.01:
            raise subprocess.TimeoutExpired("harness", timeout)
        self._leave()
        self.looks = 10**6
        return self.code

    def _leave(self) -> None:
        if self.code == 0 and not self.dead:
            shutil.rmtree(self.out, ignore_errors=True)
            shutil.copytree(self.made, self.out)
            if self.out.name == DISTURBED:
                type(self).change(self.out)

    def finished(self) -> int:
        return min(SAMPLES, self.looks)

    def workers(self) -> list[int]:
        return []

    def kill_driver(self) -> None:
        self.dead = True

    def last_words(self) -> str:
        return "harness: some words"


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, finished: Path) -> type[StandIn]:
    """The stand-in, in the place of real starts."""
    monkeypatch.setattr(experiment, "Start", StandIn)
    monkeypatch.setattr(experiment, "POLL_SECONDS", 0.0)
    StandIn.codes, StandIn.words, StandIn.made = [], [], finished
    StandIn.change = staticmethod(lambda _: None)
    return StandIn


def spec(tmp_path: Path, **values: Any) -> ChaosSpec:
    return ChaosSpec(arguments=("--tasks", "vqa_rad"), out=tmp_path / "out", **values)


def test_a_run_that_ends_as_the_undisturbed_one_is_the_same(tmp_path: Path, stand_in: type[StandIn]) -> None:
    said: list[str] = []
    report = run_chaos(spec(tmp_path, kills=3, seed=4), said.append)
    assert (report.same, report.promise, report.differences) == (True, "bytes", [])
    assert (report.requests, report.kills, report.starts) == (SAMPLES, {"driver": 3}, 4)
    assert said[0].startswith("undisturbed: 6 requests in ")
    assert said[-1] == "start 4: done"
    assert all("driver killed at" in line for line in said[1:-1])
    calm, *fired = stand_in.words
    assert "--disturb" not in calm
    assert all("--disturb" in words for words in fired)
    assert len({tuple(words) for words in fired}) == 1, "the same command each time"
    assert report.to_json()["kills"] == {"driver": 3}


def test_other_results_are_said_number_by_number(tmp_path: Path, stand_in: type[StandIn]) -> None:
    def change(out: Path) -> None:
        path = out / "results.json"
        content = json.loads(path.read_text())
        content["tasks"]["vqa_rad"]["metrics"][0]["value"] += 0.5
        path.write_text(json.dumps(content))
        lines = RunDirectory(out).predictions_path
        lines.write_bytes(lines.read_bytes() + lines.read_bytes().splitlines(keepends=True)[0])
        events = RunDirectory(out).events_path
        events.write_bytes(2 * events.read_bytes())

    stand_in.change = staticmethod(change)
    report = run_chaos(spec(tmp_path, kills=0), lambda _: None)
    assert not report.same
    stored, again, number = report.differences
    assert stored == "1 answers are stored twice"
    assert again == f"{SAMPLES} requests were asked again after they were finished"
    assert number.startswith("vqa_rad vqa_accuracy vqa_accuracy standard micro: ")


@pytest.mark.parametrize(
    ("codes", "values", "kind", "words"),
    [
        ([2], {}, SpecError, "harness run, undisturbed, ended with 2: some words"),
        ([1], {}, InterruptedRunError, "harness run, undisturbed, ended with 1: harness: some words; mend that first"),
        ([0, 2], {"kills": 0}, InterruptedRunError, "harness run, disturbed, ended with 2: harness: some words; see"),
        ([0, *[75] * 99], {"kills": 0}, InterruptedRunError, "harness run, disturbed, ended 12 times by itself; see"),
        ([], {"time_limit": 0.001}, InterruptedRunError, "not finished within --time-limit 0.001 s; allow more"),
    ],
)
def test_what_cannot_be_finished_ends_with_one_line(
    tmp_path: Path, stand_in: type[StandIn], codes: list[int], values: dict[str, Any], kind: type[Exception], words: str
) -> None:
    stand_in.codes = codes
    with pytest.raises(kind) as raised:
        run_chaos(spec(tmp_path, **values), lambda _: None)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.usefixtures("stand_in")
def test_time_is_up_in_the_disturbed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(10**6))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(now)))
    with pytest.raises(InterruptedRunError, match=r"not finished within --time-limit 9 s; .*chaos\.log has what the"):
        run_chaos(spec(tmp_path, time_limit=9), lambda _: None)


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(SpecError, match=r"--out .*out: holds files already; name an empty or a new folder"):
        run_chaos(spec(tmp_path), lambda _: None)


def row(value: float | None, ci: list[float] | None) -> dict[str, Any]:
    return {"metric": "m", "name": "m", "protocol": "p", "mean": "micro", "stratum": None, "value": value, "ci": ci}


@pytest.mark.parametrize(
    ("first", "second", "promise", "agree"),
    [
        (row(0.5, [0.4, 0.6]), row(0.55, [0.45, 0.65]), "interval", True),
        (row(0.5, [0.4, 0.6]), row(0.55, [0.45, 0.65]), "bytes", False),
        (row(0.5, [0.4, 0.6]), row(0.8, [0.7, 0.9]), "interval", False),
        (row(0.5, None), row(0.51, None), "interval", False),
        (row(None, None), row(0.5, None), "interval", False),
        (row(None, None), row(None, None), "bytes", True),
    ],
)
def test_numbers_agree_as_the_run_promises(
    first: dict[str, Any], second: dict[str, Any], promise: str, agree: bool
) -> None:
    calm: dict[str, Any] = {"tasks": {"t": {"counts": {"ok": 1}, "metrics": [first]}}}
    fired = copy.deepcopy(calm)
    fired["tasks"]["t"]["metrics"] = [second]
    found = list(experiment._differences(calm, fired, promise))
    assert found == ([] if agree else [f"t m m p micro: {first['value']} undisturbed, {second['value']} disturbed"])


def test_a_task_that_is_gone_differs() -> None:
    calm = {"tasks": {"t": {"counts": {"ok": 1}, "metrics": [row(0.5, None)]}}}
    found = list(experiment._differences(calm, {"tasks": {}}, "bytes"))
    assert found == ["t: {'ok': 1} undisturbed, {} disturbed", "t m m p micro: 0.5 undisturbed, None disturbed"]
