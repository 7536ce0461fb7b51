"""The `harness` command. Results go to stdout, words for people to stderr; heavy modules load inside the commands."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.command_line import (
    AS_JSON,
    DATA_ROOT,
    EXIT_BAD_INPUT,
    MAX_FAILURES,
    PARAM,
    PROTOCOL,
    TASK_PATH,
    errors_as_exit_codes,
    finish,
    progress,
    say,
    write_json,
)

if TYPE_CHECKING:
    from harness.session import RunSpec


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="medground", prog_name="harness")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def main(context: click.Context, debug: bool) -> None:
    """Evaluate medical vision-language models that answer in words and in pixels."""
    context.obj = debug


@main.command("list")
@click.argument("what", type=click.Choice(["tasks", "models", "metrics", "protocols"]))
@TASK_PATH
@AS_JSON
@click.pass_obj
def list_command(debug: bool, what: str, task_paths: tuple[Path, ...], as_json: bool) -> None:
    """List tasks, models, metrics or protocols."""
    from harness import catalogue

    with errors_as_exit_codes(debug):
        rows = catalogue.rows(what, task_paths)
        if as_json:
            write_json(rows)
        else:
            click.echo(catalogue.table(rows))


@main.command()
@click.argument("task")
@TASK_PATH
@AS_JSON
@click.pass_obj
def show(debug: bool, task: str, task_paths: tuple[Path, ...], as_json: bool) -> None:
    """Show what a task asks, of which data, and how it is scored."""
    from harness import catalogue

    with errors_as_exit_codes(debug):
        description = catalogue.describe(task, task_paths)
        if as_json:
            write_json(description)
        else:
            click.echo(catalogue.sheet(description))


@main.command()
@click.argument("tasks", nargs=-1, required=True)
@TASK_PATH
@DATA_ROOT
@AS_JSON
@click.pass_obj
def validate(
    debug: bool, tasks: tuple[str, ...], task_paths: tuple[Path, ...], data_roots: tuple[str, ...], as_json: bool
) -> None:
    """Check task files; with a data root also their samples, media and metrics.

    TASKS are names, groups or YAML files.
    """
    from harness import validation
    from harness.paths import default_cache

    with errors_as_exit_codes(debug):
        found = validation.validate(tasks, task_paths, data_roots, default_cache())
        if as_json:
            write_json(validation.to_json(found))
        else:
            click.echo(validation.text(found))
        if any(report.faults for report in found):
            sys.exit(EXIT_BAD_INPUT)


@main.command()
@click.argument("tasks", nargs=-1, required=True)
@TASK_PATH
@DATA_ROOT
@click.option(
    "--near-duplicates", is_flag=True, help="Also look for images that show the same; opens each image again."
)
@AS_JSON
@click.pass_obj
def prepare(
    debug: bool,
    tasks: tuple[str, ...],
    task_paths: tuple[Path, ...],
    data_roots: tuple[str, ...],
    near_duplicates: bool,
    as_json: bool,
) -> None:
    """Read releases, check them, and write manifests and integrity reports to the cache."""
    from harness.data.near_duplicates import report_near_duplicates
    from harness.integrity_page import write_page
    from harness.paths import default_cache
    from harness.planning import data_roots as find_roots
    from harness.planning import prepare_task
    from harness.tasks.catalog import index

    with errors_as_exit_codes(debug), progress() as bar:
        roots = find_roots(data_roots, default_cache())
        specs, _ = index(task_paths).resolve(tasks)
        rows = []
        for spec in specs:
            prepared = prepare_task(spec, roots, default_cache(), bar.notice)
            if near_duplicates:
                report_near_duplicates(prepared, spec.window, _every_thousandth(spec.task, bar.notice))
            page = write_page(prepared, spec.task, spec.window)
            row = {
                "task": spec.task,
                "samples": prepared.samples,
                "digest": prepared.digest,
                "manifest": str(prepared.manifest),
                "integrity": str(prepared.integrity),
                "page": str(page),
            }
            rows.append(row)
            if not as_json:
                click.echo(f"{spec.task}: {prepared.samples} samples, digest {prepared.digest[:12]}")
                click.echo(f"  manifest  {prepared.manifest}\n  integrity {prepared.integrity}\n  page      {page}")
                click.echo("\n".join(f"  {line}" for line in _integrity_lines(prepared.integrity)))
        if as_json:
            write_json(rows)


def _every_thousandth(task: str, notice: Callable[[str], None]) -> Callable[[int], None]:
    """Return what tells of every thousandth image looked at."""

    def progress(images: int) -> None:
        if images % 1000 == 0:
            notice(f"looking for near-duplicates of {task}: {images:,} images")

    return progress


def _integrity_lines(path: Path) -> list[str]:
    """Return the counts of an integrity report, one line each."""
    report = json.loads(path.read_text(encoding="utf-8"))
    of = {kind: f" of {checked}" for kind, checked in report["checked"].items()}
    counts = [f"{kind}: {count}{of.get(kind, '')}" for kind, count in report["counts"].items()]
    repairs = [f"repaired {name}: {repair['count']}" for name, repair in report["repairs"].items()]
    return counts + repairs or ["nothing found, nothing repaired"]


def _arguments(text: tuple[str, ...]) -> dict[str, Any]:
    """Return the arguments of `--model-args k=v,...` or `@file.yaml`, values as JSON where they parse."""
    from harness.errors import SpecError
    from harness.models.arguments import parse_arguments

    arguments: dict[str, Any] = {}
    for part in text:
        for name, value in parse_arguments(part).items():
            if name in arguments:
                raise SpecError(f"--model-args: '{name}' is given twice")
            arguments[name] = value
    return arguments


@main.command()
@click.option("--tasks", required=True, help="Tasks and groups, separated by commas.")
@click.option("--model", required=True, help="NAME[:ARGUMENT], path/file.py:Class or package.module:Class.")
@click.option("--model-args", multiple=True, help="k=v,... or @file.yaml; values are JSON where they parse.")
@DATA_ROOT
@TASK_PATH
@click.option("--out", type=click.Path(path_type=Path), help="Run directory [default: runs/<model>-<digest>].")
@click.option("--limit", type=click.IntRange(min=1), help="Samples a task; smaller limits nest in larger ones.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--workers", type=click.IntRange(min=1), help="Copies of the model [default: one per GPU, else 1].")
@click.option("--gpus-per-worker", type=click.FloatRange(min=0), help="[default: what the model asks for]")
@click.option("--batch-size", help="N or auto (the model's most) [default: 16, or the model's most if that is less].")
@click.option(
    "--ray",
    "ray_address",
    default="auto",
    show_default=True,
    help="auto (local when there are several workers), local, off, or the address of a cluster.",
)
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), default=600.0, show_default=True, help="Seconds a sample."
)
@PARAM
@MAX_FAILURES
@click.option("--dry-run", is_flag=True, help="Show what would be asked, ask nothing.")
@AS_JSON
@click.pass_obj
def run(
    debug: bool,
    tasks: str,
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
    params: tuple[str, ...],
    max_failures: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Evaluate a model on tasks; the same command on the same --out finishes what is missing."""
    from harness import evaluation
    from harness.runs.engine.worker import stdout_to_stderr
    from harness.session import RunSpec, Watch
    from harness.tasks.overrides import read_parameters

    with errors_as_exit_codes(debug, resume=["harness", *sys.argv[1:]]), progress() as bar:
        spec = RunSpec(
            tasks=_names(tasks),
            model=model,
            model_args=_arguments(model_args),
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
            max_failures=max_failures,
            parameters=read_parameters(params),
        )
        watch = Watch(notice=bar.notice, progress=bar.show)
        if dry_run:
            with stdout_to_stderr():
                planned = evaluation.dry_run(spec, watch)
            write_json(planned)
            return
        with stdout_to_stderr():  # what a model prints, on import too, never mixes with the result
            result = evaluation.evaluate(spec, watch, command=["harness", *sys.argv[1:]])
    finish(result, as_json, max_failures)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _batch_size(text: str | None) -> int | str | None:
    from harness.errors import SpecError

    if text is None or text == "auto":
        return text
    if not text.isdigit() or int(text) < 1:
        raise SpecError(f"--batch-size {text}: expected a whole number of at least 1, or auto")
    return int(text)


