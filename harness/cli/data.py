"""`harness validate` and `harness prepare`: check task files, read releases and write manifests."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import click

from harness.cli.options import (
    AS_JSON,
    DATA_ROOT,
    EXIT_BAD_INPUT,
    TASK_PATH,
    errors_as_exit_codes,
    progress,
    write_json,
)
from harness.errors import visible


@click.command()
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
    from harness.evaluation import validate as validation
    from harness.paths import default_cache

    with errors_as_exit_codes(debug):
        found = validation.validate(tasks, task_paths, data_roots, default_cache())
        if as_json:
            write_json(validation.to_json(found))
        else:
            click.echo(visible(validation.text(found)))
        if any(report.faults for report in found):
            sys.exit(EXIT_BAD_INPUT)


@click.command()
@click.argument("tasks", nargs=-1, required=True)
@TASK_PATH
@DATA_ROOT
@click.option("--near-duplicates", is_flag=True, help="Also look for near-duplicate images; opens each image again.")
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
    """Read releases, check them, and write manifests and integrity reports to the cache.

    TASKS are names, groups or YAML files.
    """
    from harness.data.near_duplicates import report_near_duplicates
    from harness.data.roots import data_roots as find_roots
    from harness.paths import default_cache
    from harness.reports.integrity_page import write_page
    from harness.tasks.catalog import look_up
    from harness.tasks.prepare import prepare_task

    with errors_as_exit_codes(debug), progress() as bar:
        roots = find_roots(data_roots, default_cache())
        catalog, names = look_up(tasks, task_paths)
        specs, _ = catalog.resolve(names)
        rows = []
        for spec in specs:
            prepared = prepare_task(spec, roots, default_cache(), bar.notice)
            if near_duplicates:  # before the page, which shows what is found
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
                click.echo(visible("\n".join(f"  {line}" for line in _integrity_lines(prepared.integrity))))
        if as_json:
            write_json(rows)


def _every_thousandth(task: str, notice: Callable[[str], None]) -> Callable[[int], None]:
    """Return a callback that reports every thousandth image."""

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
