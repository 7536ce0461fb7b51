"""Pages of single samples for a site: what a run directory of unknown origin holds, without any code of its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data.roots import PHANTOM, generated_phantoms
from harness.errors import HarnessError
from harness.models.description import display_name
from harness.reports.examples import ReportImages
from harness.reports.run_table import number
from harness.reports.viewer.pages import SamplePage, niivue_context, sample_pages, source
from harness.runs.directory import RunDirectory
from harness.tasks.catalog import index

__all__ = [
    "SamplePage",
    "TaskSamples",
    "niivue_context",
    "run_samples",
    "viewer_filters",
    "viewer_script",
    "viewer_style",
]

# What a damaged or hostile file of a run can raise when it is read; pyarrow's errors are among them.
BROKEN = (HarnessError, OSError, ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSamples:
    """The page set of one task of a run.

    Attributes:
        task: Name of the task.
        title: Title of the task.
        pages: Its pages, the first first; empty if they cannot be made.
        fault: Why there are none; empty if there are.
    """

    task: str
    title: str
    pages: tuple[SamplePage, ...] = ()
    fault: str = ""


def run_samples(folder: Path, cache: Path, *, most: int, most_volumes: int) -> Iterator[TaskSamples]:
    """Yield the page sets of a run, task by task, so that memory holds one of them.

    Only tasks that the harness ships are shown: others may name code, and a site runs none of an entry's. Images are
    those of synthetic patients in the cache; those of real data are where only their owner knows.

    Args:
        folder: A run directory. One without a plan, as of a filed bundle, has no pages.
        cache: The cache folder.
        most: Samples of each task.
        most_volumes: The same of tasks with volumes.
    """
    directory = RunDirectory(folder)
    try:
        results = directory.read_results()
        phantom = results["data"] == PHANTOM
        names = [name for name in results["tasks"] if directory.plan_path(name).is_file()]
        shipped = index(())
        model = display_name(results["model"])
    except BROKEN:
        return
    images = ReportImages(roots=generated_phantoms(cache) if phantom else (), phantom=phantom)
    for name in names:
        try:
            (task,), _ = shipped.resolve([name])
        except BROKEN:
            continue
        title = task.title or task.task
        try:
            read = directory.find_predictions
            found = sample_pages(directory, task, read, images, model=model, most=most, most_volumes=most_volumes)
        except BROKEN as error:
            yield TaskSamples(task=name, title=title, fault=str(error))
        else:
            if found:
                yield TaskSamples(task=name, title=title, pages=tuple(found))


def viewer_style() -> str:
    """Return the CSS of the viewer; it uses the colours --ink, --soft, --line, --paper, --tint, --accent and --warn."""
    return source("viewer.css")


def viewer_script() -> str:
    """Return the JavaScript of the viewer."""
    return source("viewer.js")


def viewer_filters() -> dict[str, Any]:
    """Return the filters that the viewer's templates need in an environment of jinja2."""
    return {"number": number}