@main.command()
@click.argument("run_dir", required=False, type=click.Path(path_type=Path))
@click.option("--tasks", help="Tasks and groups that the predictions answer.")
@click.option("--predictions", type=click.Path(path_type=Path), help="JSON lines; see docs/hand-in-predictions.md.")
@DATA_ROOT
@TASK_PATH
@click.option("--out", type=click.Path(path_type=Path), help="Run directory for handed-in predictions.")
@PROTOCOL
@PARAM
@MAX_FAILURES
@AS_JSON
@click.pass_obj
def score(
    debug: bool,
    run_dir: Path | None,
    tasks: str | None,
    predictions: Path | None,
    data_roots: tuple[str, ...],
    task_paths: tuple[Path, ...],
    out: Path | None,
    protocols: tuple[str, ...],
    params: tuple[str, ...],
    max_failures: str,
    as_json: bool,
) -> None:
    """Score a run directory again, or predictions handed in as a file."""
    from harness import evaluation
    from harness.errors import SpecError
    from harness.session import Watch
    from harness.tasks.overrides import read_parameters

    with errors_as_exit_codes(debug), progress() as bar:
        if run_dir is not None and predictions is None and tasks is None:
            result = evaluation.rescore(
                run_dir,
                task_paths=task_paths,
                protocols=protocols,
                parameters=read_parameters(params),
                max_failures=max_failures,
            )
        elif run_dir is None and predictions is not None and tasks is not None:
            spec = replace(
                _hand_in_spec(tasks, predictions, data_roots, task_paths, out, max_failures),
                protocols=protocols,
                parameters=read_parameters(params),
            )
            watch = Watch(notice=bar.notice, progress=bar.show)
            result = evaluation.evaluate(spec, watch, command=["harness", *sys.argv[1:]])
        else:
            raise SpecError("score: expected RUN_DIR, or --tasks with --predictions and --data-root")
    finish(result, as_json, max_failures)


