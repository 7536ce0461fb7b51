"""The files of the comparison: whose scores are shipped, how small they are, and that names stay text."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leaderboard.comparison_page import data
from leaderboard.comparison_page.page import extra_pages
from leaderboard.entry_file import read_entries
from tests.unit.leaderboard.board_samples import block, number, results
from tests.unit.leaderboard.sample_scores import write_scores

Write = Callable[..., Path]
HOSTILE = '</script><script>alert(1)</script>"\u202egpj\u2028'


def site(folder: Path) -> dict[str, str]:
    return dict(extra_pages(read_entries(folder)))


def content(script: str) -> tuple[str, Any]:
    """Return the name and the content of a script file."""
    found = re.fullmatch(r"medgroundCompare\((\".*?\"), (.*)\);\n", script)
    assert found is not None, script
    return json.loads(found[1]), json.loads(found[2])


def test_samples_are_shipped_once_and_scores_for_every_model(write: Write) -> None:
    for name in ("a", "b"):
        folder = write(results(name), name=name)
        write_scores(folder / name, [0.0, 1.0, None], ids=["x/2", "x/0", "x/1"], clusters=["p", "q", "p"], failed=(0,))
    write(results("numbers only"), name="c")
    files = site(folder)
    (samples,) = (name for name in files if name.startswith("compare/samples/samed2d_seg."))
    assert set(files) == {
        samples, "compare/scores/a/samed2d_seg.js", "compare/scores/b/samed2d_seg.js", "compare.html",
    }  # fmt: skip
    assert content(files[samples]) == (
        samples,
        {
            "prefix": "x/",
            "ids": ["0", "1", "2"],
            "repeat": [],
            "clusters": ["p", "q"],
            "cluster": [1, 0, 0],
            "strata": [],
        },
    )
    assert content(files["compare/scores/a/samed2d_seg.js"])[1] == {
        "samples": samples, "values": [1, None, 0], "failed": [2],
    }  # fmt: skip
    assert "1 entry has no score of every sample here" in files["compare.html"]


def test_values_that_are_no_whole_numbers_are_shipped_as_bytes(write: Write) -> None:
    for name in ("a", "b"):
        folder = write(results(name), name=name)
        write_scores(folder / name, [1 / 3] * 500)
    (script,) = (text for name, text in site(folder).items() if name.startswith("compare/scores/a/"))
    assert len(content(script)[1]["values"]) == 500 * 8 // 3 * 4 + 4
    assert len(script) < 12 * 500


def test_no_page_is_written_unless_two_models_share_a_task(write: Write) -> None:
    folder = write(results("a"), name="a")
    write_scores(folder / "a", [1.0] * 5)
    other = write(results("b", tasks={"samed2d_seg": block(data_digest="ff" * 32)}), name="b")
    write_scores(other / "b", [1.0] * 5)
    assert "compare.html" not in site(folder)


def test_names_from_outside_are_text_in_every_file(write: Write) -> None:
    for name in ("a", "b"):
        content_of = results(HOSTILE, tasks={"__proto__": block(number(stratum={"kind": HOSTILE}), number())})
        folder = write(content_of, name=name)
        write_scores(
            folder / name, [1.0, 0.0], task="__proto__", ids=[HOSTILE, "z"], clusters=[HOSTILE, "__proto__"],
            strata=[{"kind": HOSTILE}, {"kind": "__proto__"}],
        )  # fmt: skip
    files = site(folder)
    assert all(re.fullmatch(r"[a-z0-9_./-]+", name) for name in files)
    for name, text in files.items():
        if name.endswith(".js"):
            assert text.isascii()
            content(text)
    page = files["compare.html"]
    assert page.count("<script") == page.count("</script>") == 3
    embedded = re.search(r'<script type="application/json" id="index">(.*?)</script>', page, flags=re.DOTALL)
    assert embedded is not None
    index = json.loads(embedded[1])
    assert [model["label"] for model in index["models"]] == [HOSTILE, HOSTILE]
    assert index["tasks"][0]["strata"] == [["kind", HOSTILE]]
    assert "'strict-dynamic'" in page
    assert "unsafe" not in page


def test_tasks_with_too_many_samples_and_broken_files_are_left_out(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "MOST_SAMPLES", 3)
    tasks = {"large": block(), "broken": block(), "fine": block()}
    for name in ("a", "b"):
        folder = write(results(name, tasks=tasks), name=name)
        write_scores(folder / name, [1.0] * 4, task="large")
        write_scores(folder / name, [1.0] * 2, task="fine")
        write_scores(folder / name, [1.0] * 2, task="broken").write_bytes(b"none")
    files = site(folder)
    assert {name.rsplit("/", 1)[1] for name in files if name.startswith("compare/scores/")} == {"fine.js"}
    assert "use <code>harness compare</code>: large." in files["compare.html"]
