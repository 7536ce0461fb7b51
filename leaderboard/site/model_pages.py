"""The page of a model: its runs, its numbers over all tasks, what it cannot do, its strongest and weakest strata."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup

from leaderboard.cells import BoardCell, BoardRow
from leaderboard.entry_file import BoardEntry
from leaderboard.entry_parts.run import run_facts
from leaderboard.site import places, words
from leaderboard.site.board import Head, Site, crumbs_of, heads_of
from leaderboard.site.drawings import strip
from leaderboard.site.models import ModelGroup
from leaderboard.site.rows import (
    EVERY_HEAD,
    Context,
    badges,
    cell_text,
    count_cells,
    every_number,
    number_text,
    origin,
    rank_text,
    row_key,
)
from leaderboard.site.shell import Page, Shell
from leaderboard.site.tables import Chapter, Line

LEAST_N = 10  # samples of a stratum that says something of a model
MOST_STRATA = 6  # above, and as many below, the number of the whole
MOST_EVERY = 3_000  # lines of the table of every number, which a browser lays out in well below a second


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run or printed row of a model, as a card; `comparison` is where it is compared with others, if it can be."""

    name: str
    facts: tuple[tuple[str, str], ...]
    url: str | None = None
    command: str = ""
    comparison: str = ""


def model_pages(
    shell: Shell, site: Site, chapters: Sequence[Chapter], groups: Sequence[ModelGroup], phantom: bool
) -> Iterator[tuple[str, str]]:
    """Yield the page of each model: path below the folder of the site, HTML."""
    heads = {head.section.place: head for chapter in chapters for head in heads_of(chapter, phantom)}
    entries = {entry.name: entry for entry in site.entries}
    by_name: dict[str, list[ModelGroup]] = {}
    for group in groups:
        by_name.setdefault(places.same_name(group.name), []).append(group)
    twins = {
        places.same_name(line.row.model)
        for chapter in (site.real if phantom else site.phantom)
        for section in chapter.sections
        for line in (section.table.lines if section.table is not None else ())
    }
    for key, found in by_name.items():
        yield _model(shell, site, found, heads, entries, key in twins, phantom)


def _model(
    shell: Shell,
    site: Site,
    groups: Sequence[ModelGroup],
    heads: Mapping[str, Head],
    entries: Mapping[str, BoardEntry],
    twin: bool,
    phantom: bool,
) -> tuple[str, str]:
    name = groups[0].name
    path = places.model_page(name, phantom)
    page = Page(
        path=path,
        title=name,
        section="models",
        crumbs=crumbs_of(phantom, ("Models", f"models/{'phantom' if phantom else 'index'}.html")),
        phantom=phantom,
    )
    context = Context(root=page.root, phantom=phantom)
    lines = [(place, line) for group in groups for place, line in group.places]
    rows = dict.fromkeys(line.row for _, line in lines)
    refused: dict[tuple[str, str | None], BoardCell] = {}
    forest: list[dict[str, Any]] = []
    for place, line in lines:
        first = line.first
        if first is not None and first.unsupported is not None:
            refused.setdefault((place, line.row.entry), first)
        elif first is not None:
            forest.append(_forest_line(site, heads[place], line, context))
    cells = [
        cell
        for _, line in lines
        for cell in line.cells
        if line.row.source != "published" and cell is not None and cell.unsupported is None
    ]
    numbers = sum(group.numbers for group in groups)
    return path, shell.render(
        page,
        "model.html",
        name=name,
        kinds=[group.source for group in groups],
        reproduces=any(group.reproduces for group in groups),
        numbers=numbers,
        tasks=len({place for place, line in lines if line.has_number}),
        other=places.model_page(name, not phantom) if twin else "",
        runs=_runs(rows, entries, site.written),
        forest=forest,
        has_samples=any(item["samples"] for item in forest),
        unsupported=[(heads[cell.place].title, cell) for cell in refused.values()],
        strengths=_strengths(lines, heads),
        least_n=LEAST_N,
        every=every_number(cells[:MOST_EVERY]) if cells else "",
        every_count=f"{len(cells):,}" if len(cells) <= MOST_EVERY else f"The first {MOST_EVERY:,} of {len(cells):,}",
        every_head=EVERY_HEAD,
    )


