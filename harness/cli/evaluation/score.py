"""`harness score`: score a run again, or predictions submitted as a file."""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


def _logs(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that name another harness's log; the command gets the harness and the file as `log`."""
    logs = {
        "lm-eval": "samples_*.jsonl of lm_eval --log_samples",
        "inspect": ".eval or .json of inspect_ai",
        "lmms-eval": "*_samples_*.jsonl of lmms-eval --log_samples",
        "vlmevalkit": "predictions of VLMEvalKit as xlsx, tsv or json",
    }
    parameters = {name: f"from_{name.replace('-', '_')}" for name in logs}

    @wraps(command)
    def with_log(*args: Any, **options: Any) -> None:
        given = {name: options.pop(parameter) for name, parameter in parameters.items()}
        found = [(name, path) for name, path in given.items() if path is not None]
        if len(found) > 1:
            raise click.UsageError(f"expected one log, found {' and '.join(f'--from-{name}' for name, _ in found)}")
        command(*args, log=found[0] if found else None, **options)

    described: Callable[..., None] = with_log
    for name, words in reversed(logs.items()):
        option = click.option(f"--from-{name}", parameters[name], type=click.Path(path_type=Path), help=f"{words}.")
        described = option(described)
    return described


@click.command()
@click.argument("run_dir", required=False, type=click.Path(path_type=Path))
@TASKS
@click.option(
    "--predictions",
    type=click.Path(path_type=Path),
    help="JSON lines, a folder of masks, or what `harness export` wrote; see docs/hand-in-predictions.md.",
)
@_logs
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
    log: tuple[str, Path] | None,
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
    """Score a run directory again, predictions submitted as a file, or the answers in another harness's log."""
    from harness.errors import SpecError
    from harness.evaluation import evaluate, rescore
    from harness.evaluation.setup import Observer
    from harness.models.description import ModelDescription
    from harness.tasks.overrides import read_parameters

    with errors_as_exit_codes(debug), progress(quiet=quiet) as bar:
        if run_dir is not None and predictions is None and log is None and not tasks:
            result = rescore.rescore(
                run_dir,
                task_paths=task_paths,
                protocols=protocols,
                parameters=read_parameters(params),
                max_failures=max_failures,
                description=ModelDescription.read(**description),
            )
        elif run_dir is None and (predictions is None) != (log is None) and tasks:
            spec = replace(
                _submitted_spec(tasks, predictions, log, data_roots, task_paths, out, max_failures),
                protocols=protocols,
                parameters=read_parameters(params),
                description=ModelDescription.read(**description),
            )
            watch = Observer(notice=bar.notice, progress=bar.show)
            result = evaluate.evaluate(spec, watch, command=["harness", *sys.argv[1:]])
        else:
            raise SpecError(
                "score: expected RUN_DIR, or --tasks and --data-root with one of --predictions, "
                "--from-lm-eval, --from-inspect, --from-lmms-eval and --from-vlmevalkit"
            )
    finish(result, max_failures, as_json=as_json, every_number=every_number, quiet=quiet)


def _submitted_spec(
    tasks: tuple[str, ...],
    predictions: Path | None,
    log: tuple[str, Path] | None,
    data_roots: tuple[str, ...],
    task_paths: tuple[Path, ...],
    out: Path | None,
    max_failures: str,
) -> "RunSpec":
    """Return the evaluation of submitted predictions, read by an adapter as if it were a model."""
    from harness.evaluation.setup import RunSpec

    return RunSpec(
        tasks=tasks,
        model=f"predictions:{predictions if log is None else log[1]}",
        model_args={} if log is None else {"log": log[0]},
        data_roots=data_roots,
        task_paths=task_paths,
        out=out,
        max_failures=max_failures,
        # Reading lines needs neither actors nor small batches.
        ray="off",
        batch_size="auto",
    )
