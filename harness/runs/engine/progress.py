"""The progress of a run: what is in flight, what is finished and what failed, on disk before it counts."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.errors import InterruptedRunError
from harness.models import answer_check
from harness.records import FAULTS, ErrorInfo, Json, PredictionStatus
from harness.runs.engine.worker import Finished, to_finished
from harness.runs.plan_file import Ask
from harness.runs.store import RunStore
from harness.scoring.failure_kinds import kinds_of
from harness.scoring.results import Failure

# A run that fails is stopped no earlier: of few requests a single failure, which says little, would be above 1 %.
LEAST_FINISHED = 20
KINDS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class FailureLimit:
    """How many failures of the model a run takes before it stops, resumably.

    The limit counts what the model fails to answer, by error or timeout; data that cannot be read are no fault of its.

    Attributes:
        option: `--max-failures` as it was given.
        allowed: The number of failed scores that it allows.
        wanted: The number of scores that the run should have.
    """

    option: str
    allowed: int
    wanted: int

    def is_hopeless(self, failed: int, asked: int) -> bool:
        """Say whether a run with so many failures, of so many requests that were asked, will have failed in the end.

        That is certain above the allowed number: each request that failed stands for at least one score. Where all of
        the first requests failed it is as good as certain.
        """
        return asked >= LEAST_FINISHED and self.allowed < self.wanted and (failed == asked or failed > self.allowed)


@dataclass(slots=True)
class RunProgress:
    """Counts what is finished, stores it, and notes in the events what happened.

    Attributes:
        store: The run directory.
        total: Number of requests in the whole plan.
        counts: Number of finished requests by status, including those of earlier sessions.
        watch: Called after every change, for a progress bar; None for no call.
        limit: The failures after which the run stops; None: it never stops for them.
        finished: Called with the keys of every batch once its answers are stored; None for no call.
    """

    store: RunStore
    total: int
    counts: Counter[str] = field(default_factory=Counter)
    watch: "Callable[[RunProgress], None] | None" = None
    limit: FailureLimit | None = None
    finished: Callable[[Sequence[str]], None] | None = None
    _batches: int = 0

    @property
    def done(self) -> int:
        """Number of finished requests."""
        return sum(self.counts.values())

    @property
    def faults(self) -> int:
        """Number of finished requests that `--max-failures` counts."""
        return sum(self.counts[status] for status in FAULTS)

    @property
    def coverage(self) -> float:
        """Share of the finished requests that can be scored."""
        return 1.0 - self.counts["data_error"] / self.done if self.done else 1.0

    def start(self, batch: Sequence[Ask], *, worker: str, attempt: int) -> int:
        """Note that `batch` is about to be in flight; return its number.

        Args:
            batch: The requests.
            worker: Name of the worker, for the events.
            attempt: 1-based number of the batch's flight.
        Raises:
            InterruptedRunError: The disk refuses it.
        """
        self._batches += 1
        keys = [ask.key for ask in batch]
        self.store.event("started", batch=self._batches, worker=worker, attempt=attempt, keys=keys)
        return self._batches

    def finish(self, number: int, finished: Iterable[Finished]) -> None:
        """Store the answers to a batch; a request that was finished before keeps its first answer.

        Raises:
            InterruptedRunError: The disk refuses it, so much failed that the run stops, or the model stops it.
        """
        keys = []
        stops = []
        memory: dict[str, Json] = {}
        for item in finished:
            if item.memory:
                memory = {"memory": item.memory} | ({"gpu_memory": item.gpu_memory} if item.gpu_memory else {})
            if not item.key:
                stops.append(item.line)
                continue
            # A batch whose answers depend on each other is asked again whole, so some of its requests may be finished.
            if self.store.record(item.key, item.line):
                self.counts[item.status] += 1
                keys.append(item.key)
        # After the lines: an event without its lines would clear suspects that are still to be asked.
        self.store.event("finished", batch=number, keys=keys, **memory)
        self.store.predictions.sync_if_due()  # the next batch may take an hour
        if self.finished is not None:
            self.finished(keys)
        self._report()
        if stops:
            raise InterruptedRunError(f"{stops[0]}. What is finished is kept; run the same command again to go on.")

    def give_up(self, ask: Ask, status: PredictionStatus, message: str) -> None:
        """Store the failure of a request that no worker survives.

        Raises:
            InterruptedRunError: The disk refuses it, or so much failed that the run stops.
        """
        error = ErrorInfo(
            type="Timeout" if status == "timeout" else "WorkerDied", message=f"{ask.sample_id}: {message}"
        )
        if self.store.record(ask.key, to_finished(answer_check.failed(ask.key, status, error)).line):
            self.counts[status] += 1
        self.store.event("given_up", keys=[ask.key], status=status)
        self._report()

    def _report(self) -> None:
        self.store.status(self.status("running"))
        if self.watch is not None:
            self.watch(self)
        self.stop_if_hopeless()

    def stop_if_hopeless(self) -> None:
        """Stop a run that has failed already, before it costs more.

        Raises:
            InterruptedRunError: All of the first requests failed, or more than `--max-failures` allows in the end.
        """
        failed = self.counts["model_error"] + self.counts["timeout"]
        asked = self.done - self.counts["data_error"]
        limit = self.limit
        if limit is None or self.done >= self.total or not limit.is_hopeless(failed, asked):
            return
        kinds = kinds_of(_failures(self.store.directory.read_values()))
        tracebacks = "\n".join(kind.text for kind in kinds[:KINDS_SHOWN])
        counted = "all of the first" if failed == asked else f"{failed:,} of"
        raise InterruptedRunError(
            f"the model failed on {counted} {asked:,} requests, and the run stops before the other "
            f"{self.total - self.done:,}: --max-failures {limit.option} allows {limit.allowed:,} of {limit.wanted:,}.\n"
            f"{tracebacks}\nWhat is finished is kept, failures included. The same command with --max-failures 100% "
            "goes on in spite of them; another --out begins anew."
        )

    def status(self, state: str) -> dict[str, object]:
        """Return the content of `status.json`."""
        return {"state": state, "done": self.done, "total": self.total, "counts": dict(sorted(self.counts.items()))}


@dataclass(slots=True)
class ReplyProgress(RunProgress):
    """The progress of requests that are no evaluation: to a judge, or to the model of a construction.

    Attributes:
        who: The model that is asked, such as `judge`.
        what: What stops without it, such as `judging`.
        remedy: What to do, as whole sentences.
    """

    who: str = "model"
    what: str = "the run"
    remedy: str = ""

    def stop_if_hopeless(self) -> None:
        """Stop where all of the first requests failed, before what is missing is kept as a failure of all.

        Raises:
            InterruptedRunError: All requests so far failed, and there are enough of them.
        """
        failed = self.counts["model_error"] + self.counts["timeout"]
        if failed < LEAST_FINISHED or failed < self.done or self.done >= self.total:
            return
        words = "\n".join(kind.text for kind in kinds_of(_failures(self.store.directory.read_values()))[:KINDS_SHOWN])
        raise InterruptedRunError(
            f"the {self.who} failed on all of the first {failed:,} requests, and {self.what} stops before the other "
            f"{self.total - self.done:,}.\n{words}\n{self.remedy}"
        )


def _failures(values: Iterable[Mapping[str, Any]]) -> Iterator[Failure]:
    """Yield the stored predictions that failed; they hold no sample ids."""
    for value in values:
        if value.get("status") in ("model_error", "timeout"):
            error = value.get("error", {})
            message = f"{error.get('type', '')}: {error.get('message', '')}"
            yield Failure(
                task="", sample_id="", status=value["status"], message=message, traceback=error.get("traceback", "")
            )
