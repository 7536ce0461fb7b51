"""Scoring a run directory again, without asking any model."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from harness.data.roots import PHANTOM
from harness.evaluation.outputs import Evaluation, allowed_failures, write_outputs
from harness.evaluation.results import score_run
from harness.models.description import ModelDescription, described
from harness.models.submitted import predictions_file
from harness.records import Json
from harness.reports.examples import ReportImages
from harness.runs.directory import RunDirectory
from harness.runs.store import RunStore
from harness.tasks.catalog import index
from harness.tasks.overrides import with_parameters, with_protocols


def rescore(
    out: Path,
    *,
    task_paths: Sequence[Path],
    protocols: Sequence[str],
    max_failures: str,
    parameters: Mapping[str, Json] = MappingProxyType({}),
    images: ReportImages | None = None,
    description: ModelDescription | None = None,
    samples: int | None = 0,
) -> Evaluation:
    """Score the stored predictions of a run again.

    Args:
        out: The run directory.
        task_paths: Folders with further task files; they come before those that the run keeps.
        protocols: Score by these only; empty: as the tasks say.
        max_failures: `N` or `P%` of the wanted scores.
        parameters: Settings of the tasks' metrics, by `metric.parameter`.
        images: Which images the report shows; None: outlines on a plain ground, since a run directory does not hold
            the folders of its images.
        samples: How many samples of each task get a page, as in `write_outputs`.
        description: What replaces the model's name, page, paper, size and licence; None keeps them.
    Returns:
        The numbers. With `protocols` or `parameters` the run directory keeps its own numbers and is not changed.
    Raises:
        SpecError: `out` is no run directory, or a task of the run no longer exists.
    """
    directory = RunDirectory(out)
    run = directory.read_run()
    tasks, groups = index(task_paths, stored=directory.tasks_folder).resolve(run["requested"])
    tasks = with_parameters(tasks, run["parameters"])
    notes = [
        f"{task.task}: the task file changed since the run; scored by what it says now (version {task.version})"
        for task in tasks
        if task.task in run["tasks"] and run["tasks"][task.task]["digest"] != task.digest
    ]
    given = description or ModelDescription()
    described_run = {**run, "model": described(run["model"], given, run["model"])}
    # Locked, though nothing is asked: scores and results of a run that is still in progress would be mixed.
    store = RunStore(out)
    try:
        store.open(run if protocols or parameters else described_run)
        run = described_run
        if protocols or parameters:
            # Scores go elsewhere: those in the run directory must stay the ones that its results came from.
            with tempfile.TemporaryDirectory() as folder:
                tasks = with_parameters([with_protocols(task, protocols) for task in tasks], parameters)
                scored = score_run(store, run, tasks, groups, RunDirectory(Path(folder)))
        else:
            scored = score_run(store, run, tasks, groups, store.directory)
            images = images or ReportImages(phantom=run["data"] == PHANTOM)
            problems = [predictions_file.Problem(**problem) for problem in store.directory.read_problems()]
            write_outputs(store, tasks, scored, problems, images, samples)
    finally:
        store.close()
    return Evaluation(
        out=out,
        results=scored.results,
        failures=scored.failures,
        faults=scored.faults,
        allowed=allowed_failures(max_failures, scored.wanted),
        broken=(*scored.silent, *scored.broken),
        notes=notes,
    )
