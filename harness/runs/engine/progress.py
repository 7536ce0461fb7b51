"""The books of a run: what is in flight, what is finished, what failed, and what earlier sessions left behind."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.models import answer_check
from harness.records import FAULTS, ErrorInfo, PredictionStatus
from harness.runs.engine.worker import Finished, to_finished
from harness.runs.plan_file import Ask
from harness.runs.store import RunStore


@dataclass(slots=True)
class Ledger:
    """The books of a run, and the events that say what happened.

    Attributes:
        store: The run directory.
        total: Requests of the whole plan.
        counts: Finished requests by status, those of earlier sessions included.
        watch: Called after every change, for a progress bar.
        answered: Requests a model has answered in this session.
    """

    store: RunStore
    total: int
    counts: Counter[str] = field(default_factory=Counter)
    watch: "Callable[[Ledger], None] | None" = None
    answered: int = 0
    _batches: int = 0

    @property
    def done(self) -> int:
        """Finished requests."""
        return sum(self.counts.values())

    @property
    def faults(self) -> int:
        """Finished requests that `--max-failures` counts."""
        return sum(self.counts[status] for status in FAULTS)

    @property
    def coverage(self) -> float:
        """Share of the finished requests that can be scored."""
        return 1.0 - self.counts["data_error"] / self.done if self.done else 1.0

    def start(self, batch: Sequence[Ask], *, worker: str, attempt: int) -> int:
        """Write down that `batch` is about to be in flight; return its number."""
        self._batches += 1
        keys = [ask.key for ask in batch]
        self.store.event("started", batch=self._batches, worker=worker, attempt=attempt, keys=keys)
        return self._batches

    def finish(self, number: int, finished: Iterable[Finished]) -> None:
        """Store what a batch brought; a request that was finished before keeps its first answer."""
        keys = []
        for item in finished:
            if self.store.record(item.key, item.line):
                self.counts[item.status] += 1
                keys.append(item.key)
        self.answered += len(keys)
        self.store.event("finished", batch=number, keys=keys)
        self._tell()

    def give_up(self, ask: Ask, status: PredictionStatus, message: str) -> None:
        """Store the failure of a request that no worker survives."""
        error = ErrorInfo(
            type="Timeout" if status == "timeout" else "WorkerDied", message=f"{ask.sample_id}: {message}"
        )
        if self.store.record(ask.key, to_finished(answer_check.failed(ask.key, status, error)).line):
            self.counts[status] += 1
        self.store.event("given_up", keys=[ask.key], status=status)
        self._tell()

    def _tell(self) -> None:
        self.store.status(self.status("running"))
        if self.watch is not None:
            self.watch(self)

    def status(self, state: str) -> dict[str, object]:
        """Return the content of `status.json`."""
        return {"state": state, "done": self.done, "total": self.total, "counts": dict(sorted(self.counts.items()))}


@dataclass(slots=True)
class Suspects:
    """What earlier sessions in process left in flight when they ended without a word, nothing having finished since.

    Attributes:
        ends: At how many such ends a request was in flight.
        alone: At how many of the last such ends, in a row, it was the only one in flight.
        causes: Of the last such end: `hang` or `crash`.
    """

    ends: Counter[str] = field(default_factory=Counter)
    alone: Counter[str] = field(default_factory=Counter)
    causes: dict[str, str] = field(default_factory=dict)

    def note_end(self, keys: Sequence[str], cause: str) -> None:
        """Note an end without a word at which `keys` were in flight."""
        self.ends.update(keys)
        self.alone = Counter({key: self.alone[key] + 1 for key in keys} if len(keys) == 1 else {})
        self.causes.update(dict.fromkeys(keys, cause))


def find_suspects(events: Iterable[Mapping[str, Any]]) -> Suspects:
    """Return what the events of earlier sessions say about requests that ended the process or hung.

    An end counts when the session ran in process and did not say that it stopped (Ctrl-C and a full disk do say so).
    On Ray the driver's end says nothing about a sample: the model has processes of its own.
    """
    suspects = Suspects()
    session = _Session()
    for event in events:
        keys = _keys(event)
        if event["event"] == "session":
            session.end(suspects)
            session = _Session(runner=str(event.get("runner", "process")), open=True)
        elif event["event"] in ("finished", "given_up") and keys:
            suspects = Suspects()
        session.take(str(event["event"]), event.get("batch"), keys)
    session.end(suspects)
    return suspects


@dataclass(slots=True)
class _Session:
    """One session as its events tell it."""

    runner: str = "process"
    open: bool = False
    asked: bool = False
    cause: str = "crash"
    flying: dict[object, list[str]] = field(default_factory=dict)

    def take(self, event: str, batch: object, keys: list[str]) -> None:
        """Follow one event."""
        if event == "started":
            self.asked = True
            self.flying[batch] = keys
        elif event == "stopped":
            self.open = False
        elif event == "hung" and batch is None:
            self.cause = "hang"
        elif event in ("finished", "died", "hung"):
            self.flying.pop(batch, None)

    def end(self, suspects: Suspects) -> None:
        """Note the end if it came without a word; a session that asked nothing says nothing."""
        if self.open and self.asked and self.runner == "process":
            suspects.note_end([key for keys in self.flying.values() for key in keys], self.cause)


def _keys(event: Mapping[str, Any]) -> list[str]:
    keys = event.get("keys")
    return [str(key) for key in keys] if isinstance(keys, list) else []
