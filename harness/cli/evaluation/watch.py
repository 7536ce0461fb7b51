"""`harness watch`: a run in progress on the terminal."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import AS_JSON, errors_as_exit_codes, write_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from harness.reports.live.state import LiveRun

# Seconds between two looks, on a terminal and on a pipe such as the log of a cluster job.
EVERY = 1.0
EVERY_LINE = 30.0
MOST_TASKS = 40
MOST_WORKERS = 16


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--once", is_flag=True, help="Show the run as it is now, and exit.")
@click.option(
    "--every",
    type=click.FloatRange(min=0.1),
    help="Seconds between two looks [default: 1 on a terminal, 30 on a pipe].",
)
@AS_JSON
@click.pass_obj
def watch(debug: bool, run_dir: Path, once: bool, every: float | None, as_json: bool) -> None:
    """Watch a run: tasks, rate, time left, failures by kind, workers, memory and cost.

    It only reads, so it may be started and stopped (Ctrl-C) at any time; it ends when the run does. Without a terminal
    it writes a line from time to time, with --json a line of JSON.
    """
    from harness.reports.live.state import LiveReader
    from harness.reports.live.words import line
    from harness.runs.directory import RunDirectory

    with errors_as_exit_codes(debug):
        reader = LiveReader(RunDirectory(run_dir))
        run = reader.read()
        try:
            if as_json or once or not sys.stdout.isatty():
                pause = every or (EVERY_LINE if not as_json else EVERY)
                while True:
                    if as_json:
                        write_json(run.as_json())
                    elif once or run.is_over:
                        _print(run)
                    else:
                        click.echo(line(run))
                    if once or run.is_over:
                        return
                    time.sleep(pause)
                    run = reader.read()
            _live(reader.read, run, every or EVERY)
        except KeyboardInterrupt:
            return  # the run itself goes on


def _print(run: "LiveRun") -> None:
    from rich.console import Console

    Console(highlight=False, soft_wrap=not sys.stdout.isatty()).print(dashboard(run))


def _live(read: "Callable[[], LiveRun]", run: "LiveRun", every: float) -> None:
    from rich.console import Console
    from rich.live import Live

    with Live(dashboard(run), console=Console(highlight=False), auto_refresh=False) as live:
        while not run.is_over:
            time.sleep(every)
            run = read()
            live.update(dashboard(run), refresh=True)


def dashboard(run: "LiveRun") -> "RenderableType":
    """Return a run as rich shows it. Every text of outside is a `Text`, which knows no markup and no escapes."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    from harness.models.submitted.prediction_lines import printable
    from harness.reports.live import words

    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    rows = [
        ("run", str(run.path)),
        ("model", f"{run.model}, {run.data} data"),
        ("state", words.state(run)),
        ("requests", f"{run.done:,} of {run.total:,}, {run.failed:,} failed"),
        ("rate", f"{words.rate(run.rate)}, time left {words.duration(run.seconds_left)}"),
        ("time", words.duration(run.seconds) + (f" in session {run.sessions}" if run.sessions > 1 else "")),
        ("memory", f"{words.size(run.memory)} per worker, GPU {words.size(run.gpu_memory)}"),
    ]
    if run.cost is not None or run.tokens:
        cost = "" if run.cost is None else f"{run.cost:.4f}, "
        rows.append(("cost", f"{cost}{run.tokens:,} tokens"))
    if run.state == "interrupted" and run.command:
        rows.append(("to go on", run.command))
    if run.report is not None:
        rows.append(("report", str(run.report)))
    for name, text in rows:
        facts.add_row(name, Text(printable(text, 1000)))
    parts: list[RenderableType] = [facts]
    tasks = Table(box=None, padding=(0, 2), header_style="dim", pad_edge=False)
    for name in ("task", "", "done"):
        tasks.add_column(name, justify="left" if name != "done" else "right", overflow="fold")
    for task in run.tasks[:MOST_TASKS]:
        if task.unsupported:
            tasks.add_row(Text(printable(task.name, 80)), Text("unsupported", style="dim"), "")
        elif task.done is None:
            tasks.add_row(Text(printable(task.name, 80)), "", f"? of {task.wanted:,}")
        else:
            bar = ProgressBar(total=max(1, task.wanted), completed=task.done, width=24)
            tasks.add_row(Text(printable(task.name, 80)), bar, f"{task.done:,} of {task.wanted:,}")
    parts += [Text(), tasks]
    if len(run.tasks) > MOST_TASKS:
        parts.append(Text(f"and {len(run.tasks) - MOST_TASKS} more tasks", style="dim"))
    if run.failures:
        failures = Table(box=None, padding=(0, 2), header_style="dim", pad_edge=False)
        failures.add_column("failures", justify="right")
        failures.add_column("kind", overflow="fold")
        for kind, count in run.failures:
            failures.add_row(f"{count:,}", Text(printable(kind)))
        parts += [Text(), failures]
    if run.workers:
        workers = Table(box=None, padding=(0, 2), header_style="dim", pad_edge=False)
        for name in ("worker", "device", "state"):
            workers.add_column(name, overflow="fold")
        for worker in run.workers[:MOST_WORKERS]:
            workers.add_row(Text(printable(worker.name, 60)), Text(printable(worker.device, 60)), Text(worker.state))
        parts += [Text(), workers]
        if run.lost:
            parts.append(Text(f"{run.lost} workers died or hung"))
    return Group(*parts)
