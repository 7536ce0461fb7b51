"""The facts a preparation found in each file, kept until it has finished, so that it can be interrupted and resumed.

A release is read in the same order every time, so the answers are kept and replayed in that order, one in memory at a
time. The first question that differs, because a file changed or the earlier reading ended there, ends the replay.
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
        file: Binary file opened for reading and writing, at its beginning.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._repeats = True

    def get_or_compute(self, question: Json, make: Callable[[], Json]) -> tuple[Json, bool]:
        """Return the answer of an earlier, interrupted preparation, else what `make` returns, which is then kept.

        Args:
            question: What the answer depends on, as JSON values: the file's path, size and time.
            make: Inspects the file and returns anything but None. If it raises a DataError, the next preparation asks
                again, because a file that could not be read may be readable by then.
        Returns:
            The answer, and whether it is that of an earlier preparation.
        Raises:
            DataError: `make` raises it.
        """
        if self._repeats:
            begin = self._file.tell()
            line = self._file.readline()
            try:
                # A line without a line break was torn when the process was killed.
                found: Json = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                found = None
            if isinstance(found, list) and len(found) == 2 and found[0] == question:
                return (make(), False) if found[1] is None else (found[1], True)
            # The rest belongs to another reading: it is cut off, and new answers are written in its place.
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
        self._file.flush()  # so that a kill loses at most the line being written


@contextmanager
def open_inspection_cache(path: Path) -> Iterator[InspectionCache | None]:
    """Open the answers kept at `path`; the file is removed when the block ends well, and stays if it raises.

    The cache is None while another process holds the file.
    """
    # Opened twice: "a+b" makes the file without emptying it, but would write at its end wherever the cache seeks to.
    with path.open("a+b") as made, path.open("r+b") as file:
        try:
            fcntl.flock(made, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield InspectionCache(file)
        path.unlink()
