"""The page of a task or group: what is asked, every number, the protocol ladder, strata, samples, defects."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup, escape

from leaderboard.cells import BoardCell
from leaderboard.site import places, words
from leaderboard.site.board import Site, crumbs_of, table_script
from leaderboard.site.drawings import heat, ladder
from leaderboard.site.rows import EVERY_HEAD, Context, body, cell_text, every_number, number_text
from leaderboard.site.shell import Page, Shell
from leaderboard.site.tables import BoardTable, Chapter, Column, Section

# Most strata side by side; a table with more is turned if it has fewer lines than strata.
WIDEST = 8
MOST_STRATA = 24
# A page with more lines shows the strata of the headline alone; all are in the files of the task.
MOST_LINES_OF_ALL_STRATA = 40
MOST_LADDERS = 30
MOST_EVERY = 1_500


@dataclass(frozen=True, slots=True, kw_only=True)
class StrataTable:
    """A heat map: the strata of one number.

    Attributes:
        heads: Head of each column with the lines below it.
        corner: Head of the first column.
        rows: HTML.
    """

    anchor: str
    title: str
    first: Column
    corner: str
    heads: tuple[tuple[str, tuple[str, ...]], ...]
    rows: Markup


def task_pages(shell: Shell, site: Site, chapters: Sequence[Chapter], phantom: bool) -> Iterator[tuple[str, str]]:
    """Yield the page of each task and group with a number: path below the folder of the site, HTML."""
    known = frozenset(section.place for chapter in chapters for section in chapter.sections)
    for chapter in chapters:
        for section in chapter.sections:
            if section.table is not None:
                yield _task(shell, site, chapter, section, section.table, known, phantom)


def _task(
    shell: Shell,
    site: Site,
    chapter: Chapter,
    section: Section,
    table: BoardTable,
    known: frozenset[str],
    phantom: bool,
) -> tuple[str, str]:
    path = places.task_page(section.place, phantom)
    title = section.title or section.place
    page = Page(
        path=path,
        title=title,
        section="tasks",
        crumbs=crumbs_of(
            phantom,
            ("Tasks", f"tasks/{'phantom' if phantom else 'index'}.html"),
            (chapter.name, places.family_page(chapter.name, phantom)),
        ),
        scripts=(table_script(),),
        phantom=phantom,
    )
    context = Context(root=page.root, phantom=phantom, anchors=True)
    whole = table.overall()
    lead = whole.lead
    cells = [cell for line in table.lines for cell in line.cells if cell is not None and cell.unsupported is None]
    evaluated = [cell for cell in cells if cell.row.source != "published"]
    names, ladders = _ladders(whole, lead)
    # Without a number of the whole, the main table shows the strata, and its cells have the ids.
    strata, cut = _strata(table, whole, lead, replace(context, anchors=whole.columns[lead].stratum is None))
    entries = dict.fromkeys(cell.row.entry for cell in evaluated if cell.row.entry)
    samples = [(entry, file) for entry in entries if (file := places.sample_page(entry, section.place)) in site.written]
    # The named values of a metric, such as BLEU-1 to BLEU-4, share a certificate.
    gamed: dict[str, list[str]] = {}
    for column in whole.columns:
        if column.stratum is None and column.certificate:
            gamed.setdefault(column.certificate, []).append(f"{column.label} ({column.protocol})")
    certificates = [f"{', '.join(labels)}: {words}" for words, labels in gamed.items()]
    return path, shell.render(
        page,
        "task.html",
        title=title,
        chapter=chapter,
        section=section,
        card=site.cards.get(section.place),
        places=known,
        sizes=_sizes(cells),
        whole=whole,
        digits=[whole.digits(index) for index in range(len(whole.columns))],
        protocols=list(dict.fromkeys(column.protocol for column in whole.columns)),
        ranked=any(cell is not None and cell.rank is not None for line in whole.lines for cell in line.cells),
        # The lines are best first by the first column that has a number.
        sorted_by=0,
        notes=table.notes,
        rows=body(whole, context, "note", notes=table.notes, counts=True),
        certificates=list(certificates),
        samples=samples,
        ladders=ladders,
        ladder_protocols=names,
        ladder_words=f"{whole.columns[lead].label}, {whole.columns[lead].mean_label}, by protocol",
        strata=strata,
        cut_strata=cut,
        unsupported=section.unsupported,
        every=every_number(evaluated) if 0 < len(evaluated) <= MOST_EVERY else "",
        every_head=EVERY_HEAD,
    )


def _sizes(cells: Sequence[BoardCell]) -> str:
    """Return how many samples the numbers of the whole task are over."""
    counts = sorted({cell.n for cell in cells if cell.n is not None and cell.stratum is None})
    if not counts:
        return ""
    return f"{counts[0]:,} samples" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,} samples"


def _ladders(whole: BoardTable, lead: int) -> tuple[list[str], list[tuple[str, str, Markup, list[str]]]]:
    """Return the protocols of the leading metric, and for each evaluated line its values under them."""
    first = whole.columns[lead]
    same = [
        index
        for index, of in enumerate(whole.columns)
        if (of.metric, of.name, of.mean, of.stratum, of.judge) == (first.metric, first.name, first.mean, None, None)
    ]
    names = list(dict.fromkeys(whole.columns[index].protocol for index in same))
    if len(names) < 2:
        return [], []
    found: list[tuple[str, str, Markup, list[str]]] = []
    for line in whole.lines:
        cells = [cell for index in same if (cell := line.cells[index]) is not None and cell.value is not None]
        if line.row.source == "published" or len(cells) < 2 or len(found) == MOST_LADDERS:
            continue
        by_name = {cell.protocol: cell for cell in cells}
        values = [words.value_text(by_name[name]) if name in by_name else "–" for name in names]
        found.append((line.row.model, line.row.entry or "", ladder(cells), values))
    return names, found


def _strata(
    table: BoardTable, whole: BoardTable, lead: int, context: Context
) -> tuple[list[tuple[str, list[StrataTable]]], str]:
    """Return the heat maps by property, and what is not shown, in words."""
    by_key = table.by_stratum()
    first = whole.columns[lead]
    of_lead = (first.protocol, first.metric, first.name, first.judge)
    large = len(table.lines) > MOST_LINES_OF_ALL_STRATA
    cut = False
    found = []
    for key, tables in by_key:
        kept = []
        for index, strata in enumerate(tables):
            of = strata.columns[0]
            if large and (of.protocol, of.metric, of.name, of.judge) != of_lead:
                cut = True
                continue
            if len(strata.columns) > MOST_STRATA and large:
                strata = _largest(strata)
                cut = True
            kept.append(_heat_map(strata, f"strata-{places.slug(key)}-{index}", key, context))
        if kept:
            found.append((key, kept))
    words_of_cut = f"The {MOST_STRATA} largest strata of the leading number; all others are in the files of the task."
    return found, words_of_cut if cut else ""


def _largest(strata: BoardTable) -> BoardTable:
    """Return a table of strata with those of most samples, in their order."""
    sizes = [
        max((cell.n or 0 for line in strata.lines if (cell := line.cells[index]) is not None), default=0)
        for index in range(len(strata.columns))
    ]
    chosen = sorted(range(len(sizes)), key=lambda index: -sizes[index])[:MOST_STRATA]
    kept = {strata.columns[index] for index in chosen}
    return strata.only(kept.__contains__) or strata


def _heat_map(strata: BoardTable, anchor: str, key: str, context: Context) -> StrataTable:
    first = strata.columns[0]
    values = [cell.value for line in strata.lines for cell in line.cells if cell is not None and cell.value is not None]
    low, high = min(values, default=0.0), max(values, default=0.0)
    title = f"{first.label}, {first.mean_label}, by {key.replace('_', ' ')}"
    if len(strata.columns) > WIDEST and len(strata.columns) > len(strata.lines):
        heads = tuple(
            (line.row.model, (line.row.entry or ", ".join(filter(None, line.row.printed_in[0])),))
            for line in strata.lines
        )
        rows = [_turned(strata, index, low, high, context) for index in range(len(strata.columns))]
        return StrataTable(
            anchor=anchor,
            title=title,
            first=first,
            corner=key.replace("_", " "),
            heads=(*heads, ("n", ())),
            rows=Markup("\n".join(rows)),
        )

    def shade(cell: BoardCell | None) -> int:
        return heat(cell, low, high)

    return StrataTable(
        anchor=anchor,
        title=title,
        first=first,
        corner="Model",
        heads=tuple((words.stratum_words(of.stratum or ("", "")), _subs(of)) for of in strata.columns),
        rows=body(strata, context, anchor, shade=shade),
    )


def _subs(column: Column) -> tuple[str, ...]:
    count = () if column.n is None else (f"n = {column.n:,}",)
    return (*count, *column.basis)


def _turned(strata: BoardTable, index: int, low: float, high: float, context: Context) -> str:
    """Return one stratum as a line, with a column for each line of the table."""
    column = strata.columns[index]
    subs = "".join(f'<span class="by">{escape(part)}</span>' for part in column.basis)
    cells = [line.cells[index] for line in strata.lines]
    digits = strata.digits(index)
    counts = dict.fromkeys(cell.n for cell in cells if cell is not None and cell.n is not None)
    head = escape(words.stratum_words(column.stratum or ("", "")))
    return (
        f'<tr><th scope="row" class="who">{head}{subs}</th>'
        + "".join(
            f'<td class="n" data-heat="{heat(cell, low, high)}">{cell_text(cell, context, digits)}</td>'
            for cell in cells
        )
        + f'<td class="n">{", ".join(number_text(count) for count in counts) or "–"}</td></tr>'
    )
