"""Failures by kind: of a model that fails a thousand times in one line of code there is one traceback to read."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.scoring.results import Failure

FRAME = re.compile(r'^  File "(?P<file>[^"\n]*)", line (?P<line>\d+), in .*$', re.MULTILINE)


@dataclass(slots=True)
class FailureKind:
    """Failures with one type of exception that come from one line of code.

    Attributes:
        example: The first of them.
        count: Number of them.
    """

    example: Failure
    count: int = 0

    @property
    def text(self) -> str:
        """What a terminal shows: how many there are, and the traceback of the first."""
        name = self.example.sample_id
        words = self.example.traceback.rstrip() or f"{self.example.status}: {self.example.message}"
        several = "1 failure" if self.count == 1 else f"{self.count:,} failures like this one"
        return f"{several}{f' ({name})' if name else ''}:\n{words}"


def kinds_of(failures: Iterable[Failure]) -> Sequence[FailureKind]:
    """Return the kinds of failures, the most frequent first; those without a traceback differ by their type alone."""
    kinds: dict[tuple[str, ...], FailureKind] = {}
    for failure in failures:
        frames = FRAME.findall(failure.traceback)
        place = frames[-1] if frames else ()
        kinds.setdefault((failure.status, failure.message.partition(":")[0], *place), FailureKind(failure)).count += 1
    return sorted(kinds.values(), key=lambda kind: -kind.count)
