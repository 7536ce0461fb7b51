"""Plan -> predict -> store in this process: the reference for the behaviour of `harness.runs.engine.cluster` on Ray."""

import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack

from harness.errors import visible
from harness.records.checked_lines import checked_line
from harness.runs.engine.deadlines import DEADLINES, Overdue
from harness.runs.engine.devices import device_record
from harness.runs.engine.progress import RunProgress
from harness.runs.engine.signals import Interruption
from harness.runs.engine.streams import stdout_to_stderr
from harness.runs.engine.suspects import Suspects
from harness.runs.engine.worker import Worker, WorkerSetup, not_loaded
from harness.runs.plan_file import Ask

# A sample is recorded as failed if it was alone in flight when this many sessions in a row ended, with nothing finished
# in between. One or two ends may have another reason, such as a machine that was switched off.
ENDS_BEFORE_GIVING_UP = 3
# A batch whose answers depend on each other is asked whole until this many sessions ended with it in flight: in parts
# it could be answered otherwise than in a run without interruption.
ENDS_BEFORE_SPLITTING = 3
# Equals EXIT_RESUMABLE of `harness.cli.options`, which packages below the command line do not import.
EXIT_RESUMABLE = 3
WATCH_EVERY_SECONDS = 0.1
# The progress bar hides the cursor, and `os._exit` skips the code that would show it again.
SHOW_CURSOR = "\x1b[?25h"
NAMES_SHOWN = 3
# Until a model has ended what it started, such as a server.
CLOSE_SECONDS = 60.0


def run_in_process(
    setup: WorkerSetup,
    batches: Iterable[list[Ask]],
    progress: RunProgress,
    suspects: Suspects,
    *,
    timeout: float,
    batch_invariant: bool,
) -> None:
    """Run the batches in this process.

    A model that ends the process ends the run; if it hangs longer than allowed, the watchdog ends the process. Either
    way the run can be resumed: each sample that was in flight is asked again alone, and given up on after the third end
    at which it was alone.

    Args:
        setup: The model and the folders of its media.
        batches: The requests to ask. A batch is read while the one before it is still to be asked, so that its media
            can be decoded meanwhile; an empty batch in between says that what follows depends on the answers so far.
        progress: Stores the answers.
        suspects: Requests that were in flight when earlier sessions ended.
        timeout: Seconds per sample; a batch of n samples gets n times as long.
        batch_invariant: An answer does not depend on the rest of its batch, so suspects may be asked alone at once.
    Raises:
        HarnessError: The model cannot be loaded, or the disk refuses what is written.
        KeyboardInterrupt: Ctrl-C, or SIGTERM as TerminatedError.
    """
    with Interruption() as interruption, stdout_to_stderr(), ExitStack() as leaving:
        worker = Worker(setup, interrupted=interruption.has_come)
        leaving.callback(_close, worker)  # also where `load` fails half-way
        with DEADLINES.within(setup.load_timeout, Overdue(words=not_loaded(setup))):
            worker.load()
        progress.store.add_worker({"worker": "driver", **device_record(setup.device)})
        with Watchdog(progress) as watchdog:
            asked = _with_suspects(batches, suspects, progress, batch_invariant=batch_invariant)
            for batch, following in _with_next(asked):
                worker.prefetch([ask.request for ask in following])
                attempt = 1 + max(suspects.ends[ask.key] for ask in batch)
                # On disk before the model is asked: after a crash this event is all that is known.
                number = progress.start(batch, worker="driver", attempt=attempt)
                seconds = timeout * len(batch)
                watchdog.expect(seconds, batch)
                with DEADLINES.within(seconds, watchdog.overdue()):
                    finished = worker.answer([ask.request for ask in batch])
                watchdog.relax()
                interruption.check()  # an adapter may have swallowed the KeyboardInterrupt
                with interruption.held():
                    progress.finish(number, finished)


