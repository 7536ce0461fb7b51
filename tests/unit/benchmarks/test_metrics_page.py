"""docs/metrics.md, made from the table of metrics."""

import re
from pathlib import Path

import pytest

from benchmarks.markdown import put
from benchmarks.metrics_page import FAMILIES, MARK, markdown, write
from harness.cli.metric.input import EXAMPLES, KEYS
from harness.cli.metric.lines import run
from harness.metrics import METRICS, names

REPOSITORY = Path(__file__).resolve().parents[3]
PAGE = REPOSITORY / "docs" / "metrics.md"


def test_the_page_is_what_the_table_gives() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert put(page, MARK, markdown()) == page, "run 'python benchmarks/metrics_page.py'"


def test_the_page_is_written_in_place(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table begins -->\nwhat was there\n<!-- table ends -->\nafter\n", encoding="utf-8")
    write(page)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- table begins -->\n\n| kind |")
    assert text.endswith("\n\n<!-- table ends -->\nafter\n")
    assert "what was there" not in text


def test_every_metric_belongs_to_one_family() -> None:
    assert sorted(name for family in FAMILIES.values() for name in family) == sorted(names())


def test_every_table_of_the_page_is_as_wide_in_each_row() -> None:
    blocks = re.findall(r"(?:^\|.*\n?)+", markdown(), flags=re.MULTILINE)
    assert len(blocks) == 2 + 2 * len(names())
    for block in blocks:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block


def test_every_protocol_stands_in_the_section_of_its_metric() -> None:
    sections = dict(re.findall(r"^### (\S+)\n(.*?)(?=^##|\Z)", markdown(), flags=re.MULTILINE | re.DOTALL))
    for metric in METRICS:
        assert f"\n| `{metric.protocol}` | " in sections[metric.name]


def test_the_links_of_the_contents_lead_to_headings() -> None:
    text = markdown()
    anchors = {heading.replace(".", "") for heading in re.findall(r"^### (\S+)$", text, flags=re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) == anchors


@pytest.mark.parametrize("kind", KEYS)
def test_the_example_of_each_kind_of_line_is_scored(kind: str) -> None:
    metric = next(row for row in METRICS if row.line == kind and row.resource is None)
    (line,) = run([EXAMPLES[metric.line].encode()], metric.name, metric.protocol, (), aggregate=False)
    assert line.value["status"] == "ok"
    assert line.value["value"] > 0
