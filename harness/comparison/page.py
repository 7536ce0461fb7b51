"""The page of a comparison, `compare.html`: what moved, how sure that is, and the samples that moved most."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.comparison.compare import ComparedNumber, ComparedTask, Comparison, MovedSample
from harness.comparison.compared_text import family_sizes, p_value, row_name, signed
from harness.comparison.scored_run import ScoredRun
from harness.errors import DataError, SpecError
from harness.records.atomic_files import write_atomically
from harness.records.codec import sha256_text
from harness.reports.examples import SHOWN_AS_IMAGES, Example, ExampleDrawer, Rank, ReportImages
from harness.reports.html import environment
from harness.reports.run_table import number
from harness.runs.plan_file import PlannedRequest
from harness.tasks.catalog import index

# Share of a forest plot's half width that the longest interval takes; the rest keeps its end from the edge.
REACH = 0.94
# Largest radius of a mark in a scatter plot, in hundredths of its width.
LARGEST_MARK = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ForestRow:
    """A line of a forest plot; places are in percent of its width, and 50 is no difference.

    Attributes:
        name: Task or stratum.
        compared: The number.
        place: Of the difference; None if there is none.
        low, high: Of the interval; None if there is none.
    """

    name: str
    compared: ComparedNumber
    place: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest:
    """The rows of a forest plot, and the difference at its right edge, in the unit of the metric."""

    rows: tuple[ForestRow, ...]
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedExample:
    """A sample that moved, as either run answered it; an example is None if its sample cannot be shown."""

    sample: MovedSample
    a: Example | None
    b: Example | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSection:
    """One task on the page.

    Attributes:
        task: The task.
        title: Of its task file, else its name.
        rows: Name and number of each row of its table.
        strata: A forest plot by stratum key.
        scatter: Marks of the scatter plot; None without pairs.
        worse, better: The samples that moved most.
        as_images: They are shown as images.
        plain: Why images have a plain ground or are not shown; None if all show pixels.
    """

    task: ComparedTask
    title: str
    rows: tuple[tuple[str, ComparedNumber], ...]
    strata: dict[str, Forest]
    scatter: dict[str, Any] | None
    worse: tuple[MovedExample, ...]
    better: tuple[MovedExample, ...]
    as_images: bool
    plain: str | None


def write_page(
    path: Path, comparisons: Sequence[Comparison], images: ReportImages, task_paths: Sequence[Path] = ()
) -> None:
    """Write `compare.html`: one page that opens from the file system and asks nothing of any server.

    Args:
        path: The file to write.
        comparisons: From `compare_runs`.
        images: Whether pixels may be shown, and where they are.
        task_paths: Folders with further task files; they come before those that the runs keep.
    Raises:
        SpecError: The folder of `path` does not exist.
    """
    if not path.parent.is_dir():
        raise SpecError(f"--out {path}: the folder {path.parent} does not exist; create it or name another")
    pages = environment()
    pages.filters.update(number=number, signed=signed, p_value=p_value)
    spent = 0
    shown = []
    for comparison in comparisons:
        sections = []
        for task in comparison.tasks:
            section, spent = _section(comparison, task, images, task_paths, spent)
            sections.append(section)
        by_unit: dict[str, list[tuple[str, ComparedNumber]]] = {}
        for section in sections:
            headline = section.task.headline
            if headline is not None and headline.difference is not None:
                by_unit.setdefault(headline.unit or "own unit", []).append((section.title, headline))
        headlines = {unit: _forest(rows) for unit, rows in by_unit.items()}
        shown.append({"comparison": comparison, "tasks": sections, "headlines": headlines})
    first = comparisons[0].a
    families = family_sizes(comparisons)
    page = pages.get_template("compare.html").render(comparisons=shown, first=first, families=families)
    write_atomically(path, page)


def _forest(rows: Sequence[tuple[str, ComparedNumber]]) -> Forest:
    """Return the rows of a forest plot on one scale, symmetric around no difference."""
    ends = [
        abs(end)
        for _, compared in rows
        if compared.difference is not None and compared.difference.difference is not None
        for end in (compared.difference.difference, *(compared.difference.ci or ()))
    ]
    most = max(ends, default=0.0) or 1.0

    def place(value: float | None) -> float | None:
        return None if value is None else round(50 + 50 * REACH * value / most, 3)

    found = []
    for name, compared in rows:
        difference = compared.difference
        low, high = (None, None) if difference is None or difference.ci is None else difference.ci
        found.append(
            ForestRow(
                name=name,
                compared=compared,
                place=place(None if difference is None else difference.difference),
                low=place(low),
                high=place(high),
            )
        )
    return Forest(rows=tuple(found), most=most / REACH)


def _scatter(task: ComparedTask) -> dict[str, Any] | None:
    """Return the marks of a scatter plot in percent of its width and height; None without pairs."""
    if not task.scatter:
        return None
    values = [value for cell in task.scatter for value in (cell.a, cell.b)]
    low, high = min(values), max(values)
    # Shares have one scale on every page; other values fill the plot.
    low, high = (0.0, 1.0) if low >= 0 and high <= 1 else (low, high if high > low else low + 1)
    most = max(cell.count for cell in task.scatter)
    marks = [
        {
            "x": round(6 + 88 * (cell.a - low) / (high - low), 2),
            "y": round(94 - 88 * (cell.b - low) / (high - low), 2),
            "r": round(max(0.6, LARGEST_MARK * (cell.count / most) ** 0.5), 2),
            "cell": cell,
        }
        for cell in sorted(task.scatter, key=lambda cell: -cell.count)
    ]
    return {"low": low, "high": high, "marks": marks, "pairs": sum(cell.count for cell in task.scatter)}


def _section(
    comparison: Comparison, task: ComparedTask, images: ReportImages, task_paths: Sequence[Path], spent: int
) -> tuple[TaskSection, int]:
    """Return one task as the page shows it, and the bytes of images so far."""
    samples = (*task.worse, *task.better)
    name = task.pair.name
    sides, plain = [], None
    for run in (comparison.a, comparison.b):
        side, why = _open_side(run, name, samples, images, task_paths)
        sides.append(side)
        plain = plain or why
    examples: dict[tuple[str, int], list[Example | None]] = {}
    for sample in samples:
        key = sample.sample_id, sample.repeat
        # Side by side, so that both images of a sample show pixels, or none, when the page holds enough of them.
        for side, value in zip(sides, (sample.value_a, sample.value_b), strict=True):
            example = None
            if side is not None and key in side.rows:
                side.drawer.spent = spent
                example = side.drawer.example(Rank(value, sha256_text(key[0]), *key, value), side.rows[key])
                spent = side.drawer.spent
            examples.setdefault(key, []).append(example)
    worse, better = (
        tuple(
            MovedExample(sample=it, a=examples[it.sample_id, it.repeat][0], b=examples[it.sample_id, it.repeat][1])
            for it in moved
        )
        for moved in (task.worse, task.better)
    )
    strata: dict[str, list[tuple[str, ComparedNumber]]] = {}
    for compared in task.numbers:
        if compared.family == "stratum":
            ((key, value),) = compared.row["stratum"].items()
            strata.setdefault(key, []).append((str(value), compared))
    section = TaskSection(
        task=task,
        title=task.pair.a.block.get("title") or name,
        rows=tuple((row_name(compared, task.pair.a.over), compared) for compared in task.numbers),
        strata={key: _forest(rows) for key, rows in strata.items()},
        scatter=_scatter(task),
        worse=worse,
        better=better,
        as_images=any(side.as_images for side in sides if side is not None),
        plain=plain or next((side.drawer.plain for side in sides if side is not None), None),
    )
    return section, spent


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """What draws the samples of one run: their rows of the plan by (id, repeat), and whether they are images."""

    drawer: ExampleDrawer
    rows: dict[tuple[str, int], PlannedRequest]
    as_images: bool


def _open_side(
    run: ScoredRun, task: str, samples: Sequence[MovedSample], images: ReportImages, task_paths: Sequence[Path]
) -> tuple[_Side | None, str | None]:
    """Return what draws these samples of a run, or None and, if that is not by design, why they cannot be shown."""
    directory = run.directory
    if directory is None or not samples:
        return None, None
    try:
        ((spec, *_), _) = index(task_paths, stored=directory.tasks_folder).resolve([task])
        planned = directory.read_planned(task, [sample.sample_id for sample in samples])
        predictions = directory.find_predictions([row.key for row in planned])
    except (SpecError, DataError, OSError) as error:
        return None, f"the samples of {run.source} cannot be read ({error})"
    rows = {(row.sample.id, row.repeat): row for row in planned}
    return _Side(
        drawer=ExampleDrawer(spec, predictions.get, images, 0), rows=rows, as_images=spec.gives in SHOWN_AS_IMAGES
    ), None
