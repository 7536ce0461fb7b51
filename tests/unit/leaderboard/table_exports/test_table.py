"""A table in every format holds its numbers, and names from outside are text in all of them."""

import csv
import io
import json
import re
from dataclasses import replace
from typing import Any

import pytest

from leaderboard.cells import BoardRow
from leaderboard.site.tables import BoardTable, Column, Line
from leaderboard.table_exports.safe_text import bibtex, bibtex_key, latex, one_line
from leaderboard.table_exports.table import table_bibtex, table_csv, table_json, table_latex
from tests.unit.leaderboard.board_samples import printed

HOSTILE = [
    "=cmd|' /C calc'!A0",
    "\t@SUM(1)",
    "</script><script>alert(1)</script>",
    "\\input{/etc/passwd} $x$ 100% & #_{}~^",
    "a\u202egpj.exe\u2066b",
    "two\nlines\x00and\x1bmore",
    "quote \" and `tick` -- '' ,,",
    "x" * 10_000,
]


def table_of(names: list[str], **change: Any) -> BoardTable:
    """Return a table with one published line per name, a run of a model, and the floor."""
    column = Column(
        protocol="standard", metric="dice", name="dice", mean="micro", over=None, stratum=None, unit="share", n=None,
        basis=(),
    )  # fmt: skip
    lines = [Line(cell.row, (cell,)) for name in names for cell in [printed(name, 0.25, interval=(0.2, 0.3))]]
    run = BoardRow(source="submitted", model="own", entry="own-run", model_id="own", url="https://a.example/x?y=1&z={}")
    own = replace(printed("own", 0.5), row=run, interval=(0.4, 0.6), method="bca", n=20, rank=1)
    unsupported = replace(printed("none", None), unsupported="no volumes")
    bounds = (("floor", (replace(printed("floor", 0.0), interval=None),)),)
    return BoardTable(
        place="samed2d_seg", columns=(column,), bounds=bounds,
        lines=(Line(run, (own,)), *lines, Line(unsupported.row, (unsupported,)), Line(run, (None,))), **change,
    )  # fmt: skip


def test_json_has_every_number_with_its_interval_rank_and_reason() -> None:
    document = json.loads(table_json(table_of(["DMMI"]), "Segmentation"))
    assert (document["title"], document["place"]) == ("Segmentation", "samed2d_seg")
    assert document["columns"][0]["protocol"] == "standard"
    own, paper, none, empty = document["lines"]
    assert own["numbers"] == [
        {"value": 0.5, "printed": None, "low": 0.4, "high": 0.6, "interval": "bca", "n": 20, "rank": 1}
    ]
    assert (paper["model"], paper["printed_in"], paper["numbers"][0]["value"]) == ("DMMI", "P, Table 1", 0.25)
    assert none["numbers"] == [{"unsupported": "no volumes"}]
    assert empty["numbers"] == [{}]
    assert document["bounds"] == [{"name": "floor", "numbers": [{**own["numbers"][0], "value": 0.0, "low": None,
                                   "high": None, "interval": None, "n": None, "rank": None}]}]  # fmt: skip


def test_csv_has_a_line_per_model_and_the_bounds() -> None:
    head, own, *_, floor = csv.reader(io.StringIO(table_csv(table_of([])), newline=""))
    values = dict(zip(head, own, strict=True))
    assert (values["model"], values["source"], values["entry"]) == ("own", "submitted", "own-run")
    numbers = {name.rpartition(": ")[2]: value for name, value in values.items() if ": " in name}
    assert numbers == {"value": "0.5", "low": "0.4", "high": "0.6", "n": "20", "rank": "1"}
    assert floor[:2] == ["floor", "bound"]
    assert floor[8] == "0.0"


def test_hostile_names_are_text_in_csv_and_json() -> None:
    text = table_csv(table_of(HOSTILE))
    rows = list(csv.reader(io.StringIO(text, newline="")))
    names = [row[0] for row in rows[2 : 2 + len(HOSTILE)]]
    assert names[:3] == ["'=cmd|' /C calc'!A0", "'@SUM(1)", "</script><script>alert(1)</script>"]
    assert names[4:6] == ["agpj.exeb", "two linesandmore"]
    assert not any(cell[:1] in ("=", "+", "-", "@", "\t") for row in rows for cell in row if not _is_number(cell))
    assert {line["model"] for line in json.loads(table_json(table_of(HOSTILE), "t"))["lines"]} >= set(HOSTILE)
    assert table_json(table_of(HOSTILE), HOSTILE[4]).isascii()


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?", cell) is not None


def test_latex_has_percents_intervals_bounds_and_citations() -> None:
    lines = table_latex(table_of(["DMMI"]), "Segmentation of 5% & more").splitlines()
    assert "\\caption{Segmentation of 5\\% \\& more. 95\\,\\% intervals in brackets.}" in lines
    assert "\\emph{floor} & 0.0 \\\\" in lines
    assert "own & 50.0 [40.0, 60.0] \\\\" in lines
    assert "DMMI~\\cite{P} & 25.0 [20.0, 30.0] \\\\" in lines
    assert "none~\\cite{P} & $\\times$ \\\\" in lines


def test_no_special_character_of_a_name_reaches_latex_or_bibtex() -> None:
    commands = r"\\(?:textbackslash|textasciicircum|textasciitilde|textless|textgreater|textbar|char34|char96)\{\}"
    for name in HOSTILE:
        left = re.sub(rf"{commands}|\\[{{}}$&#%_]|\{{\}}", "", latex(name))
        assert not set(left) & set('\\{}$&#%_^~<>|"`\n\t\x00\u202e'), name
        field = bibtex(name)
        assert field.count("{") == field.count("}")
        assert not re.search(r"(?<!\\)[$&#%_^~]", field)
    assert latex("a--b ''c''") == "a-{}-b '{}'c'{}'"


def test_bibtex_names_medground_the_table_the_papers_and_the_pages() -> None:
    table = table_of(["DMMI"])
    paper = replace(printed("X").row, printed_in=(("M3D (arXiv 2404.00578)", "Table 2"), ("Odd {paper}", "")))
    table = replace(table, lines=(*table.lines, Line(paper, (None,))))
    text = table_bibtex(table, "Segmentation, {all}", "0.1.0")
    keys = re.findall(r"^@(\w+)\{([^,]+),$", text, flags=re.MULTILINE)
    assert keys == [
        ("software", "medground"), ("misc", "medground:samed2d-seg"), ("misc", "P"), ("misc", "m3d"),
        ("misc", "Odd-paper"), ("misc", "model:own"),
    ]  # fmt: skip
    assert "title = {MedGround board: Segmentation, \\textbraceleft{}all\\textbraceright{}}" in text
    assert "eprint = {2404.00578}" in text
    assert "howpublished = {\\url{https://a.example/x?y=1&z=%7B%7D}}" in text
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize(("text", "key"), [("a b/c", "a-b-c"), ("{}", "entry"), ("m3d", "m3d"), ("\u65e5", "entry")])
def test_keys_are_plain(text: str, key: str) -> None:
    assert bibtex_key(text) == key


def test_one_line_keeps_words_of_every_script() -> None:
    assert one_line(" \u0645\u06cc\u200c\u062e \n \u65e5\u672c ") == "\u0645\u06cc\u200c\u062e \u65e5\u672c"
