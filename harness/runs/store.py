"""The run directory: append-only predictions, a plan, events and results, safe against a kill at any moment.

The driver is the only writer. A prediction is on disk before it counts as done; a torn last line is cut off when the
directory is opened again, and everything else that is found damaged is reported and run again.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from harness.errors import DataError, SpecError
from harness.records import Json, Prediction
from harness.records.atomic_files import write_atomically, write_bytes_atomically
from harness.records.codec import canonical, prediction_from_json
from harness.runs.append_log import AppendLog

SCHEMA = 1
STATUS_EVERY_SECONDS = 1.0
BLOB_ABOVE_BYTES = 256 * 1024
MASK_FIELDS = ("masks", "soft_masks")
"""What moves to a blob; a blob with nothing but masks is a list of them."""
LINES_NAMED = 5
LINE_HEAD = re.compile(rb'\{"key":"(?P<key>[0-9a-f]{64})","status":"(?P<status>\w+)"')
"""Every stored line begins so: an index is built without parsing the rest."""
LINE_CHECK = b',"crc32":"%08x"}'
"""Every stored line ends so, with the checksum of what stands before it."""
CHECK_BYTES = len(LINE_CHECK % 0)
BLOB_TAIL = re.compile(rb',"masks_blob":"(?P<name>[0-9a-f]{64})","masks_blob_bytes":(?P<bytes>\d+)$')


@dataclass(slots=True)
class RunStore:
    """One run directory, open for writing by this process.

    Attributes:
        path: The directory.
        predictions, events: Its journals.
        offsets: Where the line of each finished request begins, by the bytes of its key.
        statuses: Finished requests by status.
        repairs: What `open` found damaged, in words for the user.
    """

    path: Path
    predictions: AppendLog = field(init=False)
    events: AppendLog = field(init=False)
    offsets: dict[bytes, int] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    repairs: list[str] = field(default_factory=list)
    _lock: BinaryIO | None = None
    _status_written: float = float("-inf")
    _reader: BinaryIO | None = None

    def __post_init__(self) -> None:
        self.predictions = AppendLog(self.path / "predictions" / "predictions.jsonl")
        self.events = AppendLog(self.path / "events.jsonl")

    def open(self, run: Mapping[str, Json]) -> None:
        """Lock the directory, hold its `run.json` against `run`, and index what is finished.

        Raises:
            SpecError: Another process holds it, it belongs to another run, it is no run directory, or it cannot be
                written.
            InterruptedRunError: The disk is full.
        """
        _check_is_run_directory(self.path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = _take_lock(self.path / "lock")
        except OSError as error:
            reason = error.strerror or str(error)
            raise SpecError(f"--out {self.path}: cannot be written: {reason}; name a folder that can") from error
        try:
            self._open_locked(run)
        except BaseException:
            self.close()
            raise

    def _open_locked(self, run: Mapping[str, Json]) -> None:
        record = self.path / "run.json"
        if record.exists():
            _check_same(read_run(self.path), json.loads(json.dumps(run)), self.path)
        else:
            write_atomically(record, json.dumps(run, indent=2, sort_keys=True) + "\n")
        torn, torn_events = self.predictions.open(), self.events.open()
        damaged = self._index()
        if torn or torn_events or damaged:
            self.event("repaired", torn_bytes=torn, torn_event_bytes=torn_events, damaged_lines=damaged)
        if torn:
            self.repairs.append(f"{self.predictions.path}: its last line was torn and is cut off")
        if damaged:
            shown = ", ".join(str(number) for number in damaged[:LINES_NAMED])
            more = f" and {len(damaged) - LINES_NAMED} more" if len(damaged) > LINES_NAMED else ""
            self.repairs.append(f"{self.predictions.path}: damaged, so passed over and asked again: line {shown}{more}")

    def _index(self) -> list[int]:
        """Remember where each finished prediction begins; return the numbers of lines that are damaged."""
        damaged, offset = [], 0
        with self.predictions.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                head = LINE_HEAD.match(line)
                if head is not None and self._is_whole(line):
                    key = bytes.fromhex(head["key"].decode())
                    if key not in self.offsets:
                        self.offsets[key] = offset
                        self.statuses[head["status"].decode()] += 1
                else:
                    damaged.append(number)
                offset += len(line)
        return damaged

    def _is_whole(self, line: bytes) -> bool:
        """Say whether a line has the checksum it was written with, and its blob the size."""
        body, check = line[: -CHECK_BYTES - 1], line[-CHECK_BYTES - 1 : -1]
        if check != LINE_CHECK % zlib.crc32(body):
            return False
        if b'"masks_blob_bytes":' not in body[-40:] or (blob := BLOB_TAIL.search(body)) is None:
            return True
        path = self._blob_path(blob["name"].decode())
        return path.is_file() and path.stat().st_size == int(blob["bytes"])

    def _blob_path(self, name: str) -> Path:
        return self.path / "blobs" / f"{name}.json.zst"

    def is_done(self, key: str) -> bool:
        """Say whether the request with this key is finished."""
        return bytes.fromhex(key) in self.offsets

    def record(self, key: str, line: str) -> bool:
        """Append one finished prediction; return False when it was there already.

        Args:
            key: Of the request.
            line: The prediction as one JSON object that begins with its key and status.

        Raises:
            InterruptedRunError: The disk refuses it; what was written before stands.
        """
        name = bytes.fromhex(key)
        if name in self.offsets:
            return False
        if len(line) > BLOB_ABOVE_BYTES:
            line = self._masks_to_blob(line)
        body = line.encode()[:-1]
        self.offsets[name] = self.predictions.append(body + LINE_CHECK % zlib.crc32(body))
        return True

    def _masks_to_blob(self, line: str) -> str:
        """Return the line with its masks, soft ones included, moved to `blobs/`, named by the digest of their bytes."""
        import zstandard

        value = json.loads(line)
        moved = {name: value.pop(name) for name in MASK_FIELDS if value.get(name)}
        if not moved:
            return line
        content = canonical(moved["masks"] if list(moved) == ["masks"] else moved).encode()
        name = hashlib.sha256(content).hexdigest()
        path = self._blob_path(name)
        packed = zstandard.compress(content)
        if not path.is_file() or path.stat().st_size != len(packed):
            with contextlib.suppress(FileExistsError):
                path.parent.mkdir()
            write_bytes_atomically(path, packed, temporary=path.with_suffix(".tmp"), durable=True)
        value["masks_blob"] = name
        value["masks_blob_bytes"] = len(packed)
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    def prediction(self, key: str) -> Prediction | None:
        """Return the finished prediction with this key, or None.

        Raises:
            DataError: Its line or blob was damaged after `open`.
        """
        offset = self.offsets.get(bytes.fromhex(key))
        if offset is None:
            return None
        if self._reader is None:
            self._reader = self.predictions.path.open("rb")
        self._reader.seek(offset)
        return read_prediction(self._reader.readline(), self.path)

    def event(self, name: str, **fields: Json) -> None:
        """Append one event with the time it happened.

        Raises:
            InterruptedRunError: The disk refuses it.
        """
        record = {"event": name, "time": round(time.time(), 3), **fields}
        self.events.append(json.dumps(record, ensure_ascii=False).encode(errors="replace"))

    def read_events(self) -> Iterator[dict[str, Any]]:
        """Yield the events so far, oldest first; a damaged line is passed over."""
        if not self.events.path.exists():
            return
        with self.events.path.open("rb") as file:
            for line in file:
                try:
                    event = json.loads(line)
                except ValueError:
                    continue
                if isinstance(event, dict) and "event" in event:
                    yield event

    def status(self, status: Mapping[str, Json], *, at_once: bool = False) -> None:
        """Write `status.json`, at most once a second unless `at_once`.

        Raises:
            InterruptedRunError: The disk refuses it.
        """
        now = time.monotonic()
        if at_once or now - self._status_written > STATUS_EVERY_SECONDS:
            write_atomically(self.path / "status.json", json.dumps(status, indent=2) + "\n", durable=at_once)
            self._status_written = now

    def close(self) -> None:
        """Sync everything and give the lock back.

        Raises:
            InterruptedRunError: The disk refuses what was written last.
        """
        with contextlib.ExitStack() as stack:
            for file in (self._lock, self._reader):
                if file is not None:
                    stack.callback(file.close)
            self._lock = self._reader = None
            stack.callback(self.events.close)
            stack.callback(self.predictions.close)


def read_prediction(line: bytes, run: Path) -> Prediction:
    """Return the prediction of one stored line, its masks fetched from `blobs/` where they stand there.

    Raises:
        DataError: The line or its blob is damaged.
    """
    blob: Path | None = None
    try:
        value = json.loads(line)
        if "masks_blob" in value:
            import zstandard

            blob = run / "blobs" / f"{value['masks_blob']}.json.zst"
            content = zstandard.decompress(blob.read_bytes())
            if hashlib.sha256(content).hexdigest() != value["masks_blob"]:
                raise ValueError("its bytes are not those that were stored")
            moved = json.loads(content)
            value.update(moved if isinstance(moved, dict) else {"masks": moved})
        return prediction_from_json(value)
    except (ValueError, KeyError, TypeError, OSError, _zstandard_error()) as error:
        place = blob or run / "predictions" / "predictions.jsonl"
        remedy = "delete that file and" if blob is not None else "then"
        raise DataError(
            f"{place}: a stored prediction is damaged ({type(error).__name__}: {error}); {remedy} run the same "
            "`harness run` command again: it is asked again"
        ) from error


def _zstandard_error() -> type[Exception]:
    import zstandard

    return zstandard.ZstdError


def read_run(path: Path) -> dict[str, Json]:
    """Return the content of a run directory's `run.json`.

    Raises:
        SpecError: It is not there or not the JSON object that was written.
    """
    record = path / "run.json"
    try:
        run = json.loads(record.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SpecError(f"{path}: is no run directory (no run.json); expected what `harness run --out` wrote") from None
    except (ValueError, OSError) as error:
        raise SpecError(f"{record}: cannot be read ({error}); restore it, or name another folder by --out") from error
    if not isinstance(run, dict):
        raise SpecError(
            f"{record}: expected a JSON object, found {type(run).__name__}; restore it, or use another --out"
        )
    return run


def _check_is_run_directory(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise SpecError(f"--out {path}: is a file; expected a folder")
    ours = {"lock", ".run.json.tmp"}  # all that a run killed in its first moment leaves
    if path.is_dir() and not (path / "run.json").exists() and any(item.name not in ours for item in path.iterdir()):
        raise SpecError(f"--out {path}: holds other files and no run.json; name an empty or a new folder")


def _take_lock(path: Path) -> BinaryIO:
    """Return the locked file; it says which process holds it.

    Raises:
        SpecError: Another process holds it.
        OSError: The file system refuses it.
    """
    file = path.open("ab+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read(20).decode(errors="replace").strip()
        file.close()
        who = f"process {holder}" if holder.isdigit() else "another process"
        raise SpecError(
            f"--out {path.parent}: {who} is writing this run; wait for it, or name another folder"
        ) from None
    except OSError:
        file.close()
        raise
    file.truncate(0)
    file.write(f"{os.getpid()}\n".encode())
    file.flush()
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
