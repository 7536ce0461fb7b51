"""The files of every table of a task: what is beside the numbers of `leaderboard.site.export`, for papers."""

from collections.abc import Iterator, Sequence
from importlib import metadata

from leaderboard.site.places import data_file
from leaderboard.site.tables import BoardTable, Chapter
from leaderboard.table_exports.table import table_bibtex, table_csv, table_json, table_latex

# Endings of the files of one table, with what a link to it says.
TABLE_FILES = (("table.csv", "CSV"), ("table.json", "JSON"), ("tex", "LaTeX"), ("bib", "BibTeX"))
# A table of a paper has no more; larger ones are for computing, and the files of numbers are for that.
MOST_LATEX_COLUMNS = 12


def table_files(chapters: Sequence[Chapter], *, phantom: bool) -> Iterator[tuple[str, str]]:
    """Yield (file below the folder of the site, content) of the table of every task, and of its strata in LaTeX.

    Args:
        chapters: Those of real data, or those of synthetic patients.
        phantom: Which of the two.
    """
    version = metadata.version("medground")
    for chapter in chapters:
        for section in chapter.sections:
            if section.table is None:
                continue
            title = section.title or section.place
            title = f"{title}, synthetic patients" if phantom else title
            whole = section.table.overall()
            strata = [(key, table) for key, tables in section.table.by_stratum() for table in tables]
            parts = [(title, whole), *((f"{title}, by {key.replace('_', ' ')}", table) for key, table in strata)]
            content = {
                "table.csv": table_csv(whole),
                "table.json": table_json(whole, title),
                "tex": "\n".join(table_latex(_narrow(table), words) for words, table in parts),
                "bib": table_bibtex(whole, title, version),
            }
            for suffix, _ in TABLE_FILES:
                yield data_file(section.place, suffix, phantom), content[suffix]


def _narrow(table: BoardTable) -> BoardTable:
    """Return a table with its first columns, as many as fit on paper."""
    first = frozenset(table.columns[:MOST_LATEX_COLUMNS])
    return table.only(first.__contains__) or table
