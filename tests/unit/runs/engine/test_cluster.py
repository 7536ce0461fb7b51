"""What the driver loop decides, against a Ray that exists on paper only."""

import json
import signal
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.errors import InterruptedRunError, ModelError, SpecError
from harness.models.resolve import ModelReference
from harness.records import Resources
from harness.runs.engine import cluster as cluster_module
from harness.runs.engine.cluster import Cluster
from harness.runs.engine.devices import Wanted
from harness.runs.engine.progress import RunProgress
from harness.runs.engine.ray_actors import versions
from harness.runs.engine.ray_connection import ClusterOptions
from harness.runs.engine.worker import Finished, WorkerSetup
from harness.runs.plan_file import Ask
from harness.runs.store import RunStore
from tests.unit.runs.engine.paper_ray import Behaviour, PaperRay, RayError, key, reply

SETUP = WorkerSetup(reference=ModelReference(text="scripted", target="m:C"), roots=())


def asks(names: str) -> list[Ask]:
    return [Ask(key(name), name, f"d/test/{name}") for name in names]


@pytest.fixture
def cluster(store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Cluster]:
    def make(ray: PaperRay, *, workers: int = 1, invariant: bool = True, failures: int = 6) -> Cluster:
        options = ClusterOptions(
            address="local",
            wanted=Wanted(resources=Resources(), workers=workers),
            timeout=60.0,
            failures=failures,
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
        cluster(ray, failures=200).run(iter([asks("ab"), asks("cd"), asks("ef")]))
    assert str(raised.value) == (
        "the model's process ended 9 times and answered nothing between, last with RayError: segmentation fault. What "
        "is finished is kept; mend the model and run the same command again, or raise --max-failures."
    )
    assert len(ray.killed) == 9


def test_too_many_deaths_in_all_stop_the_run(cluster: Callable[..., Cluster], store: RunStore) -> None:
    ray = PaperRay(lambda requests: RayError("died") if {*requests} & {*"bdfh"} else reply(requests))
    with pytest.raises(InterruptedRunError, match="the model's process ended 15 times, last with RayError: died"):
        cluster(ray, failures=0).run(iter([asks("ab"), asks("cd"), asks("ef"), asks("gh")]))
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
    expected = (
        "--model scripted: the model's process ended while it loaded, 3 times, last with RayError: out of memory. What "
        "is finished is kept; run the same command again, or mend the model"
    )
    with pytest.raises(InterruptedRunError, match=expected):
        cluster(ray).run(iter([asks("a")]))
    assert [event["event"] for event in store.directory.read_events()] == ["died"] * 3


def test_an_actor_that_dies_while_it_loads_is_replaced(cluster: Callable[..., Cluster], store: RunStore) -> None:
    ray = PaperRay(load=lambda number: RayError("killed") if number == 1 else versions())
    cluster(ray).run(iter([asks("a")]))
    assert store.is_done(key("a"))


def test_a_model_that_hangs_in_loading_stops_the_run_at_once(cluster: Callable[..., Cluster], store: RunStore) -> None:
    ray = PaperRay()
    ray.never = {"load": 9}
    hanging = cluster(ray, workers=2)
    hanging.setup = replace(SETUP, load_timeout=0.01)
    expected = (
        r"--model scripted: load\(\) did not return within 0\.01 s\. Mend the model, or allow more by --load-timeout"
    )
    with pytest.raises(InterruptedRunError, match=expected):
        hanging.run(iter([asks("a")]))
    assert len(ray.killed) >= 2
    assert [event["event"] for event in store.directory.read_events()] == ["hung"]


def test_one_actor_that_hangs_in_loading_is_replaced(cluster: Callable[..., Cluster], store: RunStore) -> None:
    def slowly(requests: list[str]) -> list[Finished]:
        time.sleep(0.02)
        return reply(requests)

    ray = PaperRay(slowly)
    ray.never = {"load": 1}
    hanging = cluster(ray, workers=2)
    hanging.setup = replace(SETUP, load_timeout=0.01)
    hanging.run(iter([asks(name) for name in "abcd"]))
    assert all(store.is_done(key(name)) for name in "abcd")
    assert ray.actors == 3


def test_a_wait_says_what_it_waits_for(cluster: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "SAY_EVERY_SECONDS", 0.0)
    ray, said = PaperRay(), list[str]()
    ray.never = {"load": 2, "is_up": 1}
    waiting = cluster(ray, workers=2)
    waiting.setup = replace(SETUP, load_timeout=0.05)
    waiting.notice = said.append
    with pytest.raises(InterruptedRunError, match="did not return within"):
        waiting.run(iter([asks("a")]))
    assert said[0] == (
        "waiting for 2 workers: 1 to load the model, 1 to get a process from Ray, each with 1 CPUs and 0 GPUs that "
        "nobody else uses"
    )


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


def test_the_session_lists_each_loaded_actor_with_its_device(cluster: Callable[..., Cluster], store: RunStore) -> None:
    store.add_session({"command": []})
    ray = PaperRay(load=lambda number: {**versions(), "device": {"device": "cuda:0", "gpus": [str(number)]}})
    cluster(ray, workers=2).run(iter([asks("ab"), asks("cd")]))
    (line,) = store.directory.sessions_path.read_text().splitlines()
    assert json.loads(line)["workers"] == [
        {"worker": "worker-1", "device": "cuda:0", "gpus": ["1"]},
        {"worker": "worker-2", "device": "cuda:0", "gpus": ["2"]},
    ]
