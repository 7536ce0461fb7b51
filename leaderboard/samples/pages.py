"""One page set per entry and task: image, prompt, answer, masks and scores of single samples, worst first."""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from jinja2 import PackageLoader

from harness.exports.sample_pages import (
    SamplePage,
    TaskSamples,
    niivue_context,
    run_samples,
    viewer_filters,
    viewer_script,
    viewer_style,
)
from harness.paths import default_cache
from leaderboard.entry_file import BoardEntry
from leaderboard.site.places import model_page, sample_page, task_page
from leaderboard.site.shell import Page, Shell

# Entries with page sets, the first by name, and samples of each task: what a board of many models may take and weigh.
MOST_ENTRIES = 24
MOST_SAMPLES = 20
MOST_VOLUMES = 8


def extra_pages(entries: Sequence[BoardEntry]) -> Iterator[tuple[str, str | bytes]]:
    """Yield (file below the folder of the site, HTML) of every page of samples, as `leaderboard.site.extra` wants it.

    Args:
        entries: All entries of the board; one without a run directory, or with a broken one, has no pages.
    """
    shell = Shell(PackageLoader("leaderboard", "samples/templates"), PackageLoader("harness", "reports/templates"))
    shell.environment.filters.update(viewer_filters())
    folders = [entry for entry in entries if entry.folder is not None and not entry.submitted]
    for entry in folders[:MOST_ENTRIES]:
        assert entry.folder is not None
        for samples in run_samples(entry.folder, default_cache(), most=MOST_SAMPLES, most_volumes=MOST_VOLUMES):
            for page in samples.pages:
                path = PurePosixPath(sample_page(entry.name, samples.task)).with_name(page.file(page.number))
                yield str(path), _html(shell, str(path), entry, samples, page)
                if page.scenes:
                    volumes = path.with_name(page.scenes_file)
                    yield str(volumes), _volumes(shell, str(path), str(volumes), entry, page)


def _html(shell: Shell, path: str, entry: BoardEntry, samples: TaskSamples, page: SamplePage) -> str:
    phantom = entry.data == "phantom"
    name = entry.title or entry.model
    frame = Page(
        path=path,
        title=f"Samples, page {page.number}" if page.of > 1 else "Samples",
        section="models",
        crumbs=((name, model_page(name, phantom)), (samples.title, task_page(samples.task, phantom))),
        style=viewer_style(),
        scripts=(viewer_script(),),
        images=True,
        phantom=phantom,
    )
    return shell.render(frame, "samples.html", shown=page)


def _volumes(shell: Shell, first: str, path: str, entry: BoardEntry, page: SamplePage) -> str:
    scripts, context = niivue_context(page.scenes)
    frame = Page(
        path=path,
        title="Volumes",
        section="models",
        crumbs=(("Samples", first),),
        style=viewer_style(),
        scripts=scripts,
        images=True,
        phantom=entry.data == "phantom",
    )
    return shell.render(frame, "volumes.html", shown=page, **context)
