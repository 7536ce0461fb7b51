"""One start of `harness run` as a process of its own, with its progress, and kills of its driver and workers."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.runs.directory import RunDirectory

POLL_SECONDS = 0.01
# A killed process whose children are being ended by the system.
SECONDS_TO_VANISH = 15.0
# How Ray titles the process of an actor that holds a model: by its class, `harness.runs.engine.ray_actors.Node`.
WORKER_TITLE = b"ray::Node"
WORDS_KEPT = 4000


@dataclass
class Start:
    """One start of the command.

    Attributes:
        words: The command.
        out: Its run directory.
        log: File for what it says.
    """

    words: Sequence[str]
    out: Path
    log: Path
    process: subprocess.Popen[bytes] = field(init=False)
    _finished: int = 0
    _offset: int = 0

    def __post_init__(self) -> None:
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C reaches `harness chaos`, which then ends this one.
            self.process = subprocess.Popen(
                self.words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def finished(self) -> int:
        """Return the number of stored answers so far, those of earlier starts included; each line is read once."""
        path = RunDirectory(self.out).predictions_path
        if path.is_file():
            with path.open("rb") as file:
                # A torn end is cut off when the command starts again.
                self._offset = min(self._offset, file.seek(0, os.SEEK_END))
                file.seek(self._offset)
                content = file.read()
            whole = content.rfind(b"\n") + 1
            self._finished += content.count(b"\n")
            self._offset += whole
        return self._finished

    def workers(self) -> list[int]:
        """Return the processes that hold a model on this machine's Ray; none if the model is in the driver."""
        return sorted(pid for pid in _below(self.process.pid) if _command_line(pid).startswith(WORKER_TITLE))

    def kill_worker(self, pid: int) -> None:
        """Kill one worker at once."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def kill_driver(self) -> None:
        """Kill the command at once, its guarding parent and the process below it; Ray notices and ends by itself."""
        own = [pid for pid in _children(self.process.pid) if b"ray" not in _command_line(pid).split(b" ")[0]]
        for pid in (*own, self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        end = time.monotonic() + SECONDS_TO_VANISH
        while any(Path(f"/proc/{pid}").exists() for pid in own) and time.monotonic() < end:
            time.sleep(POLL_SECONDS)

    def last_words(self) -> str:
        """Return the last line that the command said."""
        text = self.log.read_bytes()[-WORDS_KEPT:].decode(errors="replace")
        return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "nothing")


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _below(pid: int) -> set[int]:
    found: set[int] = set()
    new = [pid]
    while new:
        new = [child for each in new for child in _all_children(each) if child not in found]
        found.update(new)
    return found


def _all_children(pid: int) -> list[int]:
    """Return the children of every thread of a process."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in path.read_text().split()]
    return found


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
    except OSError:
        return b""
