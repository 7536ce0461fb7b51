"""What the driver loop decides, against a Ray that exists on paper only."""

import hashlib
import signal
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import InterruptedRunError, ModelError, SpecError
from harness.imaging.volumes import unpack
from harness.models.resolve import ModelReference
from harness.records import Prediction, Resources
from harness.runs.engine import cluster as cluster_module
from harness.runs.engine.cluster import Cluster
from harness.runs.engine.progress import RunProgress
from harness.runs.engine.ray_actors import MediaLibrary, versions
from harness.runs.engine.ray_connection import QUIET, ClusterOptions, connected, gpus_here
from harness.runs.engine.worker import Finished, WorkerSetup, to_finished
from harness.runs.plan_file import Ask
from harness.runs.store import RunStore

SETUP = WorkerSetup(reference=ModelReference(text="scripted", target="m:C"), roots=())
Behaviour = Callable[[list[str]], Any]


class RayError(Exception):
    """As ray.exceptions.RayError."""


def key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def asks(names: str) -> list[Ask]:
    return [Ask(key(name), name, f"d/test/{name}") for name in names]


def reply(requests: list[str]) -> list[Finished]:
    return [to_finished(Prediction(key=key(name), status="ok", text=name)) for name in requests]


class PaperActor:
    """Its calls return what was called, with what, and something that tells one call from another."""

    def __init__(self, number: int) -> None:
        self.load = SimpleNamespace(remote=lambda: Call("load", number))
        self.answer = SimpleNamespace(remote=lambda requests: Call("answer", requests))
        self.close = SimpleNamespace(remote=lambda: Call("close", None))


class Call:
    """A reference to what a call will return."""

    def __init__(self, what: str, argument: Any) -> None:
        self.what, self.argument = what, argument


