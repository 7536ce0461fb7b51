"""Files that are replaced atomically, and the message for a write that the disk refused.

After a loss of power a file holds what was synced, and a folder names the files that it named when it was synced. So a
durable file takes two calls of fsync: one for its bytes, one for its name.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from harness.errors import InterruptedRunError

# Answers of file systems that cannot sync a folder, or do not let this user open it: nothing can be done, and the bytes
# of the file itself are safe.
NO_SYNC_OF_FOLDERS = frozenset({errno.EINVAL, errno.EACCES, errno.EPERM, errno.ENOTSUP, errno.EBADF})


def disk_error(path: Path, error: OSError) -> InterruptedRunError:
    """Return the exception to raise if `error` stopped a write to `path`, for instance because the disk is full."""
    reason = error.strerror or str(error)
    return InterruptedRunError(
        f"{path}: cannot be written: {reason}. What is finished is kept; make room and run the same command again."
    )


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to disk.

    Raises:
        OSError: The disk refuses it.
    """
    try:
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(place)
        finally:
            os.close(place)
    except OSError as error:
        if error.errno not in NO_SYNC_OF_FOLDERS:
            raise


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, unless they exist, so that they survive a loss of power.

    Raises:
        OSError: One of them is a file, or the disk refuses it.
    """
    missing = []
    place = folder
    while not place.is_dir() and place != place.parent:
        missing.append(place)
        place = place.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        sync_folder(new.parent)


@contextlib.contextmanager
def replacing(path: Path, *, temporary: Path | None = None, durable: bool = True) -> Iterator[BinaryIO]:
    """Give a file to write, which replaces `path` in one step when the block ends without an exception.

    Args:
        path: The file to replace; its folder must exist.
        temporary: Where the bytes are written first; a name in the same folder, since renaming is atomic only within
            one file system. None: `.NAME.tmp`.
        durable: Whether the new file must also survive a loss of power, at the price of two calls of fsync.
    Raises:
        InterruptedRunError: The disk refuses the write; the old file is kept.
    """
    place = temporary or path.with_name(f".{path.name}.tmp")
    try:
        try:
            with place.open("wb") as file:
                yield file
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            place.replace(path)
            if durable:
                sync_folder(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                place.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise disk_error(path, error) from error


def write_atomically(path: Path, text: str, *, durable: bool = True) -> None:
    """Replace `path` by `text`, as UTF-8, in one step: a reader sees the old file or the new one, never half of one.

    Args:
        path: The file to replace; its folder must exist.
        text: The new content.
        durable: Whether the new file must also survive a loss of power.
    Raises:
        InterruptedRunError: The disk refuses the write; the old file is kept.
    """
    write_bytes_atomically(path, text.encode(), durable=durable)


def write_bytes_atomically(path: Path, content: bytes, *, temporary: Path | None = None, durable: bool = True) -> None:
    """Replace `path` by `content` in one step, as `write_atomically` does for text; arguments as of `replacing`.

    Raises:
        InterruptedRunError: The disk refuses the write; the old file is kept.
    """
    with replacing(path, temporary=temporary, durable=durable) as file:
        file.write(content)
