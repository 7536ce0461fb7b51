"""`harness chaos`: does a run survive kills, delays and lost answers with the same results?"""

from pathlib import Path
from typing import Any

import click

from harness.cli.evaluation.run import run
from harness.cli.options import AS_JSON, QUIET, errors_as_exit_codes, say, write_json

# Options of `harness run` that decide where results go and how they are printed, with the number of words they take.
OUTPUT_OPTIONS = {"--out": 1, "--json": 0, "-q": 0, "--quiet": 0, "--all": 0, "--dry-run": 0, "--disturb": 1}


class ForRun(click.Command):
    """A command that also takes the options of `harness run`, and completes them."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Return the completions of both commands."""
        known = super().shell_complete(ctx, incomplete)
        names = {item.value for item in known}
        return known + [item for item in run.shell_complete(ctx, incomplete) if item.value not in names]


@click.command(cls=ForRun, context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[RUN_DIR | OPTIONS OF harness run]...")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("chaos"), show_default=True, help="Folder for both runs."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the run, and of what happens to it.")
@click.option("--kills", type=click.IntRange(min=0), default=5, show_default=True, help="Kills of driver or worker.")
@click.option(
    "--delay",
    type=click.FloatRange(min=0, max=3600),
    default=0.05,
    show_default=True,
    help="Longest time that a call of the model is held back, in seconds.",
)
@click.option(
    "--drop",
    type=click.FloatRange(min=0, max=1),
    default=0.1,
    show_default=True,
    help="Share of the calls whose answers are lost together with their worker.",
)
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0, min_open=True),
    default=3600.0,
    show_default=True,
    help="Seconds for everything.",
)
@QUIET
@AS_JSON
@click.pass_obj
def chaos(
    debug: bool,
    words: tuple[str, ...],
    out: Path,
    seed: int,
    kills: int,
    delay: float,
    drop: float,
    time_limit: float,
    quiet: bool,
    as_json: bool,
) -> None:
    """Evaluate a model twice, undisturbed and under fire, and compare the results.

    The model and tasks are given as to `harness run`, or by a run directory, whose command is then given again. The
    second run is killed, its calls are held back and answers are lost, all by the seed; each time the same command goes
    on. Exit code 0: the same results; 1: other results; 2: wrong usage; 3: it could not be finished.
    """
    from harness.runs.chaos.experiment import ChaosSpec, run_chaos

    with errors_as_exit_codes(debug):
        arguments = (*_arguments(words), "--seed", str(seed))
        spec = ChaosSpec(
            arguments=arguments, out=out, seed=seed, kills=kills, delay=delay, drop=drop, time_limit=time_limit
        )
        report = run_chaos(spec, (lambda _: None) if quiet else say)
    if as_json:
        write_json(report.to_json())
    else:
        killed = ", ".join(f"{count} of a {victim}" for victim, count in sorted(report.kills.items())) or "none"
        same = {"bytes": "the same bytes", "interval": "the same numbers within their intervals"}[report.promise]
        click.echo(
            f"{same if report.same else 'other results'} after {report.starts} starts, kills: {killed}, answers lost: "
            f"{report.dropped}, requests made again: {report.asked_again} of {report.requests}"
        )
        for line in report.differences:
            click.echo(f"  {line}")
    if not report.same:
        raise SystemExit(1)


def _arguments(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words of `harness run` without those that say where its results go.

    Raises:
        SpecError: There are none, or the run directory does not say how it was made.
    """
    from harness.errors import SpecError
    from harness.runs.directory import RunDirectory

    for name in ("harness", "run"):  # so that a command can be given as it is
        words = words[1:] if words[:1] == (name,) else words
    if len(words) == 1 and not words[0].startswith("-"):
        directory = RunDirectory(Path(words[0]))
        directory.read_run()
        commands = [tuple(map(str, session.get("command", ()))) for session in directory.read_sessions()]
        found = next((command[2:] for command in reversed(commands) if command[1:2] == ("run",)), ())
        if not found:
            raise SpecError(f"{words[0]}: no session of it was `harness run`; give the options of the run instead")
        words = tuple(str(Path.home() / word[2:]) if word.startswith("~/") else word for word in found)
    if not words:
        raise SpecError("expected the options of `harness run`, or a run directory; harness chaos --help shows both")
    kept: list[str] = []
    left = iter(words)
    for word in left:
        name, _, value = word.partition("=")
        if name in (*OUTPUT_OPTIONS, "--seed"):
            if not value and OUTPUT_OPTIONS.get(name, 1):
                next(left, None)
            continue
        kept.append(word)
    return tuple(kept)
