"""Made-up runs in a folder, and the cells of the shipped published numbers."""

import json
from pathlib import Path
from typing import Any

import pytest

from leaderboard.cells import BoardCell, published_cells
from leaderboard.published.mapping import place_published
from leaderboard.published.means import check_means, impossible_counts
from leaderboard.published.printed import decimals, load_published
from tests.unit.leaderboard.board_samples import Write


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a results.json as run `name` and return the folder of all runs."""

    def call(content: Any, name: str = "run") -> Path:
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "results.json").write_text(json.dumps(content))
        return tmp_path / "runs"

    return call


@pytest.fixture(scope="session")
def shipped() -> list[BoardCell]:
    """Return every shipped published cell that has a place."""
    cells = load_published()
    digits = decimals(cells)
    published = place_published(cells)
    return published_cells(
        published, digits, check_means(published.means, digits), impossible_counts(published.cells, digits)
    )
