"""`harness list`, `show`, `report`, `explain` and `doctor`: commands that change no number."""

import sys
from pathlib import Path

import click

from harness.cli.options import (
    AS_JSON,
    DATA_ROOT,
    EXIT_BAD_INPUT,
    TASK_PATH,
    errors_as_exit_codes,
    linked,
    progress,
    say,
    terminal_width,
    write_json,
)
from harness.errors import visible


@click.command("list")
@click.argument("what", type=click.Choice(["tasks", "models", "metrics", "protocols", "recipes"]))
@TASK_PATH
@AS_JSON
@click.pass_obj
def list_command(debug: bool, what: str, task_paths: tuple[Path, ...], as_json: bool) -> None:
    """List tasks, models, metrics, protocols or recipes for showing volumes."""
    from harness.cli import listing

    with errors_as_exit_codes(debug):
        rows = listing.rows(what, task_paths)
        if as_json:
            write_json(rows)
        else:
            click.echo(listing.table(rows, terminal_width()))


@click.command()
@click.argument("task")
@TASK_PATH
@AS_JSON
@click.pass_obj
def show(debug: bool, task: str, task_paths: tuple[Path, ...], as_json: bool) -> None:
    """Show what a task asks, of which data, and how it is scored; or a metric's protocols, and how each is gamed."""
    from harness.cli import listing

    with errors_as_exit_codes(debug):
        description = listing.describe(task, task_paths)
        if as_json:
            write_json(description)
        else:
            click.echo(listing.sheet(description))


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@TASK_PATH
@DATA_ROOT
@click.option("--with-images", is_flag=True, help="Show images whatever the terms of the data; for internal use only.")
@click.option(
    "--samples",
    type=click.IntRange(min=0),
    help="Samples of each task with a place on a page; 0 writes no pages [default: 60, of volumes 18].",
)
@AS_JSON
@click.pass_obj
def report(
    debug: bool,
    run_dir: Path,
    task_paths: tuple[Path, ...],
    data_roots: tuple[str, ...],
    with_images: bool,
    samples: int | None,
    as_json: bool,
) -> None:
    """Write report.html of a run again from its run directory, and pages of its samples.

    With a data root they show images if the terms of the data allow it; without one, masks on a plain background.
    Synthetic patients are found in the cache.
    """
    from harness.evaluation.outputs import find_report_images
    from harness.evaluation.rescore import rescore
    from harness.evaluation.setup import Observer
    from harness.paths import default_cache
    from harness.runs.directory import RunDirectory

    with errors_as_exit_codes(debug), progress() as bar:
        images = find_report_images(
            run_dir,
            data_roots,
            with_images=with_images,
            task_paths=task_paths,
            cache=default_cache(),
            watch=Observer(notice=bar.notice),
        )
        result = rescore(
            run_dir, task_paths=task_paths, protocols=(), max_failures="100%", images=images, samples=samples
        )
    # --max-failures concerns the run itself: making its page again always succeeds.
    page = RunDirectory(result.out).report_path
    if as_json:
        write_json({"report": str(page)})
    else:
        click.echo(linked(page, sys.stdout))


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.argument("sample_id")
@click.option("--task", help="Only this task, if several tasks use the sample.")
@TASK_PATH
@DATA_ROOT
@click.option(
    "--png",
    type=click.Path(path_type=Path),
    help="Draw target and prediction into this file: over the image with a data root, otherwise on a plain background.",
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
    """Show everything recorded for one sample."""
    from harness.paths import default_cache
    from harness.reports import explain_text
    from harness.reports.explain import as_json as to_json
    from harness.reports.explain import explain as explain_sample

    with errors_as_exit_codes(debug), progress() as bar:
        found = explain_sample(run_dir, sample_id, task=task, task_paths=task_paths)
        if as_json:
            write_json([to_json(explanation) for explanation in found])
        else:
            click.echo(visible("\n\n".join(explain_text.text(explanation) for explanation in found)))
        if png is not None:
            drawn = found[0]
            explain_text.write_image(png, drawn, data_roots, default_cache(), bar.notice)
            say(f"image    {png} ({drawn.task.task})")


@click.group(invoke_without_command=True)
@click.option("--fix", is_flag=True, help="Download WordNet if it is missing.")
@AS_JSON
@click.pass_context
def doctor(context: click.Context, fix: bool, as_json: bool) -> None:
    """Check the installation and suggest fixes; `doctor frames RUN_DIR` checks the boxes of a run."""
    if context.invoked_subcommand is not None:
        return
    debug = bool(context.obj)
    from harness.cli import doctor as examination
    from harness.cli import listing
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
            click.echo(listing.table(rows, terminal_width()))
        if not examination.is_sound(findings):
            sys.exit(EXIT_BAD_INPUT)
