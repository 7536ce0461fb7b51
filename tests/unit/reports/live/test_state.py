"""A run at one moment: in progress, interrupted, finished; read again, only what is new is read."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from harness.errors import SpecError
from harness.reports.live import words
from harness.reports.live.state import LiveReader
from harness.runs.directory import RunDirectory

KEYS = [f"{number:064x}" for number in range(8)]


def _add(path: Path, *records: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(record, separators=(",", ":")) + "\n" for record in records)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run of eight requests by this process, with a batch finished, one in flight, and a worker that died."""
    directory = RunDirectory(tmp_path)
    _add(directory.run_path, {"model": {"id": "m\x1b[31m"}, "data": "phantom"})
    directory.lock_path.write_text(f"{os.getpid()}\n")
    now = time.time()
    _add(
        directory.events_path,
        {"event": "session", "time": now - 20, "runner": "ray", "done": 0, "total": 8},
        {"event": "started", "time": now - 10, "batch": 1, "worker": "w0", "keys": KEYS[:4]},
        {"event": "started", "time": now - 10, "batch": 2, "worker": "w1", "keys": KEYS[4:6]},
        {"event": "finished", "time": now - 1, "batch": 1, "keys": KEYS[:4], "memory": 2_000_000_000},
        {"event": "started", "time": now - 1, "batch": 3, "worker": "w0", "keys": KEYS[6:]},
        {"event": "died", "time": now, "batch": 2, "keys": KEYS[4:6], "error": "gone"},
    )
    error = {"type": "ValueError", "message": "bad <b>\x1b[2J"}
    _add(
        directory.predictions_path,
        {"key": KEYS[0], "status": "ok", "usage": {"prompt_tokens": 5, "completion_tokens": 2, "cost": 0.25}},
        {"key": KEYS[1], "status": "model_error", "error": error},
        {"key": KEYS[2], "status": "model_error", "error": error},
        {"key": KEYS[3], "status": "ok", "usage": {"cost": 0.5}},
    )
    _status(directory, "running", 4)
    workers = [{"worker": "w0", "gpu": "H200"}]
    _add(directory.sessions_path, {"command": ["harness", "run", "--out", "a b"], "workers": workers})
    return directory


def _status(directory: RunDirectory, state: str, done: int) -> None:
    counts = {"ok": done - 2, "model_error": 2}
    directory.status_path.write_text(json.dumps({"state": state, "done": done, "total": 8, "counts": counts}))


def test_a_run_in_progress_has_rate_failures_workers_and_cost(run: RunDirectory) -> None:
    live = LiveReader(run).read()
    assert (live.state, live.done, live.total, live.failed) == ("running", 4, 8, 2)
    assert live.rate == pytest.approx(0.4, rel=0.1)
    assert live.seconds_left == pytest.approx(10, rel=0.1)
    assert live.failures == (("model_error: ValueError: bad <b>\x1b[2J", 2),)
    assert [(one.name, one.device, one.state) for one in live.workers] == [("w0", "H200", "busy"), ("w1", "", "lost")]
    assert (live.lost, live.memory, live.cost, live.tokens) == (1, 2_000_000_000, 0.75, 7)
    assert live.command == "harness run --out 'a b'"
    assert not live.is_over
    json.dumps(live.as_json(), allow_nan=False)


def test_what_is_new_is_added_and_a_torn_line_waits(run: RunDirectory) -> None:
    reader = LiveReader(run)
    reader.read()
    _add(run.predictions_path, {"key": KEYS[4], "status": "ok"})
    line = json.dumps({"key": KEYS[5], "status": "ok"}, separators=(",", ":")) + "\n"
    with run.predictions_path.open("a") as file:
        file.write(line[:70])
    assert reader.read().done == 5
    with run.predictions_path.open("a") as file:
        file.write(line[70:])
    assert reader.read().counts == {"model_error": 2, "ok": 4}


def test_a_run_whose_process_is_gone_is_interrupted_and_says_how_to_go_on(run: RunDirectory) -> None:
    run.lock_path.write_text("999999999\n")
    assert LiveReader(run).read().state == "running"  # its status is fresh: it may run on another machine
    long_ago = time.time() - 3600
    os.utime(run.status_path, (long_ago, long_ago))
    live = LiveReader(run).read()
    assert (live.state, live.is_over) == ("interrupted", True)
    assert words.state(live) == "interrupted; its process is gone; the same command goes on"


def test_a_finished_run_is_done_and_one_without_results_is_being_scored(run: RunDirectory) -> None:
    _status(run, "done", 8)
    assert LiveReader(run).read().state == "scoring"
    run.lock_path.write_text("\n")
    assert "not scored" in LiveReader(run).read().note
    run.results_path.write_text("{}")
    run.report_path.write_text("")
    live = LiveReader(run).read()
    assert (live.state, live.report) == ("done", run.report_path)


def test_damaged_files_are_passed_over(run: RunDirectory) -> None:
    run.status_path.write_text("{")
    run.events_path.write_bytes(b"\xff\n{}\n[1]\n")
    run.predictions_path.write_bytes(b"nonsense\n")
    run.sessions_path.write_bytes(b"\x00\n")
    live = LiveReader(run).read()
    assert (live.done, live.total, live.rate, live.workers) == (0, 0, None, ())


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"is no run directory"):
        LiveReader(RunDirectory(tmp_path)).read()


def test_numbers_are_written_for_people() -> None:
    assert [words.duration(value) for value in (None, 59.6, 3723)] == ["-", "1:00", "1:02:03"]
    assert [words.rate(value) for value in (None, 0.123, 1234.5)] == ["-", "0.123/s", "1,234/s"]
    assert [words.size(value) for value in (0, 1_500_000_000)] == ["-", "1.50 GB"]