def _forest_line(site: Site, head: Head, line: Line, context: Context) -> dict[str, Any]:
    """Return what the table over all tasks says of one line: the number of its task, else its first."""
    at = next(
        (
            index
            for index in (head.index, *range(len(line.cells)))
            if (cell := line.cells[index]) and cell.value is not None
        ),
        head.index,
    )
    cell, column = line.cells[at], head.table.columns[at]
    about = [column.mean_label, f"protocol {column.protocol}"]
    if column.stratum is not None:
        about.insert(0, f"{column.stratum[0].replace('_', ' ')} {words.stratum_words(column.stratum)}")
    if words.direction(column.metric, column.protocol, column.higher_is_better):
        about.append("lower is better")
    samples = places.sample_page(line.row.entry, head.section.place) if line.row.entry else ""
    unit = words.unit_words(column.unit, column.metric)
    # A line without a number of the whole task is not in the first table of its page.
    in_first = any(line.cells[index] for index, of in enumerate(head.table.columns) if of.stratum is None)
    anchor = f"#{row_key(line.row)}" if in_first or head.column.stratum is not None else ""
    return {
        "title": head.title,
        "family": head.chapter.name,
        "link": f"{head.task_page}{anchor}",
        "value": Markup(cell_text(cell, context)),
        "drawing": strip(cell),
        "metric": f"{column.label}, {unit}",
        "about": ", ".join(about),
        "rank": Markup(f'<td class="n rank">{rank_text(cell)}</td>'),
        "counts": Markup(count_cells(line)),
        "origin": Markup(f"{badges(line.row, line.reproduces)} {origin(line.row)}"),
        "samples": samples if samples in site.written else "",
    }


def _runs(rows: Mapping[BoardRow, None], entries: Mapping[str, BoardEntry], written: frozenset[str]) -> list[Run]:
    """Return a card for each run of the model; printed rows are in the table of all tasks."""
    found = []
    for name in dict.fromkeys(row.entry for row in rows if row.entry is not None):
        entry = entries.get(name)
        if entry is None:
            continue
        known = run_facts(entry.folder)
        scores = f"{places.COMPARED_SCORES}/{places.slug(name)}/"
        compared = places.COMPARE in written and any(path.startswith(scores) for path in written)
        fallbacks = dict.fromkeys(fallback for block in entry.blocks for fallback in block.fallbacks)
        dates = known.last if known.first in ("", known.last) else f"{known.first} to {known.last}"
        facts = (
            ("Model", ", version ".join(filter(None, (entry.model, known.model_version)))),
            ("Described as", "; ".join(entry.described)),
            ("Arguments", "; ".join(entry.arguments)),
            ("Takes", ", ".join(known.takes)),
            ("Gives", ", ".join(known.gives)),
            ("Volumes", known.volume),
            ("Fallbacks", "; ".join(fallbacks)),
            ("Cost", "; ".join(entry.cost)),
            ("Date", dates),
            ("Versions", ", ".join((*known.versions, *((f"commit {known.commit}",) if known.commit else ())))),
            ("Machine", known.machine),
        )
        found.append(
            Run(
                name=name,
                facts=tuple((term, text) for term, text in facts if text),
                url=entry.url,
                command=known.command,
                comparison=f"{places.COMPARE}#{urlencode({'a': name})}" if compared else "",
            )
        )
    return found


def _strengths(lines: Sequence[tuple[str, Line]], heads: Mapping[str, Head]) -> list[dict[str, Any]]:
    """Return the strata whose number is farthest from that of the whole task, best first."""
    found: list[tuple[float, dict[str, Any]]] = []
    for place, line in lines:
        head = heads[place]
        column, whole = head.column, line.cells[head.index]
        if whole is None or whole.value is None or column.unit != "share" or column.stratum is not None:
            continue
        sign = 1 if whole.higher_is_better else -1
        of = (column.protocol, column.metric, column.name, column.judge)
        for other, cell in zip(head.table.columns, line.cells, strict=True):
            if other.stratum is None or (other.protocol, other.metric, other.name, other.judge) != of:
                continue
            if cell is None or cell.value is None or (cell.n is not None and cell.n < LEAST_N):
                continue
            difference = 100 * (cell.value - whole.value)
            stratum = f"{other.stratum[0].replace('_', ' ')} {words.stratum_words(other.stratum)}"
            text = {
                "stratum": stratum,
                "title": head.title,
                "link": f"{head.task_page}#{row_key(line.row)}",
                "difference": f"{difference:+.1f}",
                "value": words.value_text(cell),
                "whole": words.value_text(whole),
                "n": number_text(cell.n),
                "metric": f"{column.label}, {other.mean_label}",
            }
            found.append((sign * difference, text))
    found.sort(key=lambda item: -item[0])
    best = [text for difference, text in found[:MOST_STRATA] if difference > 0]
    worst = [text for difference, text in found[-MOST_STRATA:] if difference < 0]
    return best + worst
