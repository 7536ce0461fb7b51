"""The final files of a run, and the value that an evaluation returns."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.data.roots import PHANTOM, data_roots, generated_phantoms
from harness.errors import SpecError
from harness.evaluation.results import Scored
from harness.evaluation.setup import Observer, PreparedRun
from harness.models.description import display_name
from harness.models.submitted import predictions_file
from harness.records import Json
from harness.reports.examples import ReportImages, choose
from harness.reports.notebook import as_html
from harness.reports.run_page import write_report
from harness.reports.run_table import table
from harness.reports.viewer.pages import samples_folder, write_sample_pages
from harness.runs.directory import RunDirectory
from harness.runs.performance import performance_of
from harness.runs.store import RunStore
from harness.scoring.results import Failure
from harness.tasks.catalog import index
from harness.tasks.prepare import prepare_task
from harness.tasks.spec import TaskSpec


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Evaluation:
    """The outcome of an evaluation.

    Attributes:
        out: The run directory.
        results: The content of `results.json`.
        failures: Samples without a usable answer.
        problems: Problems in the lines of a predictions file.
        faults: Number of samples that `--max-failures` counts.
        allowed: Number of faults that `--max-failures` allows.
        broken: What makes numbers useless whatever `--max-failures` allows, one line each: a task to which the model
            gave no answer at all, a metric that raised an exception.
        notes: Remarks for the reader, such as that a task changed since the run.
    """

    out: Path
    results: Mapping[str, Json]
    failures: Sequence[Failure] = ()
    problems: Sequence[predictions_file.Problem] = ()
    faults: int = 0
    allowed: int = 0
    broken: Sequence[str] = ()
    notes: Sequence[str] = ()

    def __fspath__(self) -> str:
        """Return the run directory, so that `load_run`, `load_scores` and `open` take an evaluation for its folder."""
        return str(self.out)

    @property
    def exit_code(self) -> int:
        """0, or 3 when more failed than allowed or the numbers are useless."""
        return 3 if self.faults > self.allowed or self.broken else 0

    def __repr__(self) -> str:
        # Not the dataclass's own, which would print every number of every stratum.
        return f"<Evaluation of {self.results['model']['id']} in {self.out}>\n{table(self.results)}"

    def _repr_html_(self) -> str:
        return as_html(self.results, self.out)


def allowed_failures(text: str, wanted: int) -> int:
    """Return how many of `wanted` samples may fail under `N` or `P%`.

    Raises:
        SpecError: The text is neither.
    """
    share = text.endswith("%")
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = -1.0  # refused below, with the same message as a negative number
    if number < 0 or (not share and number != int(number)):
        raise SpecError(f"--max-failures {text}: expected a count such as 5, or a share such as 1%")
    return int(wanted * number / 100) if share else int(number)


def find_report_images(
    out: Path,
    given_roots: Sequence[str],
    *,
    with_images: bool,
    task_paths: Sequence[Path],
    cache: Path,
    watch: Observer,
) -> ReportImages:
    """Return the folders of a run's images, and whether its report may show them.

    Args:
        out: The run directory.
        given_roots: As `--data-root` gives them.
        with_images: Show images whatever the tasks' terms say, in a report that is not passed on.
        task_paths: Folders with further task files.
        cache: Folder of manifests and derived files.
        watch: Receives news while data that are not prepared yet are prepared.
    Raises:
        SpecError: Images are asked for without a data root, or `out` is no run directory.
        DataError: A release is not below the data roots.
    """
    directory = RunDirectory(out)
    run = directory.read_run()
    if with_images and not given_roots:
        raise SpecError("--with-images: expected --data-root too: a run directory does not say where its images lie")
    if not given_roots:  # nothing is prepared then: the report needs only the run directory
        phantom = run["data"] == PHANTOM
        return ReportImages(roots=generated_phantoms(cache) if phantom else (), phantom=phantom)
    roots = data_roots(given_roots, cache)
    tasks, _ = index(task_paths, stored=directory.tasks_folder).resolve(list(run["tasks"]))
    prepared = [prepare_task(task, roots, cache, watch.notice) for task in tasks]
    found = dict.fromkeys(path for data in prepared for path in (data.root, data.derived))
    return ReportImages(roots=tuple(found), phantom=run["data"] == PHANTOM, asked=with_images)


def report_images_of_run(session: PreparedRun) -> ReportImages:
    """Return which images the report of a run may show: those of phantoms, and of data whose terms allow it."""
    return ReportImages(roots=session.media_roots, phantom=session.roots.kind == PHANTOM)


def write_outputs(
    store: RunStore,
    tasks: Sequence[TaskSpec],
    scored: Scored,
    problems: Sequence[predictions_file.Problem],
    images: ReportImages,
    samples: int | None = 0,
) -> None:
    """Write the final files of a run: problems, results, performance, the pages of samples and the report.

    Args:
        store: The run directory, its predictions scored.
        tasks: Tasks of the run.
        scored: The numbers.
        problems: Problems of a predictions file.
        images: Which images the report may show.
        samples: How many samples of each task get a page; None: as `harness.reports.viewer.pages` has it.
    Raises:
        InterruptedRunError: The disk refuses it.
    """
    if problems:
        store.write_problems(problems)
    store.write_results(scored.results)  # before the report: a fault of a page must not cost the numbers
    performance = performance_of(store.directory)
    store.write_performance(performance)
    cells = [task for task in tasks if task.task in scored.results["tasks"]]
    # Last, because they are chosen from the scores, and the page shows everything above.
    examples = choose(store.directory, cells, store.prediction, images)
    # Pages of an earlier report would show other numbers than this one.
    shutil.rmtree(samples_folder(store.directory), ignore_errors=True)
    pages: Mapping[str, Path] = {}
    if samples != 0:
        model = display_name(scored.results["model"])
        read = store.directory.find_predictions
        pages = write_sample_pages(store.directory, cells, read, images, model=model, most=samples)
    write_report(store.directory.report_path, scored.results, scored.failures, performance, problems, examples, pages)
    store.seal_outputs()
