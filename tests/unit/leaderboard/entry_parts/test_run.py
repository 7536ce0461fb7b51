"""What the files beside results.json say of a run; whatever is no sensible text is left out."""

import json
from pathlib import Path
from typing import Any

import pytest

from leaderboard.entry_parts.run import RunFacts, run_facts


def write(folder: Path, *sessions: Any, run: Any = None, cells: Any = None) -> Path:
    (folder / "sessions.jsonl").write_text("".join(f"{json.dumps(session)}\n" for session in sessions))
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "plan").mkdir()
    (folder / "plan" / "cells.json").write_text(json.dumps(cells))
    return folder


def test_a_run_names_its_command_versions_dates_and_model(tmp_path: Path) -> None:
    first = {"command": ["harness", "run"], "started": "2026-01-02T03:04:05Z"}
    last = {
        "command": [
            *("harness", "run", "--out", "/home/me/runs/mine", "--name", "A B", "--data-root", "/data/My images"),
            *("--model", "reference:/home/me/tiny/", "--model-args", "path=~/me/x,base_url=http://h/v1"),
        ],
        "started": "2026-01-04T03:04:05Z",
        "git": "0123456789abcdef",
        "packages": {"medground": "0.1.0", "numpy": "2.0", "torch": "2.13"},
        "hardware": {"machine": "x86_64", "cpus": 16, "gpus": 1},
    }
    model = {"takes": ["image", "text"], "gives": ["masks"], "volume": {"slices": 8}}
    assert run_facts(write(tmp_path, first, last, run={"model": {"version": "3"}}, cells={"capabilities": model})) == (
        RunFacts(
            command="harness run --out …/mine --name 'A B' --data-root '…/My images' "
            "--model reference:…/tiny --model-args path=…/x,base_url=http://h/v1",
            versions=("medground 0.1.0", "torch 2.13"),
            commit="0123456789ab",
            first="2026-01-02",
            last="2026-01-04",
            machine="x86_64, 16 CPUs, 1 GPU",
            model_version="3",
            takes=("image", "text"),
            gives=("masks",),
            volume='{"slices": 8}',
        )
    )


def test_without_files_nothing_is_known(tmp_path: Path) -> None:
    assert run_facts(None) == run_facts(tmp_path) == RunFacts()


@pytest.mark.parametrize(
    "wrong", [None, 7, "text", [1], {"command": "rm -rf", "packages": [], "hardware": {"cpus": True}}]
)
def test_values_of_other_types_say_nothing(tmp_path: Path, wrong: Any) -> None:
    assert run_facts(write(tmp_path, wrong, run=wrong, cells={"capabilities": wrong})) == RunFacts()


def test_marks_that_turn_text_and_long_texts_are_left_out(tmp_path: Path) -> None:
    session = {"command": ["harness", "\u202egnp"], "git": "x" * 301, "started": "\u0000"}
    assert run_facts(write(tmp_path, session, run={"model": {"version": "a\u202eb"}})) == RunFacts()


def test_a_file_that_is_no_json_says_nothing(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "sessions.jsonl").write_text("{\n")
    (tmp_path / "run.json").write_bytes(b"\xff")
    assert run_facts(tmp_path) == RunFacts()
