"""One table of the board in each format. Values are natural (0 to 1 for shares) in CSV and JSON, percent in LaTeX."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness.exports.csv_cells import harmless
from leaderboard.cells import BoardCell, BoardRow
from leaderboard.site.tables import BoardTable, Column
from leaderboard.table_exports.references import cited, references
from leaderboard.table_exports.safe_text import bibtex_key, latex, one_line

SCHEMA = 1
_NUMBERS = ("value", "low", "high", "n", "rank")


def table_json(table: BoardTable, title: str) -> str:
    """Return a table as JSON: its columns, then one record per line with a list of numbers in the order of the columns.

    Args:
        table: The table.
        title: What its caption says.
    """
    document = {
        "schema": SCHEMA,
        "title": title,
        "place": table.place,
        "columns": [_column(column) for column in table.columns],
        "bounds": [{"name": name, "numbers": _numbers(cells)} for name, cells in table.bounds],
        "lines": [{**_row(line.row), "numbers": _numbers(line.cells)} for line in table.lines],
    }
    # In ASCII, so that no mark of direction hides in the file.
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def table_csv(table: BoardTable) -> str:
    """Return a table as CSV: one line per model, and value, interval, n and rank of every column side by side."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    heads = [_head(column) for column in table.columns]
    writer.writerow(map(_cell, [*_row_keys(), *(f"{head}: {part}" for head in heads for part in _NUMBERS)]))
    for line in table.lines:
        cells = [number.get(part) for number in _numbers(line.cells) for part in _NUMBERS]
        writer.writerow(map(_cell, [*_row(line.row).values(), *cells]))
    for name, bounds in table.bounds:
        cells = [number.get(part) for number in _numbers(bounds) for part in _NUMBERS]
        writer.writerow(map(_cell, [name, "bound", *[None] * (len(_row_keys()) - 2), *cells]))
    return text.getvalue()


def table_latex(table: BoardTable, title: str) -> str:
    """Return a table as LaTeX for `booktabs`: values in percent, intervals below them, bounds first; needs no more.

    Every text is escaped, so that the file compiles and a name is nothing but a name.
    """
    label = bibtex_key(table.place)
    lines = [
        "% Needs \\usepackage{booktabs}; the references are those of the BibTeX file of this table.",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{latex(title)}. 95\\,\\% intervals in brackets.}}",
        f"\\label{{tab:medground:{label}}}",
        f"\\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
        "\\toprule",
        " & ".join(["Model", *(latex(_head(column)) for column in table.columns)]) + " \\\\",
        "\\midrule",
    ]
    for name, cells in table.bounds:
        lines.append(" & ".join([f"\\emph{{{latex(name)}}}", *map(_latex_number, cells)]) + " \\\\")
    if table.bounds:
        lines.append("\\midrule")
    for line in table.lines:
        keys = ",".join(dict.fromkeys(cited(paper)[0] for paper, _ in line.row.printed_in))
        name = latex(line.row.model) + (f"~\\cite{{{keys}}}" if keys else "")
        lines.append(" & ".join([name, *map(_latex_number, line.cells)]) + " \\\\")
    lines += ["\\bottomrule", "\\end{tabular}", "\\end{table}"]
    return "\n".join(lines) + "\n"


def table_bibtex(table: BoardTable, title: str, version: str) -> str:
    """Return what a reader of a table cites: MedGround, the table, its papers, and pages of its models.

    Args:
        table: The table.
        title: What its caption says.
        version: Of MedGround.
    """
    papers = dict.fromkeys(paper for line in table.lines for paper, _ in line.row.printed_in)
    pages = dict.fromkeys((line.row.model, line.row.url) for line in table.lines if line.row.url)
    return references(table.place, title, version, list(papers), [(name, url) for name, url in pages if url])


def _cell(value: Any) -> Any:
    return harmless(one_line(value)) if isinstance(value, str) else value


def _head(column: Column) -> str:
    stratum = "" if column.stratum is None else f"{column.stratum[0].replace('_', ' ')} {column.stratum[1]}, "
    judge = "" if column.judge is None else f", judge {column.judge}"
    basis = f" ({', '.join(column.basis)})" if column.basis else ""
    n = f", n = {column.n}" if column.n is not None else ""
    return f"{stratum}{column.label}, {column.mean_label}, protocol {column.protocol}{judge}{n}{basis}"


def _column(column: Column) -> Mapping[str, Any]:
    return {
        "metric": column.metric,
        "name": column.name,
        "protocol": column.protocol,
        "mean": column.mean,
        "over": column.over,
        "stratum": None if column.stratum is None else {column.stratum[0]: column.stratum[1]},
        "unit": column.unit,
        "n": column.n,
        "basis": list(column.basis),
        "judge": column.judge,
        "higher_is_better": column.higher_is_better,
    }


def _row_keys() -> tuple[str, ...]:
    return ("model", "source", "run_by", "printed_in", "entry", "model_id", "url", "details")


def _row(row: BoardRow) -> dict[str, Any]:
    """Return whose line it is, in the order of `_row_keys`."""
    printed = "; ".join(", ".join(filter(None, place)) for place in row.printed_in) or None
    about = (row.model, row.source, row.run_by, printed, row.entry, row.model_id, row.url, "; ".join(row.details))
    return dict(zip(_row_keys(), about, strict=True))


def _numbers(cells: Sequence[BoardCell | None]) -> list[dict[str, Any]]:
    """Return what is known of each number; an empty object for an empty cell."""
    found: list[dict[str, Any]] = []
    for cell in cells:
        if cell is None:
            found.append({})
        elif cell.unsupported is not None:
            found.append({"unsupported": cell.unsupported})
        else:
            low, high = cell.interval or (None, None)
            found.append(
                {
                    "value": cell.value,
                    "printed": cell.printed,
                    "low": low,
                    "high": high,
                    "interval": cell.method,
                    "n": cell.n,
                    "rank": cell.rank,
                }
            )
    return found


def _latex_number(cell: BoardCell | None) -> str:
    if cell is None:
        return ""
    if cell.unsupported is not None:
        return "$\\times$"
    if cell.value is None:
        return "--"
    scale = 100 if cell.unit == "share" else 1
    text = f"{scale * cell.value:.{cell.digits}f}"
    if cell.interval is not None:
        low, high = (f"{scale * bound:.{1 if scale == 100 else 2}f}" for bound in cell.interval)
        text += f" [{low}, {high}]"
    return text.replace("-", "$-$")
