"""`harness score`: score a run again, or predictions submitted as a file."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import (
    ALL,
    AS_JSON,
    DATA_ROOT,
    MAX_FAILURES,
    PARAM,
    PROTOCOL,
    QUIET,
    TASK_PATH,
    TASKS,
    describe_model,
    errors_as_exit_codes,
    finish,
    progress,
)

if TYPE_CHECKING:
    from harness.evaluation.setup import RunSpec


@click.command()
@click.argument("run_dir", required=False, type=click.Path(path_type=Path))
@TASKS
@click.option(
    "--predictions",
    type=click.Path(path_type=Path),
    help="JSON lines, or a folder of masks; see docs/hand-in-predictions.md.",
)
@DATA_ROOT
@TASK_PATH
@click.option("--out", type=click.Path(path_type=Path), help="Run directory for submitted predictions.")
@PROTOCOL
@PARAM
@MAX_FAILURES
@describe_model
@ALL
@QUIET
@AS_JSON
@click.pass_obj
def score(
    debug: bool,
    run_dir: Path | None,
    tasks: tuple[str, ...],
    predictions: Path | None,
    data_roots: tuple[str, ...],
    task_paths: tuple[Path, ...],
    out: Path | None,
    protocols: tuple[str, ...],
    params: tuple[str, ...],
    max_failures: str,
    description: dict[str, str | None],
    every_number: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Score a run directory again, or predictions submitted as a file."""
    from harness.errors import SpecError
    from harness.evaluation import evaluate, rescore
    from harness.evaluation.setup import Observer
    from harness.models.description import ModelDescription
    from harness.tasks.overrides import read_parameters

    with errors_as_exit_codes(debug), progress(quiet=quiet) as bar:
        if run_dir is not None and predictions is None and not tasks:
            result = rescore.rescore(
                run_dir,
                task_paths=task_paths,
                protocols=protocols,
                parameters=read_parameters(params),
                max_failures=max_failures,
                description=ModelDescription.read(**description),
            )
        elif run_dir is None and predictions is not None and tasks:
            spec = replace(
                _submitted_spec(tasks, predictions, data_roots, task_paths, out, max_failures),
                protocols=protocols,
                parameters=read_parameters(params),
                description=ModelDescription.read(**description),
            )
            watch = Observer(notice=bar.notice, progress=bar.show)
            result = evaluate.evaluate(spec, watch, command=["harness", *sys.argv[1:]])
        else:
            raise SpecError("score: expected RUN_DIR, or --tasks with --predictions and --data-root")
    finish(result, max_failures, as_json=as_json, every_number=every_number, quiet=quiet)


def _submitted_spec(
    tasks: tuple[str, ...],
    predictions: Path,
    data_roots: tuple[str, ...],
    task_paths: tuple[Path, ...],
    out: Path | None,
    max_failures: str,
) -> "RunSpec":
    """Return the evaluation of submitted predictions, read by an adapter as if it were a model."""
    from harness.evaluation.setup import RunSpec

    return RunSpec(
        tasks=tasks,
        model=f"predictions:{predictions}",
        data_roots=data_roots,
        task_paths=task_paths,
        out=out,
        max_failures=max_failures,
        # Reading lines needs neither actors nor small batches.
        ray="off",
        batch_size="auto",
    )
