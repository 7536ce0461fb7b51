"""What a preparation found out about each file, kept until it is whole: one that was cut short does not look again.

A release is read in the same order every time, so the answers are kept and given again in that order, one in memory at
a time. The first question that differs, because a file changed or the reading went on, ends what can be given again.
"""

import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from harness.errors import DataError
from harness.records import Json
from harness.records.codec import canonical


class InspectionCache:
    """The answers of one preparation, in a file of JSON lines [question, answer].

    Args:
        file: Opened for reading and writing, at its beginning.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._repeats = True

    def get_or_compute(self, question: Json, make: Callable[[], Json]) -> tuple[Json, bool]:
        """Return the answer of an earlier, interrupted preparation, else what `make` returns, which is then kept.

        Args:
            question: What the answer depends on, as JSON values: the file's path, size and time.
            make: Looks at the file, returns anything but None. Where it raises a DataError the next preparation asks
                again: a file that could not be read may be readable by then.
        Returns:
            The answer, and whether it is an earlier one.
        """
        if self._repeats:
            begin = self._file.tell()
            line = _parsed(self._file.readline())
            if line is not None and line[0] == question:
                return (make(), False) if line[1] is None else (line[1], True)
            self._file.seek(begin)
            self._file.truncate()
            self._repeats = False
        try:
            answer = make()
        except DataError:
            self._keep([question, None])
            raise
        self._keep([question, answer])
        return answer, False

    def _keep(self, line: list[Json]) -> None:
        self._file.write(canonical(line).encode() + b"\n")
        self._file.flush()


@contextmanager
def open_inspection_cache(path: Path) -> Iterator[InspectionCache | None]:
    """Give the answers kept at `path`; they are removed once the block ends well, and stay when it does not.

    It is None while another process holds them.
    """
    with path.open("a+b") as made, path.open("r+b") as file:
        try:
            fcntl.flock(made, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield InspectionCache(file)
        path.unlink()


def _parsed(line: bytes) -> list[Json] | None:
    """Return a whole line's question and answer; None of one that was torn by a kill, or is none."""
    try:
        found: Json = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return found if isinstance(found, list) and len(found) == 2 else None
