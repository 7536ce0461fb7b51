"""Code of others may fork: a child that comes back into the harness must not go on as a second driver of a run."""

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def in_own_process() -> Iterator[None]:
    """End the process at once if the block leaves it, by a return or by raising, in another one than it began in.

    A child that a model forks has the run's lock, its open files and its half of the plan; what it would write on, or
    clean up at exit, belongs to its parent.
    """
    own = os.getpid()
    try:
        yield
    finally:
        if os.getpid() != own:
            os._exit(1)
