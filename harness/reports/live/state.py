"""What a run directory says of its run: in progress, finished or interrupted. It only reads and takes no lock."""

import json
import os
import shlex
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.errors import HarnessError
from harness.models.description import display_name
from harness.records import FAULTS, Json
from harness.records.checked_lines import read_checked
from harness.runs import plan_file
from harness.runs.directory import LINE_HEAD, RunDirectory
from harness.runs.performance import TOKENS

State = Literal["starting", "running", "scoring", "done", "interrupted"]

# The rate is that of the last minute, in which a change of the load shows and single batches do not.
RATE_SECONDS = 60.0
# A run on another machine is alive if its status is newer: it is written once a second while answers come in.
FRESH_SECONDS = 60.0
# Keys of plans with more requests are not held in memory to tell tasks apart.
MOST_KEYS = 200_000
# Most kinds of failures, and characters of one.
MOST_KINDS = 8
MOST_WORDS = 300
MOST_COMMAND = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskProgress:
    """A task of the run.

    Attributes:
        name: Name of the task.
        done: Finished requests; None if the plan is too large to tell.
        wanted: Requests.
        unsupported: Why the model is not asked; empty if it is.
    """

    name: str
    done: int | None
    wanted: int
    unsupported: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker of the last session: its device, and whether it is `busy`, `idle` or `lost`."""

    name: str
    device: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRun:
    """A run at one moment.

    Attributes:
        path: The run directory.
        model: Name of the model.
        data: `real` or `phantom`.
        state: What it does now.
        note: What to do about it, or what is not known; may be empty.
        done, total: Requests finished and planned; the total is 0 before there is a plan.
        counts: Finished requests by status.
        tasks: Its tasks.
        rate: Requests per second; None if nothing was finished lately.
        seconds_left: Until the last answer at this rate; None if that is not known.
        seconds: Of the last session, from its start to its end or to now.
        sessions: Number of starts.
        failures: (kind, count), the most frequent first.
        workers: Of the last session.
        lost: Workers that died or hung, in all sessions.
        memory, gpu_memory: Bytes that the largest worker held at most; 0 if not known.
        cost: What the answers report; None if they report none.
        tokens: Of prompts and answers; 0 if they report none.
        command: That of the last session; empty if not known.
        report: The path of its page; None before there is one.
    """

    path: Path
    model: str
    data: str
    state: State
    note: str
    done: int
    total: int
    counts: Mapping[str, int]
    tasks: tuple[TaskProgress, ...]
    rate: float | None
    seconds_left: float | None
    seconds: float
    sessions: int
    failures: tuple[tuple[str, int], ...]
    workers: tuple[Worker, ...]
    lost: int
    memory: int
    gpu_memory: int
    cost: float | None
    tokens: int
    command: str
    report: Path | None

    @property
    def failed(self) -> int:
        """Finished requests that `--max-failures` counts."""
        return sum(self.counts.get(status, 0) for status in FAULTS)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen without another command."""
        return self.state in ("done", "interrupted")

    def as_json(self) -> dict[str, Json]:
        """Return it as JSON values; the rate is rounded, paths are text."""
        return {
            "run": str(self.path),
            "model": self.model,
            "data": self.data,
            "state": self.state,
            "note": self.note,
            "done": self.done,
            "total": self.total,
            "counts": dict(self.counts),
            "failed": self.failed,
            "tasks": [
                {"task": task.name, "done": task.done, "wanted": task.wanted, "unsupported": task.unsupported or None}
                for task in self.tasks
            ],
            "rate": None if self.rate is None else round(self.rate, 3),
            "seconds_left": None if self.seconds_left is None else round(self.seconds_left, 1),
            "seconds": round(self.seconds, 1),
            "sessions": self.sessions,
            "failures": [{"kind": kind, "count": count} for kind, count in self.failures],
            "workers": [{"worker": one.name, "device": one.device, "state": one.state} for one in self.workers],
            "workers_lost": self.lost,
            "memory_bytes": self.memory or None,
            "gpu_memory_bytes": self.gpu_memory or None,
            "cost": self.cost,
            "tokens": self.tokens or None,
            "command": self.command,
            "report": None if self.report is None else str(self.report),
        }


