"""The bar speaks on stderr only, and on a pipe it speaks in lines."""

from collections import Counter
from pathlib import Path

import pytest

from harness.cli.progress_bar import ProgressBar
from harness.runs.engine.progress import RunProgress
from harness.runs.store import RunStore


def _ledger(done: int) -> RunProgress:
    return RunProgress(store=RunStore(Path("unused")), total=10, counts=Counter({"ok": done - 1, "model_error": 1}))


def test_on_a_pipe_a_line_is_written_every_half_minute(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar() as bar:
        bar.show(_ledger(2))
        bar.said -= 60.0
        bar.show(_ledger(4))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("predicting:") == 1
    assert "4/10" in captured.err
    assert "1 failed, coverage 100.0%" in captured.err


def test_notices_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar() as bar:
        bar.notice("preparing [bold]")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "preparing [bold]\n")
