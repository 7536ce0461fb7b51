"""stdout and stderr while the code of a model runs: what it prints goes to stderr, and what it breaks is put back."""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast


class _Lent:
    """A stream of this process as a model gets it: what it closes or replaces is not the harness's own."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def close(self) -> None:
        """Do nothing: the next line of the harness goes to the same place."""

    def __enter__(self) -> "_Lent":
        return self

    def __exit__(self, *exception: object) -> None:
        """Close nothing, as `close`."""

    def __iter__(self) -> Iterator[str]:
        return iter(self._stream or ())


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send to stderr whatever the model's code writes to stdout, native code included: stdout is for results only.

    Afterwards both are what they were, even if the model's code closed or replaced them or their descriptors.
    """
    stdout, stderr = sys.stdout, sys.stderr
    if stdout is not None:
        stdout.flush()
    kept: dict[int, int] = {}
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):  # a daemon without these files has nothing to keep apart
            kept[descriptor] = os.dup(descriptor)
    if len(kept) == 2:
        os.dup2(2, 1)
    if stderr is not None:
        sys.stdout, sys.stderr = cast(TextIO, _Lent(stderr)), cast(TextIO, _Lent(stderr))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = stdout, stderr
        # C libraries buffer on their own: what they flush after descriptor 1 is back would mix with the results.
        ctypes.CDLL(None).fflush(None)
        for descriptor, copy in kept.items():
            os.dup2(copy, descriptor)
            os.close(copy)
