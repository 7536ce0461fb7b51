"""An append-only file of JSON lines that survives a kill or a full disk at any moment."""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from harness.records.atomic_files import disk_error, make_folder, sync_folder

# A kill loses nothing that was written; a power failure loses at most what was written in this many seconds, or in the
# last batch. An fsync per line would take longer than a fast model.
FSYNC_EVERY_SECONDS = 1.0
BLOCK_BYTES = 1 << 16


@dataclass(slots=True)
class AppendLog:
    """A file to which whole lines are appended: each is written at once and fsynced within about a second.

    A line that the disk refuses is removed again; a line that a kill left torn is cut off by `open`.

    Attributes:
        path: The file.
    """

    path: Path
    _file: BinaryIO | None = field(default=None, repr=False)
    _end: int = 0
    _synced: float = 0.0

    def open(self) -> int:
        """Open for appending and cut off a torn last line; return the number of bytes that were cut.

        Raises:
            InterruptedRunError: The file cannot be opened or cut.
        """
        try:
            make_folder(self.path.parent)
            is_new = not self.path.exists()
            file = self.path.open("ab+", buffering=0)  # unbuffered: the system has a line before it counts as done
            if is_new:  # else lines that were synced could be lost with the name of their file
                sync_folder(self.path.parent)
            end = file.seek(0, os.SEEK_END)
            torn = _torn_bytes(file, end)
            if torn:
                file.truncate(end - torn)
        except OSError as error:
            raise disk_error(self.path, error) from error
        self._file, self._end, self._synced = file, end - torn, time.monotonic()
        return torn

    def append(self, line: bytes) -> int:
        """Write one line, given without its newline; return the offset at which it begins.

        Raises:
            InterruptedRunError: The disk refuses it; earlier lines are kept.
        """
        assert self._file is not None
        data = line + b"\n"
        try:
            written = self._file.write(data)  # an unbuffered write may take only a part
            while written < len(data):
                written += self._file.write(data[written:])
        except OSError as error:
            self._file.truncate(self._end)  # else the next line would follow half of this one
            raise disk_error(self.path, error) from error
        offset, self._end = self._end, self._end + len(data)
        self.sync_if_due()
        return offset

    def sync_if_due(self) -> None:
        """Force everything written so far to disk, if the last time was more than about a second ago.

        Raises:
            InterruptedRunError: The disk refuses it.
        """
        if time.monotonic() - self._synced > FSYNC_EVERY_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Force everything written so far to disk.

        Raises:
            InterruptedRunError: The disk refuses it.
        """
        if self._file is None:
            return
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise disk_error(self.path, error) from error
        self._synced = time.monotonic()

    def close(self) -> None:
        """Sync and close.

        Raises:
            InterruptedRunError: The disk refuses what was written last.
        """
        file = self._file
        if file is None:
            return
        try:
            self.sync()
        finally:
            self._file = None
            file.close()


def _torn_bytes(file: BinaryIO, end: int) -> int:
    """Return how many bytes follow the last newline of a file of `end` bytes; it is read backwards in blocks."""
    torn = 0
    while torn < end:
        start = max(0, end - torn - BLOCK_BYTES)
        file.seek(start)
        block = file.read(end - torn - start)
        newline = block.rfind(b"\n")
        if newline >= 0:
            return torn + len(block) - newline - 1
        torn += len(block)
    return torn
