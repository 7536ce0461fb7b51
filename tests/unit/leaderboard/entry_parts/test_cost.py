"""What a run took, as the board says it; whatever the file beside the results holds, the board is built."""

import json
from pathlib import Path
from typing import Any

import pytest

from leaderboard.entry_parts.cost import cost_of

WHOLE = {
    "requests": 200,
    "model_seconds": 30.0,
    "peak_memory_bytes": 2_500_000_000,
    "peak_gpu_memory_bytes": 14_000_000_000,
    "tokens": 123456,
    "cost": 0.0321,
}


def said(folder: Path, content: Any) -> tuple[str, ...]:
    (folder / "performance.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return cost_of(folder / "results.json")


def test_speed_memory_tokens_and_money_are_said(tmp_path: Path) -> None:
    assert said(tmp_path, WHOLE) == (
        "0.15 s per request",
        "2.5 GB of memory",
        "14 GB of GPU memory",
        "123,456 tokens",
        "cost 0.0321",
    )


def test_what_the_file_does_not_say_is_left_out(tmp_path: Path) -> None:
    assert said(tmp_path, {"requests": 4, "model_seconds": 0.0, "tokens": None, "cost": None}) == ()
    assert cost_of(tmp_path / "nowhere" / "results.json") == ()


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[1]",
        '{"tokens": 1' + "0" * 400 + "}",
        '{"tokens": true}',
        '{"cost": NaN}',
        '{"cost": "1"}',
        '{"cost": -1}',
    ],
)
def test_no_file_ends_the_board(tmp_path: Path, content: str) -> None:
    assert said(tmp_path, content) == ()


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    assert said(tmp_path, json.dumps(WHOLE) + " " * 1_000_000) == ()
