"""The same plan on Ray: plain actors that hold one model each, leased work, and a driver loop over `ray.wait`.

One batch is in flight per actor, and nothing is queued inside Ray. So a kill wastes at most the batches in flight, and
an actor's death counts only against the batch that it had; Ray's own retries would also use up those of queued calls.

Only this module, `ray_actors` and `ray_connection` import ray.
"""

import contextlib
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from harness.errors import InterruptedRunError, ModelError, SpecError
from harness.runs.engine.devices import device_of
from harness.runs.engine.progress import RunProgress
from harness.runs.engine.ray_actors import MediaLibrary, Node, versions
from harness.runs.engine.ray_connection import ClusterOptions, connected, first_lines
from harness.runs.engine.signals import Interruption
from harness.runs.engine.worker import Finished, WorkerSetup, not_loaded
from harness.runs.plan_file import Ask

# A sample is recorded as `model_error` after this many deaths of actors that had it alone: a single death may have
# another reason, such as a node that ran out of memory. Also the deaths in loading allowed before any actor has loaded.
TRIES = 3
# Actors that may end in a row without an answer in between, in addition to TRIES per worker: a broken model should end
# the run in minutes, not after every sample has had its tries.
MOST_FRUITLESS = 6
# Longest wait of the driver's loop if no deadline comes earlier.
MOST_SECONDS_OF_WAIT = 5.0
SECONDS_TO_CLEAN_UP = 2.0
# How often a run says what it waits for while no worker answers.
SAY_EVERY_SECONDS = 10.0


@dataclass(slots=True)
class Lease:
    """A batch for an actor; if the actor ends, the driver takes the batch back.

    Attributes:
        batch: The requests.
        attempt: 1-based number of its flight.
        deaths: Number of actors that died with exactly this batch in flight.
    """

    batch: list[Ask]
    attempt: int = 1
    deaths: int = 0


@dataclass(slots=True)
class Flight:
    """A lease in flight on one actor.

    Attributes:
        lease: The batch.
        number: Number of the flight in the events.
        deadline: Time on the monotonic clock, in seconds, after which the actor counts as hung.
    """

    lease: Lease
    number: int
    deadline: float


