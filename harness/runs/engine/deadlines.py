"""Deadlines that hold even for code that never gives Python back: they are kept in memory that two processes share.

A call into native code that does not release the GIL stops every thread of its process, a watchdog's too. So the parent
that `harness.cli.guard` puts above a command watches the command's deadline from outside. A program that calls the
harness from Python has no such parent; there a thread in C ends the process, with a traceback and exit code 1.
"""

import contextlib
import faulthandler
import json
import mmap
import os
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

# A deadline on the monotonic clock, which all processes of a machine share, then the length of the JSON behind it.
HEAD = struct.Struct("dI")
# Enough for the keys of a batch of some thousands. Pages of it that are never written cost nothing.
SHARED_BYTES = 1 << 20
# The watchdog inside the process comes first: it has the run's files open and leaves nothing half done.
GRACE_SECONDS = 3.0
# A thread in C waits no longer; three years will do.
LONGEST_SECONDS = 1e8


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    """What the parent does after a deadline, besides ending the process.

    Attributes:
        words: What it says.
        code: The exit code that it leaves with; 3 for what the same command resumes.
        path: File to append `line` to; empty for none.
        line: A line without its newline.
    """

    words: str
    code: int = 3
    path: str = ""
    line: str = ""


@dataclass(slots=True)
class Deadlines:
    """The one deadline of this process, and of the parent that watches it, if there is one.

    Attributes:
        memory: Shared with the parent; None without a parent.
        watcher: Id of the process that watches, which has no deadline itself.
    """

    memory: mmap.mmap | None = None
    watcher: int = 0
    _outer: list[tuple[float, Overdue]] = field(default_factory=list)

    def share(self) -> None:
        """Let the child that is forked next share its deadline with this process."""
        self.memory, self.watcher = mmap.mmap(-1, SHARED_BYTES), os.getpid()

    @contextlib.contextmanager
    def within(self, seconds: float, overdue: Overdue, *, alone: bool = True) -> Iterator[None]:
        """Expect the block to end within `seconds` and GRACE_SECONDS; else the process is ended.

        A deadline that is set inside of another takes its place for that time.

        Args:
            seconds: May be infinite.
            overdue: What the parent does then.
            alone: Whether a process without a parent is ended, too.
        """
        if self.memory is None and not alone:
            yield
            return
        self._outer.append((time.monotonic() + seconds + GRACE_SECONDS, overdue))
        self._set(*self._outer[-1])
        try:
            yield
        finally:
            self._outer.pop()
            if self._outer:
                self._set(*self._outer[-1])
            elif self.memory is not None:
                HEAD.pack_into(self.memory, 0, 0.0, 0)
            else:
                faulthandler.cancel_dump_traceback_later()

    def _set(self, deadline: float, overdue: Overdue) -> None:
        if self.memory is None:
            # Not what a model or a test has put in the place of stderr, which may have no descriptor.
            if (stderr := sys.__stderr__) is not None:
                with contextlib.suppress(OSError, ValueError):
                    left = max(0.001, min(deadline - time.monotonic(), LONGEST_SECONDS))
                    faulthandler.dump_traceback_later(left, exit=True, file=stderr)
            return
        content = json.dumps([overdue.words, overdue.code, overdue.path, overdue.line]).encode()
        if len(content) > SHARED_BYTES - HEAD.size:
            content = json.dumps([overdue.words, overdue.code, "", ""]).encode()
        HEAD.pack_into(self.memory, 0, 0.0, 0)  # nothing counts while the content is half written
        self.memory[HEAD.size : HEAD.size + len(content)] = content
        HEAD.pack_into(self.memory, 0, deadline, len(content))

    def missed(self, slack: float = 0.0) -> Overdue | None:
        """Return what to do, called by the watcher, if the deadline has passed by more than `slack` seconds."""
        if self.memory is None:
            return None
        deadline, length = HEAD.unpack_from(self.memory, 0)
        if not deadline or time.monotonic() < deadline + slack:
            return None
        words, code, path, line = json.loads(self.memory[HEAD.size : HEAD.size + length])
        return Overdue(words=words, code=code, path=path, line=line)


DEADLINES = Deadlines()