def _hand_in_spec(
    tasks: str,
    predictions: Path,
    data_roots: tuple[str, ...],
    task_paths: tuple[Path, ...],
    out: Path | None,
    max_failures: str,
) -> "RunSpec":
    from harness.errors import DataError
    from harness.session import RunSpec

    if not predictions.is_file():
        raise DataError(
            f"--predictions {predictions}: no such file; expected JSON lines, see docs/hand-in-predictions.md"
        )
    return RunSpec(
        tasks=_names(tasks),
        model=f"predictions:{predictions}",
        data_roots=data_roots,
        task_paths=task_paths,
        out=out,
        max_failures=max_failures,
        ray="off",
        batch_size="auto",
    )


@main.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@TASK_PATH
@DATA_ROOT
@click.option(
    "--with-images", is_flag=True, help="Show images whatever the terms of the data: for a report that stays here."
)
@AS_JSON
@click.pass_obj
def report(
    debug: bool,
    run_dir: Path,
    task_paths: tuple[Path, ...],
    data_roots: tuple[str, ...],
    with_images: bool,
    as_json: bool,
) -> None:
    """Write report.html of a run again from what the run directory holds.

    With a data root it shows images where the terms of the data allow it; without one, outlines on a plain ground.
    """
    from harness.evaluation import find_pictures, rescore
    from harness.paths import default_cache
    from harness.session import Watch

    with errors_as_exit_codes(debug), progress() as bar:
        pictures = find_pictures(
            run_dir,
            data_roots,
            with_images=with_images,
            task_paths=task_paths,
            cache=default_cache(),
            watch=Watch(notice=bar.notice),
        )
        result = rescore(run_dir, task_paths=task_paths, protocols=(), max_failures="100%", pictures=pictures)
    page = result.out / "report.html"
    if as_json:
        write_json({"report": str(page)})
    else:
        click.echo(page)


