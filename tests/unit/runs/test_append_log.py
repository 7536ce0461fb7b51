"""An append-only log: what is torn is cut off, and lines are synced by a budget of time."""

import os
from pathlib import Path

import pytest

from harness.runs.append_log import BLOCK_BYTES, AppendLog


def test_a_line_begins_where_the_one_before_ended(tmp_path: Path) -> None:
    log = AppendLog(tmp_path / "lines.jsonl")
    assert log.open() == 0
    assert [log.append(line) for line in (b"one", b"three", b"")] == [0, 4, 10]
    log.close()
    again = AppendLog(tmp_path / "lines.jsonl")
    assert again.open() == 0
    assert again.append(b"more") == 11
    again.close()
    assert again.path.read_bytes() == b"one\nthree\n\nmore\n"


def test_a_torn_line_longer_than_a_block_is_cut_off(tmp_path: Path) -> None:
    journal = AppendLog(tmp_path / "lines.jsonl")
    journal.path.write_bytes(b"whole\n" + b"x" * (2 * BLOCK_BYTES + 5))
    assert journal.open() == 2 * BLOCK_BYTES + 5
    journal.close()
    assert journal.path.read_bytes() == b"whole\n"


def test_lines_are_synced_by_the_budget_of_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    now = [100.0]
    monkeypatch.setattr("harness.runs.append_log.time.monotonic", lambda: now[0])
    journal = AppendLog(tmp_path / "lines")
    journal.open()
    synced.clear()  # the folder, for the name of the new file
    for seconds in (0.2, 0.2, 0.7, 0.2):
        now[0] += seconds
        journal.append(b"line")
    assert len(synced) == 1
    journal.close()
