"""Pages of samples as the board adds them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.exports.sample_pages import TaskSamples
from harness.reports.viewer.pages import IndexEntry, SamplePage
from harness.reports.viewer.records import Shape, ShownImage, ViewedSample, Words
from leaderboard.entry_file import BoardEntry
from leaderboard.samples import pages


def _page(number: int) -> SamplePage:
    sample = ViewedSample(
        sample_id="a/<b>", repeat=None, value=0.25, status="ok", prompt=Words(), target=Words(), answer=Words(),
        error="", images=(ShownImage(size=(4, 6), uri=None),), planes=(),
        shapes=(Shape(kind="target", colour=None, name="x", path="M0 0h2v2h-2z"),), unshown="", description="Seen",
        scores=(), facts=(),
    )  # fmt: skip
    index = tuple(IndexEntry(title="a/<b>", value=0.25, status="ok", page=place) for place in (1, 2))
    return SamplePage(
        title="Task, model", summary="All.", number=number, of=2, first=number, samples=(sample,), index=index,
        value_name="dice",
    )  # fmt: skip


def _entry(**fields: Any) -> BoardEntry:
    default = {"name": "mine", "title": "", "model": "m", "data": "phantom", "folder": Path(), "submitted": False}
    return cast("BoardEntry", SimpleNamespace(**{**default, **fields}))


def test_every_page_of_a_set_is_a_page_of_the_site(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = TaskSamples(task="vqa_rad", title="VQA", pages=(_page(1), _page(2)))
    monkeypatch.setattr(pages, "run_samples", lambda *_, **__: [samples, TaskSamples(task="b", title="b", fault="no")])
    found = dict(pages.extra_pages([_entry(), _entry(folder=None), _entry(submitted=True)]))
    assert list(found) == ["samples/mine/vqa_rad/index.html", "samples/mine/vqa_rad/2.html"]
    first = str(found["samples/mine/vqa_rad/index.html"])
    assert 'href="2.html"' in first
    assert 'href="2.html#s2"' in first
    assert "a/&lt;b&gt;" in first
    assert 'd="M0 0h2v2h-2z"' in first
