"""What the documentation shows runs as it stands there."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest


def _commands(page: Path) -> list[list[str]]:
    """Return every indented `harness ...` command of a page, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", page.read_text(encoding="utf-8"))
    found = re.findall(r"^(?:    )?(harness [^\n#|>]+)", text, flags=re.MULTILINE)
    return [shlex.split(command)[1:] for command in found]


def test_the_adapter_of_the_tutorial_runs(
    command: Any, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = repository / "docs" / "add-a-model.md"
    (example,) = re.findall(r"```python\n(# brightness\.py\n.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    (tmp_path / "brightness.py").write_text(example)
    monkeypatch.chdir(tmp_path)
    (shown,) = [words for words in _commands(page) if words[0] == "run"]
    result = command(*shown, "--out", "run", "--ray", "off")
    assert result.exit_code == 0, result.stderr
    block = json.loads((tmp_path / "run" / "results.json").read_text())["tasks"]["samed2d_seg"]
    assert block["counts"] == {"ok": block["wanted"]}


def test_every_command_that_the_readme_shows_exists(command: Any, repository: Path) -> None:
    shown = _commands(repository / "README.md")
    assert len(shown) >= 5
    for words in shown:
        result = command(words[0], "--help")
        assert result.exit_code == 0, words
        options = [word.partition("=")[0] for word in words if word.startswith("--")]
        assert [option for option in options if option not in result.stdout] == []


def test_the_documents_that_messages_name_are_there(repository: Path) -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (repository / "harness").rglob("*.py"))
    named = set(re.findall(r"docs/[\w-]+\.md", sources))
    assert named
    assert [name for name in sorted(named) if not (repository / name).is_file()] == []
