"""The same plan on Ray: plain actors that hold one model each, leased work, and a driver loop over `ray.wait`.

The only module that imports ray. One batch is in flight per actor. A dead actor is replaced and its batch put back
one sample at a time; a sample that no actor survives is recorded. Nothing is queued inside Ray, so a kill wastes at
most the batches in flight.
"""

import contextlib
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from harness.errors import InterruptedRunError, ModelError, SpecError
from harness.runs.engine.progress import RunProgress
from harness.runs.engine.ray_actors import MediaLibrary, Node, versions
from harness.runs.engine.ray_connection import ClusterOptions, connected, first_lines
from harness.runs.engine.signals import Interruption
from harness.runs.engine.worker import Finished, WorkerSetup
from harness.runs.plan_file import Ask

TRIES = 3
"""A sample that is alone on an actor when it dies, so often, is recorded as `model_error`."""
MOST_FRUITLESS = 6
"""Actors that may end with nothing answered between, besides TRIES for each worker."""
MOST_SECONDS_OF_WAIT = 5.0
SECONDS_TO_CLEAN_UP = 2.0


@dataclass(slots=True)
class Lease:
    """A batch on its way through the cluster.

    Attributes:
        batch: What is asked.
        attempt: 1-based number of its flight.
        deaths: Actors that died with exactly this batch in flight.
    """

    batch: list[Ask]
    attempt: int = 1
    deaths: int = 0


@dataclass(slots=True)
class Flight:
    """A lease in flight on one actor."""

    lease: Lease
    number: int
    deadline: float


