"""Ctrl-C and SIGTERM while a model works: noted when they come, and kept back while answers are stored."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any


class TerminatedError(KeyboardInterrupt):
    """Raised when SIGTERM asks the process to end: as after Ctrl-C, the run can be resumed."""

    exit_code = 143  # 128 + 15, as a shell reports a process that SIGTERM ended


class Interruption:
    """Turns SIGINT into KeyboardInterrupt and SIGTERM into TerminatedError, in the main thread of the process.

    Only there can Python handle signals; in another thread this does nothing. Inside `held()` a signal waits until the
    block ends, so that what is being written is written whole.
    """

    def __init__(self) -> None:
        self.came: type[KeyboardInterrupt] | None = None
        self._held = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            # None stands for a handler that was not set from Python and cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _take(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature is Python's
        self.came = TerminatedError if number == signal.SIGTERM else KeyboardInterrupt
        if not self._held:
            raise self.came

    def check(self) -> None:
        """Raise if a signal came, even if the interrupted code caught the exception.

        Raises:
            KeyboardInterrupt: SIGINT or, as TerminatedError, SIGTERM.
        """
        if self.came is not None:
            raise self.came

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep a signal back until the block ends.

        Raises:
            KeyboardInterrupt: A signal came meanwhile.
        """
        self._held = True
        try:
            yield
        finally:
            self._held = False
        self.check()

    def has_come(self) -> bool:
        """Say whether a signal came."""
        return self.came is not None
