"""A tiny release and runs on it that may be disturbed."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.killable import BATCH, SAMPLES, Run, children_of
from tests.support.tiny_vqa_rad import write_release


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with SAMPLES questions of VQA-RAD."""
    return write_release(tmp_path_factory.mktemp("release"), SAMPLES)


def command_of(release: Path, out: Path, *more: str, model_args: str) -> list[str]:
    """Return the command that runs the scripted model on the release."""
    command = [sys.executable, "-m", "harness.cli", "run", "--tasks", "vqa_rad", "--data-root", str(release)]
    command += ["--model", "scripted", "--model-args", f"text=yes,{model_args}", "--out", str(out), "--json"]
    command += [] if "--batch-size" in more else ["--batch-size", str(BATCH)]
    return [*command, *more]


@pytest.fixture
def run(release: Path, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """A factory of runs of the scripted model on the release; what they started is ended with the test."""
    made: list[Run] = []

    def make(name: str, *more: str, model_args: str = "sleep=0.02") -> Run:
        out = tmp_path / name
        made.append(Run(command_of(release, out, *more, model_args=model_args), out))
        return made[-1]

    yield make
    for process in (process for one in made for process in one.started):
        if process.poll() is None:
            below = children_of(process.pid)
            for pid in (process.pid, *below):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture(scope="session")
def expected(release: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of results.json of a run that nobody disturbs."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    undisturbed = Run(command_of(release, out, "--ray", "off", model_args="sleep=0"), out)
    code, _, stderr = undisturbed.finish()
    assert code == 0, stderr
    return undisturbed.results
