"""`harness view` says where the page is, opens it, and ends with Ctrl-C."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import main
from harness.reports.live.server import Server


def test_the_address_is_printed_and_ctrl_c_ends_with_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def interrupted(_: Server) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "serve_forever", interrupted)
    monkeypatch.setattr("webbrowser.open", opened.append)
    result = CliRunner().invoke(main, ["view", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert opened == [result.stdout.strip()]
    assert opened[0].startswith("http://127.0.0.1:")
    assert CliRunner().invoke(main, ["view", str(tmp_path), "--no-browser"]).exit_code == 0
    assert len(opened) == 1


def test_a_folder_that_is_none_is_bad_input(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["view", str(tmp_path / "none"), "--no-browser"])
    assert result.exit_code == 2
    assert "none: expected a run directory or another folder, found nothing" in result.stderr
