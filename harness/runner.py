"""Plan -> predict -> store: the worker that holds a model, the ledger that keeps its books, and the in-process run.

`harness.cluster` runs the same worker and the same ledger on Ray; what this module does is the reference semantics.
"""

import json
import os
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from harness import answers
from harness.errors import DataError, ModelError
from harness.media import Fetch, MediaStore, with_handles
from harness.models.reference import ModelReference, build
from harness.plan import Ask
from harness.records import FAULTS, Adapter, ErrorInfo, Prediction, PredictionStatus, Request
from harness.serial import request_from_json, to_json
from harness.store import RunStore

ENDS_BEFORE_GIVING_UP = 3
"""A sample alone in flight at so many ends in a row, with nothing finished between, is recorded as failed."""
EXIT_RESUMABLE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSetup:
    """All that a process needs to hold one copy of the model.

    Attributes:
        reference: The model, with the text of its file.
        roots: Where the media of the release lie, and what was derived from it.
        device: Handed to the adapter's `load`.
        threads: For torch, the same in every runner.
        spool: Where media that the driver sends are kept.
    """

    reference: ModelReference
    roots: tuple[Path, ...]
    device: str = "cpu"
    threads: int = 1
    spool: Path | None = None


class Finished(NamedTuple):
    """One finished request as it is stored."""

    key: str
    status: PredictionStatus
    line: str


class Worker:
    """One loaded model; answers batches, and turns every fault of the model's code into a record."""

    def __init__(self, setup: WorkerSetup, fetch: Fetch | None = None) -> None:
        self.setup = setup
        self.media = MediaStore(roots=setup.roots, spool=setup.spool, fetch=fetch)
        self.adapter: Adapter | None = None

    def load(self) -> None:
        """Build the adapter and load its weights.

        Raises:
            ModelError: The adapter's `load` fails.
        """
        self.adapter = build(self.setup.reference)
        try:
            self.adapter.load(self.setup.device)
        except Exception as error:
            name = self.setup.reference.text
            detail = traceback.format_exc(limit=-4)
            raise ModelError(f"--model {name}: load() failed: {type(error).__name__}: {error}\n{detail}") from error
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(self.setup.threads)

    def answer(self, requests: Sequence[str]) -> list[Finished]:
        """Answer one batch of requests, given as their JSON."""
        finished: list[Finished] = []
        ready: list[Request] = []
        for text in requests:
            request = request_from_json(json.loads(text))
            try:
                ready.append(with_handles(request, self.media))
            except DataError as error:
                finished.append(_finish(answers.failed(request.key, "data_error", _info(error))))
        return finished + [_finish(prediction) for prediction in self._predict(ready)]

    def _predict(self, batch: Sequence[Request]) -> list[Prediction]:
        """Ask the adapter; a batch that raises is halved until the sample that raises stands alone."""
        assert self.adapter is not None
        if not batch:
            return []
        began = time.perf_counter()
        try:
            replies = list(self.adapter.predict(batch))
        except DataError as error:
            if len(batch) == 1:
                return [answers.failed(batch[0].key, "data_error", _info(error))]
        except Exception as error:  # noqa: BLE001 - the actor boundary: the model's faults become records
            if len(batch) == 1:
                return [answers.failed(batch[0].key, "model_error", _info(error), time.perf_counter() - began)]
        else:
            seconds = round((time.perf_counter() - began) / len(batch), 6)
            if len(replies) != len(batch):
                wrong = answers.batch_length_error(len(batch), replies)
                return [answers.failed(request.key, "model_error", wrong, seconds) for request in batch]
            return [answers.to_prediction(*pair, seconds) for pair in zip(batch, replies, strict=True)]
        half = len(batch) // 2
        return self._predict(batch[:half]) + self._predict(batch[half:])


def _info(error: Exception) -> ErrorInfo:
    text = "".join(traceback.format_exception(error, limit=-6))
    return ErrorInfo(type=type(error).__name__, message=str(error), traceback=text)


