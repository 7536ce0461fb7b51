"""Files that are replaced atomically, and the message for a write that the disk refused."""

import contextlib
import os
from pathlib import Path

from harness.errors import InterruptedRunError


def disk_error(path: Path, error: OSError) -> InterruptedRunError:
    """Return the exception to raise if `error` stopped a write to `path`, for instance because the disk is full."""
    reason = error.strerror or str(error)
    return InterruptedRunError(
        f"{path}: cannot be written: {reason}. What is finished is kept; make room and run the same command again."
    )


def write_atomically(path: Path, text: str, *, durable: bool = True) -> None:
    """Replace `path` by `text`, as UTF-8, in one step: a reader sees the old file or the new one, never half of one.

    Args:
        path: The file to replace; its folder must exist.
        text: The new content.
        durable: Whether the new file must also survive a loss of power, at the price of an fsync.
    Raises:
        InterruptedRunError: The disk refuses the write; the old file is kept.
    """
    write_bytes_atomically(path, text.encode(), temporary=path.with_name(f".{path.name}.tmp"), durable=durable)


def write_bytes_atomically(path: Path, content: bytes, *, temporary: Path, durable: bool) -> None:
    """Replace `path` by `content` in one step, as `write_atomically` does for text.

    Args:
        path: The file to replace.
        content: The new bytes.
        temporary: Where the bytes are written first; a name in the same folder, since renaming is atomic only within
            one file system.
        durable: Whether the new file must also survive a loss of power.
    Raises:
        InterruptedRunError: The disk refuses the write; the old file is kept.
    """
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
