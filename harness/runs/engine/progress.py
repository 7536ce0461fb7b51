"""The progress of a run: what is in flight, what is finished and what failed, on disk before it counts."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from harness.models import answer_check
from harness.records import FAULTS, ErrorInfo, PredictionStatus
from harness.runs.engine.worker import Finished, to_finished
from harness.runs.plan_file import Ask
from harness.runs.store import RunStore


@dataclass(slots=True)
class RunProgress:
    """Counts what is finished, stores it, and notes in the events what happened.

    Attributes:
        store: The run directory.
        total: Number of requests in the whole plan.
        counts: Number of finished requests by status, including those of earlier sessions.
        watch: Called after every change, for a progress bar; None for no call.
    """

    store: RunStore
    total: int
    counts: Counter[str] = field(default_factory=Counter)
    watch: "Callable[[RunProgress], None] | None" = None
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
            InterruptedRunError: The disk refuses it.
        """
        keys = []
        for item in finished:
            # A batch whose answers depend on each other is asked again whole, so some of its requests may be finished.
            if self.store.record(item.key, item.line):
                self.counts[item.status] += 1
                keys.append(item.key)
        # After the lines: an event without its lines would clear suspects that are still to be asked.
        self.store.event("finished", batch=number, keys=keys)
        self._report()

    def give_up(self, ask: Ask, status: PredictionStatus, message: str) -> None:
        """Store the failure of a request that no worker survives.

        Raises:
            InterruptedRunError: The disk refuses it.
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

    def status(self, state: str) -> dict[str, object]:
        """Return the content of `status.json`."""
        return {"state": state, "done": self.done, "total": self.total, "counts": dict(sorted(self.counts.items()))}
