"""Writing a run directory: append-only predictions and events, and files that are replaced whole, safe against a kill.

The driver is the only writer. A prediction is on disk before it counts as done; a torn last line is cut off when the
directory is opened again, and everything else that is found damaged is reported and asked again.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

from harness.errors import DataError, HarnessError, SpecError, listed
from harness.models.description import undescribed
from harness.models.secrets import masked_record
from harness.models.submitted.predictions_file import Problem
from harness.records import Json, Prediction
from harness.records.atomic_files import disk_error, make_folder, write_atomically, write_bytes_atomically
from harness.records.checked_lines import checked_line, is_damaged, read_checked
from harness.records.codec import canonical
from harness.runs.append_log import AppendLog
from harness.runs.directory import RunDirectory
from harness.runs.file_checks import DamagedFileError

# Often enough for a person who watches, and rare beside the answers of a fast model.
STATUS_EVERY_SECONDS = 1.0
# A line with longer masks would make every later read of the file slow; only masks are known to grow so large.
BLOB_ABOVE_BYTES = 256 * 1024
# Fields that move to a blob; a blob with binary masks only is a plain list of them.
MASK_FIELDS = ("masks", "soft_masks")
LINES_NAMED = 5
# What is shown of another run on the same --out: enough to see what was meant, on one screen.
DIFFERENCES_SHOWN = 8
VALUE_SHOWN = 60
DIGEST = re.compile(r"[0-9a-f]{40,}")
DIGEST_SHOWN = 12


@dataclass(slots=True)
class RunStore:
    """One run directory, open for writing by this process.

    Attributes:
        path: The directory.
        directory: Its files, for reading.
        predictions, events: Its append-only logs.
        offsets: Where the line of each finished request begins, by the bytes of its key.
        statuses: Number of finished requests by status, as `open` found them.
        repairs: The damage that `open` found, in words for the user.
        damaged: 1-based numbers of the lines of predictions that `open` found damaged; later lines may hold the same.
        secrets: Secrets among the model's arguments; each is masked in whatever is written.
    """

    path: Path
    directory: RunDirectory = field(init=False)
    predictions: AppendLog = field(init=False)
    events: AppendLog = field(init=False)
    offsets: dict[bytes, int] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    repairs: list[str] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)
    secrets: tuple[str, ...] = ()
    _session: dict[str, Json] | None = None
    _sessions: list[bytes] = field(default_factory=list)
    _lock: BinaryIO | None = None
    _status_written: float = float("-inf")
    _reader: BinaryIO | None = None

    def __post_init__(self) -> None:
        self.directory = RunDirectory(self.path)
        self.predictions = AppendLog(self.directory.predictions_path)
        self.events = AppendLog(self.directory.events_path)

    def open(self, run: Mapping[str, Json]) -> None:
        """Lock the directory, compare its `run.json` with `run`, and index what is finished.

        Raises:
            SpecError: Another process holds it, it belongs to another run, it is no run directory, or it cannot be
                written.
            InterruptedRunError: The disk is full.
        """
        try:
            str(self.path).encode()
        except UnicodeEncodeError:  # parquet's files can have no such name
            raise SpecError(f"--out {str(self.path)!a}: expected a path in UTF-8; name another folder") from None
        self.directory.check_is_free_or_ours()
        try:
            make_folder(self.path)
            # Before anything is read: of two processes that are started together one must not repair under the other.
            self._lock = _take_lock(self.directory.lock_path)
        except OSError as error:
            reason = error.strerror or str(error)
            raise SpecError(f"--out {self.path}: cannot be written: {reason}; name a folder that can") from error
        try:
            self._open_locked(run)
        except BaseException:
            self.close()
            raise

    def _open_locked(self, run: Mapping[str, Json]) -> None:
        wanted = json.loads(json.dumps(run))  # through JSON, so that a tuple equals the list that it was stored as
        text = json.dumps(run, indent=2, sort_keys=True) + "\n"
        stored = self._stored_run(text) if self.directory.run_path.exists() else None
        if stored is not None:
            differences = list(_differences(undescribed(stored), undescribed(wanted), ""))
            if differences:
                left = len(differences) - DIFFERENCES_SHOWN
                lines = "\n".join(f"  {difference}" for difference in differences[:DIFFERENCES_SHOWN])
                lines += f"\n  and {left} more" if left > 0 else ""
                raise SpecError(
                    f"--out {self.path}: holds another run; name another folder or repeat its command. "
                    f"It differs in:\n{lines}"
                )
        if stored != wanted:  # a run is new, or its model is described in other words, which changes no number
            self.directory.checks.replace(self.directory.run_path, text)
        elif self.directory.run_path.name not in self.directory.checks.read():
            self.directory.checks.seal([self.directory.run_path])
        # Torn ends are cut off before lines are indexed, so a torn line is not reported as damaged, too.
        torn, torn_events = self.predictions.open(), self.events.open()
        with self.events.path.open("rb") as events:
            damaged_events = sum(map(is_damaged, events))
        for number, line in enumerate(self.directory.read_lines(), 1):
            if line.key is None:
                self.damaged.append(number)
            elif line.key not in self.offsets:  # of two lines with one key the first counts, as in `record`
                self.offsets[line.key] = line.offset
                self.statuses[line.status] += 1
        if torn or torn_events or self.damaged or damaged_events:
            self.event("repaired", torn_bytes=torn, torn_event_bytes=torn_events, damaged_lines=self.damaged)
        if damaged_events:
            self.repairs.append(f"{self.events.path}: damaged, so ignored: {damaged_events} lines")
        if torn:
            self.repairs.append(f"{self.predictions.path}: its last line was torn and is cut off")
        if self.damaged:
            lines = listed(self.damaged, LINES_NAMED)
            self.repairs.append(f"{self.predictions.path}: damaged, so ignored and asked again: line {lines}")

    def _stored_run(self, text: str) -> dict[str, Json] | None:
        """Return the content of `run.json`; None if it is damaged and was once `text`, the record of this run.

        Raises:
            SpecError: It is damaged, and nothing says that it was the record of this run.
        """
        run_path, checks = self.directory.run_path, self.directory.checks
        try:
            known = checks.read().get(run_path.name)
        except DamagedFileError:
            self.repairs.append(f"{checks.path}: was damaged and is written anew")
            checks.write({})
            known = None
        try:
            return self.directory.read_run()
        except HarnessError:
            if known != hashlib.sha256(text.encode()).hexdigest():
                raise
            self.repairs.append(f"{run_path}: was damaged and is written anew")
            return None

    def is_done(self, key: str) -> bool:
        """Say whether the request with this key is finished."""
        return bytes.fromhex(key) in self.offsets

    def record(self, key: str, line: str) -> bool:
        """Append one finished prediction; return False if it was there already.

        Args:
            key: Key of the request.
            line: The prediction as one JSON object that begins with its key and status.
        Raises:
            InterruptedRunError: The disk refuses it; earlier lines are kept.
        """
        name = bytes.fromhex(key)
        if name in self.offsets:
            return False
        # Looked for first: to parse every line would take longer than a fast model.
        if any(secret in line or json.dumps(secret, ensure_ascii=False)[1:-1] in line for secret in self.secrets):
            value = masked_record(json.loads(line), self.secrets)
            line = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        if len(line) > BLOB_ABOVE_BYTES:
            line = self._masks_to_blob(line)
        self.offsets[name] = self.predictions.append(checked_line(line.encode()))
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
        path = self.directory.blob_path(name)
        packed = zstandard.compress(content)
        # Predictions with equal masks share a blob; one of another size is left over from a power failure.
        if not path.is_file() or path.stat().st_size != len(packed):
            try:
                make_folder(path.parent)
            except OSError as error:
                raise disk_error(path, error) from error
            # With its name, before the line that names it: a line without its blob is asked again.
            write_bytes_atomically(path, packed, temporary=path.with_suffix(".tmp"))
        value["masks_blob"] = name
        value["masks_blob_bytes"] = len(packed)
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    def prediction(self, key: str) -> Prediction | None:
        """Return the finished prediction with this key; None if it is not finished.

        Raises:
            DataError: Its line or blob was damaged after `open`; or it is not finished, and a line that `open` found
                damaged may have been its own.
        """
        offset = self.offsets.get(bytes.fromhex(key))
        if offset is None and key and self.damaged:  # a number without it would differ, and nobody would know why
            raise DataError(
                f"{self.predictions.path}: damaged in line {listed(self.damaged, LINES_NAMED)}, and a request of the "
                "run has no other answer; run the same `harness run` command again: it is asked again"
            )
        if offset is None:
            return None
        if self._reader is None:
            self._reader = self.predictions.path.open("rb")
        self._reader.seek(offset)
        return self.directory.read_prediction(self._reader.readline())

    def event(self, name: str, **fields: Json) -> None:
        """Append one event with the time it happened.

        Raises:
            InterruptedRunError: The disk refuses it.
        """
        # Words from outside, such as a model's error, may hold half a surrogate pair; an event is written all the same.
        # Two clocks: that of the day may be set while the run goes on, the other counts from nowhere in particular.
        record = {"event": name, "time": round(time.time(), 3), "clock": round(time.monotonic(), 3), **fields}
        if self.secrets:
            record = masked_record(record, self.secrets)
        self.events.append(checked_line(json.dumps(record, ensure_ascii=False).encode(errors="replace")))

    def status(self, status: Mapping[str, Json], *, at_once: bool = False) -> None:
        """Write `status.json`, at most once a second unless `at_once`.

        Raises:
            InterruptedRunError: The disk refuses it.
        """
        now = time.monotonic()
        if at_once or now - self._status_written > STATUS_EVERY_SECONDS:
            # Only the last status is worth an fsync: any other is replaced a second later.
            write_atomically(self.directory.status_path, json.dumps(status, indent=2) + "\n", durable=at_once)
            self._status_written = now

    def add_session(self, record: Mapping[str, Json]) -> None:
        """Append one session to `sessions.jsonl`, without workers; `add_worker` names them."""
        self._session = {**record, "workers": []}
        self._sessions = self._whole_sessions()
        self._write_sessions()

    def add_worker(self, worker: Mapping[str, Json]) -> None:
        """Note a worker of this session in its line of `sessions.jsonl`; nothing for a session without one.

        Args:
            worker: Its name and its device, as `devices.device_record` describes it.
        Raises:
            InterruptedRunError: The disk refuses it.
        """
        if self._session is None:
            return
        self._session["workers"].append(dict(worker))
        self._write_sessions()

    def _whole_sessions(self) -> list[bytes]:
        """Return the lines of earlier sessions; damaged ones are left out, which is reported."""
        path = self.directory.sessions_path
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        whole = [line for line in lines if read_checked(line) is not None]
        if len(whole) < len(lines):
            self.event("repaired", damaged_sessions=len(lines) - len(whole))
            self.repairs.append(f"{path}: damaged, so left out: {len(lines) - len(whole)} of {len(lines)} lines")
        return whole

    def _write_sessions(self) -> None:
        line = checked_line(json.dumps(self._session).encode()) + b"\n"
        write_bytes_atomically(self.directory.sessions_path, b"".join((*self._sessions, line)))

    def write_problems(self, problems: Iterable[Problem]) -> None:
        """Write `problems.jsonl`.

        Raises:
            InterruptedRunError: The disk refuses it.
        """
        write_atomically(
            self.directory.problems_path, "".join(json.dumps(asdict(problem)) + "\n" for problem in problems)
        )

    def write_results(self, results: Mapping[str, Json]) -> None:
        """Write `results.json`.

        Raises:
            InterruptedRunError: The disk refuses it.
        """
        text = json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False)
        write_atomically(self.directory.results_path, text + "\n")

    def write_performance(self, performance: Mapping[str, Json]) -> None:
        """Write `performance.json`.

        Raises:
            InterruptedRunError: The disk refuses it.
        """
        write_atomically(self.directory.performance_path, json.dumps(performance, indent=2) + "\n")

    def seal_outputs(self) -> None:
        """Note the digests of everything that was made from the predictions, so that damage to it is noticed.

        Raises:
            InterruptedRunError: The disk refuses it.
        """
        files = self.directory
        whole = (files.results_path, files.failures_path, files.problems_path, files.performance_path)
        self.directory.checks.seal([*whole, *sorted(files.scores_folder.glob("*.parquet"))])

    def close(self) -> None:
        """Sync everything and release the lock.

        Raises:
            InterruptedRunError: The disk refuses what was written last.
        """
        with contextlib.ExitStack() as stack:  # runs all of them, last first, though a disk may refuse the first
            for file in (self._lock, self._reader):
                if file is not None:
                    stack.callback(file.close)
            self._lock = self._reader = None
            stack.callback(self.events.close)
            stack.callback(self.predictions.close)


def _take_lock(path: Path) -> BinaryIO:
    """Return the locked file, whose content is the id of this process.

    Raises:
        SpecError: Another process holds it.
        OSError: The file system refuses it.
    """
    # "ab+" does not truncate the file, whose content names the holder. The system releases the lock when the process
    # ends, however it ends.
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


def _differences(stored: Json, wanted: Json, where: str) -> Iterator[str]:
    if isinstance(stored, Mapping) and isinstance(wanted, Mapping):
        for name in sorted({*stored, *wanted}):
            yield from _differences(stored.get(name), wanted.get(name), f"{where}.{name}" if where else str(name))
    elif stored != wanted:
        yield f"{where}: stored {_brief(stored)}, requested {_brief(wanted)}"


def _brief(value: Json) -> str:
    """Return a value as JSON, digests and whatever else is long cut off, and the fields of an object left out."""
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return "one"
    if isinstance(value, str) and DIGEST.fullmatch(value):
        return value[:DIGEST_SHOWN]
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= VALUE_SHOWN else f"{text[:VALUE_SHOWN]}..."
