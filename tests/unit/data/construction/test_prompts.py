"""Prompts as data files."""

from pathlib import Path

import pytest

from harness.data.construction.prompts import filled, read_prompt_file
from harness.errors import SpecError
from harness.records.request import TextPart

FILE = """
version: 3
source: here
licence: MIT
prompts:
  ask: {system: "Be {tone}.", user: 'Say {"a": 1} of {what}.', examples: [[q, a]], version: 4}
lists: {words: [one]}
"""


def test_a_prompt_fills_its_slots_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(FILE, encoding="utf-8")
    file = read_prompt_file(tmp_path / "own.yaml")
    question = file.prompts["ask"].ask("first", what="{tone}", tone="brief")
    assert [turn.role for turn in question.messages] == ["system", "user", "assistant", "user"]
    words = [part.text for turn in question.messages for part in turn.parts if isinstance(part, TextPart)]
    assert words == ["Be brief.", "q", "a", 'Say {"a": 1} of {tone}.']
    assert (question.name, question.prompt, question.version, file.version) == ("first", "own/ask", 4, 3)


def test_slots_are_filled_in_one_pass() -> None:
    assert filled("{a}{b} {c} {", {"a": "{b}", "b": "x"}) == "{b}x {c} {"


@pytest.mark.parametrize("content", ["version: 1", "- 1", FILE.replace("user", "uses"), "version: [", "version: x"])
def test_a_file_without_source_or_words_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "own.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(SpecError, match=r"own.yaml: expected version, source, licence and prompts with `user`, found"):
        read_prompt_file(tmp_path / "own.yaml")