@dataclass(slots=True)
class LiveReader:
    """Reads a run directory again and again; of files that only grow it reads what is new.

    Attributes:
        directory: The run directory.
    """

    directory: RunDirectory
    _offsets: dict[Path, int] = field(default_factory=dict)
    _tasks_of: dict[bytes, list[str]] | None = None
    _wanted: dict[str, int] = field(default_factory=dict)
    _unsupported: dict[str, str] = field(default_factory=dict)
    _done: Counter[str] = field(default_factory=Counter)
    _counts: Counter[str] = field(default_factory=Counter)
    _kinds: Counter[str] = field(default_factory=Counter)
    _usage: dict[str, float] = field(default_factory=dict)
    _recent: deque[tuple[float, int]] = field(default_factory=deque)
    _flights: dict[object, str] = field(default_factory=dict)
    _workers: dict[str, str] = field(default_factory=dict)
    _lost: int = 0
    _started: float = 0.0
    _first: float = 0.0
    _ended: float = 0.0
    _total: int = 0
    _held: Counter[str] = field(default_factory=Counter)

    def read(self) -> LiveRun:
        """Return the run as it is now.

        Raises:
            SpecError: It is no run directory.
        """
        run = self.directory.read_run()
        self._read_plan()
        for line in self._new_lines(self.directory.events_path):
            if (event := read_checked(line)) is not None and "event" in event:
                self._note(event)
        for line in self._new_lines(self.directory.predictions_path):
            self._count(line)
        status, age = self._status()
        counts = Counter(self._counts)
        done = int(status.get("done") or 0)
        if sum(counts.values()) < done:  # the file of predictions is not where the status is, as in a copy
            counts = Counter({str(name): int(count) for name, count in (status.get("counts") or {}).items()})
        done = max(done, sum(counts.values()))
        total = int(status.get("total") or self._total)
        state, note = self._state(status, age, done, total)
        now = time.time()
        end = (
            now if state in ("starting", "running") else max(self._ended, self._recent[-1][0] if self._recent else 0.0)
        )
        rate = self._rate(now if state == "running" else end)
        sessions = list(self.directory.read_sessions())
        workers = self._worker_list(sessions[-1] if sessions else {}, state)
        return LiveRun(
            path=self.directory.path,
            model=display_name(run["model"]),
            data=str(run.get("data", "")),
            state=state,
            note=note,
            done=done,
            total=total,
            counts=dict(sorted(counts.items())),
            tasks=tuple(self._task_list()),
            rate=rate,
            seconds_left=(total - done) / rate if rate and state == "running" else None,
            seconds=max(0.0, end - self._started) if self._started else 0.0,
            sessions=len(sessions),
            failures=tuple(self._kinds.most_common(MOST_KINDS)),
            workers=workers,
            lost=self._lost,
            memory=self._held["memory"],
            gpu_memory=self._held["gpu_memory"],
            cost=self._usage.get("cost"),
            tokens=int(sum(self._usage.get(name, 0.0) for name in TOKENS)),
            command=shlex.join(map(str, sessions[-1].get("command") or ()))[:MOST_COMMAND] if sessions else "",
            report=self.directory.report_path if self.directory.report_path.is_file() else None,
        )

    def _new_lines(self, path: Path) -> Iterator[bytes]:
        """Yield the whole lines that were added to a file since the last time."""
        try:
            size = path.stat().st_size
        except OSError:
            return
        offset = self._offsets.get(path, 0)
        if size < offset:  # a run that is resumed cuts a torn line off
            offset = size
        with path.open("rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                offset += len(line)
                yield line
        self._offsets[path] = offset

    def _read_plan(self) -> None:
        """Read, once there is one, the tasks of the plan and the keys of their requests."""
        if self._tasks_of is not None or not self.directory.cells_path.is_file():
            return
        self._tasks_of = {}
        try:
            cells, _ = self.directory.read_cells()
            for name, cell in cells.items():
                if cell.unsupported is not None:
                    self._unsupported[name] = cell.unsupported
                self._wanted[name] = cell.samples
            if sum(cell.samples for cell in cells.values() if cell.unsupported is None) > MOST_KEYS:
                return
            for name in cells.keys() - self._unsupported.keys():
                keys = [bytes.fromhex(key) for _, _, key in plan_file.read_keys(self.directory.plan_path(name)) if key]
                self._wanted[name] = len(keys)
                for key in keys:
                    self._tasks_of.setdefault(key, []).append(name)
        except (HarnessError, OSError, ValueError):  # a plan that is being written anew
            self._tasks_of = None

    def _count(self, line: bytes) -> None:
        """Count one stored prediction."""
        head = LINE_HEAD.match(line)
        if head is None:
            return
        status = head["status"].decode()
        self._counts[status] += 1
        for task in (self._tasks_of or {}).get(bytes.fromhex(head["key"].decode()), ()):
            self._done[task] += 1
        if status in FAULTS or status == "refused" or b'"usage":{"' in line:
            value = read_checked(line)
            if value is None:
                return
            if status in FAULTS or status == "refused":
                error = value.get("error") or {}
                words = " ".join(f"{error.get('type', '')}: {error.get('message', '')}".split()).strip(": ")
                self._kinds[f"{status}: {words[:MOST_WORDS]}" if words else status] += 1
            for name, number in (value.get("usage") or {}).items():
                if isinstance(number, int | float):
                    self._usage[name] = self._usage.get(name, 0.0) + number

    def _note(self, event: Mapping[str, Any]) -> None:
        """Take one event in."""
        name, when = event["event"], float(event.get("time") or 0.0)
        if name == "session":
            self._started, self._first, self._ended = when, 0.0, 0.0
            self._total = int(event.get("total") or 0)
            self._recent.clear()
            self._flights.clear()
            self._workers.clear()
        elif name == "started":
            self._first = self._first or when
            worker = str(event.get("worker", ""))
            self._flights[event.get("batch")] = worker
            self._workers[worker] = "busy"
        elif name in ("finished", "given_up"):
            self._recent.append((when, len(event.get("keys") or ())))
            while self._recent and self._recent[0][0] < when - RATE_SECONDS:
                self._recent.popleft()
            worker = self._flights.pop(event.get("batch"), "")
            if worker:
                self._workers[worker] = "idle"
            for kind in ("memory", "gpu_memory"):
                self._held[kind] = max(self._held[kind], int(event.get(kind) or 0))
        elif name in ("died", "hung"):
            self._lost += 1
            worker = self._flights.pop(event.get("batch"), "")
            if worker:
                self._workers[worker] = "lost"
        elif name == "stopped":
            self._ended = when

    def _status(self) -> tuple[Mapping[str, Any], float]:
        """Return the content of `status.json`, and its age in seconds; nothing if there is none or it is damaged."""
        path = self.directory.status_path
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            return (value if isinstance(value, dict) else {}), time.time() - path.stat().st_mtime
        except (OSError, ValueError):
            return {}, float("inf")

    def _state(self, status: Mapping[str, Any], age: float, done: int, total: int) -> tuple[State, str]:
        alive = self._is_held()
        word = status.get("state")
        if word == "done" and self.directory.results_path.is_file():
            return "done", ""
        if word == "done" or (total and done >= total):
            return ("scoring", "") if alive else ("interrupted", "it is not scored: run the same command again")
        if word == "running" and (alive or age < FRESH_SECONDS):
            return "running", ""
        if alive and word in (None, "interrupted", "hung"):
            return ("starting", "") if not self._flights else ("running", "")
        if word == "running":
            return "interrupted", "its process is gone; the same command goes on"
        return "interrupted", "the same command goes on"

    def _is_held(self) -> bool:
        """Say whether the process that the lock names is alive on this machine."""
        try:
            pid = int(self.directory.lock_path.read_text(encoding="ascii").strip() or 0)
            if pid <= 0:
                return False
            os.kill(pid, 0)
        except PermissionError:
            return True
        except (OSError, ValueError, OverflowError):
            return False
        return True

    def _rate(self, now: float) -> float | None:
        if not self._recent or not self._first:
            return None
        since = max(self._first, now - RATE_SECONDS)
        count = sum(number for when, number in self._recent if when >= since)
        return count / (now - since) if count and now > since else None

    def _worker_list(self, session: Mapping[str, Any], state: State) -> tuple[Worker, ...]:
        devices = {}
        for record in session.get("workers") or ():
            if isinstance(record, dict):
                devices[str(record.get("worker", ""))] = str(record.get("gpu") or record.get("device") or "")
        names = dict.fromkeys([*devices, *self._workers])
        over = state not in ("running", "starting")
        return tuple(
            Worker(
                name=name,
                device=devices.get(name, ""),
                state="ended" if over and self._workers.get(name) != "lost" else self._workers.get(name, "idle"),
            )
            for name in names
        )

    def _task_list(self) -> list[TaskProgress]:
        known = bool(self._tasks_of)
        return [
            TaskProgress(
                name=name,
                done=min(self._done[name], wanted) if known and name not in self._unsupported else None,
                wanted=wanted,
                unsupported=self._unsupported.get(name, ""),
            )
            for name, wanted in self._wanted.items()
        ]