@dataclass(slots=True)
class Cluster:
    """A connection to Ray and the actors of one run.

    An actor loads the model, waits for a batch, answers it, and waits again. It leaves this cycle in two ways:

    - It dies. Its batch goes back whole up to TRIES times if its answers depend on each other, else at once one sample
      at a time; a single sample is given up on after TRIES deaths.
    - It misses its deadline of `timeout` seconds per sample and is killed. Its batch goes back one sample at a time; a
      single sample is recorded as a timeout at once, since nothing else can have hung.

    Either way another actor takes its place, until so many have ended that the run stops, resumably.

    Attributes:
        setup, options, progress: As given to `run_on_ray`.
        ray: The module.
        interruption: Keeps signals back while answers are stored.
        library: The actor that sends media; None until an actor is started.
        actor_class: `Node` as a remote class; None until an actor is started.
        notice: Called with one line of news.
        starting: Actors whose process is not there yet, by Ray's reference to its first word.
        loading: Actors that start or load the model, by Ray's reference to their result.
        load_by: Times on the monotonic clock by which actors must have loaded, from their first word on.
        idle: Actors that wait for a batch.
        flying: Actors at work with their flights, by Ray's reference to their result.
        back: Leases that were put back when an actor ended.
        names: Names of the living actors, for the events.
        spawned, loaded: Number of actors that were started, and that have loaded the model.
        lost: Number of actors that died or were killed for not returning, in this session.
        fruitless: Those of them since the last answer.
        last_end: How the last of them ended, in words.
    """

    setup: WorkerSetup
    options: ClusterOptions
    progress: RunProgress
    ray: Any
    interruption: Interruption = field(default_factory=Interruption)
    library: Any = None
    actor_class: Any = None
    idle: list[Any] = field(default_factory=list)
    notice: Callable[[str], None] = lambda _: None
    starting: dict[Any, Any] = field(default_factory=dict)
    loading: dict[Any, Any] = field(default_factory=dict)
    load_by: dict[Any, float] = field(default_factory=dict)
    flying: dict[Any, tuple[Any, Flight]] = field(default_factory=dict)
    back: deque[Lease] = field(default_factory=deque)
    names: dict[Any, str] = field(default_factory=dict)
    spawned: int = 0
    loaded: int = 0
    lost: int = 0
    fruitless: int = 0
    last_end: str = ""
    _said: float = 0.0

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
        self._said = time.monotonic()
        try:
            for _ in range(self.options.workers):
                self._spawn()
            while self._feed(work):
                self._wait()
        finally:
            self._dismiss()

    def _dismiss(self) -> None:
        """Let idle actors clean up, then end all actors."""
        with contextlib.suppress(self.ray.exceptions.RayError):
            closing = [actor.close.remote() for actor in self.idle]
            if closing:
                self.ray.wait(closing, num_returns=len(closing), timeout=SECONDS_TO_CLEAN_UP)
            for actor in (*self.names, *([self.library] if self.library is not None else [])):
                self.ray.kill(actor)

    def _next(self, work: Iterator[list[Ask]]) -> Lease | None:
        """Return the next lease, those that were put back before new ones; None if nothing is left."""
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
        deadlines = [flight.deadline for _, flight in self.flying.values()] + [*self.load_by.values()]
        rest = min(deadlines, default=time.monotonic() + MOST_SECONDS_OF_WAIT) - time.monotonic()
        timeout = max(0.0, min(rest, MOST_SECONDS_OF_WAIT))
        waited = [*self.flying, *self.starting, *self.loading]
        # First everything that is ready already: with num_returns=1 Ray returns only one of them.
        ready, _ = self.ray.wait(waited, num_returns=len(waited), timeout=0)
        if not ready:
            ready, _ = self.ray.wait(waited, num_returns=1, timeout=timeout)
        for reference in ready:
            if reference in self.starting:
                self.load_by[self.starting.pop(reference)] = time.monotonic() + self.setup.load_timeout
            elif reference in self.loading:
                self._take_loaded(reference)
            else:
                self._take(reference)
        now = time.monotonic()
        for actor in [late for late, deadline in self.load_by.items() if deadline < now]:
            self._expire_loading(actor)
        if self.loading and not self.flying and now - self._said > SAY_EVERY_SECONDS:
            self._said = now
            self.notice(self._waits_for())
        for reference in [late for late, (_, flight) in self.flying.items() if flight.deadline < now]:
            self._expire(reference)

    def _waits_for(self) -> str:
        """Return what the run waits for while no worker answers."""
        starting, waiting = len(self.starting), len(self.loading) - len(self.starting)
        needs = self.options.wanted.resources
        each = f"{needs.cpus:g} CPUs and {needs.gpus or 0:g} GPUs"
        parts = [f"{waiting} to load the model"] if waiting else []
        if starting:
            parts.append(f"{starting} to get a process from Ray, each with {each} that nobody else uses")
        return f"waiting for {self.options.workers} workers: {', '.join(parts)}"

    def _expire_loading(self, actor: Any) -> None:
        """Kill an actor that does not load in time; if none has ever loaded, the others would fare no better.

        Raises:
            InterruptedRunError: No actor has loaded yet, or too many have ended.
        """
        reference = next(one for one, loading in self.loading.items() if loading is actor)
        del self.loading[reference]
        seconds = self.setup.load_timeout
        self._lose(actor, f"load() did not return within {seconds:g} s")
        self.progress.store.event("hung", batch=None, keys=[], seconds=seconds, loading=True)
        if not self.loaded:
            raise InterruptedRunError(not_loaded(self.setup))
        self._stop_if_hopeless("the model had to be killed")
        self._spawn()

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
        # A batch whose answers depend on each other goes back whole: split, it could be answered otherwise.
        splits = self.options.batch_invariant or lease.deaths == TRIES
        if len(lease.batch) > 1 and splits:
            self._split(lease)
        elif len(lease.batch) > 1 or lease.deaths < TRIES:
            lease.attempt += 1
            self.back.append(lease)
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
        self.load_by.pop(actor, None)
        with contextlib.suppress(self.ray.exceptions.RayError):
            self.ray.kill(actor)
        self.lost += 1
        self.fruitless += 1
        self.last_end = end

    def _split(self, lease: Lease) -> None:
        self.back.extend(Lease([ask], attempt=lease.attempt + 1) for ask in lease.batch)

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
        self.starting[actor.is_up.remote()] = actor
        self.loading[actor.load.remote()] = actor

    def _actor_class(self) -> Any:
        if self.actor_class is None:
            # Ray gives each process as many OpenMP threads as CPUs, so no runtime_env: it would cost 0.5 s an actor.
            resources = self.options.wanted.resources
            self.actor_class = self.ray.remote(
                num_cpus=resources.cpus,
                num_gpus=resources.gpus or 0,
                # Deaths are dealt with here: Ray would ask again behind our back, out of order and without an event.
                max_restarts=0,
                max_task_retries=0,
                scheduling_strategy="SPREAD",
            )(Node)
        return self.actor_class

    def _library_actor(self) -> Any:
        """Return the actor on the driver's node that sends media; it has no state, so Ray may restart it."""
        if self.library is None:
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

            here = NodeAffinitySchedulingStrategy(self.ray.get_runtime_context().get_node_id(), soft=False)
            options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": TRIES, "scheduling_strategy": here}
            self.library = self.ray.remote(**options)(MediaLibrary).remote(self.setup.roots)
        return self.library

    def _take_loaded(self, reference: Any) -> None:
        actor = self.loading.pop(reference)
        self.load_by.pop(actor, None)
        self.starting = {word: one for word, one in self.starting.items() if one is not actor}
        try:
            found = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            self._lose(actor, f"{type(error).__name__}: {first_lines(str(error))}")
            self.progress.store.event("died", batch=None, keys=[], error=self.last_end)
            # No actor has ever loaded: one clear message beats many respawns. Who ended them is not known, so the
            # same command may well go on.
            if not self.loaded and self.lost >= TRIES:
                message = f"the model's process ended while it loaded, {self.lost} times, last with {self.last_end}"
                raise InterruptedRunError(
                    f"--model {self.setup.reference.text}: {message}. What is finished is kept; run the same command "
                    "again, or mend the model."
                ) from error
            self._stop_if_hopeless("the model's process ended")
            self._spawn()
            return
        if "error" in found:
            raise ModelError(found["error"])
        device = found.pop("device", {})
        if found != versions():
            raise SpecError(f"a worker runs {found}, the driver {versions()}; install the same versions on every node")
        self.progress.store.add_worker({"worker": self.names[actor], **device})
        self.loaded += 1
        self.idle.append(actor)


def run_on_ray(
    setup: WorkerSetup,
    batches: Iterable[list[Ask]],
    progress: RunProgress,
    options: ClusterOptions,
    notice: Callable[[str], None] = lambda _: None,
) -> None:
    """Run the batches on Ray, with a line of news when it has to wait; see `Cluster.run` for the errors."""
    sys.stdout.flush()  # `connected` sends stdout to a log; what was printed before belongs on the terminal
    with connected(options) as (ray, options), Interruption() as interruption:
        # Ray assigns GPUs to the copies that ask for them; a copy that asks for none must not take another's.
        setup = replace(setup, device=device_of(options.wanted.resources))
        cluster = Cluster(
            setup=setup, options=options, progress=progress, ray=ray, interruption=interruption, notice=notice
        )
        cluster.run(batches)
