"""The pages of the site, one after the other: overview, families, tasks, models, methods, data, checks."""

from collections.abc import Iterator, Sequence
from typing import Any

from markupsafe import Markup, escape

from harness.metrics import METRICS
from leaderboard.cells import BoardCell, table_name
from leaderboard.published.mapping import Placed
from leaderboard.site import places, words
from leaderboard.site.board import BOUND_WORDS, GIVES_WORDS, Head, Site, crumbs_of, heads_of, table_script
from leaderboard.site.drawings import sparkline
from leaderboard.site.export import COLUMN_WORDS
from leaderboard.site.model_pages import model_pages
from leaderboard.site.models import ModelGroup, group_models
from leaderboard.site.rows import Context, badges, body, cell_text, line_attributes
from leaderboard.site.shell import Page, Shell
from leaderboard.site.tables import BoardTable, Chapter, Column, Line
from leaderboard.site.task_pages import task_pages
from leaderboard.table_exports.files import TABLE_FILES


def _shell() -> Shell:
    """Return the frame with the words that the templates of this package use."""
    shell = Shell()
    shell.environment.globals.update(
        task_page=places.task_page,
        family_page=places.family_page,
        data_file=places.data_file,
        table_files=TABLE_FILES,
        table_name=table_name,
        value_text=words.value_text,
        stratum_words=words.stratum_words,
        metric_words=words.metric_words,
        protocol_anchor=words.protocol_anchor,
        direction=words.direction,
        unit_words=words.unit_words,
        badge_words=words.BADGES,
        bound_words=BOUND_WORDS,
        gives_words=GIVES_WORDS,
    )
    return shell


def render(site: Site) -> Iterator[tuple[str, str]]:
    """Yield the pages: path below the folder of the site, HTML."""
    shell = _shell()
    yield from _fixed(shell, site)
    if places.COMPARE not in site.written:
        page = Page(path=places.COMPARE, title="Compare two models", section="compare")
        yield page.path, shell.render(page, "no_comparison.html")
    for chapters, phantom in ((site.real, False), (site.phantom, True)):
        groups = group_models(chapters)
        yield _overview(shell, site, chapters, groups, phantom)
        yield from _families(shell, chapters, phantom)
        yield from _lists(shell, site, chapters, groups, phantom)
        yield from task_pages(shell, site, chapters, phantom)
        yield from model_pages(shell, site, chapters, groups, phantom)


def _fixed(shell: Shell, site: Site) -> Iterator[tuple[str, str]]:
    unplaced: dict[str, list[Placed]] = {}
    for item in site.published.cells:
        if item.unmapped is not None:
            unplaced.setdefault(item.unmapped, []).append(item)
    data = (("Data", "data.html"),)
    for page, template, content in (
        (Page(path="methods.html", title="Methods", section="methods"), "methods.html", {"metrics": METRICS}),
        (
            Page(path="data.html", title="Data", section="data"),
            "data.html",
            {"files": site.files, "whole": site.whole, "columns": COLUMN_WORDS.items()},
        ),
        (
            Page(path="checks.html", title="Checks of printed numbers", section="data", crumbs=data),
            "checks.html",
            {"means": site.means, "counts": site.counts},
        ),
        (
            Page(path="unplaced.html", title="Published numbers without a task", section="data", crumbs=data),
            "unplaced.html",
            {"groups": list(unplaced.items()), "total": len(site.published.cells)},
        ),
    ):
        yield page.path, shell.render(page, template, **content)


def _overview(
    shell: Shell, site: Site, chapters: Sequence[Chapter], groups: Sequence[ModelGroup], phantom: bool
) -> tuple[str, str]:
    path = places.PHANTOMS if phantom else places.OVERVIEW
    context = Context(root="", phantom=phantom)
    heads = []
    for chapter in chapters:
        of_tasks = heads_of(chapter, phantom)
        # The first of those that most models have; a task with one model says nothing of a family.
        fullest = max(of_tasks, key=lambda head: len(head.table.lines))
        names = {places.same_name(line.row.model) for head in of_tasks for line in head.table.lines}
        heads.append(
            Head(
                chapter=chapter,
                section=fullest.section,
                table=fullest.table,
                index=fullest.index,
                phantom=phantom,
                models=len(names),
            )
        )
    found = []
    for group in groups:
        cells = [_overview_cell(group, head, context) for head in heads]
        line = group.lines[0]
        head = (
            f'<a class="model" href="{places.model_page(group.name, phantom)}">{escape(group.name)}</a> '
            f"{badges(line.row, group.reproduces)}"
        )
        found.append(
            f'<tr {line_attributes(line)}><th scope="row" class="who">{head}</th>'
            + "".join(f'<td class="n">{text}</td>' for text in cells)
            + "</tr>"
        )
    page = Page(
        path=path,
        title="Runs on phantoms" if phantom else "Board",
        section="overview",
        crumbs=(("Overview", places.OVERVIEW),) if phantom else (),
        scripts=(table_script(),),
        phantom=phantom,
    )
    return path, shell.render(
        page,
        "overview.html",
        heads=heads,
        all_heads=heads,
        lines=[group.lines[0] for group in groups],
        rows=Markup("\n".join(found)),
        left_out=() if phantom else site.left_out,
        counts=site.numbers,
    )


