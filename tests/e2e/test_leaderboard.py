"""`leaderboard build` as a maintainer uses it, over runs of the harness."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from leaderboard.cli import main


def board(*words: object) -> Result:
    """Call `leaderboard` with the given words."""
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def runs(command: Any, tmp_path: Path) -> Path:
    """Two baselines on drawn patients and an oracle, and one of them again on a part of the samples."""
    folder = tmp_path / "runs"
    for name, model, more in (
        ("otsu", "baseline:otsu", ()),
        ("floor", "baseline:empty", ()),
        ("ceiling", "baseline:oracle", ()),
        ("part", "baseline:otsu", ("--limit", 3)),
    ):
        words = ("--tasks", "samed2d_seg", "--model", model, "--data-root", "phantom", "--ray", "off", *more)
        result = command("run", *words, "--out", folder / name)
        assert result.exit_code == 0, result.stderr
    return folder


def test_runs_of_the_harness_come_to_the_board_as_they_are(runs: Path, tmp_path: Path) -> None:
    result = board("build", "--entries", runs, "--out", tmp_path / "site")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(tmp_path / "site" / "index.html")
    assert "left out  part: run with --limit" in result.stderr
    cells = json.loads((tmp_path / "site" / "data.json").read_text())["cells"]
    ours = {
        (cell["metric"], cell["protocol"], cell["mean"]): cell
        for cell in cells
        if cell["entry"] == "otsu" and cell["stratum"] is None
    }
    rows = json.loads((runs / "otsu" / "results.json").read_text())["tasks"]["samed2d_seg"]["metrics"]
    whole = [row for row in rows if row["stratum"] is None]
    assert len(ours) == len(whole)
    for row in whole:
        cell = ours[row["metric"], row["protocol"], row["mean"]]
        assert (cell["value"], cell["n"]) == (row["value"], row["n"])
        assert [cell["low"], cell["high"]] == (row["ci"] or [None, None])
        assert cell["data"] == "phantom"


def test_the_phantom_page_of_a_task_has_floor_and_ceiling_in_its_head(runs: Path, tmp_path: Path) -> None:
    board("build", "--entries", runs, "--out", tmp_path / "site")
    page = (tmp_path / "site" / "tasks" / "samed2d_seg.phantom.html").read_text()
    head = page.partition("<thead>")[2].partition("</thead>")[0]
    assert '<th scope="row" class="who">ceiling (oracle)</th>' in head
    assert '<th scope="row" class="who">floor (empty answers)</th>' in head
    assert "baseline:otsu" in (tmp_path / "site" / "phantom.html").read_text()
    assert "baseline:otsu" not in (tmp_path / "site" / "index.html").read_text()


def test_the_table_of_all_numbers_reads_as_csv(tmp_path: Path) -> None:
    result = board("build", "--out", tmp_path / "site", "--json")
    assert result.exit_code == 0, result.output
    counts = json.loads(result.stdout)
    with (tmp_path / "site" / "data.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert counts["published"] == sum(row["value"] != "" for row in rows) == 903
    assert {row["source"] for row in rows} == {"published"}


def test_the_selector_of_the_page_about_the_board_is_the_shipped_one(repository: Path) -> None:
    page = (repository / "docs" / "leaderboard.md").read_text()
    shown = page.partition("```yaml\ncells:\n")[2].partition("```")[0]
    mapping = (repository / "leaderboard" / "published" / "mapping.yaml").read_text()
    assert shown
    without_comments = "\n".join(line.split(" # ")[0] for line in mapping.splitlines())
    assert shown.strip() in without_comments


def test_a_file_that_is_no_result_is_left_out_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "entries").mkdir()
    (tmp_path / "entries" / "notes.json").write_text('{"schema": 7}')
    result = board("build", "--entries", tmp_path / "entries", "--out", tmp_path / "site")
    assert result.exit_code == 0, result.output
    assert "left out  notes: cannot be read: schema: expected 1, the results of a run" in result.stderr
    assert "notes" in (tmp_path / "site" / "index.html").read_text()


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = board("--debug", "build", "--entries", tmp_path / "nowhere", "--out", tmp_path / "site")
    assert type(result.exception).__name__ == "DataError"


def test_help_loads_nothing_heavy() -> None:
    check = (
        "import sys\nfrom leaderboard.cli import main\nmain(['build', '--help'], standalone_mode=False)\n"
        "print([name for name in ('numpy', 'ray', 'torch', 'jinja2', 'pandas') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