class PaperRay:
    """Actors that answer at once, die or hang, as the behaviours say; one call is one reference."""

    def __init__(self, answer: Behaviour = reply, load: Callable[[int], Any] = lambda _: versions()) -> None:
        self.exceptions = SimpleNamespace(RayError=RayError)
        self._answer, self._load = answer, load
        self.actors = 0
        self.killed: list[Any] = []
        self.resources = {"CPU": 4.0}

    def remote(self, **_: Any) -> Callable[[type], Any]:
        return lambda kind: SimpleNamespace(remote=lambda *_: self._actor(kind))

    def _actor(self, kind: type) -> Any:
        if kind is MediaLibrary:
            return object()
        self.actors += 1
        return PaperActor(self.actors)

    def wait(self, references: list[Any], *, num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        _ = timeout
        ready = [each for each in references if each.what != "answer" or "hang" not in each.argument]
        return ready[:num_returns], []

    def get(self, reference: Call) -> Any:
        found = self._load(reference.argument) if reference.what == "load" else self._answer(reference.argument)
        if isinstance(found, Exception):
            raise found
        return found

    def kill(self, actor: Any) -> None:
        self.killed.append(actor)

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(get_node_id=lambda: "0" * 56)

    def cluster_resources(self) -> dict[str, float]:
        return self.resources


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    store = RunStore(tmp_path / "run")
    store.open({})
    yield store
    store.close()


@pytest.fixture
def cluster(store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Cluster]:
    def make(ray: PaperRay, *, workers: int = 1, invariant: bool = True, max_deaths: int = 50) -> Cluster:
        options = ClusterOptions(
            address="local",
            workers=workers,
            resources=Resources(),
            timeout=60.0,
            max_deaths=max_deaths,
            log=tmp_path / "ray.log",
            batch_invariant=invariant,
        )
        progress = RunProgress(store=store, total=9)
        return Cluster(setup=SETUP, options=options, progress=progress, ray=ray)

    monkeypatch.setattr(Cluster, "_library_actor", lambda self: self.library)
    return make


def dies_on(name: str) -> Behaviour:
    return lambda requests: RayError(f"died\non {name}") if name in requests else reply(requests)


def flights(store: RunStore, kind: str = "started") -> list[str]:
    names = {key(name): name for name in "abcdefgh"} | {key("hang"): "hang"}
    return [
        "".join(names[one] for one in event["keys"])
        for event in store.directory.read_events()
        if event["event"] == kind
    ]


def test_every_batch_is_answered_and_all_actors_are_dismissed(cluster: Callable[..., Cluster], store: RunStore) -> None:
    ray = PaperRay()
    cluster(ray, workers=2).run(iter([asks("ab"), asks("cd"), asks("e")]))
    assert store.statuses == {}
    assert all(store.is_done(key(name)) for name in "abcde")
    assert sorted(flights(store)) == ["ab", "cd", "e"]
    assert len(ray.killed) == ray.actors == 2


def test_without_work_no_actor_starts(cluster: Callable[..., Cluster]) -> None:
    ray = PaperRay()
    cluster(ray).run(iter([]))
    assert ray.actors == 0


def test_the_batch_of_a_dead_actor_goes_back_one_sample_at_a_time(
    cluster: Callable[..., Cluster], store: RunStore
) -> None:
    running = cluster(PaperRay(dies_on("b")))
    running.run(iter([asks("abc"), asks("de")]))
    assert flights(store) == ["abc", "a", "b", "c", "b", "b", "de"]
    attempts = [event["attempt"] for event in store.directory.read_events() if event["event"] == "started"]
    assert attempts == [1, 2, 2, 2, 3, 4, 1]
    assert flights(store, "given_up") == ["b"]
    prediction = store.prediction(key("b"))
    assert prediction is not None
    assert prediction.status == "model_error"
    assert prediction.error is not None
    assert prediction.error.message == (
        "d/test/b: the model's process ended 3 times on this sample alone, last with RayError: died on b"
    )
    assert running.lost == 4


def test_a_batch_that_must_stay_whole_is_split_at_the_third_death(
    cluster: Callable[..., Cluster], store: RunStore
) -> None:
    cluster(PaperRay(dies_on("b")), invariant=False).run(iter([asks("ab")]))
    assert flights(store) == ["ab", "ab", "ab", "a", "b", "b", "b"]


def test_an_actor_that_died_once_by_chance_costs_its_batch_only(
    cluster: Callable[..., Cluster], store: RunStore
) -> None:
    deaths = deque([RayError("killed")])
    ray = PaperRay(lambda requests: deaths.popleft() if deaths else reply(requests))
    cluster(ray, invariant=False).run(iter([asks("ab"), asks("cd")]))
    assert flights(store) == ["ab", "ab", "cd"]
    assert ray.actors == 2


def test_an_actor_that_does_not_return_is_killed_and_its_sample_a_timeout(
    cluster: Callable[..., Cluster], store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 100_000, 50))
    monkeypatch.setattr(cluster_module, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    batch = [*asks("a"), Ask(key("hang"), "hang", "d/test/hang")]
    ray = PaperRay()
    cluster(ray).run(iter([batch]))
    assert flights(store) == ["ahang", "a", "hang"]
    prediction = store.prediction(key("hang"))
    assert prediction is not None
    assert prediction.status == "timeout"
    assert prediction.error is not None
    assert prediction.error.message == "d/test/hang: the model did not return within 60 s"
    assert [event["seconds"] for event in store.directory.read_events() if event["event"] == "hung"] == [120.0, 60.0]
    assert ray.actors == 3


def test_a_model_that_always_dies_stops_the_run_soon(cluster: Callable[..., Cluster]) -> None:
    ray = PaperRay(lambda _: RayError("segmentation fault"))
    with pytest.raises(InterruptedRunError) as raised:
        cluster(ray, max_deaths=1000).run(iter([asks("ab"), asks("cd"), asks("ef")]))
    assert str(raised.value) == (
        "the model's process ended 9 times and answered nothing between, last with RayError: segmentation fault. What "
        "is finished is kept; mend the model and run the same command again, or raise --max-failures."
    )
    assert len(ray.killed) == 9


def test_too_many_deaths_in_all_stop_the_run(cluster: Callable[..., Cluster], store: RunStore) -> None:
    with pytest.raises(InterruptedRunError, match="the model's process ended 3 times, last with RayError: died on b"):
        cluster(PaperRay(dies_on("b")), max_deaths=2).run(iter([asks("abcdef")]))
    assert store.is_done(key("a"))


def test_a_model_that_cannot_be_loaded_stops_at_once(cluster: Callable[..., Cluster]) -> None:
    ray = PaperRay(load=lambda _: {"error": "--model scripted: load() failed: OSError: no such weights"})
    with pytest.raises(ModelError, match=r"load\(\) failed: OSError: no such weights"):
        cluster(ray).run(iter([asks("a")]))
    assert ray.actors == 1


def test_a_model_whose_process_ends_while_it_loads_stops_at_the_third(
    cluster: Callable[..., Cluster], store: RunStore
) -> None:
    ray = PaperRay(load=lambda _: RayError("out of memory"))
    expected = "--model scripted: the model's process ended while it loaded, 3 times, last with RayError: out of memory"
    with pytest.raises(ModelError, match=expected):
        cluster(ray).run(iter([asks("a")]))
    assert [event["event"] for event in store.directory.read_events()] == ["died"] * 3


def test_an_actor_that_dies_while_it_loads_is_replaced(cluster: Callable[..., Cluster], store: RunStore) -> None:
    ray = PaperRay(load=lambda number: RayError("killed") if number == 1 else versions())
    cluster(ray).run(iter([asks("a")]))
    assert store.is_done(key("a"))


def test_a_worker_with_other_versions_is_refused(cluster: Callable[..., Cluster]) -> None:
    ray = PaperRay(load=lambda _: versions() | {"medground": "0.0.1"})
    with pytest.raises(
        SpecError, match=r"a worker runs .*0\.0\.1.*, the driver .*; install the same versions on every"
    ):
        cluster(ray).run(iter([asks("a")]))


def test_actors_that_never_started_are_no_trouble_to_dismiss(
    cluster: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Cluster) -> None:
        raise RayError("no node")

    monkeypatch.setattr(Cluster, "_spawn", refuse)
    with pytest.raises(RayError, match="no node"):
        cluster(PaperRay()).run(iter([asks("a")]))


def test_an_interruption_dismisses_the_actors(cluster: Callable[..., Cluster], store: RunStore) -> None:
    def interrupt(_: list[str]) -> None:
        signal.raise_signal(signal.SIGINT)

    ray = PaperRay(interrupt)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that puts us aside ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            cluster(ray, workers=2).run(iter([asks("a"), asks("b")]))
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(ray.killed) == 2
    assert not store.offsets


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


def test_the_library_sends_files_below_its_roots_only(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.png").write_bytes(b"pixels")
    (tmp_path / "secret").write_text("no")
    (root / "link").symlink_to(tmp_path / "secret")
    library = MediaLibrary((root,))
    assert library.read("a.png") == b"pixels"
    assert library.read("b.png") is None
    assert library.read("../secret") is None
    assert library.read("link") is None
    assert library.read(str(tmp_path / "secret")) is None


def test_the_library_sends_a_folder_of_slices_as_an_archive(tmp_path: Path) -> None:
    (tmp_path / "root/series").mkdir(parents=True)
    (tmp_path / "root/series/1.png").write_bytes(b"pixels")
    content = MediaLibrary((tmp_path / "root",)).read("series")
    assert content is not None
    assert unpack(content, tmp_path / "got")
    assert (tmp_path / "got/1.png").read_bytes() == b"pixels"


def test_gpus_are_counted_without_a_library() -> None:
    assert gpus_here() >= 0