@main.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.argument("sample_id")
@click.option("--task", help="Of this task only, where several ask about the sample.")
@TASK_PATH
@DATA_ROOT
@click.option(
    "--png",
    type=click.Path(path_type=Path),
    help="Draw target and prediction to this file: over the image with a data root, else on a plain ground.",
)
@AS_JSON
@click.pass_obj
def explain(
    debug: bool,
    run_dir: Path,
    sample_id: str,
    task: str | None,
    task_paths: tuple[Path, ...],
    data_roots: tuple[str, ...],
    png: Path | None,
    as_json: bool,
) -> None:
    """Tell everything that a run knows of one sample."""
    from harness import explain_text
    from harness.explain import as_json as to_json
    from harness.explain import explain as explain_sample
    from harness.paths import default_cache

    with errors_as_exit_codes(debug), progress() as bar:
        found = explain_sample(run_dir, sample_id, task=task, task_paths=task_paths)
        if as_json:
            write_json([to_json(explanation) for explanation in found])
        else:
            click.echo("\n\n".join(explain_text.text(explanation) for explanation in found))
        if png is not None:
            drawn = found[0]
            explain_text.write_picture(png, drawn, data_roots, default_cache(), bar.notice)
            say(f"picture  {png} ({drawn.task.task})")


@main.command()
@click.argument("name")
@click.option("--protocol", help="[default: standard, or the metric's first]")
@click.option("--param", "params", multiple=True, help="k=v; settings of metrics that have them.")
@click.option("--aggregate", is_flag=True, help="Read the lines as one corpus and add a last line with its values.")
@click.pass_obj
def metric(debug: bool, name: str, protocol: str | None, params: tuple[str, ...], aggregate: bool) -> None:
    """Try a metric on your own pairs: JSON lines on stdin, one JSON line back for each.

    \b
    For words: echo '{"prediction": "Yes.", "target": "yes"}' | harness metric vqa_accuracy
    For masks: echo '{"prediction": [[0, 1]], "target": [[1, 1]]}' | harness metric dice --protocol m3d

    'harness list metrics' names the metrics; docs/metrics.md shows a line of each kind, and the parameters.
    """
    from harness import metric_lines

    with errors_as_exit_codes(debug):
        readable = True
        for line in metric_lines.run(sys.stdin.buffer, name, protocol, params, aggregate=aggregate):
            readable = readable and line.readable
            write_json(line.value)
            if not line.readable:
                say(f"harness: {line.value['detail']['error']}")
    sys.exit(0 if readable else EXIT_BAD_INPUT)


@main.command()
@click.option("--fix", is_flag=True, help="Bring WordNet into the cache where this machine has none.")
@AS_JSON
@click.pass_obj
def doctor(debug: bool, fix: bool, as_json: bool) -> None:
    """Tell what this machine has, what is missing, and what to do about it."""
    from harness import catalogue
    from harness import doctor as examination
    from harness.paths import default_cache
    from harness.text import wordnet_install

    with errors_as_exit_codes(debug):
        if fix:
            wordnet_install.set_up(default_cache(), say)
        findings = examination.examine(default_cache())
        rows = examination.to_json(findings)
        if as_json:
            write_json(rows)
        else:
            click.echo(catalogue.table(rows))
        if not examination.is_sound(findings):
            sys.exit(EXIT_BAD_INPUT)


@main.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True, help="Folder for the runs."
)
@AS_JSON
@click.pass_obj
def demo(debug: bool, out: Path, as_json: bool) -> None:
    """Draw patients, run three baselines and the reference model on them, and print the numbers."""
    from harness import demonstration
    from harness.paths import default_cache

    with errors_as_exit_codes(debug), progress() as bar:
        runs = demonstration.run(out, default_cache(), bar)
    if as_json:
        write_json([run.results for run in runs])
    else:
        click.echo(demonstration.text(runs))


@main.group()
def export() -> None:
    """Write what a run found as a file that others take."""


@export.command("mmmu")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="File to write: {id: answer} as JSON.")
@TASK_PATH
@click.pass_obj
def export_mmmu(debug: bool, run_dir: Path, out: Path, task_paths: tuple[Path, ...]) -> None:
    """Write the answers of a run on MMMU as its server takes them."""
    from harness.mmmu_submission import submission, write_submission

    with errors_as_exit_codes(debug):
        found = submission(run_dir, task_paths)
        write_submission(out, found)
    click.echo(out)
    say(f"{len(found.answers):,} answers, {found.unanswered:,} empty, {found.unread:,} without a letter that is read")


if __name__ == "__main__":
    main()
