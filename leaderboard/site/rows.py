"""Lines and cells of tables as HTML. Written in Python, not in templates: a board has hundreds of thousands of cells.

Whatever comes from an entry or a paper goes through `escape`; the rest is ours.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from leaderboard.cells import BoardCell, BoardRow
from leaderboard.site.drawings import strip
from leaderboard.site.places import model_page
from leaderboard.site.tables import BoardTable, Line
from leaderboard.site.words import BADGES, interval_text, mark, metric_words, value_text

_PARAMETERS = re.compile(r"(\d+(?:\.\d+)?)([KMBT]?)(?:/\d+(?:\.\d+)?[KMBT]?| parameters)?")
_FACTORS = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
NOTHING = '<span class="soft" aria-hidden="true">·</span><span class="hidden">none</span>'


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Where the rows of a page are.

    Attributes:
        root: The way from the page to the folder of the site.
        phantom: Whether its numbers are of synthetic patients.
        anchors: Whether each cell gets an id, by which other pages link to it; once a number, on the page of its task.
    """

    root: str
    phantom: bool
    anchors: bool = False


def row_key(row: BoardRow) -> str:
    """Return a short name of a row for anchors: the same in every build in which the row has the same origin."""
    # A table has two printed rows of one model and setting only if two tables contradict each other.
    parts = (row.entry,) if row.source != "published" else (row.model, row.run_by, row.details, row.printed_in[:1])
    return hashlib.sha256(repr((row.source, *parts)).encode()).hexdigest()[:8]


def cell_text(cell: BoardCell | None, context: Context, digits: int | None = None) -> str:
    """Return what is in a cell: value, interval, remark; `x` with the reason for a task that the model cannot do."""
    if cell is None:
        return NOTHING
    if cell.unsupported is not None:
        reason = escape(cell.unsupported or "the paper marks it as impossible")
        return f'<abbr title="{reason}">x</abbr><span class="hidden"> unsupported: {reason}</span>'
    text = value_text(cell, digits)
    if cell.interval is not None:
        wilson = ' <abbr title="Wilson\'s interval">W</abbr>' if cell.method == "wilson" else ""
        text += f'<span class="ci">{interval_text(cell)}{wilson}</span>'
    if cell.remark is not None:
        words, anchor = cell.remark
        text += f'<a class="flag" href="{context.root}checks.html#{escape(anchor)}">{escape(words)}</a>'
    return text


def badges(row: BoardRow, reproduces: bool = False) -> str:
    """Return where a row comes from, as badges."""
    met = ' <span class="badge met">reproduced</span>' if reproduces else ""
    return f'<span class="badge {row.source}">{BADGES[row.source]}</span>{met}'


def origin(row: BoardRow) -> str:
    """Return who ran a row and where it is printed, and its details, as text that is escaped."""
    parts = []
    if row.source == "published":
        own = "".join(f", {_unbroken(table)}" for paper, table in row.printed_in if paper == row.run_by and table)
        parts.append(f"as run by {row.run_by}{own}")
        parts += [
            f"printed in {paper}{f', {_unbroken(table)}' if table else ''}"
            for paper, table in row.printed_in
            if paper != row.run_by
        ]
    else:
        parts.append(f"entry {row.entry}")
    return str(escape("; ".join([*parts, *row.details])))


def _unbroken(table: str) -> str:
    return table.replace(" ", "\u00a0")


def who(line: Line, context: Context, notes: Sequence[str] = (), anchor: str = "") -> str:
    """Return the head of a line: model, badges, marks of its footnotes, origin."""
    row = line.row
    link = f"{context.root}{model_page(row.model, context.phantom)}"
    marks = "".join(
        f'<sup><a href="#{anchor}-note-{notes.index(note) + 1}" aria-label="note {mark(notes.index(note))}">'
        f"{mark(notes.index(note))}</a></sup>"
        for note in line.notes
        if note in notes
    )
    return (
        f'<a class="model" href="{link}">{escape(row.model)}</a> {badges(row, line.reproduces)}{marks}'
        f'<span class="by">{origin(row)}</span>'
    )


def line_attributes(line: Line) -> str:
    """Return what the controls of a table filter by: badges, parameters, and the words of the search."""
    row = line.row
    words = f"{row.model} {row.run_by or ''} {row.entry or ''}".casefold()[:200]
    size = parameters(row)
    params = "" if size is None else f' data-params="{size:.0f}"'
    return f'data-badge="{row.source}{" met" if line.reproduces else ""}"{params} data-words="{escape(words)}"'


