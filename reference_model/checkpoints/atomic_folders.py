"""Folders that are written under a temporary name and renamed: a folder with its final name is complete."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import DataError
from harness.records import Json

# The schema of the JSON files in these folders.
SCHEMA = 1


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder to write into; afterwards sync it and rename it to `folder`, unless the body raised."""
    # A hidden sibling: a rename within one file system is atomic, and `step-*` does not match the name.
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    for path in partial.iterdir():
        path.chmod(0o644)  # safetensors makes files that only their owner can read
        _sync(path)
    # Contents are synced before the rename, the parent after it: a crash of the machine leaves no half-written folder.
    _sync(partial)
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)
    _sync(folder.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Json) -> None:
    """Write a JSON value.

    Raises:
        ValueError: The value holds NaN or infinity, which JSON cannot express.
    """
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Json]:
    """Return the mapping in a JSON file.

    Raises:
        DataError: The file cannot be read, or has another schema.
    """
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise DataError(f"{path}: expected schema {SCHEMA}, found another; train or convert the model again")
    return found
