"""`harness watch` on a pipe, and text of outside on a terminal."""

import io
import json
from pathlib import Path

from click.testing import CliRunner
from rich.console import Console

from harness.cli import main
from harness.cli.evaluation.watch import dashboard
from harness.reports.live.state import LiveReader
from harness.runs.directory import RunDirectory


def _run(folder: Path, state: str) -> RunDirectory:
    directory = RunDirectory(folder)
    directory.run_path.write_text(json.dumps({"model": {"id": "[bold]m\x1b[31m\u202e"}, "data": "real"}))
    status = {"state": state, "done": 3, "total": 4, "counts": {"ok": 3}}
    directory.status_path.write_text(json.dumps(status))
    return directory


def test_an_interrupted_run_is_shown_once_and_ends(tmp_path: Path) -> None:
    _run(tmp_path, "interrupted")
    result = CliRunner().invoke(main, ["watch", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "interrupted; the same command goes on" in result.stdout
    assert "3 of 4, 0 failed" in result.stdout


def test_json_is_one_object_a_look(tmp_path: Path) -> None:
    _run(tmp_path, "running")
    result = CliRunner().invoke(main, ["watch", str(tmp_path), "--once", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["state"], found["done"], found["total"]) == ("running", 3, 4)


def test_what_is_no_run_is_bad_input(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["watch", str(tmp_path)])
    assert result.exit_code == 2
    assert "is no run directory" in result.stderr


def test_text_of_outside_is_no_markup_and_no_escape(tmp_path: Path) -> None:
    screen = io.StringIO()
    Console(file=screen, force_terminal=True, width=100).print(dashboard(LiveReader(_run(tmp_path, "done")).read()))
    assert "[bold]m\\x1b[31m\\u202e" in screen.getvalue()