def _overview_cell(group: ModelGroup, head: Head, context: Context) -> str:
    """Return the number of a model for a family, with its bars by stratum, or what there is in place of it."""
    mine = [line for place, line in group.places if place == head.section.place]
    numbers = [line for line in mine if (cell := line.cells[head.index]) is not None and cell.value is not None]
    families = {section.place for section in head.chapter.sections}
    others = {
        place for place, line in group.places if place in families and place != head.section.place and line.has_number
    }
    more = f'+{len(others)}<span class="hidden"> more tasks</span>' if others else ""
    if not numbers:
        refused = [cell for line in mine if (cell := line.first) is not None and cell.unsupported is not None]
        return cell_text(refused[0] if refused else None, context) + (f'<span class="by">{more}</span>' if more else "")
    cell = numbers[0].cells[head.index]
    assert cell is not None, "chosen for its number"
    rank = "" if cell.rank is None else f'<span class="hidden">rank </span>#{cell.rank}'
    below = f'<span class="by">{" ".join(filter(None, (rank, more)))}</span>' if rank or more else ""
    return f"{cell_text(cell, context)}{sparkline(strata_cells(head.table, numbers[0], head.column))}{below}"


def strata_cells(table: BoardTable, line: Line, column: Column) -> list[BoardCell]:
    """Return the numbers of a line by stratum, of the first property that the column's number is broken down by."""
    found: dict[str, list[BoardCell]] = {}
    for other, cell in zip(table.columns, line.cells, strict=True):
        # A macro mean is over its strata, whose numbers are micro means.
        same = (other.protocol, other.metric, other.name, other.judge)
        is_same = same == (column.protocol, column.metric, column.name, column.judge)
        if is_same and other.stratum is not None and cell is not None and cell.value is not None:
            found.setdefault(f"{other.stratum[0]} {other.mean}", []).append(cell)
    return next(iter(found.values()), [])


def _families(shell: Shell, chapters: Sequence[Chapter], phantom: bool) -> Iterator[tuple[str, str]]:
    for chapter in chapters:
        heads = heads_of(chapter, phantom)
        # A run has one line here; in tables its fallbacks, which differ by task, keep lines apart.
        lines: dict[tuple[object, ...], list[BoardCell | None]] = {}
        firsts: dict[tuple[object, ...], Line] = {}
        for place, head in enumerate(heads):
            for line in head.table.lines:
                row = line.row
                key = (row.source, row.entry) if row.entry else (row.model, row.run_by, row.details)
                firsts.setdefault(key, line)
                cells = lines.setdefault(key, [None] * len(heads))
                if cells[place] is None:
                    cells[place] = line.cells[head.index]
        table = BoardTable(
            place="",
            columns=tuple(head.column for head in heads),
            bounds=(),
            lines=tuple(
                Line(firsts[key].row, tuple(cells), firsts[key].reproduces)
                for key, cells in lines.items()
                if any(cell is not None for cell in cells)
            ),
        )
        values = dict.fromkeys(value for head in heads for value in head.modalities.split())
        path = places.family_page(chapter.name, phantom)
        page = Page(
            path=path,
            title=chapter.name,
            section="tasks",
            crumbs=crumbs_of(phantom, ("Tasks", f"tasks/{'phantom' if phantom else 'index'}.html")),
            scripts=(table_script(),),
            phantom=phantom,
        )
        yield (
            path,
            shell.render(
                page,
                "family.html",
                chapter=chapter,
                heads=heads,
                table=table,
                modalities=[(value, words.MODALITIES.get(value, value.replace("_", " "))) for value in values],
                rows=body(table, Context(root=page.root, phantom=phantom), "family"),
            ),
        )


def _lists(
    shell: Shell, site: Site, chapters: Sequence[Chapter], groups: Sequence[ModelGroup], phantom: bool
) -> Iterator[tuple[str, str]]:
    """Yield the lists of tasks and of models."""
    if phantom and not chapters:
        return
    file, twin = ("phantom", "index") if phantom else ("index", "phantom")
    has_twin = bool(site.real if phantom else site.phantom)

    def page(folder: str, title: str) -> Page:
        return Page(
            path=f"{folder}/{file}.html",
            title=title,
            section=folder,
            crumbs=crumbs_of(phantom),
            scripts=(table_script(),) if folder == "models" else (),
            phantom=phantom,
        )

    rows: list[tuple[Chapter, list[dict[str, Any]]]] = []
    for chapter in chapters:
        of_family = []
        for head in heads_of(chapter, phantom):
            card = site.cards.get(head.section.place)
            named = [words.MODALITIES.get(value, value.replace("_", " ")) for value in head.modalities.split()]
            of_family.append(
                {
                    "page": head.task_page,
                    "title": head.title,
                    "place": head.section.place,
                    "gives": "" if card is None else GIVES_WORDS.get(card.gives, card.gives),
                    "metric": head.column.label,
                    "protocol": head.column.protocol,
                    "lines": len(head.table.lines),
                    "modalities": ", ".join(named[:8]) + (", …" if len(named) > 8 else ""),
                    "images": "" if card is None or card.members else ("shown" if card.redistribute else "not shown"),
                }
            )
        rows.append((chapter, of_family))
    tasks = page("tasks", "Tasks")
    yield tasks.path, shell.render(tasks, "tasks.html", chapters=rows, other=f"tasks/{twin}.html" if has_twin else "")
    by_name = sorted(groups, key=lambda group: places.same_name(group.name))
    lines = []
    models = page("models", "Models")
    for group in by_name:
        line = group.lines[0]
        link = f"{models.root}{places.model_page(group.name, phantom)}"
        lines.append(
            f'<tr {line_attributes(line)}><th scope="row" class="who"><a class="model" href="{link}">'
            f"{escape(group.name)}</a> {badges(line.row, group.reproduces)}</th>"
            f'<td class="n">{group.tasks}</td><td class="n">{group.numbers}</td>'
            f"<td>{escape(', '.join(group.families))}</td></tr>"
        )
    yield (
        models.path,
        shell.render(
            models,
            "models.html",
            lines=[group.lines[0] for group in by_name],
            rows=Markup("\n".join(lines)),
            other=f"models/{twin}.html" if has_twin else "",
        ),
    )
