"""Files that are replaced in one step, and errors of the disk as messages."""

import contextlib
import os
from pathlib import Path

from harness.errors import InterruptedRunError


def disk_error(path: Path, error: OSError) -> InterruptedRunError:
    """Return the error of a write that the disk refused."""
    reason = error.strerror or str(error)
    return InterruptedRunError(
        f"{path}: cannot be written: {reason}. What is finished is kept; make room and run the same command again."
    )


def write_atomically(path: Path, text: str, *, durable: bool = True) -> None:
    """Replace `path` by `text` in one step: a reader sees the old or the new file, never half of one.

    Args:
        durable: Also against a loss of power, at the price of an fsync.

    Raises:
        InterruptedRunError: The disk refuses it; the old file stands.
    """
    write_bytes_atomically(path, text.encode(), temporary=path.with_name(f".{path.name}.tmp"), durable=durable)


def write_bytes_atomically(path: Path, content: bytes, *, temporary: Path, durable: bool) -> None:
    """Replace `path` by `content` in one step, by way of the file `temporary` beside it; else as `write_atomically`."""
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise disk_error(path, error) from error
