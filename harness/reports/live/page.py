"""The page of a run in progress, and the list of the runs in a folder, for `harness view`."""

from collections.abc import Sequence
from pathlib import Path

from harness.reports.live import words
from harness.reports.live.state import LiveRun
from harness.reports.viewer.pages import digest, source, viewer_environment

# Milliseconds between two looks of the page.
REFRESH = 2000


def live_page(run: LiveRun) -> str:
    """Return the HTML of a run at one moment; while the run goes on the page loads itself again, without losing focus.

    Args:
        run: The run.
    """
    return _render("live.html", title=f"{run.model}, {words.STATES[run.state]}", run=run, words=words, scripted=True)


def overview_page(folder: Path, places: Sequence[tuple[str, str]]) -> str:
    """Return the HTML of a folder without a page of its own.

    Args:
        folder: The folder.
        places: (name, address) of the runs and pages in it.
    """
    return _render("places.html", title=folder.name or str(folder), places=places, scripted=False)


def _render(template: str, *, scripted: bool, **context: object) -> str:
    from markupsafe import Markup

    style = source("base.css") + source("live.css")
    script = source("live.js").replace("REFRESH", str(REFRESH)) if scripted else ""
    return (
        viewer_environment()
        .get_template(f"viewer/{template}")
        .render(
            style=Markup(style),
            script=Markup(script),
            style_digest=digest(style),
            script_digest=digest(script),
            **context,
        )
    )
