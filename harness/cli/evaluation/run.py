"""`harness run` and `harness demo`: evaluate models on tasks."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from harness.cli.options import (
    ALL,
    AS_JSON,
    DATA_ROOT,
    MAX_FAILURES,
    MOST_COLUMNS,
    PARAM,
    QUIET,
    SEND_DATA_TO,
    TASK_PATH,
    TASKS,
    describe_model,
    errors_as_exit_codes,
    finish,
    progress,
    read_arguments,
    terminal_width,
    write_json,
)

MOST_DIGITS = 9  # of a number on the command line


@click.command()
@TASKS
@click.option("--model", required=True, help="NAME[:ARGUMENT], path/file.py:Class or package.module:Class.")
@click.option("--model-args", multiple=True, help="k=v,... or @file.yaml; values are read as JSON if they parse.")
@DATA_ROOT
@TASK_PATH
@click.option("--out", type=click.Path(path_type=Path), help="Run directory [default: runs/<model>-<digest>].")
@click.option("--limit", type=click.IntRange(min=1), help="Samples per task; smaller limits nest in larger ones.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--workers", type=click.IntRange(min=1), help="Copies of the model [default: one per GPU, else 1].")
@click.option(
    "--gpus-per-worker",
    type=click.FloatRange(min=0),
    help="GPUs of each copy, 0 for the CPU [default: what the model asks for; one, if there is one that it can use].",
)
@click.option(
    "--batch-size",
    help="N, or auto (grows while memory and latency allow) [default: 16, or the model's maximum if smaller].",
)
@click.option(
    "--ray",
    "ray_address",
    default="auto",
    show_default=True,
    help="auto (local if there are several workers), local, off, or the address of a cluster.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    help="Seconds per sample.",
)
@click.option(
    "--load-timeout",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds for loading the model [default: ten times --timeout, but 30 at least].",
)
@PARAM
@MAX_FAILURES
@describe_model
@click.option(
    "--judge",
    "judges",
    multiple=True,
    help="Model that judges the answers, as of `harness judge`; may be repeated.",
)
@click.option("--judge-args", multiple=True, help="As --model-args, of the judge; of several judges one each.")
@SEND_DATA_TO
@click.option("--disturb", hidden=True, help="Faults to plant, as `harness chaos` gives them.")
@click.option("--dry-run", is_flag=True, help="Print the planned requests and exit.")
@ALL
@QUIET
@AS_JSON
@click.pass_obj
def run(
    debug: bool,
    tasks: tuple[str, ...],
    model: str,
    model_args: tuple[str, ...],
    data_roots: tuple[str, ...],
    task_paths: tuple[Path, ...],
    out: Path | None,
    limit: int | None,
    seed: int,
    workers: int | None,
    gpus_per_worker: float | None,
    batch_size: str | None,
    ray_address: str,
    timeout: float,
    load_timeout: float | None,
    params: tuple[str, ...],
    max_failures: str,
    description: dict[str, str | None],
    judges: tuple[str, ...],
    judge_args: tuple[str, ...],
    send_data_to: tuple[str, ...],
    disturb: str | None,
    dry_run: bool,
    every_number: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Evaluate a model on tasks; the same command on the same --out finishes what is missing."""
    from harness.errors import SpecError
    from harness.evaluation import evaluate
    from harness.evaluation.setup import Observer, RunSpec
    from harness.models.description import ModelDescription
    from harness.runs.engine.disturbance import Disturbance
    from harness.runs.engine.streams import stdout_to_stderr
    from harness.tasks.overrides import read_parameters

    with errors_as_exit_codes(debug, resume=["harness", *sys.argv[1:]]), progress(quiet=quiet) as bar:
        spec = RunSpec(
            tasks=tasks,
            model=model,
            model_args=read_arguments(model_args),
            data_roots=data_roots,
            out=out,
            task_paths=task_paths,
            limit=limit,
            seed=seed,
            workers=workers,
            gpus_per_worker=gpus_per_worker,
            batch_size=_batch_size(batch_size),
            ray=ray_address,
            timeout=timeout,
            load_timeout=load_timeout,
            max_failures=max_failures,
            parameters=read_parameters(params),
            description=ModelDescription.read(**description),
            send_data_to=send_data_to,
            disturbance=None if disturb is None else Disturbance.from_text(disturb),
        )
        watch = Observer(notice=bar.notice, progress=bar.show)
        if judge_args and not judges:
            raise SpecError("--judge-args: expected --judge too: there is no judge that they belong to")
        if dry_run:
            with stdout_to_stderr():  # planning imports the model's file, which may print
                planned = evaluate.dry_run(spec, watch)
            if as_json:
                write_json(planned)
            else:
                click.echo(_planned_text(planned))
            return
        with stdout_to_stderr():  # what a model prints, on import too, never mixes with the result
            if judges:
                from harness.cli.evaluation.judge import read_judge_arguments, report_judges
                from harness.evaluation.judging.judge import evaluate_and_judge

                arguments = read_judge_arguments(judge_args, len(judges))
                pairs = tuple(zip(judges, arguments, strict=True))
                judged = evaluate_and_judge(spec, pairs, watch, command=["harness", *sys.argv[1:]])
                report_judges(judged, quiet=quiet)
                result = judged.evaluation
            else:
                result = evaluate.evaluate(spec, watch, command=["harness", *sys.argv[1:]])
    finish(result, max_failures, as_json=as_json, every_number=every_number, quiet=quiet)


def _planned_text(planned: Mapping[str, Any]) -> str:
    """Return what a run would do, as text."""
    from harness.reports.run_table import unavailable_lines

    lines = [
        f"model {planned['model']['id']}   data {planned['data']}",
        f"{planned['requests']:,} requests, {planned['batch_size']} in a batch; the run directory: {planned['out']}",
    ]
    for task, cell in planned["cells"].items():
        if cell["unsupported"] is not None:
            lines.append(f"unsupported  {task}: {cell['unsupported']}")
            continue
        repeats = f" x {cell['repeats']} repeats" if cell["repeats"] > 1 else ""
        fallbacks = f", with {', '.join(cell['fallbacks'])}" if cell["fallbacks"] else ""
        lines.append(f"{task}: {cell['samples']:,} samples{repeats}{fallbacks}")
    lines += unavailable_lines(planned["unavailable"])
    return "\n".join([*lines, "nothing was asked and nothing written; --json has more"])


def _batch_size(text: str | None) -> int | str | None:
    """Return the number of a text; `auto` and None are returned unchanged.

    Raises:
        SpecError: The text is neither a number of at least 1 nor `auto`.
    """
    from harness.errors import SpecError

    if text is None or text == "auto":
        return text
    if not (text.isascii() and text.isdigit()) or len(text) > MOST_DIGITS or int(text) < 1:
        raise SpecError(f"--batch-size {text}: expected a whole number of at least 1, or auto")
    return int(text)


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True, help="Folder for the runs."
)
@AS_JSON
@click.pass_obj
def demo(debug: bool, out: Path, as_json: bool) -> None:
    """Run three baselines and the reference model on synthetic patients, and print the numbers."""
    from harness.cli import demo as demonstration
    from harness.paths import default_cache

    with errors_as_exit_codes(debug), progress() as bar:
        runs = demonstration.run(out, default_cache(), bar)
    if as_json:
        write_json([run.results for run in runs])
    else:
        click.echo(demonstration.text(runs, terminal_width() or MOST_COLUMNS))
