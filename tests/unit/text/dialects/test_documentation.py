"""docs/models.md lists every dialect and every frame as the tables hold them."""

from pathlib import Path

import pytest

from harness.text.dialects.frames import FRAMES
from harness.text.dialects.table import DIALECTS

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "models.md").read_text(encoding="utf-8")


def cell(text: str) -> str:
    return text.replace("|", "\\|")


@pytest.mark.parametrize("name", DIALECTS)
def test_a_dialect_is_listed_with_its_example(name: str) -> None:
    dialect = DIALECTS[name]
    frames = ", ".join(f"`{frame}`" for frame in dialect.frames)
    gives = ", ".join(sorted(dialect.gives))
    assert f"| `{name}` | {cell(dialect.models)} | `{cell(dialect.example)}` | {frames} | {gives} |\n" in PAGE


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_is_listed_with_its_arguments(name: str) -> None:
    kind = FRAMES[name]
    assert f"| `{name}` | {kind.summary} | {', '.join(f'`{argument}`' for argument in kind.arguments)} |\n" in PAGE
