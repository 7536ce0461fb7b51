"""Digests of weights and media, remembered while a file's path, size, modification time and inode stay the same."""

import contextlib
import json
import os
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from harness.errors import SpecError
from harness.records import Json
from harness.records.codec import digest, sha256_file, sha256_text

# Nanoseconds. The digest of a younger file is not remembered: the file could change again within one tick of the file
# system's clock (2 s on FAT) and keep its modification time.
SETTLED_NS = 2_000_000_000
# Beside the files of a model that was cloned or downloaded; these hold times, and the weights a second time.
BESIDE = frozenset({".git", ".cache"})
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class WeightsDigests:
    """Digests of files and folders, with a memory on disk, because hashing tens of gigabytes takes minutes.

    Attributes:
        memory: Folder in which the digests of files are kept; None keeps none.
    """

    memory: Path | None = None

    def of(self, path: Path) -> str:
        """Return the sha256 of a file, or the digest of the relative names and bytes of all files below a folder.

        A snapshot in the cache of the Hugging Face hub counts by its repository and commit, which name its content:
        it may be downloaded only in part. The folders in BESIDE do not count.

        Raises:
            SpecError: There is no such file or folder.
        """
        if path.is_file():
            return self.of_file(path)
        if not path.is_dir():
            raise SpecError(f"no file or folder {path}, which the model names as its weights")
        # `models--ORGANISATION--NAME/snapshots/COMMIT`
        if COMMIT.fullmatch(path.name) and path.parent.name == "snapshots" and path.parts[-3].startswith("models--"):
            return digest({"repository": path.parts[-3].removeprefix("models--"), "commit": path.name})
        files = sorted(
            file for file in path.rglob("*") if file.is_file() and not BESIDE & {*file.relative_to(path).parts[:-1]}
        )
        return digest({file.relative_to(path).as_posix(): self.of_file(file) for file in files})

    def of_file(self, path: Path) -> str:
        """Return the sha256 of a file's bytes."""
        if self.memory is None:
            return sha256_file(path)
        whole = path.resolve()
        # Named by digest, because a path may be longer than a file name or hold characters that it may not.
        entry = self.memory / f"{sha256_text(str(whole))}.json"
        state = _state(whole)
        remembered = _read(entry)
        if remembered is not None and remembered.get("state") == state:
            return str(remembered["sha256"])
        found = sha256_file(whole)
        # Remembered only if the file did not change while it was read.
        if _state(whole) == state and time.time_ns() - whole.stat().st_mtime_ns > SETTLED_NS:
            # What cannot be remembered is read again: the folder may be another machine's, or the disk full.
            with contextlib.suppress(OSError):
                _write(entry, {"state": state, "sha256": found})
        return found


def _state(path: Path) -> dict[str, Json]:
    # The inode, because a file may be replaced by another of the same size and time.
    status = path.stat()
    return {"path": str(path), "size": status.st_size, "mtime_ns": status.st_mtime_ns, "inode": status.st_ino}


def _read(entry: Path) -> dict[str, Json] | None:
    """Return the remembered entry; None if there is none or it cannot be read."""
    try:
        value = json.loads(entry.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) and "sha256" in value else None


def _write(entry: Path, value: Json) -> None:
    # Replaced in one step, because another process may be reading it; without an fsync, because a lost entry only
    # costs reading the weights again.
    entry.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=entry.parent, suffix=".tmp")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(value, file)
    Path(temporary).replace(entry)