@dataclass(slots=True)
class Cluster:
    """A connection to Ray and the actors of one run.

    Attributes:
        loading: Actors that load the model, by what they will return.
        idle: Actors that wait for a batch.
        flying: Actors at work and what on, by what they will return.
        back: Leases that an actor's end put back.
        names: Of the living actors, for the events.
        lost: Actors that died or were killed for not returning, in this session.
        fruitless: Those of them since the last answer.
    """

    setup: WorkerSetup
    options: ClusterOptions
    progress: RunProgress
    ray: Any
    interruption: Interruption = field(default_factory=Interruption)
    library: Any = None
    actor_class: Any = None
    idle: list[Any] = field(default_factory=list)
    loading: dict[Any, Any] = field(default_factory=dict)
    flying: dict[Any, tuple[Any, Flight]] = field(default_factory=dict)
    back: deque[Lease] = field(default_factory=deque)
    names: dict[Any, str] = field(default_factory=dict)
    spawned: int = 0
    loaded: int = 0
    lost: int = 0
    fruitless: int = 0
    last_end: str = ""

    def run(self, batches: Iterable[list[Ask]]) -> None:
        """Answer every batch.

        Raises:
            SpecError: A worker runs other versions than the driver.
            ModelError: The model cannot be loaded.
            InterruptedRunError: Actors keep ending, so the run stops; what is finished is kept.
        """
        work = iter(batches)
        if not self._has_more(work):
            return
        try:
            for _ in range(self.options.workers):
                self._spawn()
            while self._feed(work):
                self._wait()
        finally:
            self._dismiss()

    def _dismiss(self) -> None:
        """Let idle actors clean up, then end all."""
        with contextlib.suppress(self.ray.exceptions.RayError):
            closing = [actor.close.remote() for actor in self.idle]
            if closing:
                self.ray.wait(closing, num_returns=len(closing), timeout=SECONDS_TO_CLEAN_UP)
            for actor in (*self.names, *([self.library] if self.library is not None else [])):
                self.ray.kill(actor)

    def _next(self, work: Iterator[list[Ask]]) -> Lease | None:
        """Return what was put back first, then what was never asked."""
        if self.back:
            return self.back.popleft()
        batch = next(work, None)
        return None if batch is None else Lease(batch)

    def _has_more(self, work: Iterator[list[Ask]]) -> bool:
        lease = self._next(work)
        if lease is not None:
            self.back.appendleft(lease)
        return lease is not None

    def _feed(self, work: Iterator[list[Ask]]) -> bool:
        """Give every idle actor a batch; say whether there is anything to wait for."""
        while self.idle:
            lease = self._next(work)
            if lease is None:
                return bool(self.flying)
            self._send(self.idle.pop(), lease)
        return bool(self.flying) or self._has_more(work)

    def _send(self, actor: Any, lease: Lease) -> None:
        number = self.progress.start(lease.batch, worker=self.names[actor], attempt=lease.attempt)
        reference = actor.answer.remote([ask.request for ask in lease.batch])
        deadline = time.monotonic() + self.options.timeout * len(lease.batch)
        self.flying[reference] = (actor, Flight(lease, number, deadline))

    def _wait(self) -> None:
        """Wait for an answer, a loaded actor or a deadline, and deal with it."""
        deadlines = [flight.deadline for _, flight in self.flying.values()]
        rest = min(deadlines, default=time.monotonic() + MOST_SECONDS_OF_WAIT) - time.monotonic()
        timeout = max(0.0, min(rest, MOST_SECONDS_OF_WAIT))
        waited = [*self.flying, *self.loading]
        ready, _ = self.ray.wait(waited, num_returns=len(waited), timeout=0)
        if not ready:
            ready, _ = self.ray.wait(waited, num_returns=1, timeout=timeout)
        for reference in ready:
            if reference in self.loading:
                self._take_loaded(reference)
            else:
                self._take(reference)
        now = time.monotonic()
        for reference in [late for late, (_, flight) in self.flying.items() if flight.deadline < now]:
            self._expire(reference)

    def _take(self, reference: Any) -> None:
        actor, flight = self.flying.pop(reference)
        try:
            finished = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            self._bury(actor, flight, error)
            return
        with self.interruption.held():
            self.progress.finish(flight.number, [Finished(*item) for item in finished])
        self.fruitless = 0
        self.idle.append(actor)

    def _bury(self, actor: Any, flight: Flight, error: Exception) -> None:
        """Put the batch of a dead actor back and replace the actor."""
        lease = flight.lease
        lease.deaths += 1
        self._lose(actor, f"{type(error).__name__}: {first_lines(str(error))}")
        keys = [ask.key for ask in lease.batch]
        self.progress.store.event("died", batch=flight.number, keys=keys, error=self.last_end)
        splits = self.options.batch_invariant or lease.deaths == TRIES
        if len(lease.batch) > 1 and splits:
            self._split(lease)
        elif len(lease.batch) > 1 or lease.deaths < TRIES:
            self._put_back(lease)
        else:
            message = f"the model's process ended {TRIES} times on this sample alone, last with {self.last_end}"
            self.progress.give_up(lease.batch[0], "model_error", message)
        self._stop_if_hopeless("the model's process ended")
        self._spawn()

    def _expire(self, reference: Any) -> None:
        """Kill an actor that does not return; a batch goes back one sample at a time, a single sample is a timeout."""
        actor, flight = self.flying.pop(reference)
        lease = flight.lease
        seconds = self.options.timeout * len(lease.batch)
        self._lose(actor, f"no answer within {seconds:g} s")
        self.progress.store.event("hung", batch=flight.number, keys=[ask.key for ask in lease.batch], seconds=seconds)
        if len(lease.batch) > 1:
            self._split(lease)
        else:
            self.progress.give_up(lease.batch[0], "timeout", f"the model did not return within {seconds:g} s")
        self._stop_if_hopeless("the model had to be killed")
        self._spawn()

    def _lose(self, actor: Any, end: str) -> None:
        self.names.pop(actor, None)
        with contextlib.suppress(self.ray.exceptions.RayError):
            self.ray.kill(actor)
        self.lost += 1
        self.fruitless += 1
        self.last_end = end

    def _split(self, lease: Lease) -> None:
        self.back.extend(Lease([ask], attempt=lease.attempt + 1) for ask in lease.batch)

    def _put_back(self, lease: Lease) -> None:
        lease.attempt += 1
        self.back.append(lease)

    def _stop_if_hopeless(self, what: str) -> None:
        """Stop a run whose actors keep ending.

        Raises:
            InterruptedRunError: Too many ended, in all or since the last answer.
        """
        fruitless = MOST_FRUITLESS + TRIES * self.options.workers
        if self.fruitless < fruitless and self.lost <= self.options.max_deaths:
            return
        since = " and answered nothing between" if self.fruitless >= fruitless else ""
        count = self.fruitless if since else self.lost
        raise InterruptedRunError(
            f"{what} {count} times{since}, last with {self.last_end}. What is finished is kept; mend the model and run "
            "the same command again, or raise --max-failures."
        )

    def _spawn(self) -> None:
        """Start one actor; it loads while the others work."""
        actor = self._actor_class().remote(self.setup, self._library_actor())
        self.spawned += 1
        self.names[actor] = f"worker-{self.spawned}"
        self.loading[actor.load.remote()] = actor

    def _actor_class(self) -> Any:
        if self.actor_class is None:
            # Ray gives each process as many OpenMP threads as CPUs, so no runtime_env: it would cost 0.5 s an actor.
            resources = self.options.resources
            self.actor_class = self.ray.remote(
                num_cpus=resources.cpus,
                num_gpus=resources.gpus,
                max_restarts=0,
                max_task_retries=0,
                scheduling_strategy="SPREAD",
            )(Node)
        return self.actor_class

    def _library_actor(self) -> Any:
        """Return the actor on the driver's node that sends media; it holds nothing, so Ray may restart it."""
        if self.library is None:
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

            here = NodeAffinitySchedulingStrategy(self.ray.get_runtime_context().get_node_id(), soft=False)
            options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": TRIES, "scheduling_strategy": here}
            self.library = self.ray.remote(**options)(MediaLibrary).remote(self.setup.roots)
        return self.library

    def _take_loaded(self, reference: Any) -> None:
        actor = self.loading.pop(reference)
        try:
            found = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            self._lose(actor, f"{type(error).__name__}: {first_lines(str(error))}")
            self.progress.store.event("died", batch=None, keys=[], error=self.last_end)
            if not self.loaded and self.lost >= TRIES:
                message = f"the model's process ended while it loaded, {self.lost} times, last with {self.last_end}"
                raise ModelError(f"--model {self.setup.reference.text}: {message}") from error
            self._stop_if_hopeless("the model's process ended")
            self._spawn()
            return
        if "error" in found:
            raise ModelError(found["error"])
        if found != versions():
            raise SpecError(f"a worker runs {found}, the driver {versions()}; install the same versions on every node")
        self.loaded += 1
        self.idle.append(actor)


def run_on_ray(
    setup: WorkerSetup, batches: Iterable[list[Ask]], progress: RunProgress, options: ClusterOptions
) -> None:
    """Run the batches on Ray; see `Cluster.run` for what it raises."""
    sys.stdout.flush()
    with connected(options) as ray, Interruption() as interruption:
        Cluster(setup=setup, options=options, progress=progress, ray=ray, interruption=interruption).run(batches)
