"""The folder that holds made-up runs."""

import json
from pathlib import Path
from typing import Any

import pytest

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
