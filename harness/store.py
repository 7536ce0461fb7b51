"""The run directory: append-only predictions, a plan, events and results, safe against a kill at any moment.

The driver is the only writer. A prediction is on disk before it counts as done; a torn last line is cut off when the
directory is opened again, and everything else that is found damaged is reported and run again.
"""

import fcntl
import hashlib
import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from harness.errors import DataError, InterruptedRunError, SpecError
from harness.records import Json, Prediction
from harness.serial import canonical, prediction_from_json

SCHEMA = 1
FSYNC_EVERY_SECONDS = 1.0
STATUS_EVERY_SECONDS = 1.0
BLOB_ABOVE_BYTES = 256 * 1024
LINE_HEAD = re.compile(rb'\{"key":"(?P<key>[0-9a-f]{64})","status":"(?P<status>\w+)"')
"""Every stored line begins so: an index is built without parsing the rest."""


@dataclass(slots=True)
class Journal:
    """An append-only file of JSON lines: written and flushed at once, fsynced by a small time budget."""

    path: Path
    _file: BinaryIO | None = None
    _synced: float = 0.0

    def open(self) -> int:
        """Open for appending after cutting a torn last line; return how many bytes were cut."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self.path.open("ab+", buffering=0)
        torn = _torn_bytes(file)
        if torn:
            file.truncate(file.seek(0, os.SEEK_END) - torn)
        file.seek(0, os.SEEK_END)
        self._file, self._synced = file, time.monotonic()
        return torn

    def append(self, line: str) -> int:
        """Write one line; return the offset at which it begins.

        Raises:
            InterruptedRunError: The disk refuses it; what was written before stands.
        """
        assert self._file is not None
        data = line.encode() + b"\n"
        offset = self._file.tell()
        try:
            written = self._file.write(data)
            while written < len(data):
                written += self._file.write(data[written:])
            if time.monotonic() - self._synced > FSYNC_EVERY_SECONDS:
                self.sync()
        except OSError as error:
            raise InterruptedRunError(
                f"{self.path}: cannot be written: {error.strerror}; make room and run the same command"
            ) from error
        return offset

    def sync(self) -> None:
        """Force everything written so far to disk."""
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def close(self) -> None:
        """Sync and close."""
        if self._file is not None:
            self.sync()
            self._file.close()
            self._file = None


def _torn_bytes(file: BinaryIO) -> int:
    """Return how many bytes follow the last newline."""
    end = file.seek(0, os.SEEK_END)
    torn, step = 0, 1 << 16
    while torn < end:
        start = max(0, end - torn - step)
        file.seek(start)
        block = file.read(end - torn - start)
        newline = block.rfind(b"\n")
        if newline >= 0:
            return torn + len(block) - newline - 1
        torn += len(block)
    return torn


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step: a reader sees the old or the new file, never half of one."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


@dataclass(slots=True)
class RunStore:
    """One run directory, open for writing by this process."""

    path: Path
    predictions: Journal = field(init=False)
    events: Journal = field(init=False)
    offsets: dict[bytes, int] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    _lock: BinaryIO | None = None
    _status_written: float = 0.0
    _reader: BinaryIO | None = None

    def __post_init__(self) -> None:
        self.predictions = Journal(self.path / "predictions" / "predictions.jsonl")
        self.events = Journal(self.path / "events.jsonl")

    def open(self, run: Mapping[str, Json]) -> None:
        """Lock the directory, hold its `run.json` against `run`, and index what is finished.

        Raises:
            SpecError: Another process holds it, it belongs to another run, or it is no run directory.
        """
        _check_is_run_directory(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = _take_lock(self.path / "lock")
        record = self.path / "run.json"
        if record.exists():
            _check_same(json.loads(record.read_text(encoding="utf-8")), run, self.path)
        else:
            write_atomically(record, json.dumps(run, indent=2, sort_keys=True) + "\n")
        torn = self.predictions.open()
        torn_events = self.events.open()
        damaged = self._index()
        if torn or torn_events or damaged:
            self.event("repaired", torn_bytes=torn, torn_event_bytes=torn_events, damaged_lines=damaged)

    def _index(self) -> list[int]:
        """Remember where each finished prediction begins; return the numbers of lines that cannot be read."""
        damaged, offset = [], 0
        with self.predictions.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                head = LINE_HEAD.match(line)
                if head and line.endswith(b"}\n"):
                    self.offsets[bytes.fromhex(head["key"].decode())] = offset
                    self.statuses[head["status"].decode()] += 1
                else:
                    damaged.append(number)
                offset += len(line)
        return damaged

    def is_done(self, key: str) -> bool:
        """Say whether the request with this key is finished."""
        return bytes.fromhex(key) in self.offsets

    def record(self, key: str, line: str) -> bool:
        """Append one finished prediction; return False when it was there already."""
        if self.is_done(key):
            return False
        if len(line) > BLOB_ABOVE_BYTES:
            line = self._masks_to_blob(line)
        self.offsets[bytes.fromhex(key)] = self.predictions.append(line)
        return True

    def _masks_to_blob(self, line: str) -> str:
        """Return the line with its masks moved to `blobs/`, named by the digest of their bytes."""
        import zstandard

        value = json.loads(line)
        content = canonical(value.pop("masks", [])).encode()
        name = hashlib.sha256(content).hexdigest()
        path = self.path / "blobs" / f"{name}.json.zst"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            temporary = path.with_suffix(".tmp")
            temporary.write_bytes(zstandard.compress(content))
            temporary.replace(path)
        value["masks_blob"] = name
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    def prediction(self, key: str) -> Prediction | None:
        """Return the finished prediction with this key, or None."""
        offset = self.offsets.get(bytes.fromhex(key))
        if offset is None:
            return None
        if self._reader is None:
            self._reader = self.predictions.path.open("rb")
        self._reader.seek(offset)
        return read_prediction(self._reader.readline(), self.path)

    def event(self, name: str, **fields: Json) -> None:
        """Append one event with the time it happened."""
        self.events.append(json.dumps({"event": name, "time": round(time.time(), 3), **fields}, ensure_ascii=False))

    def read_events(self) -> Iterator[dict[str, Any]]:
        """Yield the events so far, oldest first; a damaged line is passed over."""
        with self.events.path.open("rb") as file:
            for line in file:
                try:
                    yield json.loads(line)
                except ValueError:
                    continue

    def status(self, status: Mapping[str, Json], *, at_once: bool = False) -> None:
        """Write `status.json`, at most once a second unless `at_once`."""
        now = time.monotonic()
        if at_once or now - self._status_written > STATUS_EVERY_SECONDS:
            write_atomically(self.path / "status.json", json.dumps(status, indent=2) + "\n")
            self._status_written = now

    def close(self) -> None:
        """Sync everything and give the lock back."""
        self.predictions.close()
        self.events.close()
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def read_prediction(line: bytes, run: Path) -> Prediction:
    """Return the prediction of one stored line, its masks fetched from `blobs/` where they stand there.

    Raises:
        DataError: The line or its blob is damaged.
    """
    try:
        value = json.loads(line)
        if "masks_blob" in value:
            import zstandard

            blob = run / "blobs" / f"{value['masks_blob']}.json.zst"
            value["masks"] = json.loads(zstandard.decompress(blob.read_bytes()))
        return prediction_from_json(value)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise DataError(f"{run}: a stored prediction is damaged ({type(error).__name__}: {error})") from error


def _check_is_run_directory(path: Path) -> None:
    if path.is_file():
        raise SpecError(f"--out {path}: is a file; expected a folder")
    if path.is_dir() and not (path / "run.json").exists() and any(item.name != "lock" for item in path.iterdir()):
        raise SpecError(f"--out {path}: holds other files and no run.json; name an empty or a new folder")


def _take_lock(path: Path) -> BinaryIO:
    file = path.open("ab+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise SpecError(
            f"--out {path.parent}: another process is writing this run; wait for it or name another folder"
        ) from None
    return file


def _check_same(stored: Mapping[str, Json], wanted: Mapping[str, Json], path: Path) -> None:
    differences = list(_differences(stored, wanted, ""))
    if differences:
        lines = "\n".join(f"  {difference}" for difference in differences)
        raise SpecError(
            f"--out {path}: holds another run; name another folder or repeat its command. It differs in:\n{lines}"
        )


def _differences(stored: Json, wanted: Json, where: str) -> Iterator[str]:
    if isinstance(stored, Mapping) and isinstance(wanted, Mapping):
        for name in sorted({*stored, *wanted}):
            yield from _differences(stored.get(name), wanted.get(name), f"{where}.{name}" if where else str(name))
    elif stored != wanted:
        yield f"{where}: there {json.dumps(stored)}, here {json.dumps(wanted)}"