def _with_next(batches: Iterable[list[Ask]]) -> Iterator[tuple[list[Ask], list[Ask]]]:
    """Yield every batch with the one that comes after it, which is empty for the last and before an empty one."""
    batch: list[Ask] = []
    for following in batches:
        if batch:
            yield batch, following
        batch = following
    if batch:
        yield batch, []


def _close(worker: Worker) -> None:
    words = (
        f"--model {worker.setup.reference.text}: close() did not return within {CLOSE_SECONDS:g} s. Every answer is "
        "kept; run the same command again to have them scored."
    )
    with DEADLINES.within(CLOSE_SECONDS, Overdue(words=words)):
        worker.close()


def _with_suspects(
    batches: Iterable[list[Ask]], suspects: Suspects, progress: RunProgress, *, batch_invariant: bool
) -> Iterator[list[Ask]]:
    """Yield the batches with suspects alone, and give up on suspects that ended the process too often."""
    most = 1 if batch_invariant else ENDS_BEFORE_SPLITTING
    for batch in batches:
        if not batch:  # passed on: what comes next is read only when everything before is stored
            yield batch
            continue
        innocent = []
        for ask in batch:
            if suspects.alone[ask.key] >= ENDS_BEFORE_GIVING_UP:
                hang = suspects.causes.get(ask.key) == "hang"
                what = "did not return within the timeout" if hang else "ended the process"
                message = f"the model {what} {suspects.alone[ask.key]} times with only this sample in flight"
                progress.give_up(ask, "timeout" if hang else "model_error", message)
            elif suspects.alone[ask.key] or suspects.ends[ask.key] >= most:
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

    def __init__(self, progress: RunProgress) -> None:
        self.progress = progress
        self._deadline: float | None = None
        self._batch: Sequence[Ask] = ()
        self._seconds = 0.0
        self._turn = threading.Lock()  # the model either returned in time or did not: never both
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def expect(self, seconds: float, batch: Sequence[Ask]) -> None:
        """Expect `relax` within `seconds`."""
        with self._turn:
            self._batch, self._seconds = batch, seconds
            self._deadline = time.monotonic() + seconds

    def overdue(self) -> Overdue:
        """Return what the parent process does where this thread cannot: the model holds the GIL."""
        # The time is that of the deadline: the parent writes the line as it is.
        event = {"event": "hung", "time": round(time.time() + self._seconds, 3), "keys": self._keys()}
        path = self.progress.store.directory.events_path.absolute()
        line = checked_line(json.dumps({**event, "seconds": self._seconds}).encode()).decode()
        return Overdue(words=self._words(), path=str(path), line=line)

    def _keys(self) -> list[str]:
        return [ask.key for ask in self._batch]

    def _words(self) -> str:
        names = ", ".join(ask.sample_id for ask in self._batch[:NAMES_SHOWN])
        more = " ..." if len(self._batch) > NAMES_SHOWN else ""
        return (
            f"the model did not return within {self._seconds:g} s on {names}{more}. What is finished is kept; run "
            "the same command again to go on, or with --ray local to have the worker replaced."
        )

    def relax(self) -> None:
        """Stop expecting; if time is up already, this does not return."""
        with self._turn:
            self._deadline = None

    def _watch(self) -> None:
        while not self._stop.wait(WATCH_EVERY_SECONDS):
            with self._turn:
                if self._deadline is not None and time.monotonic() > self._deadline:
                    self._end()

    def _end(self) -> None:
        try:
            self.progress.store.event("hung", keys=self._keys(), seconds=self._seconds)
            self.progress.store.status(self.progress.status("hung"), at_once=True)
            self.progress.store.predictions.sync()  # `os._exit` closes nothing
            sys.stderr.write(f"{SHOW_CURSOR if sys.stderr.isatty() else ''}\nharness: {visible(self._words())}\n")
            sys.stderr.flush()
        finally:
            os._exit(EXIT_RESUMABLE)  # sys.exit would only end this thread
