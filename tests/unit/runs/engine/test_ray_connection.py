"""Connecting to Ray: what it lacks is refused, what it prints goes to a log, and its habits are put right."""

import signal
from pathlib import Path
from typing import Any

import pytest

from harness.errors import SpecError
from harness.records import Resources
from harness.runs.engine.ray_connection import QUIET, ClusterOptions, connected, gpus_here
from tests.unit.runs.engine.paper_ray import PaperRay


def options(tmp_path: Path, **more: Any) -> ClusterOptions:
    given: dict[str, Any] = {"address": "local", "workers": 2, "resources": Resources()} | more
    return ClusterOptions(timeout=60.0, max_deaths=9, log=tmp_path / "logs" / "ray.log", batch_invariant=True, **given)


class RunningRay(PaperRay):
    """A Ray that somebody has started, and that prints."""

    def is_initialized(self) -> bool:
        print("(raylet) A worker died")  # noqa: T201 - as Ray does
        return True


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        (Resources(gpus=1), r"--workers 2 with 1 GPUs each need 2 GPUs; the cluster has 0\. .* or --gpus-per-worker\."),
        (Resources(cpus=3), r"--workers 2 with 3 CPUs each need 6 CPUs; the cluster has 4\. Lower --workers\."),
    ],
)
def test_what_the_cluster_lacks_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resources: Resources, message: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", RunningRay())
    with pytest.raises(SpecError, match=message), connected(options(tmp_path, resources=resources)):
        pytest.fail("it was let in")


def test_what_ray_prints_goes_to_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", RunningRay())
    with connected(options(tmp_path)):
        print("(autoscaler) adding a node")  # noqa: T201 - as Ray does
    assert capsys.readouterr().out == ""
    log = (tmp_path / "logs" / "ray.log").read_text()
    assert log == "(raylet) A worker died\n(autoscaler) adding a node\n"


class RefusingRay(RunningRay):
    """A Ray that cannot be reached, and that takes SIGTERM for itself."""

    closed = False

    def is_initialized(self) -> bool:
        return False

    def init(self, **_: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise ConnectionError("could not find\nany running Ray instance")

    def shutdown(self) -> None:
        self.closed = True


@pytest.mark.parametrize("address", ["local", "10.0.0.1:6379"])
def test_a_cluster_that_cannot_be_reached_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    ray, before = RefusingRay(), signal.getsignal(signal.SIGTERM)
    monkeypatch.setitem(__import__("sys").modules, "ray", ray)
    expected = rf"--ray {address}: cannot connect: could not find any running Ray instance; see .*ray\.log"
    with pytest.raises(SpecError, match=expected), connected(options(tmp_path, address=address)):
        pytest.fail("it was let in")
    assert ray.closed
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_missing_ray_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    expected = r"--ray: ray is not installed; pip install 'medground\[ray\]', or use --ray off"
    with pytest.raises(SpecError, match=expected), connected(options(tmp_path)):
        pytest.fail("it was let in")


def test_ray_is_told_to_be_quiet_before_it_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in QUIET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    monkeypatch.setitem(__import__("sys").modules, "ray", RunningRay())
    with connected(options(tmp_path)):
        environment = __import__("os").environ
        assert {name: environment[name] for name in QUIET} == {**QUIET, "RAY_USAGE_STATS_ENABLED": "1"}


def test_gpus_are_counted_without_a_library() -> None:
    assert gpus_here() >= 0
