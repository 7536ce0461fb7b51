"""Errors as one message and an exit code, which no code of a model or a task may choose."""

import io
import json
from pathlib import Path

import pytest

from harness.cli.options import errors_as_exit_codes, finish, linked, say, terminal_width, write_json
from harness.evaluation.outputs import Evaluation
from harness.models.submitted.predictions_file import Problem
from harness.scoring.results import Failure


@pytest.mark.parametrize("code", ["0", "", "7", "'no licence'"])
def test_foreign_code_cannot_choose_the_exit_code(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left, errors_as_exit_codes(debug=False):
        exec(compile(f"import sys\nsys.exit({code})", "/somewhere/model.py", "exec"), {"__name__": "model"})
    assert left.value.code == 2
    words = f"SystemExit: it calls sys.exit({code})"
    assert capsys.readouterr().err == f"harness: the code of a model or a task ends the command (model.py:2): {words}\n"


def test_a_command_chooses_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left, errors_as_exit_codes(debug=False):
        exec("import sys\nsys.exit(3)", {"__name__": "harness.cli.data"})
    assert left.value.code == 3
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("orders", ["\x1b[2J", "\x1b]0;title\x07", "\x9b2J", "\r", "\x08", "\x7f", "\u202e", "\ud800"])
def test_what_a_terminal_would_obey_is_written_out(orders: str, capsys: pytest.CaptureFixture[str]) -> None:
    say(f"failure: {orders} of\ta model\nand more")
    write_json({"text": orders})
    captured = capsys.readouterr()
    for text in (captured.err, captured.out):
        assert all(letter.isprintable() or letter in "\t\n" for letter in text) or orders == "\u202e"
    assert captured.err.startswith("failure: \\")
    assert captured.err.endswith(" of\ta model\nand more\n")
    assert json.loads(captured.out) == {"text": orders}


def test_closed_streams_have_no_width_and_no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(f"sys.{name}", None)
    assert terminal_width() is None
    assert linked(Path("/some/where")) == "/some/where"


def test_problems_and_failures_that_are_alike_are_shown_three_times(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "no task of this run has this sample_id; the line is ignored"
    problems = [Problem(line=number, sample_id=f"s/{number}", message=words) for number in range(1, 205)]
    problems.insert(100, Problem(line=900, sample_id=None, message="has no sample_id"))
    missing = [Failure(task="t", sample_id=f"s/{n}", status="model_error", message="E: no line") for n in range(25)]
    each = [Failure(task="t", sample_id=f"q/{n}", status="model_error", message=f"E: {n}") for n in range(25)]
    results = {"model": {"id": "m", "name": "Ours"}, "data": "real", "limited": False, "tasks": {}}
    whole = {**results, "groups": {}, "unsupported": {}, "unavailable": []}
    for failures in (missing, each):
        found = Evaluation(out=tmp_path, results=whole, problems=problems, failures=failures)
        with pytest.raises(SystemExit):
            finish(found, "1%", as_json=False, every_number=False, quiet=False)
    first, second = capsys.readouterr().err.split("report ")[:2]
    assert first.splitlines()[:9] == [
        *(f"problem: line {number}: s/{number}: {words}" for number in (1, 2, 3)),
        f"problem: 201 more: {words}",
        "problem: line 900: has no sample_id",
        f"... all problems are in {tmp_path / 'problems.jsonl'}",
        *(f"failure: s/{number}: model_error: E: no line" for number in range(3)),
    ]
    assert "failure: 22 more: model_error: E: no line\n" in first
    assert second.count("failure: q/") == 20
    assert f"... and 5 more failures; see {tmp_path / 'failures.jsonl'}" in second


def test_a_path_is_a_link_on_a_terminal_only(tmp_path: Path) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    page = tmp_path / "a b.html"
    assert linked(page, io.StringIO()) == str(page)
    assert linked(page, Terminal()) == f"\x1b]8;;{tmp_path.as_uri()}/a%20b.html\x1b\\{page}\x1b]8;;\x1b\\"
    assert "\x1b" not in linked(tmp_path / "a\u202eb", Terminal())
