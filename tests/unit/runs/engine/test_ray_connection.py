"""Connecting to Ray: what it lacks is refused, what it prints goes to a log, and its habits are put right."""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import SpecError
from harness.records import Resources
from harness.runs.engine import ray_connection
from harness.runs.engine.devices import Wanted
from harness.runs.engine.ray_connection import QUIET, ClusterOptions, connected
from tests.unit.runs.engine.paper_ray import PaperRay


def options(tmp_path: Path, **more: Any) -> ClusterOptions:
    given: dict[str, Any] = {"address": "local", "wanted": Wanted(resources=Resources(), workers=2)} | more
    return ClusterOptions(timeout=60.0, failures=1, log=tmp_path / "logs" / "ray.log", batch_invariant=True, **given)


class RunningRay(PaperRay):
    """A Ray that somebody has started, and that prints."""

    def is_initialized(self) -> bool:
        print("(raylet) A worker died")  # noqa: T201 - as Ray does
        return True


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        (
            Resources(gpus=1),
            r"the model asks for 1 GPUs a copy: Ray sees 0 GPUs and 4 CPUs on 1 node; --gpus-per-worker 0",
        ),
        (Resources(cpus=3), r"--workers 2 with 3 CPUs each: Ray sees 0 GPUs and 4 CPUs on 1 node, room for 1\. Lower"),
    ],
)
def test_what_the_cluster_lacks_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resources: Resources, message: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", RunningRay())
    with (
        pytest.raises(SpecError, match=message),
        connected(options(tmp_path, wanted=Wanted(resources=resources, workers=2))),
    ):
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


@contextlib.contextmanager
def listening() -> Iterator[int]:
    """Yield a port of this machine at which something listens that is no Ray."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", r"--ray 127\.0\.0\.1:1: cannot connect: Connection refused; is a cluster running there\?"),
        ("ray://127.0.0.1:1", r"--ray ray://127\.0\.0\.1:1: cannot connect: Connection refused"),
        ("no-such-host.invalid:6379", r"--ray no-such-host\.invalid:6379: cannot connect: .+; is a cluster running"),
        ("127.0.0.1", r"--ray 127\.0\.0\.1: expected local, auto, off or HOST:PORT, such as 10\.0\.0\.1:6379"),
        ("127.0.0.1:65536", "expected local, auto, off or HOST:PORT"),
        ("127.0.0.1:²", "expected local, auto, off or HOST:PORT"),
        ("loacl", "expected local, auto, off or HOST:PORT"),
    ],
)
def test_an_address_where_nothing_listens_is_refused_before_ray_tries_for_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, message: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", RefusingRay())
    with pytest.raises(SpecError, match=message), connected(options(tmp_path, address=address)):
        pytest.fail("it was let in")


def test_a_folder_with_a_long_path_has_no_room_for_the_sockets_of_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getpid", lambda: 12345)
    monkeypatch.setenv("RAY_TMPDIR", "/tmp/" + "x" * 36)
    ray_connection.check_address("local")
    monkeypatch.setenv("RAY_TMPDIR", "/tmp/" + "x" * 37)
    expected = (
        r"--ray local: /tmp/x+: Ray's sockets below it would have paths of 108 bytes; expected at most 107; set RAY"
    )
    with pytest.raises(SpecError, match=expected):
        ray_connection.check_address("local")
    monkeypatch.delenv("RAY_TMPDIR")
    monkeypatch.setattr("tempfile.tempdir", "/tmp/" + "é" * 21)
    with pytest.raises(SpecError, match="paths of 113 bytes"):
        ray_connection.check_address("local")


@pytest.mark.parametrize("free", [0, 4096, 8 * 2**20 - 1])
def test_a_full_shared_memory_is_refused_before_ray_waits_for_a_minute(
    monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    with pytest.raises(
        SpecError, match=r"^--ray local: /dev/shm has [07] MiB left, where .*; expected at least 8 MiB; make"
    ):
        ray_connection.check_address("local")


class NoisyRay(RunningRay):
    """A Ray whose native code writes where it likes, and that cannot start."""

    def __init__(self, error: str) -> None:
        super().__init__()
        self.error = error

    def is_initialized(self) -> bool:
        return False

    def init(self, **_: Any) -> None:
        os.write(1, b"[gcs] out\n")
        os.write(2, b"[gcs] err\n")
        raise OSError(self.error)

    def shutdown(self) -> None:
        os.write(2, b"[gcs] bye\n")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            "AF_UNIX path length cannot exceed 107 bytes: /a/b",
            r"107 bytes: /a/b\. Set RAY_TMPDIR to a shorter path",
        ),
        ("the raylet died", "cannot start: the raylet died; see"),
    ],
)
def test_no_line_of_ray_reaches_our_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], error: str, message: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", NoisyRay(error))
    monkeypatch.setattr(ray_connection, "OBJECT_STORE_BYTES", 0)
    with pytest.raises(SpecError, match=message), connected(options(tmp_path)):
        pytest.fail("it was let in")
    assert capfd.readouterr() == ("", "")
    assert (tmp_path / "logs" / "ray.log").read_text() == "[gcs] out\n[gcs] err\n[gcs] bye\n"


def test_a_full_shared_memory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", NoisyRay("the raylet died"))
    monkeypatch.setattr(ray_connection, "OBJECT_STORE_BYTES", 2**62)
    with (
        pytest.raises(
            SpecError, match=r"the raylet died\. /dev/shm has \d+ MiB left, Ray wants \d+: make room there; see"
        ),
        connected(options(tmp_path)),
    ):
        pytest.fail("it was let in")


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


@pytest.mark.parametrize("address", ["local", "127.0.0.1:PORT"])
def test_a_cluster_that_cannot_be_reached_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    ray, before = RefusingRay(), signal.getsignal(signal.SIGTERM)
    monkeypatch.setitem(__import__("sys").modules, "ray", ray)
    verb = "start" if address == "local" else "connect"
    expected = rf"--ray {address}: cannot {verb}: could not find any running Ray instance; see .*ray\.log"
    with listening() as port, pytest.raises(SpecError, match=expected.replace("PORT", str(port))):  # noqa: SIM117
        with connected(options(tmp_path, address=address.replace("PORT", str(port)))):
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


def test_what_is_open_is_settled_by_the_nodes_that_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = RunningRay()
    ray.machines = [
        {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0}},
        {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 1.0}},
        {"Alive": False, "Resources": {"CPU": 8.0, "GPU": 8.0}},
    ]
    monkeypatch.setitem(__import__("sys").modules, "ray", ray)
    with connected(options(tmp_path, wanted=Wanted(resources=Resources()))) as (_, found):
        assert found.wanted == Wanted(resources=Resources(gpus=1.0), workers=3)
        assert (found.workers, found.max_deaths) == (3, 10 + 4 * 3 + 6)
