"""`harness run` as a process of its own that can be killed, and what its run directory says."""

import json
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SAMPLES = 48
BATCH = 4
LONGEST_SECONDS = 60.0


@dataclass
class Run:
    """One run directory and the command that fills it."""

    command: list[str]
    out: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self) -> subprocess.Popen[str]:
        """Start the command in a session of its own, as a terminal would."""
        process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.started.append(process)
        return process

    def finish(self, process: subprocess.Popen[str] | None = None) -> tuple[int, str, str]:
        """Wait for the command and return its exit code, stdout and stderr."""
        process = process or self.start()
        stdout, stderr = process.communicate(timeout=LONGEST_SECONDS)
        return process.returncode, stdout, stderr

    def hurry(self) -> None:
        """Let the model wait no longer when the command starts again: how long it waits is no part of its identity."""
        place = self.command.index("--model-args") + 1
        self.command[place] = re.sub(r"sleep=[\d.]+", "sleep=0", self.command[place])

    def events(self) -> list[dict[str, Any]]:
        """Return the events so far; a line that is just being written is left out."""
        path = self.out / "events.jsonl"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def count(self, name: str) -> int:
        """Return how many events of a name there are."""
        return sum(event["event"] == name for event in self.events())

    def wait_for(self, name: str, count: int) -> None:
        """Wait until there are so many events of a name."""
        wait_until(lambda: self.count(name) >= count)

    def kill(self, process: subprocess.Popen[str]) -> None:
        """End the driver at once."""
        process.kill()
        process.communicate(timeout=LONGEST_SECONDS)

    @property
    def results(self) -> bytes:
        """The bytes of results.json."""
        return (self.out / "results.json").read_bytes()

    def keys(self) -> list[str]:
        """Return the keys of the stored predictions."""
        lines = (self.out / "predictions" / "predictions.jsonl").read_text().splitlines()
        return [json.loads(line)["key"] for line in lines]

    def check_books(self, *, batches_lost: int) -> None:
        """Check that no sample is lost or stored twice, and that no more than the lost batches were asked again."""
        keys = self.keys()
        assert len(keys) == len(set(keys)) == SAMPLES
        asked: Counter[str] = Counter()
        finished: set[str] = set()
        for event in self.events():
            if event["event"] == "started":
                assert not finished & set(event["keys"]), "asked again after it was finished"
                asked.update(event["keys"])
            elif event["event"] == "finished":
                finished.update(event["keys"])
        assert set(asked) == set(keys)
        assert asked.total() - SAMPLES <= batches_lost * BATCH


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds; fail when it takes too long."""
    end = time.monotonic() + LONGEST_SECONDS
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def children_of(pid: int) -> dict[int, str]:
    """Return the command line of every process below `pid`, by its id."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found: set[int] = set()
    new = {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return {child: _command_line(child) for child in found}


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """Return the processes that hold a model for this driver."""
    return sorted(pid for pid, line in children_of(process.pid).items() if line.startswith("ray::Node"))
