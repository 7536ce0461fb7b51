"""Page sets of samples: as many pages as a task needs for none to be heavy, and a list of all samples on each."""

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.records.atomic_files import write_atomically
from harness.reports.examples import ReportImages
from harness.reports.html import environment
from harness.reports.run_table import number
from harness.reports.viewer.niivue import SIDE, VERSION, Scene, niivue_source, scenes_json, scenes_of
from harness.reports.viewer.records import ViewedSample
from harness.reports.viewer.samples import ReadPredictions, SampleReader, choose_samples
from harness.runs.directory import RunDirectory
from harness.tasks.spec import TaskSpec

if TYPE_CHECKING:
    from jinja2 import Environment

# Below a run directory: a folder for each task.
FOLDER = "samples"
SCENES_FILE = "volumes.html"
# Samples of a page, and about how many bytes one may weigh; a page holds one sample at least, of a few hundred kB.
PAGE_SAMPLES = 20
PAGE_BYTES = 1_200_000
# Samples of a page set unless a command names another number; slices of volumes take a second each.
MOST_SAMPLES = 60
MOST_VOLUMES = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """A sample in the list of a page set: its page from 1 on, and what the list says of it."""

    title: str
    value: float | None
    status: str
    page: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplePage:
    """One page of a page set.

    Attributes:
        title: Of the page: task and model.
        summary: What the page set shows, in a sentence.
        number: Of the page, from 1 on.
        of: Number of pages.
        first: Number of its first sample in the set, from 1 on.
        samples: The samples.
        index: All samples of the set.
        value_name: Name of the value that orders them.
        notice: What a reader must know of all samples; empty if there is nothing.
        up: Address of the page above.
        scenes: Volumes for NiiVue, on the first page; empty where it is not installed.
    """

    title: str
    summary: str
    number: int
    of: int
    first: int
    samples: tuple[ViewedSample, ...]
    index: tuple[IndexEntry, ...]
    value_name: str
    notice: str = ""
    up: str = ""
    scenes: tuple[Scene, ...] = ()

    @property
    def scenes_file(self) -> str:
        """The file name of the page of volumes."""
        return SCENES_FILE

    @staticmethod
    def file(number: int) -> str:
        """Return the file name of a page of the set."""
        return "index.html" if number == 1 else f"{number}.html"

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of shapes that its samples have."""
        return frozenset(kind for sample in self.samples for kind in sample.kinds)

    @property
    def pixels(self) -> bool:
        """Whether any image or slice is shown under shapes, so that hiding it makes sense."""
        return bool(self.kinds) and any(sample.has_pixels for sample in self.samples)

    @property
    def volumes(self) -> bool:
        """Whether any sample has planes."""
        return any(sample.planes for sample in self.samples)

    @property
    def statuses(self) -> Mapping[str, int]:
        """How many samples of the set have each status, the most frequent first."""
        return dict(Counter(entry.status for entry in self.index).most_common())


def sample_pages(
    run: RunDirectory,
    task: TaskSpec,
    read: ReadPredictions,
    images: ReportImages,
    *,
    model: str,
    most: int | None = None,
    most_volumes: int | None = None,
    up: str = "",
) -> list[SamplePage]:
    """Return the pages of a task's samples, the worst first; none if the task has no scores.

    Args:
        run: The run directory, with its plan and scores.
        task: A task of it.
        read: Returns the predictions with these keys.
        images: Whether pixels may be shown, and where they are.
        model: Name of the model.
        most: Samples to show; None: MOST_SAMPLES.
        most_volumes: The same of a task with volumes; None: `most` if that is given, else MOST_VOLUMES.
        up: Address of the page above, relative to the pages.
    Raises:
        DataError: A stored prediction is damaged.
    """
    chosen = choose_samples(run, task, most or MOST_SAMPLES)
    if chosen is None:
        return []
    most_volumes = most_volumes or most or MOST_VOLUMES
    if len(chosen.ranks) > most_volumes and _has_volumes(run, task, chosen.ranks[0].sample_id):
        chosen = choose_samples(run, task, most_volumes)
        assert chosen is not None
    pages: list[list[ViewedSample]] = []
    weight = 0
    reader = SampleReader(run, task, chosen, read, images)
    for sample in reader.view():
        if not pages or len(pages[-1]) >= PAGE_SAMPLES or weight + sample.weight > PAGE_BYTES:
            pages.append([])
            weight = 0
        pages[-1].append(sample)
        weight += sample.weight
    scenes = tuple(scenes_of(reader)) if niivue_source() is not None else ()
    index = tuple(
        IndexEntry(title=sample.title, value=sample.value, status=sample.status, page=place)
        for place, samples in enumerate(pages, 1)
        for sample in samples
    )
    shown = f"all {len(index):,}" if len(index) == chosen.of else f"{len(index):,} of {chosen.of:,}"
    rule = "" if len(index) == chosen.of else ": the worst half, and others evenly down to the best"
    return [
        SamplePage(
            title=f"{task.title or task.task}, {model}",
            summary=f"{shown.capitalize()} scored samples of {task.task}, worst first by {chosen.value_name} "
            f"({chosen.protocol}){rule}.",
            number=place,
            of=len(pages),
            first=1 + sum(map(len, pages[: place - 1])),
            samples=tuple(samples),
            index=index,
            value_name=chosen.value_name,
            notice=f"Images are not shown: {reader.refusal}." if reader.refusal else "",
            up=up,
            scenes=scenes if place == 1 else (),
        )
        for place, samples in enumerate(pages, 1)
    ]


def _has_volumes(run: RunDirectory, task: TaskSpec, sample_id: str) -> bool:
    rows = run.read_planned(task.task, [sample_id])
    return any(media.kind == "volume" for row in rows for media in row.sample.media)


def samples_folder(run: RunDirectory) -> Path:
    """Return the folder of the page sets of a run, one folder per task in it."""
    return run.path / FOLDER


def write_sample_pages(
    run: RunDirectory,
    tasks: Sequence[TaskSpec],
    read: ReadPredictions,
    images: ReportImages,
    *,
    model: str,
    most: int | None = None,
) -> dict[str, Path]:
    """Write the page sets of a run below its folder, beside `report.html`; return the first page of each task.

    The arguments are those of `sample_pages`.

    Raises:
        DataError: A stored prediction is damaged.
    """
    written = {}
    for task in tasks:
        folder = samples_folder(run) / task.task
        found = sample_pages(run, task, read, images, model=model, most=most, up=f"../../{run.report_path.name}")
        for page in found:
            folder.mkdir(parents=True, exist_ok=True)
            html = render_page(
                "page.html", title=page.title, style="viewer.css", scripts=(source("viewer.js"),), shown=page
            )
            write_atomically(folder / page.file(page.number), html, durable=False)
        if found:
            written[task.task] = folder / found[0].file(1)
            if found[0].scenes:
                title = f"Volumes: {found[0].title}"
                scripts, context = niivue_context(found[0].scenes)
                html = render_page("niivue.html", title=title, style="viewer.css", scripts=scripts, **context)
                write_atomically(folder / SCENES_FILE, html, durable=False)
    return written


def niivue_context(scenes: Sequence[Scene]) -> tuple[tuple[str, ...], dict[str, object]]:
    """Return the scripts of a page of volumes, NiiVue first, and what its template shows.

    Args:
        scenes: At least one; there are none without NiiVue.
    """
    library = niivue_source()
    assert library is not None
    from markupsafe import Markup

    context = {"scenes": scenes, "data": Markup(scenes_json(scenes)), "side": SIDE, "niivue_version": VERSION}
    return (library, source("niivue.js")), context


def render_page(template: str, *, title: str, style: str, scripts: Sequence[str], **context: object) -> str:
    """Return the HTML of a page whose policy lets nothing run or load but its own style and scripts.

    Args:
        template: One of the viewer that extends `frame.html`.
        title: Of the window.
        style: File of the style after `base.css`.
        scripts: Sources, in order; no `</script` in them.
        context: What the template shows.
    """
    from markupsafe import Markup

    css = source("base.css") + source(style)
    digests = " ".join(f"'{digest(script)}'" for script in scripts) or "'none'"
    policy = (
        f"default-src 'none'; img-src data:; connect-src 'self'; style-src '{digest(css)}'; script-src {digests}; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        viewer_environment()
        .get_template(f"viewer/{template}")
        .render(
            title=title,
            policy=Markup(policy),
            style=Markup(css),
            scripts=[Markup(script) for script in scripts],
            **context,
        )
    )


def viewer_environment() -> "Environment":
    """Return the environment with the filters that the viewer's templates use."""
    pages = environment()
    pages.filters["number"] = number
    return pages


@cache
def source(name: str) -> str:
    """Return the source of a style or script of the viewer."""
    pages = environment()
    assert pages.loader is not None
    return pages.loader.get_source(pages, f"viewer/{name}")[0]


def digest(text: str) -> str:
    """Return the digest by which a page's policy lets one inline style or script through."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
