"""Milliseconds per sample, read from the events of a run."""

import json
from pathlib import Path

import pytest

from benchmarks.overhead import milliseconds, write_release
from harness.runs.directory import RunDirectory


def test_the_clock_starts_when_the_first_batch_is_stored(tmp_path: Path) -> None:
    events = [
        {"event": "started", "time": 0.0},
        {"event": "finished", "time": 10.0, "keys": ["a"] * 100},
        {"event": "finished", "time": 10.5, "keys": ["b"] * 3},
        {"event": "finished", "time": 11.0, "keys": ["c"] * 2},
    ]
    RunDirectory(tmp_path).events_path.write_text("".join(json.dumps(event) + "\n" for event in events))
    assert milliseconds(tmp_path) == pytest.approx(1000 * 1.0 / 5)


def test_every_question_of_the_release_is_another_one(tmp_path: Path) -> None:
    questions = write_release(tmp_path, 20)
    records = json.loads((tmp_path / "vqa_rad" / "testset.json").read_text())
    assert len(set(questions)) == len(records) == 20
    assert all((tmp_path / "vqa_rad" / "images" / record["image_name"]).is_file() for record in records)