def body(
    table: BoardTable,
    context: Context,
    anchor: str,
    *,
    notes: Sequence[str] = (),
    shade: Callable[[BoardCell | None], int] | None = None,
    counts: bool = False,
) -> Markup:
    """Return the lines of a table.

    Args:
        table: The columns are its, in order.
        context: Of the page.
        anchor: Begins the ids of the footnotes.
        notes: Footnotes of the page that marks refer to.
        shade: Shade 0 to 5 of a cell, for a heat map.
        counts: Whether the lines have ids, begin with rank and a drawing, and end with n, coverage and failed answers:
            those of the main table of a page.
    """
    digits = [table.digits(index) for index in range(len(table.columns))]
    keys = [column.key for column in table.columns]
    lead = table.lead if counts else 0
    lines = []
    for line in table.lines:
        key = row_key(line.row)
        cells = []
        for index, cell in enumerate(line.cells):
            name = f' id="{key}-{keys[index]}"' if context.anchors and cell is not None else ""
            tone = f' data-heat="{shade(cell)}"' if shade is not None else ""
            cells.append(f'<td class="n"{name}{tone}>{cell_text(cell, context, digits[index])}</td>')
        name = f' id="{key}"' if counts else ""
        before, after = "", ""
        if counts:
            first = line.cells[lead]
            before = f'<td class="n rank">{rank_text(first)}</td><td class="range">{strip(first)}</td>'
            after = count_cells(line)
        lines.append(
            f'<tr{name} {line_attributes(line)}><th scope="row" class="who">{who(line, context, notes, anchor)}</th>'
            f"{before}{''.join(cells)}{after}</tr>"
        )
    return Markup("\n".join(lines))


def rank_text(cell: BoardCell | None) -> str:
    """Return the rank of a number; a dash if its model cannot be ranked."""
    if cell is None or cell.rank is None:
        return '<span class="soft" aria-hidden="true">–</span><span class="hidden">no rank</span>'
    return str(cell.rank)


def count_cells(line: Line) -> str:
    """Return n, coverage and failed answers of an evaluated line, from its first number; empty cells for others."""
    first = next((cell for cell in line.cells if cell is not None and cell.value is not None), None)
    if line.row.source == "published" or first is None:
        return "<td></td><td></td><td></td>"
    coverage = "–" if first.coverage is None else f"{100 * first.coverage:.1f} %"
    return "".join(f'<td class="n">{text}</td>' for text in (number_text(first.n), coverage, number_text(first.failed)))


def number_text(number: int | None) -> str:
    """Return a count with commas; a dash for none."""
    return "–" if number is None else f"{number:,}"


def parameters(row: BoardRow) -> float | None:
    """Return the number of parameters that the details of a row name, such as `7B`; None if they name none.

    Of the sum of two parts, `12B/7B`, the first is the whole.
    """
    for detail in row.details:
        if found := _PARAMETERS.fullmatch(detail):
            return float(found[1]) * _FACTORS[found[2]]
    return None


EVERY_HEAD = Markup(
    '<thead><tr><th scope="col" class="who">Model</th><th scope="col">Task</th><th scope="col">Metric, protocol</th>'
    '<th scope="col">Mean</th><th scope="col">Stratum</th><th scope="col" class="n">Value</th>'
    '<th scope="col" class="n">95 % interval</th><th scope="col">Method</th><th scope="col" class="n count">n</th>'
    '<th scope="col" class="n count">Clusters</th><th scope="col" class="n count">Failed</th>'
    '<th scope="col" class="n count">Unparsed</th><th scope="col" class="n count">Undefined</th>'
    '<th scope="col">Basis</th></tr></thead>'
)


def every_number(cells: Iterable[BoardCell]) -> Markup:
    """Return a line for each number of evaluated runs, with its interval's method and all counts."""
    lines = []
    heads: dict[int, str] = {}
    for cell in cells:
        # Cells of one block share their row, so its text is made once.
        if id(cell.row) not in heads:
            heads[id(cell.row)] = f'{escape(cell.row.model)}<span class="by">{escape(cell.row.entry)}</span>'
        mean = f"{cell.mean} over {cell.over}" if cell.mean == "macro" and cell.over else cell.mean
        counts = (cell.n, cell.clusters, cell.failed, cell.unparsed, cell.undefined)
        lines.append(
            f'<tr><th scope="row" class="who">{heads[id(cell.row)]}</th><td>{escape(cell.place)}</td>'
            f"<td>{escape(metric_words(cell.metric, cell.name))}, {escape(cell.protocol)}</td><td>{escape(mean)}</td>"
            f"<td>{escape(' '.join(cell.stratum)) if cell.stratum else 'all'}</td>"
            f'<td class="n">{value_text(cell)}</td><td class="n">{interval_text(cell) or "–"}</td>'
            f"<td>{escape(cell.method or '–')}</td>"
            + "".join(f'<td class="n">{number_text(count)}</td>' for count in counts)
            + f"<td>{escape(', '.join(cell.basis))}</td></tr>"
        )
    return Markup("\n".join(lines))
