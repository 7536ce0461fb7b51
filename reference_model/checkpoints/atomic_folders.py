"""Folders that are written beside their place and put there by a rename: what has its name is whole."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import DataError
from harness.records import Json

SCHEMA = 1
"""Of the JSON files in them."""


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Give a folder to write into; put it at its place, on disk, once nothing failed."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    for path in partial.iterdir():
        path.chmod(0o644)  # safetensors writes for its owner alone
        _sync(path)
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
    """Write a value that JSON knows, without NaN."""
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Json]:
    """Return the mapping in a JSON file.

    Raises:
        DataError: It cannot be read, or is of another schema.
    """
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise DataError(f"{path}: expected schema {SCHEMA}, found another; train or convert the model again")
    return found