def _finish(prediction: Prediction) -> Finished:
    line = json.dumps(to_json(prediction), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Finished(prediction.key, prediction.status, line)


@dataclass(slots=True)
class Ledger:
    """The books of a run: what is in flight, what is finished, what failed; and the events that say so.

    Attributes:
        store: The run directory.
        total: Requests of the whole plan.
        counts: Finished requests by status, those of earlier sessions included.
        watch: Called after every change, for a progress bar.
    """

    store: RunStore
    total: int
    counts: Counter[str] = field(default_factory=Counter)
    watch: "Callable[[Ledger], None] | None" = None
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
        self.store.event("finished", batch=number, keys=keys)
        self._tell()

    def give_up(self, ask: Ask, status: PredictionStatus, message: str) -> None:
        """Store the failure of a request that no worker survives."""
        error = ErrorInfo(
            type="Timeout" if status == "timeout" else "WorkerDied", message=f"{ask.sample_id}: {message}"
        )
        if self.store.record(ask.key, _finish(answers.failed(ask.key, status, error)).line):
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
    """What earlier sessions left in flight when they ended without a word.

    Attributes:
        ends: How often in a row a request was in flight at such an end, nothing having finished between.
        alone: Requests that were the only one in flight at the last such end.
        causes: The last cause that was noted: `hang` or `crash`.
    """

    ends: Counter[str] = field(default_factory=Counter)
    alone: Counter[str] = field(default_factory=Counter)
    causes: dict[str, str] = field(default_factory=dict)


def find_suspects(events: Iterable[dict[str, object]]) -> Suspects:
    """Return what the events of earlier sessions say about requests that ended the process or hung."""
    suspects, cause = Suspects(), "crash"
    flying: dict[object, list[str]] = {}
    for event in events:
        name, keys = event.get("event"), _keys(event)
        if name == "session":
            _note_end(suspects, [key for batch in flying.values() for key in batch], cause)
            flying, cause = {}, "crash"
        elif name == "started":
            flying[event.get("batch")] = keys
        elif name in ("finished", "given_up"):
            flying.pop(event.get("batch"), None)
            if keys:
                suspects = Suspects()
        elif name == "hung" and event.get("batch") is None:
            cause = "hang"
        elif name in ("died", "hung"):
            flying.pop(event.get("batch"), None)
        elif name == "stopped":
            flying = {}
    return suspects


def _keys(event: dict[str, object]) -> list[str]:
    keys = event.get("keys")
    return [str(key) for key in keys] if isinstance(keys, list) else []


def _note_end(suspects: Suspects, keys: Sequence[str], cause: str) -> None:
    suspects.ends.update(keys)
    if len(keys) == 1:
        suspects.alone.update(keys)
    suspects.causes.update(dict.fromkeys(keys, cause))


def run_in_process(
    setup: WorkerSetup,
    batches: Iterable[list[Ask]],
    ledger: Ledger,
    suspects: Suspects,
    *,
    timeout: float,
    batch_invariant: bool,
) -> None:
    """Run the batches in this process.

    A model that ends the process ends the run; one that hangs longer than `timeout` seconds a sample has the watchdog
    end it. Both are resumable: what was in flight is asked again, alone the second time, and given up on the third.

    Raises:
        ModelError: The model cannot be loaded.
    """
    worker = Worker(setup)
    worker.load()
    watchdog = Watchdog(ledger)
    with watchdog:
        for batch in _with_suspects(batches, suspects, ledger, batch_invariant=batch_invariant):
            number = ledger.start(batch, worker="driver", attempt=1 + max(suspects.ends[ask.key] for ask in batch))
            watchdog.expect(timeout * len(batch), batch)
            finished = worker.answer([ask.request for ask in batch])
            watchdog.relax()
            ledger.finish(number, finished)


def _with_suspects(
    batches: Iterable[list[Ask]], suspects: Suspects, ledger: Ledger, *, batch_invariant: bool
) -> Iterator[list[Ask]]:
    """Yield the batches, suspects alone, and give up on those that ended the process too often."""
    for batch in batches:
        innocent = []
        for ask in batch:
            if suspects.alone[ask.key] >= ENDS_BEFORE_GIVING_UP:
                hang = suspects.causes.get(ask.key) == "hang"
                what = "did not return within the timeout" if hang else "ended the process"
                message = f"the model {what} {suspects.alone[ask.key]} times with only this sample in flight"
                ledger.give_up(ask, "timeout" if hang else "model_error", message)
            elif suspects.ends[ask.key] > (0 if batch_invariant else 1):
                yield [ask]
            else:
                innocent.append(ask)
        if innocent:
            yield innocent


class Watchdog:
    """Ends the process when the model does not return in time; the run is resumable.

    A hung call cannot be stopped from within its own process, so the process stops: the thread notes what hung, says
    so on stderr and leaves with exit code 3.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.deadline: float | None = None
        self.batch: Sequence[Ask] = ()
        self.seconds = 0.0
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop.set()
        self.thread.join()

    def expect(self, seconds: float, batch: Sequence[Ask]) -> None:
        """Expect `relax` within `seconds`."""
        self.batch, self.seconds = batch, seconds
        self.deadline = time.monotonic() + seconds

    def relax(self) -> None:
        """Stop expecting."""
        self.deadline = None

    def _watch(self) -> None:
        while not self.stop.wait(0.1):
            deadline = self.deadline
            if deadline is not None and time.monotonic() > deadline:
                self._end()

    def _end(self) -> None:
        names = ", ".join(ask.sample_id for ask in self.batch[:3]) + (" ..." if len(self.batch) > 3 else "")
        self.ledger.store.event("hung", keys=[ask.key for ask in self.batch], seconds=self.seconds)
        self.ledger.store.status(self.ledger.status("hung"), at_once=True)
        self.ledger.store.predictions.sync()
        sys.stderr.write(
            f"\nharness: the model did not return within {self.seconds:g} s on {names}. What is finished is kept; "
            "run the same command again to go on, or with --ray local to have the worker replaced.\n"
        )
        sys.stderr.flush()
        os._exit(EXIT_RESUMABLE)
