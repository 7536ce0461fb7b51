"""The notebook runs from its first cell to its last, and what it shows is what comes out."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest


def test_the_notebook_runs_and_shows_what_comes_out(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = json.loads((repository / "docs" / "first-steps.ipynb").read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    shown = 0
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        code = ast.parse("".join(cell["source"]))
        last = code.body.pop() if isinstance(code.body[-1], ast.Expr) else None
        exec(compile(code, "notebook", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "notebook", "eval"), names)
            (output,) = cell["outputs"]
            assert "".join(output["data"]["text/plain"]) == repr(value)
            shown += 1
    assert shown == 4
    assert (tmp_path / "runs" / "otsu" / "report.html").is_file()
