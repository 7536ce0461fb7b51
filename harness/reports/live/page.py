"""The page of a run in progress, and the list of the runs in a folder, for `harness view`."""

from collections.abc import Sequence
from pathlib import Path

from harness.reports.live import words
from harness.reports.live.state import LiveRun
from harness.reports.viewer.pages import render_page, source


def live_page(run: LiveRun) -> str:
    """Return the HTML of a run at one moment; while the run goes on the page loads itself again, without losing focus.

    Args:
        run: The run.
    """
    script = source("live.js")
    title = f"{run.model}, {words.STATES[run.state]}"
    return render_page("live.html", title=title, style="live.css", scripts=(script,), run=run, words=words)


def overview_page(folder: Path, places: Sequence[tuple[str, str]]) -> str:
    """Return the HTML of a folder without a page of its own.

    Args:
        folder: The folder.
        places: (name, address) of the runs and pages in it.
    """
    title = folder.name or str(folder)
    return render_page("places.html", title=title, style="live.css", scripts=(), places=places)
