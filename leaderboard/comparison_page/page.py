"""`compare.html`: two models picked by the reader, compared in the browser."""

import json
from collections.abc import Iterator, Sequence
from importlib import resources

from jinja2 import PackageLoader

from harness.metrics import METRICS
from leaderboard.comparison_page.data import ComparedData, score_files
from leaderboard.entry_file import BoardEntry
from leaderboard.site import places
from leaderboard.site.shell import Page, Shell


def extra_pages(entries: Sequence[BoardEntry]) -> Iterator[tuple[str, str]]:
    """Yield the files of scores by sample and the page that compares them.

    There is no page unless two entries have scores of one task.

    Args:
        entries: Those that the board shows.
    """
    found = ComparedData()
    yield from score_files(entries, found)
    shared = [headline for headline, _ in enumerate(found.headlines)]
    if not any(sum(place == task for _, tasks in found.models for place, _, _ in tasks) > 1 for task in shared):
        return
    shell = Shell(PackageLoader("leaderboard", "comparison_page/templates"))
    templates = resources.files("leaderboard.comparison_page") / "templates"
    numbers, script = ((templates / name).read_text(encoding="utf-8") for name in ("numbers.js", "compare.js"))
    page = Page(
        path=places.COMPARE,
        title="Compare two models",
        section="compare",
        style=(templates / "compare.css").read_text(encoding="utf-8"),
        scripts=(numbers, script),
        loads=True,
    )
    yield (
        page.path,
        shell.render(
            page,
            "compare_models.html",
            index=_index(found),
            without=sum(not any(entry is model for model, _ in found.models) for entry in entries),
            too_large=sorted(found.too_large),
        ),
    )


def _index(found: ComparedData) -> str:
    """Return models, tasks and their files as JSON for a script element of the page."""
    units = {metric.name: metric.unit for metric in METRICS}
    index = {
        "tasks": [
            {
                "place": about.place,
                "metric": about.metric,
                "protocol": about.protocol,
                "name": about.name,
                "share": units.get(about.metric) == "share",
                "higherIsBetter": about.higher_is_better,
                "over": about.over,
                "pooled": about.pooled,
                "basis": ", ".join(about.basis),
                "page": places.task_page(about.place, phantom=about.data == "phantom"),
                "strata": strata,
            }
            for about, strata in found.headlines.items()
        ],
        "models": [
            {
                "entry": entry.name,
                "label": entry.title or entry.model,
                "phantom": entry.data == "phantom",
                "files": tasks,
            }
            for entry, tasks in sorted(
                found.models, key=lambda it: ((it[0].title or it[0].model).casefold(), it[0].name)
            )
        ],
    }
    # "<" would let a name end the element; as an escape it is the same JSON.
    return json.dumps(index, separators=(",", ":")).replace("<", "\\u003c")
