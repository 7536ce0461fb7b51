"""The pages of the site: chapters, checks, and cells without a place. They hold no script and request nothing."""

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from leaderboard.cells import BoardCell, table_name
from leaderboard.published.mapping import Placed, Published
from leaderboard.published.means import CountCheck, MeanCheck
from leaderboard.site.places import slug, task_page
from leaderboard.site.tables import BoardTable, Chapter, Column

# As wide as a digit: values with fewer decimals are padded with it, so that the points of a column align.
FIGURE_SPACE = "\u2007"
# Most strata side by side; a table with more is turned if it has fewer lines than strata.
WIDEST = 8
MODALITIES = {
    "ct": "CT",
    "mr": "MR",
    "oct": "OCT",
    "pet": "PET",
    "us": "Ultrasound",
    "xray": "X-ray",
    "derm": "Dermoscopy",
    "endo": "Endoscopy",
    "fundus": "Fundus",
    "micro": "Microscopy",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Everything that the pages show.

    Attributes:
        real: Chapters with real data.
        phantom: Chapters with phantom data, which share no page with the real ones.
        published: Every published cell, also those without a place.
        means: Every printed mean, recomputed.
        counts: Printed accuracies that no count gives.
        left_out: (entry, reason) of runs that are excluded.
    """

    real: tuple[Chapter, ...]
    phantom: tuple[Chapter, ...]
    published: Published
    means: tuple[MeanCheck, ...]
    counts: tuple[CountCheck, ...]
    left_out: tuple[tuple[str, str], ...]


def render(site: Site) -> dict[str, str]:
    """Return the pages: path below the folder of the site -> HTML."""
    environment = _environment()
    # Cells without a place by the reason why, in the order of published.json.
    unplaced: dict[str, list[Placed]] = {}
    for item in site.published.cells:
        if item.unmapped is not None:
            unplaced.setdefault(item.unmapped, []).append(item)
    top: dict[str, dict[str, Any]] = {
        "index.html": {"template": "board.html", "chapters": site.real, "phantom": False, "left_out": site.left_out},
        "phantom.html": {"template": "board.html", "chapters": site.phantom, "phantom": True, "left_out": ()},
        "checks.html": {"template": "checks.html", "means": site.means, "counts": site.counts},
        "unplaced.html": {
            "template": "unplaced.html",
            "groups": list(unplaced.items()),
            "total": len(site.published.cells),
        },
    }
    pages = {
        path: environment.get_template(str(content.pop("template"))).render(root="", path=path, **content)
        for path, content in top.items()
    }
    details = environment.get_template("details.html")
    for chapters, phantom in ((site.real, False), (site.phantom, True)):
        for chapter in chapters:
            for section in chapter.sections:
                path = task_page(section.place, phantom)
                pages[path] = details.render(root="../", path=path, chapter=chapter, section=section, phantom=phantom)
    return pages


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("leaderboard", "site/templates"),
        # Names and notes come from outside.
        autoescape=True,
        # A misspelt name in a template ends the build instead of leaving a gap in a page.
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    assert environment.loader is not None, "given above"
    # The style is written into each page, so that a page opens from the file system and requests nothing; its digest is
    # in the Content-Security-Policy, which forbids any other style.
    style = environment.loader.get_source(environment, "style.css")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment.globals.update(
        style=Markup(style),
        style_digest=digest,
        task_page=task_page,
        slug=slug,
        value_text=value_text,
        interval_text=interval_text,
        strip=strip,
        table_name=table_name,
        stratum_word=stratum_word,
        turned=turned,
        mark=mark,
    )
    return environment


def value_text(cell: BoardCell, digits: int) -> str:
    """Return a value as the board shows it: percent for shares, padded so that the points of a column align."""
    if cell.value is None:
        return "–"
    value = 100 * cell.value if cell.unit == "share" else cell.value
    # Zeros in place of the blanks would claim digits that a paper did not print.
    missing = digits - cell.digits
    point = FIGURE_SPACE if cell.digits == 0 and missing > 0 else ""
    return f"{value:.{cell.digits}f}{point}{FIGURE_SPACE * max(0, missing)}"


def interval_text(cell: BoardCell) -> str:
    """Return a 95 % interval in the unit of its value; empty if there is none."""
    if cell.interval is None:
        return ""
    low, high = (100 * bound if cell.unit == "share" else bound for bound in cell.interval)
    digits = 1 if cell.unit == "share" else 2
    return f"{low:.{digits}f}–{high:.{digits}f}"


def strip(cell: BoardCell | None) -> Markup:
    """Return a small drawing of a share and its interval between 0 and 1."""
    if cell is None or cell.value is None or cell.unit != "share":
        return Markup("")
    # The drawing is 100 wide, so a percentage is its x. Hidden from screen readers, as the numbers stand beside it.
    low, high = cell.interval or (cell.value, cell.value)
    low, high, value = (min(100.0, max(0.0, 100 * share)) for share in (low, high, cell.value))
    bar = Markup('<rect class="bar" x="{:.2f}" y="4" width="{:.2f}" height="4"/>').format(low, high - low)
    return Markup(
        '<svg class="strip" viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        '<rect class="rail" x="0" y="5.5" width="100" height="1"/>{}'
        '<rect class="dot" x="{:.2f}" y="1.5" width="1.2" height="9"/></svg>'
    ).format(bar, max(0.0, value - 0.6))  # centred: the dot is 1.2 wide


def stratum_word(column: Column) -> str:
    """Return a stratum's value as a heading."""
    assert column.stratum is not None, "asked for columns of strata only"
    key, value = column.stratum
    return MODALITIES.get(value, value) if key == "modality" else value.replace("_", " ")


def turned(table: BoardTable) -> bool:
    """Return whether a table of strata is easier to read with its strata as lines than as columns."""
    return len(table.columns) > WIDEST and len(table.columns) > len(table.lines)


def mark(index: int) -> str:
    """Return the mark of a footnote: a, b, ..., z, aa, ab, ..."""
    letters = ""
    while index >= 0:
        letters = chr(ord("a") + index % 26) + letters
        index = index // 26 - 1
    return letters
