"""The driver's side: it starts the process, tells it what is finished, and takes its scores."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.runs.scored_ahead.spool import SpooledScores
from harness.runs.store import RunStore

WORDS = ("-m", "harness.runs.scored_ahead")
# A shorter run is scored sooner than the process has started.
START_AFTER_SECONDS = 10.0
# Finished requests that wait for the process; beyond, the oldest are left to the end of the run.
MOST_WAITING = 100_000
# The process ends after the sample at hand; one that takes longer is killed, and scored at the end.
SECONDS_TO_END = 20.0


@dataclass(slots=True)
class ScoringAhead:
    """Scores beside the model; a context manager, which ends the process and removes its files.

    Attributes:
        store: The run directory.
        protocols: Protocols of this run, as `--protocol` names them; empty: as the tasks say.
    """

    store: RunStore
    protocols: Sequence[str] = ()
    _began: float | None = None
    _waiting: deque[str] = field(default_factory=lambda: deque(maxlen=MOST_WAITING))
    _child: subprocess.Popen[bytes] | None = None
    _folder: "tempfile.TemporaryDirectory[str] | None" = None
    _failed: bool = False

    def __enter__(self) -> "ScoringAhead":
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()
        if self._folder is not None:
            self._folder.cleanup()

    def add(self, keys: Iterable[str]) -> None:
        """Take the keys of requests that are finished and stored."""
        if self._failed:
            return
        self._waiting.extend(keys)
        now = time.monotonic()
        if self._began is None:
            # On one core it would only take the model's time.
            self._began, self._failed = now, len(os.sched_getaffinity(0)) < 2
        if self._child is None and now - self._began > START_AFTER_SECONDS:
            self._start()
        if self._child is not None:
            self._send()

    def _start(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="medground-scores-")
        words = [sys.executable, *WORDS, str(self.store.path), self._folder.name]
        try:
            self._child = subprocess.Popen(
                [*words, *self.protocols],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # a metric that fails there fails again at the end, and is reported then
                start_new_session=True,  # Ctrl-C is the driver's
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        except OSError:
            self._failed = True
            return
        assert self._child.stdin is not None
        # The model must not wait for the scores: what the pipe does not take stays here.
        os.set_blocking(self._child.stdin.fileno(), False)

    def _send(self) -> None:
        assert self._child is not None
        assert self._child.stdin is not None
        while self._waiting:
            key = self._waiting[0]
            line = f"{key} {self.store.offsets[bytes.fromhex(key)]}\n".encode()
            try:
                os.write(self._child.stdin.fileno(), line)  # so short a line is written whole or not at all
            except BlockingIOError:
                return
            except OSError:  # the process is gone
                self._failed = True
                return
            self._waiting.popleft()

    def end(self) -> SpooledScores | None:
        """End the process; return its scores, None if it was never started."""
        child, self._child = self._child, None
        self._failed = True
        if child is not None:
            assert child.stdin is not None
            with contextlib.suppress(OSError):
                child.stdin.close()
            try:
                child.wait(SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        return None if self._folder is None else SpooledScores(Path(self._folder.name))
